//! Bundles with valid digests and invalid graphs: an attacker computes SHA-256 too.
//!
//! Each is an error at load, or at the first text at the latest, and never a panic.

use anyhow::Result;
use edge_runtime::kernels::isa::Isa;
use edge_runtime::onnx::{
    AttributeProto, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
};
use edge_runtime::{Classifier, Error, ExitPolicy};
use edge_tests::{FOUR_BITS, Parts, bundle, labels, packed_bundle};
use edge_toolkit::quantize::Int8;
use edge_toolkit::quantize::{EmbeddingBits, Precision, WeightBits};

fn parts(precision: Precision) -> Result<Parts> {
    Parts::of(&bundle("bert-exits", precision)?)
}

/// Opens the bundle and classifies texts, a long one among them.
fn answer(parts: Parts) -> Result<(), Error> {
    let long = "good film ".repeat(300);
    let classifier = Classifier::from_bytes(parts.pack())?;
    classifier.classify(&["good film", "", &long], &ExitPolicy::Never)?;
    Ok(())
}

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().expect("a good file")
}

/// Finds the first node whose operator's name begins with `op`.
fn node<'a>(model: &'a mut ModelProto, op: &str) -> &'a mut NodeProto {
    let found = graph(model).node.iter_mut().find(|n| n.op_type.starts_with(op));
    found.unwrap_or_else(|| panic!("no {op}"))
}

/// Finds the weight that is input number `input` of a node.
fn weight<'a>(model: &'a mut ModelProto, op: &str, input: usize) -> &'a mut TensorProto {
    let name = node(model, op).input[input].clone();
    let found = graph(model).initializer.iter_mut().find(|t| t.name == name);
    found.unwrap_or_else(|| panic!("no {name}"))
}

fn attribute<'a>(model: &'a mut ModelProto, op: &str) -> &'a mut AttributeProto {
    &mut node(model, op).attribute[0]
}

/// Changes the shape of a float weight, with data of the right length.
fn resize(tensor: &mut TensorProto, dims: &[i64]) {
    let elements: i64 = dims.iter().product();
    tensor.dims = dims.to_vec();
    tensor.raw_data = vec![0; elements as usize * 4].into();
}

type Edit = fn(&mut ModelProto);

fn refused(precision: Precision, stage: usize, edit: Edit, parts_of_the_message: &[&str]) {
    let parts = parts(precision).expect("the fixture exports");
    refused_of(parts, stage, edit, parts_of_the_message);
}

fn refused_of(mut parts: Parts, stage: usize, edit: Edit, parts_of_the_message: &[&str]) {
    parts.edit(stage, edit);
    let error = answer(parts).expect_err(parts_of_the_message[0]);
    let message = error.to_string();
    assert!(matches!(error, Error::Graph { .. }), "{message}");
    assert!(message.starts_with(&format!("stage-{stage}.onnx, node `")), "{message}");
    for part in parts_of_the_message {
        assert!(message.contains(part), "{message} (not {part})");
    }
}

