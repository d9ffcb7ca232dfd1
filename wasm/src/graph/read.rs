//! Reader of ONNX files: checks a file and makes a [`StageGraph`].

mod reader;
mod weights;

use super::{
    ATTENTION_MASK, Activation, Call, DOMAIN, DOMAIN_VERSION, HIDDEN, INPUT_IDS, LOGITS, Matrix,
    NEXT_HIDDEN, Norm, Op, StageGraph,
};
use crate::Error;
use crate::onnx::{Dimension, ModelProto, NodeProto, ValueInfoProto, structure_bytes};
use bytes::Bytes;
use prost::Message;
use reader::{Reader, ValueKind, int_attribute};
use std::cell::RefCell;
use std::collections::HashMap;
use weights::Scales;

/// Limit for a file without the data of its weights, in bytes.
///
/// Small parts of a protobuf message take many times their size in memory: a file of empty nodes
/// would take a hundredfold.
const STRUCTURE_LIMIT: usize = 1 << 20;

impl StageGraph {
    /// Reads a stage graph.
    ///
    /// # Errors
    /// [`Error::Graph`] with the node that this crate cannot run, its actual and its expected
    /// inputs.
    pub fn decode(name: &str, file: Bytes) -> Result<Self, Error> {
        match structure_bytes(&file) {
            Some(bytes) if bytes > STRUCTURE_LIMIT => {
                let problem = format!(
                    "{bytes} bytes besides the data of its weights, more than the limit of \
                     {STRUCTURE_LIMIT}"
                );
                return Err(Error::graph(name, "file", problem));
            }
            Some(_) => {}
            None => return Err(Error::graph(name, "file", "not an ONNX file")),
        }
        let model = ModelProto::decode(file)
            .map_err(|e| Error::graph(name, "file", format!("not an ONNX file: {e}")))?;
        let wrong = |problem: String| Error::graph(name, "graph", problem);
        let version = model.opset_import.iter().find(|o| o.domain == DOMAIN).map(|o| o.version);
        if version != Some(DOMAIN_VERSION) {
            return Err(wrong(format!(
                "it imports version {version:?} of the functions `{DOMAIN}`, this runtime has \
                 version {DOMAIN_VERSION}"
            )));
        }
        let graph = model.graph.ok_or_else(|| wrong("the file has no graph".into()))?;
        let has = |n: &str| graph.input.iter().any(|i| i.name == n);
        if !has(ATTENTION_MASK) || has(INPUT_IDS) == has(HIDDEN) {
            return Err(wrong(format!(
                "its inputs must be `{ATTENTION_MASK}` and one of `{INPUT_IDS}` and `{HIDDEN}`"
            )));
        }
        let mut reader = Reader {
            graph: name,
            weights: graph.initializer.into_iter().map(|t| (t.name.clone(), t)).collect(),
            taken: RefCell::default(),
            values: HashMap::new(),
            kinds: Vec::new(),
        };
        let input = if has(INPUT_IDS) {
            reader.define(INPUT_IDS, ValueKind::Ids);
            None
        } else {
            let width = graph.input.iter().find(|i| i.name == HIDDEN).and_then(last_dimension);
            let width = width.ok_or_else(|| {
                wrong(format!("the last dimension of its input `{HIDDEN}` is not a number"))
            })?;
            reader.define(HIDDEN, ValueKind::Rows(width));
            Some(width)
        };
        let mut calls = Vec::with_capacity(graph.node.len());
        for node in &graph.node {
            calls.push(reader.call(node)?);
        }
        let output = |n: &str| -> Result<Option<(usize, ValueKind)>, Error> {
            if !graph.output.iter().any(|o| o.name == n) {
                return Ok(None);
            }
            let value = *reader
                .values
                .get(n)
                .ok_or_else(|| wrong(format!("no node has the output `{n}`")))?;
            Ok(Some((value, reader.kinds[value])))
        };
        let next_hidden = match output(NEXT_HIDDEN)? {
            None => None,
            Some((value, ValueKind::Rows(width))) => Some((value, width)),
            Some((_, kind)) => {
                return Err(wrong(format!("`{NEXT_HIDDEN}` is {kind}; expected hidden states")));
            }
        };
        let logits = match output(LOGITS)? {
            None => None,
            Some((value, ValueKind::Sentences(labels))) if labels > 0 => Some((value, labels)),
            Some((_, kind)) => {
                return Err(wrong(format!("`{LOGITS}` is {kind}; expected one row per sentence")));
            }
        };
        if next_hidden.is_none() && logits.is_none() {
            return Err(wrong(format!("it has neither the output `{NEXT_HIDDEN}` nor `{LOGITS}`")));
        }
        Ok(StageGraph { name: name.into(), input, calls, next_hidden, logits })
    }
}

