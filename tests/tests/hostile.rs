//! Damaged and hostile bundles: each gives an error that names the entry, never a panic.

use anyhow::Result;
use bytes::Bytes;
use edge_runtime::bundle::{Manifest, stage_entry, tar};
use edge_runtime::{Classifier, Error, Limits, Loader};
use edge_tests::{Parts, Random, bundle, labels, tar_of};
use edge_toolkit::quantize::Precision;

const MANIFEST: &str = "manifest.json";
const TOKENIZER: &str = "tokenizer.json";
const END: &str = "end of bundle";

fn good() -> Result<Vec<u8>> {
    bundle("distilbert-plain", Precision::INT8)
}

/// The names and the bytes of the entries.
fn entries(parts: &Parts) -> Vec<(String, Vec<u8>)> {
    let mut entries = vec![
        (MANIFEST.to_string(), parts.manifest.to_json()),
        (TOKENIZER.to_string(), parts.tokenizer.clone()),
    ];
    entries.extend(parts.stages.iter().enumerate().map(|(i, s)| (stage_entry(i), s.clone())));
    entries
}

fn tar(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    tar_of(&entries.iter().map(|(n, b)| (n.as_str(), b.as_slice())).collect::<Vec<_>>())
}

/// Loads a bundle, which must fail; returns the entry and the problem of the error.
fn refused(bundle: impl Into<Bytes>, what: &str) -> (String, String) {
    refused_within(Limits::default(), bundle, what)
}

fn refused_within(limits: Limits, bundle: impl Into<Bytes>, what: &str) -> (String, String) {
    let mut loader: Loader = Loader::new(limits);
    match loader.push(bundle.into()).and_then(|()| loader.finish()) {
        Err(error @ Error::Bundle { .. }) => {
            let message = error.to_string();
            let Error::Bundle { entry, problem } = error else { unreachable!("just matched") };
            assert!(message.contains(&entry) && message.contains(&problem), "{what}: {message}");
            (entry, problem)
        }
        Err(other) => panic!("{what}: {other:?}"),
        Ok(_) => panic!("{what}: was taken for good"),
    }
}

/// Layout of a bundle: the end and the name of each entry.
struct Layout(Vec<(usize, String)>);

impl Layout {
    fn of(bundle: &[u8]) -> Result<Self> {
        let mut at = 0;
        let mut ends = Vec::new();
        for (name, bytes) in entries(&Parts::of(bundle)?) {
            at += tar::BLOCK + bytes.len().next_multiple_of(tar::BLOCK);
            ends.push((at, name));
        }
        assert_eq!(at + 2 * tar::BLOCK, bundle.len());
        ends.push((bundle.len(), END.into()));
        Ok(Layout(ends))
    }

    fn entry(&self, byte: usize) -> &str {
        &self.0.iter().find(|(end, _)| byte < *end).expect("a byte of the bundle").1
    }
}

#[test]
fn the_parts_of_a_bundle_make_the_same_bundle() -> Result<()> {
    let good = good()?;
    let parts = Parts::of(&good)?;
    assert_eq!(tar(&entries(&parts)), good);
    assert_eq!(parts.pack(), good);
    Ok(())
}

#[test]
fn every_truncation_names_the_entry_that_is_cut() -> Result<()> {
    let good = Bytes::from(good()?);
    let layout = Layout::of(&good)?;
    let rest = (20_000..good.len()).step_by(1024);
    for length in (0..20_000.min(good.len())).chain(rest).chain([good.len() - 1]) {
        let (entry, problem) = refused(good.slice(..length), &format!("cut to {length}"));
        assert_eq!(entry, layout.entry(length), "cut to {length}");
        assert!(problem.contains(&format!("after {length} bytes")), "{problem}");
    }
    Ok(())
}

#[test]
fn every_flipped_bit_is_found_in_its_entry() -> Result<()> {
    let good = good()?;
    let layout = Layout::of(&good)?;
    let mut random = Random::new(7);
    for _ in 0..2000 {
        let bit = random.below(good.len() * 8);
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let (entry, problem) = refused(bad, &format!("bit {bit}"));
        assert_eq!(entry, layout.entry(bit / 8), "bit {bit}: {problem}");
    }
    Ok(())
}

/// Flips one bit of each byte of the manifest; few random flips hit the manifest.
#[test]
fn no_bit_of_the_manifest_can_be_flipped() -> Result<()> {
    let good = good()?;
    let layout = Layout::of(&good)?;
    for byte in 0..layout.0[0].0 {
        let mut bad = good[..layout.0[0].0].to_vec();
        bad[byte] ^= 1 << (byte % 8);
        assert_eq!(refused(bad, &format!("byte {byte}")).0, MANIFEST);
    }
    Ok(())
}