#[test]
fn wrong_weights_are_named() {
    let cases: &[(usize, Edit, &[&str])] = &[
        (1, |m| weight(m, "Linear", 1).dims.reverse(), &["has 96 values, not 32"]),
        (1, |m| weight(m, "Linear", 1).dims[0] += 1, &["has the shape [33, 96]", "12288 bytes"]),
        (1, |m| weight(m, "Linear", 1).dims = vec![32 * 96], &["2 dimensions"]),
        (1, |m| weight(m, "Linear", 1).dims.clear(), &["2 dimensions"]),
        (1, |m| weight(m, "Linear", 1).dims = vec![0, 96], &["[0, 96]", "1 or more"]),
        (1, |m| weight(m, "Linear", 1).dims = vec![-32, -96], &["[-32, -96]"]),
        (1, |m| weight(m, "Linear", 1).dims = vec![1 << 62, 1 << 62], &["bytes of data"]),
        (1, |m| weight(m, "Linear", 1).dims = vec![i64::MAX, 2], &["bytes of data"]),
        (1, |m| weight(m, "Linear", 1).raw_data.clear(), &["0 bytes of data"]),
        (1, |m| weight(m, "Linear", 1).data_type = 10, &["element type 10; expected 1"]),
        (1, |m| weight(m, "Linear", 1).data_type = i32::MIN, &["element type"]),
        (1, |m| resize(weight(m, "Linear", 2), &[95]), &["has 95 values, not 96"]),
        (1, |m| resize(weight(m, "AddNorm", 2), &[31]), &["has 31 values, not 32"]),
        (0, |m| resize(weight(m, "Embed", 2), &[128, 31]), &["width 32, positions 31"]),
        (1, |m| weight(m, "AddNorm", 3).name.push('x'), &["is not a weight of the file"]),
        (1, |m| graph(m).initializer.clear(), &["is not a weight of the file"]),
        (
            1,
            |m| {
                let twin = node(m, "AddNorm").input[2].clone();
                node(m, "AddNorm").input[3] = twin;
            },
            &["is used a second time"],
        ),
    ];
    for (stage, edit, message) in cases {
        refused(Precision::Fp32, *stage, *edit, message);
    }
}

#[test]
fn weights_that_are_no_numbers_are_named_with_their_place() {
    fn put(tensor: &mut TensorProto, index: usize, value: f32) {
        let mut data = tensor.raw_data.to_vec();
        data[index * 4..index * 4 + 4].copy_from_slice(&value.to_le_bytes());
        tensor.raw_data = data.into();
    }
    let int8 = Precision::INT8;
    refused(Precision::Fp32, 1, |m| put(weight(m, "Linear", 1), 5, f32::NAN), &["NaN at 5"]);
    refused(Precision::Fp32, 2, |m| put(weight(m, "Linear", 2), 0, f32::INFINITY), &["inf at 0"]);
    refused(Precision::Fp32, 0, |m| put(weight(m, "Embed", 1), 9, -f32::NAN), &["NaN at 9"]);
    refused(int8, 1, |m| put(weight(m, "QLinear", 2), 1, f32::NEG_INFINITY), &["-inf at 1"]);
    refused(int8, 0, |m| put(weight(m, "QEmbed", 2), 1, f32::NAN), &["NaN at 1"]);
    refused(int8, 1, |m| resize(weight(m, "QLinear", 2), &[97]), &["has 97 values, not 96"]);
    refused(int8, 0, |m| resize(weight(m, "QEmbed", 2), &[2]), &["has 2 values, not 1006"]);
}

#[test]
fn embeddings_of_4_bits_fit_their_scales() {
    let halves = Precision::Int8(Int8::new(WeightBits::Seven, EmbeddingBits::Four));
    fn tensor(m: &mut ModelProto, input: usize) -> &mut TensorProto {
        weight(m, "Q4Embed", input)
    }
    let cases: &[(Edit, &[&str])] = &[
        (|m| tensor(m, 1).dims[0] -= 1, &["bytes of data"]),
        (|m| tensor(m, 1).data_type = 3, &["element type 3; expected 2"]),
        (|m| resize(tensor(m, 2), &[1005, 2]), &["[1005, 2]", "1006 rows"]),
        (|m| resize(tensor(m, 2), &[1006, 1]), &["[1006, 1]", "even number that divides 32"]),
        (|m| resize(tensor(m, 2), &[1006, 6]), &["[1006, 6]", "even number that divides 32"]),
        (|m| resize(tensor(m, 2), &[1006]), &["2 dimensions"]),
        (|m| node(m, "Q4Embed").input.truncate(6), &["6 inputs"]),
        (|m| node(m, "Q4Embed").op_type = "QEmbed".into(), &["element type 2; expected 3"]),
    ];
    for (edit, message) in cases {
        refused(halves, 0, *edit, message);
    }
}

