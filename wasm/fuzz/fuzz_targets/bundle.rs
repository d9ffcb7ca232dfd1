//! Fuzz target of the bundle reader: any input, in pieces of any size, gives an error or verified
//! entries.
//!
//! The first byte chooses how the rest is read. Digests stop nearly every mutation at the manifest.
//! Half of the inputs are therefore a manifest and entries that get valid digests, as an attacker
//! would do.

#![no_main]

use bytes::Bytes;
use edge_runtime::Limits;
use edge_runtime::bundle::{BundlePart, BundleReader, Manifest, write};
use libfuzzer_sys::fuzz_target;

/// Limits, small so that large sizes are refused instead of allocated in every run.
const LIMITS: Limits = Limits { manifest: 1 << 16, tokenizer: 1 << 18, total: 1 << 20 };

fuzz_target!(|input: &[u8]| {
    let [how, rest @ ..] = input else { return };
    let piece = usize::from(how >> 1) * 37 + 1;
    if how & 1 == 0 {
        feed(rest, piece);
        return;
    }
    // manifest, zero byte, tokenizer, zero byte, stages
    let mut parts = rest.split(|b| *b == 0);
    let manifest = parts.next().unwrap_or_default();
    let _ = Manifest::from_json(manifest);
    let Ok(manifest) = serde_json::from_slice::<Manifest>(manifest) else { return };
    let tokenizer = parts.next().unwrap_or_default();
    let stages: Vec<Vec<u8>> = parts.take(8).map(<[u8]>::to_vec).collect();
    let mut bundle = Vec::new();
    write(manifest, tokenizer, &stages, &mut bundle).expect("writing to memory");
    feed(&bundle, piece);
});

fn feed(bundle: &[u8], piece: usize) {
    let mut reader = BundleReader::new(LIMITS);
    let mut entries = 0;
    for piece in bundle.chunks(piece) {
        let pushed = reader.push(Bytes::copy_from_slice(piece), |part| {
            match part {
                BundlePart::Manifest(_) => assert_eq!(entries, 0),
                BundlePart::Tokenizer(_) => assert_eq!(entries, 1),
                BundlePart::Stage(stage, _) => assert_eq!(entries, stage + 2),
            }
            entries += 1;
            Ok(())
        });
        if let Err(error) = pushed {
            let _ = error.to_string();
            return;
        }
        let _ = reader.total();
    }
    assert_eq!(reader.taken(), bundle.len() as u64);
    match reader.finish() {
        Ok(()) => assert_eq!(reader.total(), Some(bundle.len() as u64)),
        Err(error) => drop(error.to_string()),
    }
}
