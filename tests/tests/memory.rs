//! Memory that a hostile bundle can make the runtime allocate, measured against `Limits`.

use anyhow::Result;
use bytes::Bytes;
use edge_runtime::bundle::{BundleReader, Manifest, tar};
use edge_runtime::graph::StageGraph;
use edge_runtime::onnx::{GraphProto, ModelProto, NodeProto};
use edge_runtime::{Classifier, Error, Limits, Loader};
use edge_tests::counting::{Counting, counted};
use edge_tests::{Parts, bundle, fixture, tar_of};
use edge_toolkit::quantize::Precision;
use prost::Message;

const MIB: usize = 1 << 20;

/// Bytes that a reader may allocate ahead of the data, by the documentation of `Limits`.
const AHEAD: usize = 16 * MIB;

/// Bytes for small data, such as error messages and the manifest.
const SLACK: usize = 256 << 10;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns the result of `work`, and the largest number of bytes allocated at once.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let (result, counts) = counted(work);
    (result, counts.peak)
}

#[test]
fn the_allocator_counts() {
    let (length, most) = peak(|| vec![1u8; 3 * MIB].len());
    assert!(length == 3 * MIB && (3 * MIB..4 * MIB).contains(&most), "{most}");
}

fn good() -> Result<Parts> {
    Parts::of(&bundle("distilbert-plain", Precision::Fp32)?)
}

/// Makes a manifest with a valid digest that claims `bytes` for the first stage, and the start of
/// its bundle.
fn claiming(bytes: u64) -> Result<(Manifest, Vec<u8>)> {
    let mut parts = good()?;
    parts.manifest.entries[1].bytes = bytes;
    let json = parts.manifest.to_json();
    let mut start = tar_of(&[("manifest.json", &json), ("tokenizer.json", &parts.tokenizer)]);
    start.truncate(start.len() - 2 * tar::BLOCK);
    Ok((parts.manifest, start))
}

fn push_all(limits: Limits, bundle: &Bytes, piece: usize) -> Result<(), Error> {
    let mut reader = BundleReader::new(limits);
    let mut rest = bundle.clone();
    while !rest.is_empty() {
        reader.push(rest.split_to(piece.min(rest.len())), |_| Ok(()))?;
    }
    reader.finish()
}

#[test]
fn a_claim_over_the_limit_costs_hardly_anything() -> Result<()> {
    let manifest = Bytes::from(tar::header("manifest.json", 7 << 30).expect("fits").to_vec());
    let (_, stage) = claiming(3 << 30)?;
    let (_, absurd) = claiming(u64::MAX)?;
    for bundle in [manifest, stage.into(), absurd.into()] {
        for piece in [1000, usize::MAX] {
            let (result, most) = peak(|| push_all(Limits::default(), &bundle, piece));
            assert!(matches!(result, Err(Error::Bundle { .. })), "{result:?}");
            assert!(most < SLACK, "{most} bytes for a refusal");
        }
    }
    Ok(())
}

#[test]
fn a_claim_up_to_the_limit_is_not_believed_before_it_comes() -> Result<()> {
    let claim = Limits::default().total - 4 * MIB as u64;
    let (manifest, mut bundle) = claiming(claim)?;
    bundle.extend(tar::header(&manifest.entries[1].name, claim).expect("fits"));
    for arrived in [0, 1, MIB, 40 * MIB] {
        let mut bundle = bundle.clone();
        bundle.resize(bundle.len() + arrived, 0);
        let bundle = Bytes::from(bundle);
        for piece in [64 << 10, 3 * MIB] {
            let (result, most) = peak(|| push_all(Limits::default(), &bundle, piece));
            assert!(matches!(result, Err(Error::Bundle { .. })), "{result:?}");
            // Growing copies: the old and the new buffer are both allocated for a moment.
            let bound = 3 * bundle.len() + AHEAD + SLACK;
            assert!(most <= bound, "{most} bytes for {} of {claim}", bundle.len());
        }
    }
    Ok(())
}

#[test]
fn an_entry_whole_in_one_piece_is_not_copied() -> Result<()> {
    let mut parts = good()?;
    parts.stages[0] = vec![0; 20 * MIB];
    let bundle = Bytes::from(parts.pack());
    let (result, most) = peak(|| push_all(Limits::default(), &bundle, usize::MAX));
    result?;
    assert!(most < SLACK, "{most}");
    Ok(())
}

/// An empty node has two bytes in a file, and a hundred times as many in memory.
#[test]
fn a_file_of_small_pieces_is_bounded() {
    let bomb = |nodes: usize| {
        let node = vec![NodeProto::default(); nodes];
        let graph = Some(GraphProto { node, ..Default::default() });
        Bytes::from(ModelProto { graph, ..Default::default() }.encode_to_vec())
    };
    let over = bomb(4 * MIB);
    let (result, most) = peak(|| StageGraph::decode("bomb", over));
    assert!(result.unwrap_err().to_string().contains("more than the limit of 1048576"));
    assert!(most < SLACK, "{most}");

    let within = bomb(MIB / 2 - 64);
    let (result, most) = peak(|| StageGraph::decode("bomb", within));
    assert!(result.is_err());
    assert!(most < 256 * MIB, "{most}");
}

/// Refuses a shared weight: each call would copy it.
#[test]
fn a_weight_that_many_calls_share_is_refused() -> Result<()> {
    let mut parts = good()?;
    parts.edit(1, |model| {
        let graph = model.graph.as_mut().expect("a good file");
        let first = graph.node[0].clone();
        graph.node = (0..5000)
            .map(|i| NodeProto { output: vec![format!("v{i}")], ..first.clone() })
            .collect();
    });
    let bundle = Bytes::from(parts.pack());
    let size = bundle.len();
    let (result, most) = peak(|| Classifier::from_bytes(bundle));
    let error = result.unwrap_err().to_string();
    assert!(error.contains("is used a second time"), "{error}");
    assert!(most < 8 * size + 8 * MIB, "{most}");
    Ok(())
}

/// Bounds the memory of a valid model: the weights in the engine's layout, and the vocabulary.
#[test]
fn a_loaded_model_takes_a_few_times_its_size() -> Result<()> {
    let tokenizer = std::fs::metadata(fixture("distilbert-plain").join("tokenizer.json"))?.len();
    let bundle = Bytes::from(good()?.pack());
    let size = bundle.len();
    let (loaded, most) = peak(|| -> Result<Classifier, Error> {
        let mut loader = Loader::new(Limits::default());
        for piece in bundle.chunks(10_000) {
            loader.push(Bytes::copy_from_slice(piece))?;
        }
        loader.finish()
    });
    loaded?;
    let bound = 4 * size + 100 * tokenizer as usize;
    assert!(most <= bound, "{most} bytes for a bundle of {size}, tokenizer {tokenizer}");
    Ok(())
}