#[test]
fn weights_of_4_bits_fit_their_multipliers() {
    fn tensor(m: &mut ModelProto, input: usize) -> &mut TensorProto {
        weight(m, "Q4Linear", input)
    }
    /// Changes one byte.
    fn put(tensor: &mut TensorProto, index: usize, value: u8) {
        let mut data = tensor.raw_data.to_vec();
        data[index] = value;
        tensor.raw_data = data.into();
    }
    fn bytes(tensor: &mut TensorProto, dims: &[i64]) {
        let elements: i64 = dims.iter().product();
        tensor.dims = dims.to_vec();
        tensor.raw_data = vec![0x11; elements as usize].into();
    }
    // 32 inputs and 96 outputs: 16 rows of codes and one row of multipliers.
    let cases: &[(Edit, &[&str])] = &[
        (|m| tensor(m, 1).dims[0] -= 1, &["[15, 96]", "1536 bytes of data"]),
        (|m| tensor(m, 1).raw_data.truncate(9), &["9 bytes of data"]),
        (|m| tensor(m, 1).data_type = 3, &["element type 3; expected 2"]),
        (|m| tensor(m, 2).data_type = 1, &["element type 1; expected 2"]),
        (|m| bytes(tensor(m, 1), &[15, 96]), &["takes a width of 30"]),
        (|m| bytes(tensor(m, 2), &[3, 96]), &["[3, 96]", "divides 16"]),
        (|m| bytes(tensor(m, 2), &[17, 96]), &["[17, 96]", "divides 16"]),
        (|m| bytes(tensor(m, 2), &[1, 95]), &["[1, 95]", "96 columns"]),
        (|m| bytes(tensor(m, 2), &[96]), &["2 dimensions"]),
        (|m| put(tensor(m, 1), 7, 0x80), &["a nibble of 0"]),
        (|m| put(tensor(m, 1), 1535, 0x08), &["a nibble of 0"]),
        (|m| put(tensor(m, 2), 95, 0x0f), &["a nibble of 0"]),
        (|m| resize(tensor(m, 3), &[95]), &["has 95 values, not 96"]),
        (|m| node(m, "Q4Linear").input.truncate(4), &["4 inputs", "codes, multipliers"]),
        (|m| node(m, "Q4Linear").op_type = "Q4LinearSwish".into(), &["Q4LinearSwish"]),
    ];
    for (edit, message) in cases {
        refused(Precision::Int8(FOUR_BITS), 1, *edit, message);
    }
}

