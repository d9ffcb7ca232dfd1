//! Weights packed for one processor give the same answers, to the bit, on every other processor.

use anyhow::Result;
use edge_runtime::kernels::isa::Isa;
use edge_runtime::{Classifier, ExitPolicy};
use edge_tests::{FIXTURES, FOUR_BITS, Golden, bundle, packed_bundle};
use edge_toolkit::quantize::Int8;
use edge_toolkit::quantize::{EmbeddingBits, Precision, WeightBits};

#[test]
fn packed_for_whatever_processor_the_answers_are_the_same() -> Result<()> {
    let bits = [WeightBits::Seven, WeightBits::Eight];
    let forms =
        bits.map(|bits| Int8::new(bits, EmbeddingBits::Eight)).into_iter().chain([FOUR_BITS]);
    for int8 in forms {
        for name in FIXTURES {
            let golden = Golden::of(name)?;
            let answers = |bundle: Vec<u8>| -> Result<Vec<Vec<Vec<f32>>>> {
                let classifier = Classifier::from_bytes(bundle)?;
                let predictions = classifier.classify(&golden.texts(), &ExitPolicy::Never)?;
                Ok(predictions.into_iter().map(|p| p.exits).collect())
            };
            let expected = answers(bundle(name, Precision::Int8(int8))?)?;
            for target in Isa::ALL {
                assert_eq!(answers(packed_bundle(name, int8, target)?)?, expected, "{target:?}");
            }
        }
    }
    Ok(())
}