#[test]
fn entries_must_be_those_of_the_manifest_in_its_order() -> Result<()> {
    let parts = Parts::of(&good()?)?;
    let all = entries(&parts);
    type Change<'a> = &'a dyn Fn(&mut Vec<(String, Vec<u8>)>);
    let changed = |change: Change| {
        let mut entries = all.clone();
        change(&mut entries);
        tar(&entries)
    };
    let cases: [(&str, Change, &str, &str); 10] = [
        ("duplicate", &|e| e.insert(2, e[1].clone()), "stage-0.onnx", "`tokenizer.json` in its"),
        ("duplicate stage", &|e| e.insert(3, e[2].clone()), "stage-1.onnx", "`stage-0.onnx`"),
        ("reordered", &|e| e.swap(2, 3), "stage-0.onnx", "`stage-1.onnx` in its place"),
        ("manifest late", &|e| e.swap(0, 1), MANIFEST, "`tokenizer.json` in its place"),
        ("missing", &|e| drop(e.remove(2)), "stage-0.onnx", "`stage-1.onnx` in its place"),
        ("extra", &|e| e.push(("x".into(), vec![1])), END, "two blocks of zeros"),
        ("up", &|e| e[2].0 = "../stage-0.onnx".into(), "stage-0.onnx", "`../stage-0.onnx`"),
        ("absolute", &|e| e[1].0 = "/etc/passwd".into(), TOKENIZER, "`/etc/passwd`"),
        ("empty", &|e| e[3].1.clear(), "stage-1.onnx", "found 0 bytes"),
        ("other bytes", &|e| e[3].1[0] ^= 1, "stage-1.onnx", "SHA-256"),
    ];
    for (what, change, entry, problem) in cases {
        let (at, said) = refused(changed(change), what);
        assert_eq!(at, entry, "{what}: {said}");
        assert!(said.contains(problem), "{what}: {said}");
    }
    let missing_last = changed(&|e| drop(e.pop()));
    assert_eq!(refused(missing_last, "the last is missing").0, stage_entry(parts.stages.len() - 1));
    let mut more = changed(&|_| {});
    more.push(0);
    assert_eq!(refused(more, "a byte too many"), (END.into(), "data after the last entry".into()));
    Ok(())
}