#[test]
fn packed_weights_fit_their_order() -> Result<()> {
    fn tensor(m: &mut ModelProto) -> &mut TensorProto {
        weight(m, "PackedLinear", 1)
    }
    fn shape(m: &mut ModelProto, dims: &[i64]) {
        let elements: i64 = dims.iter().product();
        tensor(m).dims = dims.to_vec();
        tensor(m).raw_data = vec![0; elements as usize].into();
    }
    fn zero_point(m: &mut ModelProto, to: Option<i64>) {
        attribute(m, "PackedLinear").i = to;
    }
    // 32 inputs and 96 outputs, with a zero point of 64: 6 panels of 8 lines.
    let cases: &[(Edit, &[&str])] = &[
        (|m| tensor(m).dims[0] -= 1, &["[5, 8, 1, 1, 16, 4]", "3072 bytes of data"]),
        (|m| tensor(m).dims.truncate(4), &["6 dimensions"]),
        (|m| tensor(m).data_type = 3, &["element type 3; expected 2"]),
        (|m| shape(m, &[5, 8, 1, 1, 16, 4]), &["32 inputs and 96 outputs", "expected an order"]),
        (|m| shape(m, &[6, 9, 1, 1, 16, 4]), &["expected an order"]),
        (|m| shape(m, &[6, 8, 2, 1, 16, 4]), &["expected an order"]),
        (|m| shape(m, &[6, 8, 1, 1, 64, 1]), &["expected an order"]),
        (|m| shape(m, &[6, 8, 1, 1, 16, i64::from(u8::MAX)]), &["expected an order"]),
        (|m| zero_point(m, Some(0)), &["element type 2; expected 3"]),
        (|m| zero_point(m, Some(65)), &["`zero_point` is not 0, 64 or 128"]),
        (|m| zero_point(m, Some(i64::MIN)), &["`zero_point`"]),
        (|m| zero_point(m, None), &["`zero_point`"]),
        (|m| node(m, "PackedLinear").attribute.clear(), &["`zero_point`"]),
        (
            |m| {
                let mut data = tensor(m).raw_data.to_vec();
                data[77] = 128;
                tensor(m).raw_data = data.into();
            },
            &["bytes over 127"],
        ),
        (|m| resize(weight(m, "PackedLinear", 2), &[95]), &["has 96 values, not 95"]),
        (|m| resize(weight(m, "PackedLinear", 2), &[80]), &["32 inputs and 80 outputs"]),
        (|m| node(m, "PackedLinear").input.truncate(3), &["3 inputs", "x, weight, scale, bias"]),
        (|m| node(m, "PackedLinear").input.clear(), &["0 inputs"]),
        (|m| node(m, "PackedLinear").input[0] = "elsewhere".into(), &["`elsewhere`", "no node"]),
    ];
    let int8 = Int8::new(WeightBits::Seven, EmbeddingBits::Eight);
    let parts = Parts::of(&packed_bundle("bert-exits", int8, Isa::Avx2)?)?;
    for (edit, message) in cases {
        refused_of(parts.clone(), 1, *edit, message);
    }
    let mut ids = parts;
    ids.edit(0, |m| {
        let linear = NodeProto { op_type: "PackedLinear".into(), ..node(m, "QEmbed").clone() };
        graph(m).node = vec![NodeProto { input: linear.input[..4].to_vec(), ..linear }];
        let zero_point =
            AttributeProto { i: Some(0), name: "zero_point".into(), ..Default::default() };
        node(m, "PackedLinear").attribute = vec![zero_point];
        tensor(m).dims = vec![1, 1, 1, 1, 8, 4];
        tensor(m).raw_data = vec![0; 32].into();
    });
    let error = answer(ids).unwrap_err().to_string();
    assert!(error.contains("its input is token ids; expected rows of numbers"), "{error}");
    Ok(())
}

#[test]
fn finite_weights_whose_answer_is_not_are_an_error() -> Result<()> {
    let mut parts = parts(Precision::Fp32)?;
    parts.edit(1, |m| {
        let huge = weight(m, "LinearTanh", 2);
        huge.raw_data = f32::MAX.to_le_bytes().repeat(huge.dims[0] as usize).into();
        for name in ["exit.classifier.weight", "exit.classifier.bias"] {
            let tensor = graph(m).initializer.iter_mut().find(|t| t.name == name).expect(name);
            tensor.raw_data = f32::MAX.to_le_bytes().repeat(tensor.raw_data.len() / 4).into();
        }
    });
    let error = answer(parts).unwrap_err();
    assert!(matches!(error, Error::NotFinite { stage: 1, .. }), "{error}");
    Ok(())
}

