//! File of an ONNX model of another program, checked before tract reads it.

use crate::graph::LOGITS;
use crate::lfs;
use prost::Message;
use tract_onnx::model::OnnxOpRegister;
use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto};

/// Domains of ONNX's own operators.
const STANDARD: [&str; 3] = ["", "ai.onnx", "ai.onnx.ml"];

/// Domain of the operators into which ONNX Runtime's optimizer fuses several standard operators.
const MICROSOFT: &str = "com.microsoft";

/// Fused operators that a test compares with ONNX Runtime.
///
/// tract has more, but looks only at an operator's name and has its own defaults. It would take
/// `Attention` for the standard operator of that name. `SkipLayerNormalization` without an epsilon
/// would get another epsilon.
const FUSED: [&str; 1] = ["BiasGelu"];

/// Files that are common in place of an ONNX file, by their first bytes.
const OTHERS: [(&[u8], &str); 3] = [
    (b"PK\x03\x04", "a ZIP archive, as PyTorch writes, not an ONNX file"),
    (b"manifest.json\0", "a bundle, not an ONNX file; name it model.edge"),
    (b"<", "a page of HTML or XML, not an ONNX file; download the file again"),
];

/// Decodes an ONNX file.
///
/// # Errors
/// A message with the kind of file, if its first bytes show it.
pub(super) fn decode(file: &[u8]) -> Result<ModelProto, String> {
    if file.is_empty() {
        return Err("an empty file, not an ONNX file".into());
    }
    if lfs::is_pointer(file) {
        return Err(lfs::POINTER.into());
    }
    let start = file.trim_ascii_start();
    if let Some((_, other)) = OTHERS.iter().find(|(bytes, _)| start.starts_with(bytes)) {
        return Err((*other).into());
    }
    if file.iter().take(64).all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) {
        return Err("a text file, not an ONNX file".into());
    }
    let model = ModelProto::decode(file)
        .map_err(|e| format!("not an ONNX file, or one that was cut short: {e}"))?;
    match &model.graph {
        Some(graph) if !graph.node.is_empty() => Ok(model),
        _ => Err("not an ONNX file, or one without a graph".into()),
    }
}

/// Checks that the file contains its weights and that tract has all operators.
///
/// # Errors
/// A message with the external file or the operator.
pub(super) fn check(graph: &GraphProto, register: &OnnxOpRegister) -> Result<(), String> {
    let tensors = graph.node.iter().flat_map(|n| &n.attribute).flat_map(|a| a.t.iter());
    graph.initializer.iter().chain(tensors).try_for_each(check_tensor)?;
    for node in &graph.node {
        check_operator(node, register)?;
        for inner in node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)) {
            check(inner, register)?;
        }
    }
    Ok(())
}

fn check_tensor(tensor: &TensorProto) -> Result<(), String> {
    if tensor.data_location() != DataLocation::External {
        return Ok(());
    }
    let location = tensor.external_data.iter().find(|e| e.key == "location");
    Err(format!(
        "its weights are in an external file, `{}`; only an ONNX file that contains its weights is \
         read: `onnx.save(onnx.load(\"model.onnx\"), \"whole.onnx\")` in Python writes one",
        location.map_or("", |e| &e.value)
    ))
}

fn check_operator(node: &NodeProto, register: &OnnxOpRegister) -> Result<(), String> {
    let NodeProto { op_type, domain, .. } = node;
    let known = register.0.contains_key(op_type);
    let fused = domain == MICROSOFT;
    if known && (STANDARD.contains(&&**domain) || fused && FUSED.contains(&&**op_type)) {
        return Ok(());
    }
    let remedy = if fused {
        "export the model without ONNX Runtime's optimizations (in Optimum: without --optimize, or \
         with O1)"
    } else {
        "export the model with standard operators, opset 17 or so"
    };
    let name = if node.name.is_empty() { node.output.first() } else { Some(&node.name) };
    let name = name.map_or("", String::as_str);
    let dot = if domain.is_empty() { "" } else { "." };
    Err(format!("node `{name}`: the operator {domain}{dot}{op_type} is not supported; {remedy}"))
}

/// Finds the output of the logits: the output with that name, or the only output.
///
/// # Errors
/// A message with the names of the outputs, or with the operator that turns logits into
/// probabilities.
pub(super) fn logits(graph: &GraphProto) -> Result<usize, String> {
    let names: Vec<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
    let index = match names.iter().position(|name| *name == LOGITS) {
        Some(index) => index,
        None if names.len() == 1 => 0,
        None => {
            return Err(format!(
                "its outputs are {}; expected one, or one with the name `{LOGITS}`",
                if names.is_empty() { "none".into() } else { names.join(", ") }
            ));
        }
    };
    let made = graph.node.iter().find(|n| n.output.iter().any(|o| o == names[index]));
    match made.map(|node| node.op_type.as_str()) {
        Some(operator @ ("Softmax" | "Sigmoid")) => Err(format!(
            "its output `{}` comes from {operator}; expected logits, which become probabilities \
             here",
            names[index]
        )),
        _ => Ok(index),
    }
}
