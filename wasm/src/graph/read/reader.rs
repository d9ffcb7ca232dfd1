//! State of a reader: the weights of a file, and the values that its calls define.

use crate::Error;
use crate::graph::ATTENTION_MASK;
use crate::onnx::{NodeProto, TensorProto};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

/// Meaning of a value while a graph is checked.
#[derive(Clone, Copy, PartialEq)]
pub enum ValueKind {
    Ids,
    Rows(usize),
    Sentences(usize),
}

impl std::fmt::Display for ValueKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ValueKind::Ids => write!(f, "token ids"),
            ValueKind::Rows(n) => write!(f, "hidden states of width {n}"),
            ValueKind::Sentences(n) => write!(f, "one row of width {n} per sentence"),
        }
    }
}

/// Reader of a graph.
pub struct Reader<'a> {
    pub graph: &'a str,
    pub weights: HashMap<String, TensorProto>,
    /// Weights that an earlier call has taken.
    pub taken: RefCell<HashSet<String>>,
    pub values: HashMap<String, usize>,
    pub kinds: Vec<ValueKind>,
}

impl Reader<'_> {
    pub fn define(&mut self, name: &str, kind: ValueKind) {
        self.values.insert(name.into(), self.kinds.len());
        self.kinds.push(kind);
    }

    pub fn value(&self, node: &NodeProto, input: usize) -> Result<(usize, ValueKind), Error> {
        let name = &node.input[input];
        match self.values.get(name) {
            Some(value) => Ok((*value, self.kinds[*value])),
            None => Err(Error::graph(
                self.graph,
                &node.name,
                format!("its input `{name}` is the output of no node before it"),
            )),
        }
    }

    pub fn rows(&self, node: &NodeProto, input: usize) -> Result<(usize, usize), Error> {
        match self.value(node, input)? {
            (value, ValueKind::Rows(width)) => Ok((value, width)),
            (_, kind) => Err(Error::graph(
                self.graph,
                &node.name,
                format!("it takes hidden states; its input is {kind}"),
            )),
        }
    }

    pub fn mask(&self, node: &NodeProto, input: usize) -> Result<(), Error> {
        if node.input[input] == ATTENTION_MASK {
            return Ok(());
        }
        let problem = format!("its mask is `{}`, not `{ATTENTION_MASK}`", node.input[input]);
        Err(Error::graph(self.graph, &node.name, problem))
    }
}

/// Returns an attribute that is a whole number.
pub fn int_attribute(node: &NodeProto, name: &str) -> Option<i64> {
    node.attribute.iter().find(|a| a.name == name)?.i
}