#[test]
fn wrong_calls_are_named() {
    let cases: &[(usize, Edit, &[&str])] = &[
        (1, |m| node(m, "Linear").op_type = "Conv".into(), &["`edge.distil.Conv`", "AddNorm"]),
        (1, |m| node(m, "Linear").op_type = "LinearSwish".into(), &["`edge.distil.LinearSwish`"]),
        (1, |m| node(m, "Linear").op_type.clear(), &["operator"]),
        (1, |m| node(m, "Linear").domain.clear(), &["operator `.Linear`", "edge.distil"]),
        (1, |m| drop(node(m, "Linear").input.pop()), &["2 inputs", "takes x, weight, bias"]),
        (1, |m| node(m, "AddNorm").input.clear(), &["0 inputs"]),
        (1, |m| node(m, "AddNorm").output.clear(), &["0 outputs"]),
        (1, |m| node(m, "AddNorm").input[0] = "elsewhere".into(), &["`elsewhere`", "no node"]),
        (1, |m| graph(m).node.reverse(), &["is the output of no node before it"]),
        (1, |m| attribute(m, "SelfAttention").i = Some(0), &["0 heads"]),
        (1, |m| attribute(m, "SelfAttention").i = Some(-4), &["0 heads"]),
        (1, |m| attribute(m, "SelfAttention").i = Some(5), &["5 heads do not divide"]),
        (1, |m| attribute(m, "SelfAttention").i = Some(i64::MAX), &["heads do not divide"]),
        // Three times this number overflows to 2 in 64 bits.
        (1, |m| attribute(m, "SelfAttention").i = Some(0x5555_5555_5555_5556), &["do not divide"]),
        (1, |m| attribute(m, "SelfAttention").i = None, &["0 heads"]),
        (1, |m| node(m, "SelfAttention").attribute.clear(), &["0 heads"]),
        (1, |m| attribute(m, "AddNorm").f = Some(f32::NAN), &["`epsilon` is Some(NaN)"]),
        (1, |m| attribute(m, "AddNorm").f = Some(-1.0), &["`epsilon`"]),
        (1, |m| attribute(m, "AddNorm").f = None, &["`epsilon` is None"]),
        (1, |m| node(m, "MeanPool").input[1] = "hidden".into(), &["mask is `hidden`"]),
        (1, |m| node(m, "MeanPool").output[0] = "hidden".into(), &["`hidden` is defined twice"]),
        (
            1,
            |m| {
                let pooled = node(m, "MeanPool").output[0].clone();
                node(m, "LinearTanh").op_type = "FirstPool".into();
                node(m, "FirstPool").input = vec![pooled];
            },
            &["takes hidden states; its input is one row of width 32"],
        ),
        (0, |m| node(m, "Embed").input[0] = "attention_mask".into(), &["attention_mask"]),
        (1, |m| node(m, "LinearTanh").input[0] = "hidden".into(), &["hidden states of width 2"]),
    ];
    for (stage, edit, message) in cases {
        refused(Precision::Fp32, *stage, *edit, message);
    }
}

#[test]
fn wrong_graphs_are_named() {
    fn width(m: &mut ModelProto, to: Option<Dimension>) {
        let hidden = graph(m).input.iter_mut().find(|i| i.name == "hidden").expect("an input");
        let tensor = hidden.r#type.as_mut().and_then(|t| t.tensor_type.as_mut()).expect("a type");
        tensor.shape.as_mut().expect("a shape").dim.last_mut().expect("a width").value = to;
    }
    let cases: &[(usize, Edit, &[&str])] = &[
        (1, |m| m.graph = None, &["has no graph"]),
        (1, |m| m.graph = Some(GraphProto::default()), &["inputs must be"]),
        (1, |m| m.opset_import.clear(), &["version None", "has version 1"]),
        (
            1,
            |m| {
                m.opset_import =
                    vec![OperatorSetIdProto { domain: "edge.distil".into(), version: 2 }]
            },
            &["version Some(2)"],
        ),
        (1, |m| graph(m).input.clear(), &["inputs must be"]),
        (1, |m| graph(m).output.clear(), &["has neither the output"]),
        (1, |m| graph(m).output[0].name = "other".into(), &["no hidden states for the next"]),
        (1, |m| drop(graph(m).output.pop()), &["gives None logits", "Some(2)"]),
        (1, |m| graph(m).node.clear(), &["no node has the output"]),
        (1, |m| width(m, None), &["is not a number"]),
        (1, |m| width(m, Some(Dimension::DimValue(0))), &["is not a number"]),
        (1, |m| width(m, Some(Dimension::DimValue(-1))), &["is not a number"]),
        (1, |m| width(m, Some(Dimension::DimParam("n".into()))), &["is not a number"]),
        (
            1,
            |m| {
                let (hidden, logits) = (0, 1);
                let name = std::mem::take(&mut graph(m).output[hidden].name);
                graph(m).output[hidden].name = std::mem::take(&mut graph(m).output[logits].name);
                graph(m).output[logits].name = name;
                for node in &mut graph(m).node {
                    for output in &mut node.output {
                        match output.as_str() {
                            "logits" => *output = "next_hidden".into(),
                            "next_hidden" => *output = "logits".into(),
                            _ => {}
                        }
                    }
                    for input in &mut node.input {
                        if input == "next_hidden" {
                            *input = "logits".into();
                        }
                    }
                }
            },
            &["`next_hidden` is one row of width 2 per sentence"],
        ),
        (
            4,
            |m| {
                resize(weight(m, "LinearTanh", 1), &[32, 16]);
                resize(weight(m, "LinearTanh", 2), &[16]);
            },
            &["its weight takes a width of 32"],
        ),
    ];
    for (stage, edit, message) in cases {
        refused(Precision::Fp32, *stage, *edit, message);
    }
}

