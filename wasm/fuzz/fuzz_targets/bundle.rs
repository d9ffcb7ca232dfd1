//! The bundle reader: whatever arrives, in pieces of any size, is an error or a verified entry.
//!
//! The first byte says how the rest is read. Digests stop nearly every mutation at the manifest, so
//! half of the inputs are a manifest and entries whose digests are made right, as an attacker would.

#![no_main]

use bytes::Bytes;
use edge_runtime::Limits;
use edge_runtime::bundle::{BundleReader, Manifest, Part, write};
use libfuzzer_sys::fuzz_target;

/// Small, so that a claimed size is refused rather than allocated again and again.
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
                Part::Manifest(_) => assert_eq!(entries, 0),
                Part::Tokenizer(_) => assert_eq!(entries, 1),
                Part::Stage(stage, _) => assert_eq!(entries, stage + 2),
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
