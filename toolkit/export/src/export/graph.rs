//! A graph of standard operators under construction.

use super::functions::{int, ints};
use super::stage::value;
use crate::Error;
use edge_runtime::graph::Activation;
use edge_runtime::onnx::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    ValueInfoProto, data_type,
};
use half::f16;
use prost::Message;

/// Version of the standard operators: the first with `LayerNormalization`.
pub(super) const OPSET: i64 = 17;
/// Version of the file format that belongs to these operators.
const IR_VERSION: i64 = 8;
/// ONNX's code for 16-bit floats.
const FLOAT16: i32 = 10;

/// Number format of the values between most nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Float {
    F32,
    F16,
}

impl Float {
    pub(super) fn data_type(self) -> i32 {
        match self {
            Float::F32 => data_type::FLOAT,
            Float::F16 => FLOAT16,
        }
    }

    /// Lowest finite value.
    pub(super) fn lowest(self) -> f32 {
        match self {
            Float::F32 => f32::MIN,
            Float::F16 => f16::MIN.to_f32(),
        }
    }
}

/// Nodes and weights. Methods return the name of the value that they add.
pub(super) struct Graph {
    /// Number format of floats that are added from now on.
    pub float: Float,
    at: String,
    nodes: Vec<NodeProto>,
    weights: Vec<TensorProto>,
    outputs: Vec<ValueInfoProto>,
    /// First weight that is too large for 16 bits.
    too_large: Option<(String, f32)>,
}

impl Graph {
    pub(super) fn new(float: Float) -> Self {
        Graph {
            float,
            at: String::new(),
            nodes: Vec::new(),
            weights: Vec::new(),
            outputs: Vec::new(),
            too_large: None,
        }
    }

    /// Sets the prefix of the following names: a part of the network.
    pub(super) fn at(&mut self, part: &str) {
        self.at = part.into();
    }

    pub(super) fn op(&mut self, op: &str, inputs: &[&str]) -> String {
        self.op_with(op, inputs, vec![])
    }

    pub(super) fn op_with(
        &mut self,
        op: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        let [output] = self.op_many(op, inputs, attributes);
        output
    }