#[test]
fn stages_that_do_not_follow_one_another_are_refused() -> Result<()> {
    let mut swapped = parts(Precision::Fp32)?;
    swapped.stages.swap(0, 1);
    let error = answer(swapped).unwrap_err().to_string();
    assert!(error.contains("stage-0.onnx"), "{error}");

    let other = Parts::of(&bundle("distilbert-exits", Precision::Fp32)?)?;
    let mut mixed = parts(Precision::Fp32)?;
    mixed.stages[2] = other.stages[2].clone();
    let error = answer(mixed).unwrap_err().to_string();
    assert!(error.contains("stage-2.onnx"), "{error}");
    Ok(())
}

#[test]
fn the_graphs_must_fit_the_manifest() -> Result<()> {
    type Change = fn(&mut Parts);
    let cases: &[(Change, &str)] = &[
        (|p| labels(&mut p.manifest).push("MIXED".into()), "gives Some(2) logits"),
        (|p| p.manifest.stages[1].exit = false, "gives Some(2) logits; expected None"),
        (|p| p.manifest.stages[0].exit = true, "gives None logits"),
        (|p| p.manifest.encoder.vocabulary += 1, "1006 word pieces and 128 positions"),
        (|p| p.manifest.input.max_tokens = 129, "1006 word pieces and 128 positions"),
        (|p| p.manifest.input.max_tokens = usize::MAX, "128 positions"),
        (|p| p.edit(0, |m| resize(weight(m, "Embed", 2), &[7, 32])), "and 7 positions"),
        (|p| p.edit(0, |m| resize(weight(m, "Embed", 1), &[50, 32])), "50 word pieces"),
    ];
    for (change, problem) in cases {
        let mut forged = parts(Precision::Fp32)?;
        change(&mut forged);
        let error = answer(forged).expect_err(problem).to_string();
        assert!(error.contains(problem), "{error} (not {problem})");
    }
    Ok(())
}

#[test]
fn a_file_that_is_no_graph_is_refused() -> Result<()> {
    let nested = |field: u8, depth: usize| {
        (0..depth).fold(Vec::new(), |inner: Vec<u8>, _| {
            let mut outer = vec![field << 3 | 2];
            let mut length = inner.len();
            while length > 127 {
                outer.push(length as u8 | 128);
                length >>= 7;
            }
            outer.push(length as u8);
            outer.extend(inner);
            outer
        })
    };
    let groups = vec![0x0b; 100_000];
    let endless_varint = vec![0xff; 64];
    let length_beyond_the_end = vec![0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f];
    for file in [
        vec![],
        b"<!doctype html>".to_vec(),
        nested(7, 3000),
        nested(25, 3000),
        groups,
        endless_varint,
        length_beyond_the_end,
        [0x0a, 0x00].repeat(400_000),
        [0x3a, 0x02, 0x0a, 0x00].repeat(200_000),
    ] {
        let mut forged = parts(Precision::Fp32)?;
        forged.stages[1] = file;
        let error = answer(forged).unwrap_err();
        assert!(error.to_string().starts_with("stage-1.onnx"), "{error}");
    }
    Ok(())
}