/// Makes a bundle with a changed manifest that has a valid digest; all other bytes are unchanged.
fn with_manifest(change: impl FnOnce(&mut Manifest)) -> Result<Vec<u8>> {
    let parts = Parts::of(&good()?)?;
    let mut all = entries(&parts);
    let mut manifest = parts.manifest;
    change(&mut manifest);
    all[0].1 = manifest.to_json();
    Ok(tar(&all))
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused() -> Result<()> {
    type Change = fn(&mut Manifest);
    let cases: &[(Change, &str)] = &[
        (|m| m.entries[1].name = "../stage-0.onnx".into(), "`../stage-0.onnx`"),
        (|m| m.entries[0].name = "/tokenizer.json".into(), "`/tokenizer.json`"),
        (|m| m.entries.swap(1, 2), "`stage-1.onnx`; expected `stage-0.onnx`"),
        (|m| m.entries[2] = m.entries[1].clone(), "`stage-0.onnx`; expected `stage-1.onnx`"),
        (|m| drop(m.entries.pop()), "is not listed"),
        (|m| m.entries.push(m.entries[0].clone()), "unexpected entry"),
        (|m| m.entries.clear(), "`tokenizer.json` is not listed"),
        (|m| m.entries[1].bytes = u64::MAX, "over 2"),
        (|m| m.entries[1].bytes = u64::MAX / 2, "more than the limit"),
        (|m| m.entries[1].bytes = 7 << 30, "more than the limit of 2147483648"),
        (|m| m.version = 3, "version is 3, this runtime reads the versions 1 and 2"),
        (|m| m.version = 0, "version is 0"),
        (|m| m.format = "elsewhere".into(), "`elsewhere`"),
        (|m| m.stages.clear(), "no stages"),
        (|m| m.stages.last_mut().unwrap().exit = false, "no exit"),
        (|m| m.stages[0].layers = usize::MAX, "layers"),
        (|m| labels(m).truncate(1), "1 labels"),
        (|m| labels(m)[1] = labels(m)[0].clone(), "labels 0 and 1 are both named `"),
        (|m| labels(m)[1] = " ".into(), "label 1 has an empty name"),
        (|m| m.input.max_tokens = 0, "max_tokens is 0"),
        (|m| m.policy = Some(edge_runtime::ExitPolicy::confidence(7.0)), "threshold 7"),
        (|m| m.policy = Some(edge_runtime::ExitPolicy::patience(0)), "patience 0"),
    ];
    for (change, problem) in cases {
        let (entry, said) = refused(with_manifest(change)?, problem);
        assert_eq!(entry, MANIFEST);
        assert!(said.contains(problem), "{said} (not {problem})");
    }
    // These errors are found at the entry itself.
    let (entry, said) = refused(with_manifest(|m| m.entries[1].bytes -= 1)?, "size");
    assert!(
        entry == "stage-0.onnx" && said.contains("its size in the manifest"),
        "{entry}: {said}"
    );
    for hash in ["", "0", "zz", &"0".repeat(64), &"é".repeat(32)] {
        let bundle = with_manifest(|m| m.entries[1].sha256 = hash.into())?;
        let (entry, said) = refused(bundle, "wrong hash");
        assert!(entry == "stage-0.onnx" && said.contains("SHA-256"), "{entry}: {said}");
    }
    let (entry, _) = refused(with_manifest(|m| m.entries[0].bytes = 65 << 20)?, "tokenizer");
    assert_eq!(entry, TOKENIZER);
    Ok(())
}

#[test]
fn limits_are_kept() -> Result<()> {
    let good = Bytes::from(good()?);
    let usual = Limits::default();
    let manifest = Limits { manifest: 100, ..usual };
    assert_eq!(refused_within(manifest, good.clone(), "manifest").0, MANIFEST);
    let tokenizer = Limits { tokenizer: 100, ..usual };
    assert_eq!(refused_within(tokenizer, good.clone(), "tokenizer").0, TOKENIZER);
    let (entry, said) = refused_within(Limits { total: 20_000, ..usual }, good, "total");
    assert!(entry == MANIFEST && said.contains("limit of 20000"), "{entry}: {said}");
    Ok(())
}

#[test]
fn what_is_no_bundle_is_refused_at_its_first_entry() -> Result<()> {
    let header = |name: &str, size| tar::header(name, size).expect("fits").to_vec();
    let manifest = |json: &[u8]| tar_of(&[(MANIFEST, json)]);
    let good = good()?;
    let mut old_tar = good.clone();
    old_tar[257..265].fill(0);
    let mut directory = good.clone();
    directory[156] = b'5';
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "breaks off here, after 0 bytes"),
        ("text", b"version https://git-lfs.github.com/spec/v1\n".repeat(30), "tar header"),
        ("zip", [&b"PK\x03\x04"[..], &[0; 600]].concat(), "tar header"),
        ("gzip", [&b"\x1f\x8b\x08"[..], &[7; 600]].concat(), "tar header"),
        ("zeros", vec![0; 4096], "tar header"),
        ("0xff", vec![0xff; 4096], "tar header"),
        ("tar before POSIX", old_tar, "tar header"),
        ("a directory", directory, "tar header"),
        ("7 GiB", header(MANIFEST, 7 << 30), "7516192768 bytes, more than the limit of 1048576"),
        ("over the limit", header(MANIFEST, (1 << 20) + 1), "more than the limit"),
        ("nothing after the header", header(MANIFEST, 1 << 20), "breaks off"),
        ("empty manifest", manifest(b""), "not a manifest"),
        ("not UTF-8", manifest(b"{\"format\": \"\xff\xfe\"}"), "not a manifest"),
        ("not JSON", manifest(b"format: edge-distil"), "not a manifest"),
        ("no object", manifest(b"[1, 2, 3]"), "not a manifest"),
        ("deep", manifest(&b"[".repeat(500_000)), "not a manifest"),
        ("deep object", manifest(&b"{\"format\":".repeat(50_000)), "not a manifest"),
        (
            "an empty digest",
            manifest(br#"{"format":"edge-distil","version":1,"digest":""}"#),
            "SHA",
        ),
        ("no digest", manifest(br#"{"format":"edge-distil","version":1}"#), "digest"),
        ("version -1", manifest(br#"{"format":"edge-distil","version":-1,"digest":""}"#), "-1"),
    ];
    for (what, bundle, problem) in cases {
        let (entry, said) = refused(bundle, what);
        assert_eq!(entry, MANIFEST, "{what}: {said}");
        assert!(said.contains(problem), "{what}: {said}");
    }
    Ok(())
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Classifier::open("no/such/model.edge").unwrap_err();
    assert!(matches!(error, Error::Io { .. }));
    assert!(error.to_string().contains("no/such/model.edge"), "{error}");
}