    /// Adds a node with `N` outputs.
    pub(super) fn op_many<const N: usize>(
        &mut self,
        op: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> [String; N] {
        let name = format!("{}.{op}_{}", self.at, self.nodes.len());
        let outputs = match N {
            1 => std::array::from_fn(|_| format!("{name}.out")),
            _ => std::array::from_fn(|i| format!("{name}.out_{i}")),
        };
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|i| (*i).into()).collect(),
            output: outputs.to_vec(),
            name,
            op_type: op.into(),
            attribute: attributes,
            domain: String::new(),
        });
        outputs
    }

    pub(super) fn cast(&mut self, x: &str, to: i32) -> String {
        self.op_with("Cast", &[x], vec![int("to", i64::from(to))])
    }

    /// Adds float weights of the current part.
    pub(super) fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let name = format!("{}.{name}", self.at);
        let raw = match self.float {
            Float::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Float::F16 => {
                if let Some(v) = values.iter().find(|v| f16::from_f32(**v).is_infinite()) {
                    self.too_large.get_or_insert((name.clone(), *v));
                }
                values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect()
            }
        };
        self.initializer(name, self.float.data_type(), shape, raw)
    }

    /// Adds signed or unsigned bytes of the current part.
    pub(super) fn bytes(
        &mut self,
        name: &str,
        data_type: i32,
        shape: &[usize],
        raw: Vec<u8>,
    ) -> String {
        self.initializer(format!("{}.{name}", self.at), data_type, shape, raw)
    }

    /// Adds a float scalar.
    pub(super) fn number(&mut self, value: f32) -> String {
        let (kind, raw) = match self.float {
            Float::F32 => ("f32", value.to_le_bytes().to_vec()),
            Float::F16 => ("f16", f16::from_f32(value).to_le_bytes().to_vec()),
        };
        self.constant(format!("{kind}_{value:?}"), self.float.data_type(), &[], raw)
    }

    /// Adds a byte.
    pub(super) fn byte(&mut self, data_type: i32, value: u8) -> String {
        let kind = if data_type == data_type::INT8 { "i8" } else { "u8" };
        self.constant(format!("{kind}_{value}"), data_type, &[], vec![value])
    }

    /// Adds a list of integers.
    pub(super) fn integers(&mut self, values: &[i64]) -> String {
        let shown = values.iter().map(|v| format!("_{v}")).collect::<String>();
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(format!("i64{shown}"), data_type::INT64, &[values.len()], raw)
    }

    /// Adds an integer scalar.
    pub(super) fn integer(&mut self, value: i64) -> String {
        let raw = value.to_le_bytes().to_vec();
        self.constant(format!("i64_scalar_{value}"), data_type::INT64, &[], raw)
    }

    fn constant(&mut self, name: String, data_type: i32, shape: &[usize], raw: Vec<u8>) -> String {
        if self.weights.iter().any(|w| w.name == name) {
            return name;
        }
        self.initializer(name, data_type, shape, raw)
    }

    fn initializer(
        &mut self,
        name: String,
        data_type: i32,
        shape: &[usize],
        raw: Vec<u8>,
    ) -> String {
        self.weights.push(TensorProto {
            dims: shape.iter().map(|d| *d as i64).collect(),
            data_type,
            name: name.clone(),
            raw_data: raw.into(),
            ..Default::default()
        });
        name
    }

    /// First rows of a table, as many as `ids` has columns.
    pub(super) fn first_rows(&mut self, table: &str, ids: &str) -> String {
        let length = self.op_with("Shape", &[ids], vec![int("start", 1)]);
        let zero = self.integers(&[0]);
        self.op("Slice", &[table, &zero, &length, &zero])
    }

    /// Activation. GELU has the form that optimizers recognize, because the operator belongs to a
    /// later version.
    pub(super) fn activation(&mut self, activation: Activation, x: &str) -> String {
        match activation {
            Activation::Gelu => {
                let root = self.number(std::f32::consts::SQRT_2);
                let scaled = self.op("Div", &[x, &root]);
                let erf = self.op("Erf", &[&scaled]);
                self.gate(x, &erf)
            }
            Activation::GeluTanh => {
                let three = self.number(3.0);
                let cube = self.op("Pow", &[x, &three]);
                let factor = self.number(0.044_715);
                let cube = self.op("Mul", &[&cube, &factor]);
                let sum = self.op("Add", &[x, &cube]);
                let root = self.number(std::f32::consts::FRAC_2_SQRT_PI / std::f32::consts::SQRT_2);
                let scaled = self.op("Mul", &[&sum, &root]);
                let tanh = self.op("Tanh", &[&scaled]);
                self.gate(x, &tanh)
            }
            Activation::Relu => self.op("Relu", &[x]),
            Activation::Tanh => self.op("Tanh", &[x]),
            Activation::Identity => x.into(),
            other => unreachable!("{other:?} has no operator here; add it above"),
        }
    }

    /// Computes x (1 + s) / 2.
    fn gate(&mut self, x: &str, s: &str) -> String {
        let one = self.number(1.0);
        let sum = self.op("Add", &[s, &one]);
        let product = self.op("Mul", &[x, &sum]);
        let half = self.number(0.5);
        self.op("Mul", &[&product, &half])
    }

    pub(super) fn transpose(&mut self, x: &str, order: &[i64]) -> String {
        self.op_with("Transpose", &[x], vec![ints("perm", order)])
    }

    pub(super) fn reshape(&mut self, x: &str, shape: &[i64]) -> String {
        let shape = self.integers(shape);
        self.op("Reshape", &[x, &shape])
    }

    pub(super) fn unsqueeze(&mut self, x: &str, axes: &[i64]) -> String {
        let axes = self.integers(axes);
        self.op("Unsqueeze", &[x, &axes])
    }

    /// Makes the output of the last node an output of the graph: float `[batch, width]`.
    pub(super) fn output_of_last(&mut self, name: &str, width: usize) {
        let last = self.nodes.last_mut().expect("a node");
        last.output = vec![name.into()];
        self.outputs.push(value(name, data_type::FLOAT, &["batch"], Some(width)));
    }

    /// Encodes the file. Its inputs are int64 `[batch, sequence]`.
    pub(super) fn finish(self, name: &str, inputs: &[&str]) -> Result<Vec<u8>, Error> {
        if let Some((weight, value)) = self.too_large {
            return Err(Error::Unfit(format!(
                "fp16 cannot hold {value}, a weight of {weight}; its maximum is 65504. Export fp32 or \
                 int8"
            )));
        }
        let axes = ["batch", "sequence"];
        let file = ModelProto {
            ir_version: IR_VERSION,
            producer_name: "edge-export".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            functions: Vec::new(),
            graph: Some(GraphProto {
                name: name.into(),
                node: self.nodes,
                initializer: self.weights,
                input: inputs.iter().map(|i| value(i, data_type::INT64, &axes, None)).collect(),
                output: self.outputs,
            }),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        };
        let bytes = file.encoded_len();
        if bytes > i32::MAX as usize {
            return Err(Error::Unfit(format!(
                "the file would have {:.1} GB; expected less than 2 GiB, the limit of ONNX. Export fp16 or int8",
                bytes as f64 / 1e9
            )));
        }
        Ok(file.encode_to_vec())
    }
}