impl Reader<'_> {
    fn call(&mut self, node: &NodeProto) -> Result<Call, Error> {
        let wrong = |problem: String| Error::graph(self.graph, &node.name, problem);
        let op_type = node.op_type.as_str();
        let unknown = || {
            wrong(format!(
                "unknown operator `{}.{op_type}`; a stage graph \
                 calls Embed, QEmbed, Q4Embed, Linear…, QLinear…, PackedLinear…, Q4Linear…, SelfAttention, \
                 AddNorm, MeanPool and FirstPool of `{DOMAIN}`",
                node.domain
            ))
        };
        if node.domain != DOMAIN {
            return Err(unknown());
        }
        let args = |names: &[&str]| -> Result<(), Error> {
            if node.input.len() == names.len() && node.output.len() == 1 {
                return Ok(());
            }
            Err(wrong(format!(
                "it has {} inputs and {} outputs; {op_type} takes {} and has 1 output",
                node.input.len(),
                node.output.len(),
                names.join(", ")
            )))
        };
        let (op, inputs, kind) = match op_type {
            "Embed" => {
                args(&["ids", "words", "positions", "gamma", "beta"])?;
                let words = self.matrix(node, 1, None)?;
                let positions = self.matrix(node, 2, None)?;
                self.embed(node, words, positions, 3)?
            }
            "QEmbed" => {
                args(&["ids", "words", "scales", "positions", "scales", "gamma", "beta"])?;
                let words = self.matrix(node, 1, Some((2, Scales::PerRow)))?;
                let positions = self.matrix(node, 3, Some((4, Scales::PerRow)))?;
                self.embed(node, words, positions, 5)?
            }
            "Q4Embed" => {
                args(&["ids", "words", "scales", "positions", "scales", "gamma", "beta"])?;
                let words = self.halves(node, 1)?;
                let positions = self.matrix(node, 3, Some((4, Scales::PerRow)))?;
                self.embed(node, words, positions, 5)?
            }
            "SelfAttention" => {
                args(&["queries, keys and values", "mask"])?;
                self.mask(node, 1)?;
                let (value, width) = self.rows(node, 0)?;
                let heads = int_attribute(node, "heads").unwrap_or(0);
                let heads = usize::try_from(heads).unwrap_or(0);
                if heads == 0 || width % 3 != 0 || (width / 3) % heads != 0 {
                    return Err(wrong(format!(
                        "{heads} heads do not divide a width of {width} into queries, keys and \
                         values"
                    )));
                }
                (Op::SelfAttention { heads }, vec![value], ValueKind::Rows(width / 3))
            }
            "AddNorm" => {
                args(&["x", "residual", "gamma", "beta"])?;
                let (x, width) = self.rows(node, 0)?;
                let (residual, other) = self.rows(node, 1)?;
                if width != other {
                    return Err(wrong(format!(
                        "it adds widths {width} and {other}; expected equal widths"
                    )));
                }
                let norm = self.norm(node, 2, width)?;
                (Op::AddNorm(norm), vec![x, residual], ValueKind::Rows(width))
            }
            "MeanPool" => {
                args(&["x", "mask"])?;
                self.mask(node, 1)?;
                let (x, width) = self.rows(node, 0)?;
                (Op::MeanPool, vec![x], ValueKind::Sentences(width))
            }
            "FirstPool" => {
                args(&["x"])?;
                let (x, width) = self.rows(node, 0)?;
                (Op::FirstPool, vec![x], ValueKind::Sentences(width))
            }
            _ => {
                let stored = [Stored::Float, Stored::Bytes, Stored::Packed, Stored::Halves];
                let (stored, suffix) = stored
                    .into_iter()
                    .find_map(|s| Some((s, op_type.strip_prefix(s.operator())?)))
                    .ok_or_else(unknown)?;
                let activation =
                    *Activation::ALL.iter().find(|a| a.suffix() == suffix).ok_or_else(unknown)?;
                let (weight, bias) = match stored {
                    Stored::Float => {
                        args(&["x", "weight", "bias"])?;
                        (self.matrix(node, 1, None)?, 2)
                    }
                    Stored::Bytes => {
                        args(&["x", "weight", "scale", "bias"])?;
                        (self.matrix(node, 1, Some((2, Scales::PerColumn)))?, 3)
                    }
                    Stored::Packed => {
                        args(&["x", "weight", "scale", "bias"])?;
                        (self.packed(node, 1)?, 3)
                    }
                    Stored::Halves => {
                        args(&["x", "codes", "multipliers", "scale", "bias"])?;
                        (self.multiplied(node, 1)?, 4)
                    }
                };
                let bias = self.floats(node, bias, weight.columns)?;
                let (x, kind) = self.value(node, 0)?;
                let columns = weight.columns;
                let kind = match kind {
                    ValueKind::Rows(width) if width == weight.rows => ValueKind::Rows(columns),
                    ValueKind::Sentences(width) if width == weight.rows => {
                        ValueKind::Sentences(columns)
                    }
                    other => {
                        return Err(wrong(format!(
                            "its weight takes a width of {}; its input is {other}",
                            weight.rows
                        )));
                    }
                };
                (Op::Linear { weight, bias, activation }, vec![x], kind)
            }
        };
        if self.values.contains_key(&node.output[0]) {
            return Err(wrong(format!("the value `{}` is defined twice", node.output[0])));
        }
        self.define(&node.output[0], kind);
        Ok(Call { name: node.name.clone(), op, inputs })
    }

    fn embed(
        &self,
        node: &NodeProto,
        words: Matrix,
        positions: Matrix,
        norm: usize,
    ) -> Result<(Op, Vec<usize>, ValueKind), Error> {
        let wrong = |problem: String| Error::graph(self.graph, &node.name, problem);
        let (ids, kind) = self.value(node, 0)?;
        if kind != ValueKind::Ids {
            return Err(wrong(format!("it takes token ids; its input is {kind}")));
        }
        let width = words.columns;
        if positions.columns != width {
            return Err(wrong(format!(
                "words have width {width}, positions {}; expected equal widths",
                positions.columns
            )));
        }
        let norm = self.norm(node, norm, width)?;
        Ok((Op::Embed { words, positions, norm }, vec![ids], ValueKind::Rows(width)))
    }

    fn norm(&self, node: &NodeProto, first: usize, width: usize) -> Result<Norm, Error> {
        let epsilon = node.attribute.iter().find(|a| a.name == "epsilon").and_then(|a| a.f);
        let Some(epsilon) = epsilon.filter(|e| e.is_finite() && *e >= 0.0) else {
            let problem =
                format!("its attribute `epsilon` is {epsilon:?}; expected a number of 0 or more");
            return Err(Error::graph(self.graph, &node.name, problem));
        };
        Ok(Norm {
            gamma: self.floats(node, first, width)?,
            beta: self.floats(node, first + 1, width)?,
            epsilon,
        })
    }
}

/// Format of a linear layer's weights in the file.
#[derive(Clone, Copy)]
enum Stored {
    Float,
    Bytes,
    Packed,
    Halves,
}

impl Stored {
    /// Beginning of the call's name.
    fn operator(self) -> &'static str {
        match self {
            Stored::Float => "Linear",
            Stored::Bytes => "QLinear",
            Stored::Packed => "PackedLinear",
            Stored::Halves => "Q4Linear",
        }
    }
}

fn last_dimension(value: &ValueInfoProto) -> Option<usize> {
    match value.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?.dim.last()?.value {
        Some(Dimension::DimValue(n)) => usize::try_from(n).ok().filter(|n| *n > 0),
        _ => None,
    }
}
