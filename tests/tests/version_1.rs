//! A bundle of version 1, written by edge-export 0.1.0 of the first manifest from `bert-exits` in 4 bits.

use anyhow::Result;
use edge_runtime::bundle::{Manifest, VERSION};
use edge_runtime::{Classifier, ExitPolicy, Task};
use edge_tests::{Golden, Parts, bundle, project};
use edge_toolkit::quantize::{EmbeddingBits, Int8, Precision, Sites, WeightBits};

fn version_1() -> Result<Vec<u8>> {
    Ok(std::fs::read(project("tests/goldens/version-1.edge"))?)
}

fn four_bits() -> Precision {
    let bits = Int8::new(WeightBits::Seven, EmbeddingBits::Four);
    Precision::Int8(Int8 { four_bits: Sites::ALL, ..bits })
}

#[test]
fn a_bundle_of_version_1_has_the_same_entries_and_answers_as_one_of_today() -> Result<()> {
    let (old, new) = (version_1()?, bundle("bert-exits", four_bits())?);
    let (old_parts, new_parts) = (Parts::of(&old)?, Parts::of(&new)?);
    assert_eq!(old_parts.tokenizer, new_parts.tokenizer);
    assert_eq!(old_parts.stages, new_parts.stages);
    assert_eq!((old_parts.manifest.version, new_parts.manifest.version), (1, VERSION));

    let texts = Golden::of("bert-exits")?;
    let [old, new] = [old, new].map(Classifier::from_bytes);
    let (old, new) = (old?, new?);
    for policy in [ExitPolicy::Never, ExitPolicy::confidence(0.6), ExitPolicy::patience(2)] {
        let answers = old.classify(&texts.texts(), &policy)?;
        assert_eq!(answers, new.classify(&texts.texts(), &policy)?, "{policy:?}");
    }
    Ok(())
}

#[test]
fn a_manifest_of_version_1_says_the_same_in_the_words_of_today() -> Result<()> {
    let old = Parts::of(&version_1()?)?.manifest;
    let new = Parts::of(&bundle("bert-exits", four_bits())?)?.manifest;
    let labels = vec!["NEGATIVE".to_owned(), "POSITIVE".to_owned()];
    assert_eq!(old.task, Task::SingleLabel { labels });
    let changed = Manifest { version: new.version, digest: new.digest.clone(), ..old };
    assert_eq!(changed, new);
    Ok(())
}
