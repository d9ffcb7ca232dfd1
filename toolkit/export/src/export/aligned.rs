//! Alignment of weights to 64 bytes, so that a runtime can compute with a mapped file.

use edge_runtime::onnx::{GraphProto, ModelProto, TensorProto};
use prost::Message;
use prost::encoding::encoded_len_varint;

/// Alignment of packed weights, in bytes from the start of the file. A bundle preserves it, because
/// its entries start at multiples of 512.
const ALIGNMENT: usize = 64;

/// Moves the weights that `packed` selects to the end and aligns each of them. Spaces in the
/// comment of the weight before it fill the gap.
///
/// # Panics
/// If all weights are packed.
pub(super) fn align(model: &mut ModelProto, packed: impl Fn(&TensorProto) -> bool) {
    let graph = model.graph.as_mut().expect("a graph");
    graph.initializer.sort_by_key(&packed);
    let first = graph.initializer.iter().position(packed).unwrap_or(graph.initializer.len());
    // A space may lengthen the length prefixes before it by a byte, which moves aligned weights.
    while let Some(weight) =
        (first..weights(model).len()).find(|weight| !data(model, *weight).is_multiple_of(ALIGNMENT))
    {
        let spaces = &mut weights(model)[weight - 1].doc_string;
        if spaces.len() > 2 * ALIGNMENT {
            spaces.clear();
        }
        spaces.push(' ');
    }
}

fn weights(model: &mut ModelProto) -> &mut [TensorProto] {
    &mut model.graph.as_mut().expect("a graph").initializer
}

/// Offset in the file of the data of a weight. Before it are the fields before the graph, the
/// nodes, and the earlier weights.
fn data(model: &ModelProto, weight: usize) -> usize {
    let graph = model.graph.as_ref().expect("a graph");
    let head = ModelProto {
        ir_version: model.ir_version,
        producer_name: model.producer_name.clone(),
        producer_version: model.producer_version.clone(),
        ..Default::default()
    };
    let nodes =
        GraphProto { node: graph.node.clone(), name: graph.name.clone(), ..Default::default() };
    let delimited = |length: usize| 1 + encoded_len_varint(length as u64) + length;
    let before = graph.initializer[..weight].iter().map(|w| delimited(w.encoded_len()));
    let this = &graph.initializer[weight];
    let comment = if this.doc_string.is_empty() { 0 } else { delimited(this.doc_string.len()) };
    let begin = |length: usize| delimited(length) - length;
    head.encoded_len()
        + begin(graph.encoded_len())
        + nodes.encoded_len()
        + before.sum::<usize>()
        + begin(this.encoded_len())
        + this.encoded_len()
        - comment
        - this.raw_data.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_runtime::onnx::{NodeProto, OperatorSetIdProto};

    #[test]
    fn packed_weights_are_aligned_and_nothing_else_changes() {
        for sizes in [&[64, 1][..], &[100, 128, 16_384], &[2_097_000, 127, 125, 1_000_000, 3, 64]] {
            for names in 0..70 {
                let weight = |name: String, size: usize, kind: u8| TensorProto {
                    dims: vec![size as i64],
                    data_type: i32::from(kind),
                    name,
                    raw_data: vec![0x80 + kind; size].into(),
                    ..Default::default()
                };
                let mut initializer = Vec::new();
                for (i, size) in sizes.iter().enumerate() {
                    initializer.push(weight(format!("packed.{i}"), *size, 3));
                    initializer.push(weight(format!("bias.{i}{}", "x".repeat(names)), i + 1, 1));
                }
                let graph = GraphProto {
                    node: vec![NodeProto { name: "n".repeat(names), ..Default::default() }],
                    name: "stage-1".into(),
                    initializer,
                    ..Default::default()
                };
                let mut model = ModelProto {
                    ir_version: 9,
                    producer_name: "test".into(),
                    graph: Some(graph),
                    opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 20 }],
                    ..Default::default()
                };
                let before = model.clone();
                align(&mut model, |w| w.data_type == 3);
                let file = model.encode_to_vec();
                let read = ModelProto::decode(&file[..]).unwrap().graph.unwrap().initializer;
                // The data of a packed weight is the only run of its byte of this length.
                let mut rest = &file[..];
                for weight in read.iter().filter(|w| w.data_type == 3) {
                    let at = rest.windows(weight.raw_data.len()).position(|w| w == weight.raw_data);
                    let at = file.len() - rest.len() + at.unwrap();
                    assert!(at.is_multiple_of(ALIGNMENT), "{at}: {sizes:?}, {names}");
                    rest = &file[at + weight.raw_data.len()..];
                }
                let mut named: Vec<TensorProto> = read;
                named.iter_mut().for_each(|w| w.doc_string.clear());
                let mut expected = before.graph.unwrap().initializer;
                expected.sort_by_key(|w| w.data_type == 3);
                assert_eq!(named, expected);
            }
        }
    }
}
