//! Bodies of the functions that stage graphs call, in standard ONNX operators.
//!
//! They document in the file the computation of each call, and any other ONNX runtime executes
//! them. The calls are specified in [`edge_runtime::graph`].

use crate::quantize::{Precision, WeightBits};
use edge_runtime::graph::{Activation, DOMAIN};
use edge_runtime::onnx::{
    AttributeProto, FunctionProto, NodeProto, OperatorSetIdProto, TensorProto, attribute_type,
    data_type,
};
use std::collections::BTreeSet;

/// Version of the standard operators: the first with `Gelu`.
pub(super) const OPSET: i64 = 20;

/// ONNX's code for unsigned bytes.
const UINT8: i64 = 2;
/// ONNX's code for 32-bit integers.
const INT32: i64 = 6;

/// Functions with these names, each once.
pub(super) fn named(names: BTreeSet<&str>, precision: Precision) -> Vec<FunctionProto> {
    names.into_iter().map(|name| function(name, precision)).collect()
}

fn function(name: &str, precision: Precision) -> FunctionProto {
    match name {
        "Embed" => embed(),
        "QEmbed" => quantized_embed(),
        "Q4Embed" => embed_of_halves(),
        "SelfAttention" => self_attention(),
        "AddNorm" => add_norm(),
        "MeanPool" => mean_pool(),
        "FirstPool" => {
            let mut f = Body::new("FirstPool", &["x"]);
            let first = f.int(0);
            f.node("Gather", &["x", &first], "y", vec![int("axis", 1)]);
            f.finish("the first row of each sentence")
        }
        _ => {
            let weights = [
                ("Linear", None),
                ("QLinear", Some(Stored::Bytes)),
                ("PackedLinear", Some(Stored::Packed)),
                ("Q4Linear", Some(Stored::Halves)),
            ];
            let (stored, suffix) = weights
                .into_iter()
                .find_map(|(prefix, stored)| Some((stored, name.strip_prefix(prefix)?)))
                .expect("a function of ours");
            let activation = Activation::ALL.into_iter().find(|a| a.suffix() == suffix);
            let activation = activation.expect("an activation of ours");
            match (precision, stored) {
                (Precision::Int8(int8), Some(stored)) => {
                    quantized_linear(name, activation, int8.weights, stored)
                }
                _ => linear(name, activation),
            }
        }
    }
}

/// Storage of int8 weights in the file.
#[derive(Clone, Copy, PartialEq)]
enum Stored {
    Bytes,
    Packed,
    Halves,
}

fn linear(name: &str, activation: Activation) -> FunctionProto {
    let mut f = Body::new(name, &["x", "weight", "bias"]);
    let product = f.op("MatMul", &["x", "weight"]);
    let sum = f.op("Add", &[&product, "bias"]);
    f.activation(activation, &sum);
    f.finish("activation(x W + bias)")
}

/// Linear layer in int8. Rows are quantized to 1…255 around 128 instead of −127…127, because ONNX
/// Runtime has a fast integer product only for unsigned by signed bytes. On processors with only
/// AVX2 that product saturates unless the weights have 7 bits. Weights of 8 bits are therefore also
/// converted to unsigned bytes.
///
/// The scales are multiplied one after the other. With their product, ONNX Runtime would fuse a
/// `MatMulIntegerToFloat`, which takes one scale for all rows.
fn quantized_linear(
    name: &str,
    activation: Activation,
    bits: WeightBits,
    stored: Stored,
) -> FunctionProto {
    let inputs: &[&str] = match stored {
        Stored::Halves => &["x", "codes", "multipliers", "scale", "bias"],
        Stored::Bytes | Stored::Packed => &["x", "weight", "scale", "bias"],
    };
    let mut f = Body::new(name, inputs);
    let weight = match stored {
        Stored::Bytes => "weight".into(),
        Stored::Packed => f.unpacked_weight(),
        Stored::Halves => f.multiplied_codes(),
    };
    let absolute = f.op("Abs", &["x"]);
    let last = f.ints(&[-1]);
    let largest = f.op("ReduceMax", &[&absolute, &last]);
    let tiny = f.float(1e-30);
    let divisor = f.op("Max", &[&largest, &tiny]);
    let steps = f.float(127.0);
    let inverse = f.op("Div", &[&steps, &divisor]);
    let scaled = f.op("Mul", &["x", &inverse]);
    let rounded = f.op("Round", &[&scaled]);
    let middle = f.float(128.0);
    let shifted = f.op("Add", &[&rounded, &middle]);
    let bytes = f.cast(&shifted, UINT8);
    let zero = f.zero_point();
    let sums = match bits {
        WeightBits::Seven => f.op("MatMulInteger", &[&bytes, &weight, &zero]),
        WeightBits::Eight => {
            let wide = f.cast(&weight, INT32);
            let offset = f.op("Cast", &[&zero]);
            f.last_attribute(int("to", INT32));
            let shifted = f.op("Add", &[&wide, &offset]);
            let unsigned = f.cast(&shifted, UINT8);
            f.op("MatMulInteger", &[&bytes, &unsigned, &zero, &zero])
        }
    };
    let sums = f.cast(&sums, i64::from(data_type::FLOAT));
    let by_column = f.op("Mul", &[&sums, "scale"]);
    let step = f.float(1.0 / 127.0);
    let row_scale = f.op("Mul", &[&largest, &step]);
    let by_row = f.op("Mul", &[&by_column, &row_scale]);
    let sum = f.op("Add", &[&by_row, "bias"]);
    f.activation(activation, &sum);
    f.finish(match stored {
        Stored::Bytes => "activation(x W + bias), with int8 weights and rows of x quantized to int8",
        Stored::Packed => {
            "activation(x W + bias), with int8 weights in the order in which processors multiply them and \
             rows of x quantized to int8"
        }
        Stored::Halves => {
            "activation(x W + bias), with weights that are int4 codes times int4 multipliers and rows of x \
             quantized to int8"
        }
    })
}

fn embed() -> FunctionProto {
    let mut f = Body::new("Embed", &["ids", "words", "positions", "gamma", "beta"]);
    let words = f.op("Gather", &["words", "ids"]);
    let positions = f.first_rows("positions");
    let sum = f.op("Add", &[&words, &positions]);
    f.layer_norm(&sum);
    f.finish("word and position embeddings, summed and normalized")
}

fn quantized_embed() -> FunctionProto {
    let mut f = Body::new(
        "QEmbed",
        &["ids", "words", "word_scale", "positions", "position_scale", "gamma", "beta"],
    );
    let float = i64::from(data_type::FLOAT);
    let last = f.ints(&[-1]);
    let bytes = f.op("Gather", &["words", "ids"]);
    let words = f.cast(&bytes, float);
    let scale = f.op("Gather", &["word_scale", "ids"]);
    let scale = f.op("Unsqueeze", &[&scale, &last]);
    let words = f.op("Mul", &[&words, &scale]);
    f.add_positions(&words);
    f.finish("word and position embeddings in int8, one scale per row, summed and normalized")
}

fn embed_of_halves() -> FunctionProto {
    let mut f = Body::new(
        "Q4Embed",
        &["ids", "words", "word_scale", "positions", "position_scale", "gamma", "beta"],
    );
    let bytes = f.op("Gather", &["words", "ids"]);
    let halves = f.halves(&bytes, -1);
    let halves = f.cast(&halves, i64::from(data_type::FLOAT));
    let eight = f.float(8.0);
    let halves = f.op("Sub", &[&halves, &eight]);
    // Shape: [batch, sequence, scales, columns of a scale]
    let scales = f.op("Shape", &["word_scale"]);
    f.last_attribute(int("start", 1));
    let front = f.ints(&[0, 0]);
    let rest = f.ints(&[-1]);
    let shape = f.op("Concat", &[&front, &scales, &rest]);
    f.last_attribute(int("axis", 0));
    let groups = f.op("Reshape", &[&halves, &shape]);
    let scale = f.op("Gather", &["word_scale", "ids"]);
    let scale = f.op("Unsqueeze", &[&scale, &rest]);
    let words = f.op("Mul", &[&groups, &scale]);
    let shape = f.ints(&[0, 0, -1]);
    let words = f.op("Reshape", &[&words, &shape]);
    f.add_positions(&words);
    f.finish("word embeddings in int4, position embeddings in int8, summed and normalized")
}

fn self_attention() -> FunctionProto {
    let mut f = Body::new("SelfAttention", &["qkv", "mask"]);
    let heads = f.node_ref("Constant", "value_int", "heads", attribute_type::INT);
    let zero = f.ints(&[0]);
    let heads = f.op("Unsqueeze", &[&heads, &zero]);
    let front = f.ints(&[0, 0, 3]);
    let rest = f.ints(&[-1]);
    let shape = f.op("Concat", &[&front, &heads, &rest]);
    f.last_attribute(int("axis", 0));
    let split = f.op("Reshape", &["qkv", &shape]);
    let parts = f.op("Transpose", &[&split]);
    f.last_attribute(ints("perm", &[2, 0, 3, 1, 4]));
    let [q, k, v] = [0, 1, 2].map(|i| {
        let i = f.int(i);
        f.op("Gather", &[&parts, &i])
    });
    let k = f.op("Transpose", &[&k]);
    f.last_attribute(ints("perm", &[0, 1, 3, 2]));
    let scores = f.op("MatMul", &[&q, &k]);
    let width = f.op("Shape", &[&q]);
    f.last_attribute(int("start", 3));
    let width = f.cast(&width, i64::from(data_type::FLOAT));
    let root = f.op("Sqrt", &[&width]);
    let scores = f.op("Div", &[&scores, &root]);
    let mask = f.cast("mask", i64::from(data_type::FLOAT));
    let axes = f.ints(&[1, 2]);
    let mask = f.op("Unsqueeze", &[&mask, &axes]);
    let one = f.float(1.0);
    let padding = f.op("Sub", &[&one, &mask]);
    let lowest = f.float(f32::MIN);
    let penalty = f.op("Mul", &[&padding, &lowest]);
    let scores = f.op("Add", &[&scores, &penalty]);
    let weights = f.op("Softmax", &[&scores]);
    let context = f.op("MatMul", &[&weights, &v]);
    let context = f.op("Transpose", &[&context]);
    f.last_attribute(ints("perm", &[0, 2, 1, 3]));
    let shape = f.ints(&[0, 0, -1]);
    f.node("Reshape", &[&context, &shape], "y", vec![]);
    f.finish("multi-head attention within each sentence")
}

fn add_norm() -> FunctionProto {
    let mut f = Body::new("AddNorm", &["x", "residual", "gamma", "beta"]);
    let sum = f.op("Add", &["x", "residual"]);
    f.layer_norm(&sum);
    f.finish("the sum, normalized")
}

fn mean_pool() -> FunctionProto {
    let mut f = Body::new("MeanPool", &["x", "mask"]);
    let mask = f.cast("mask", i64::from(data_type::FLOAT));
    let last = f.ints(&[-1]);
    let mask = f.op("Unsqueeze", &[&mask, &last]);
    let kept = f.op("Mul", &["x", &mask]);
    let rows = f.ints(&[1]);
    let sum = f.op("ReduceSum", &[&kept, &rows]);
    f.last_attribute(int("keepdims", 0));
    let count = f.op("ReduceSum", &[&mask, &rows]);
    f.last_attribute(int("keepdims", 0));
    f.node("Div", &[&sum, &count], "y", vec![]);
    f.finish("the mean of the rows of each sentence")
}

/// Function under construction. Its output is `y`; intermediate values are numbered.
struct Body {
    name: String,
    input: Vec<String>,
    attributes: BTreeSet<String>,
    node: Vec<NodeProto>,
}

impl Body {
    fn new(name: &str, inputs: &[&str]) -> Self {
        Body {
            name: name.into(),
            input: inputs.iter().map(|i| (*i).into()).collect(),
            attributes: BTreeSet::new(),
            node: Vec::new(),
        }
    }

    fn finish(self, doc: &str) -> FunctionProto {
        FunctionProto {
            name: self.name,
            input: self.input,
            output: vec!["y".into()],
            attribute: self.attributes.into_iter().collect(),
            node: self.node,
            doc_string: doc.into(),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
            domain: DOMAIN.into(),
        }
    }

    fn node(&mut self, op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) {
        self.node.push(NodeProto {
            input: inputs.iter().map(|i| (*i).into()).collect(),
            output: vec![output.into()],
            name: String::new(),
            op_type: op.into(),
            attribute,
            domain: String::new(),
        });
    }

    /// Adds a node with one numbered output and returns the name of the output.
    fn op(&mut self, op: &str, inputs: &[&str]) -> String {
        let output = format!("v{}", self.node.len());
        self.node(op, inputs, &output, vec![]);
        output
    }

    fn last_attribute(&mut self, attribute: AttributeProto) {
        self.node.last_mut().expect("a node").attribute.push(attribute);
    }

    /// Adds a node with an attribute of the call.
    fn node_ref(&mut self, op: &str, attribute: &str, of_call: &str, r#type: i32) -> String {
        let output = self.op(op, &[]);
        self.reference(attribute, of_call, r#type);
        output
    }

    fn reference(&mut self, attribute: &str, of_call: &str, r#type: i32) {
        self.attributes.insert(of_call.into());
        self.last_attribute(AttributeProto {
            name: attribute.into(),
            ref_attr_name: of_call.into(),
            r#type,
            ..Default::default()
        });
    }

    fn cast(&mut self, x: &str, to: i64) -> String {
        let output = self.op("Cast", &[x]);
        self.last_attribute(int("to", to));
        output
    }

    fn constant(&mut self, attribute: AttributeProto) -> String {
        let output = self.op("Constant", &[]);
        self.last_attribute(attribute);
        output
    }

    fn float(&mut self, value: f32) -> String {
        self.constant(float("value_float", value))
    }

    fn int(&mut self, value: i64) -> String {
        self.constant(int("value_int", value))
    }

    fn ints(&mut self, values: &[i64]) -> String {
        self.constant(ints("value_ints", values))
    }

    /// Zero point: 128 as an unsigned byte.
    fn zero_point(&mut self) -> String {
        self.byte(128)
    }

    fn byte(&mut self, value: u8) -> String {
        self.constant(AttributeProto {
            name: "value".into(),
            r#type: attribute_type::TENSOR,
            t: Some(TensorProto {
                dims: vec![],
                data_type: UINT8 as i32,
                name: String::new(),
                raw_data: vec![value].into(),
                ..Default::default()
            }),
            ..Default::default()
        })
    }

    /// Low nibbles of bytes, followed by the high nibbles.
    fn halves(&mut self, bytes: &str, axis: i64) -> String {
        let mask = self.byte(15);
        let low = self.op("BitwiseAnd", &[bytes, &mask]);
        let four = self.byte(4);
        let high = self.op("BitShift", &[bytes, &four]);
        self.last_attribute(string("direction", "RIGHT"));
        let halves = self.op("Concat", &[&low, &high]);
        self.last_attribute(int("axis", axis));
        halves
    }

    /// Product of `codes` and `multipliers`: the int8 weight, `[inputs, outputs]`.
    fn multiplied_codes(&mut self) -> String {
        let codes = self.halves("codes", 0);
        let codes = self.cast(&codes, INT32);
        let eight = self.int(8);
        let eight = self.cast(&eight, INT32);
        let codes = self.op("Sub", &[&codes, &eight]);
        let multipliers = self.halves("multipliers", 0);
        let multipliers = self.cast(&multipliers, INT32);
        // Shape: [multipliers, inputs of one, outputs]
        let one = self.ints(&[1]);
        let multipliers = self.op("Unsqueeze", &[&multipliers, &one]);
        let groups = self.op("Shape", &[&multipliers]);
        self.last_attribute(int("end", 1));
        let outputs = self.op("Shape", &["codes"]);
        self.last_attribute(int("start", 1));
        let rest = self.ints(&[-1]);
        let mut side_by_side = |parts: &[&str]| {
            let shape = self.op("Concat", parts);
            self.last_attribute(int("axis", 0));
            shape
        };
        let split = side_by_side(&[&groups, &rest, &outputs]);
        let whole = side_by_side(&[&rest, &outputs]);
        let codes = self.op("Reshape", &[&codes, &split]);
        let products = self.op("Mul", &[&codes, &multipliers]);
        let weight = self.op("Reshape", &[&products, &whole]);
        self.cast(&weight, i64::from(data_type::INT8))
    }

    /// Unpacks a weight `[blocks, steps, panels, halves, outputs, inputs]` to int8 `[inputs,
    /// outputs]`.
    fn unpacked_weight(&mut self) -> String {
        let packed = self.cast("weight", INT32);
        let zero = self.node_ref("Constant", "value_int", "zero_point", attribute_type::INT);
        let zero = self.cast(&zero, INT32);
        let weight = self.op("Sub", &[&packed, &zero]);
        let weight = self.op("Transpose", &[&weight]);
        self.last_attribute(ints("perm", &[1, 3, 5, 0, 2, 4]));
        let weight = self.op("Flatten", &[&weight]);
        self.last_attribute(int("axis", 3));
        // Removes the padding of the last step and the last block.
        let inputs = self.op("Shape", &["x"]);
        self.last_attribute(int("start", -1));
        let outputs = self.op("Shape", &["scale"]);
        let ends = self.op("Concat", &[&inputs, &outputs]);
        self.last_attribute(int("axis", 0));
        let starts = self.ints(&[0, 0]);
        let weight = self.op("Slice", &[&weight, &starts, &ends]);
        self.cast(&weight, i64::from(data_type::INT8))
    }

    /// First rows of a table, as many as `ids` has columns.
    fn first_rows(&mut self, table: &str) -> String {
        let length = self.op("Shape", &["ids"]);
        self.last_attribute(int("start", 1));
        let zero = self.ints(&[0]);
        self.op("Slice", &[table, &zero, &length, &zero])
    }

    /// Adds the int8 position embeddings to the word embeddings, and normalizes the sums.
    fn add_positions(&mut self, words: &str) {
        let bytes = self.first_rows("positions");
        let positions = self.cast(&bytes, i64::from(data_type::FLOAT));
        let scale = self.first_rows("position_scale");
        let last = self.ints(&[-1]);
        let scale = self.op("Unsqueeze", &[&scale, &last]);
        let positions = self.op("Mul", &[&positions, &scale]);
        let sum = self.op("Add", &[words, &positions]);
        self.layer_norm(&sum);
    }

    fn layer_norm(&mut self, x: &str) {
        self.node("LayerNormalization", &[x, "gamma", "beta"], "y", vec![int("axis", -1)]);
        self.reference("epsilon", "epsilon", attribute_type::FLOAT);
    }

    fn activation(&mut self, activation: Activation, x: &str) {
        let (op, attributes) = match activation {
            Activation::Gelu => ("Gelu", vec![]),
            Activation::GeluTanh => ("Gelu", vec![string("approximate", "tanh")]),
            Activation::Relu => ("Relu", vec![]),
            Activation::Tanh => ("Tanh", vec![]),
            Activation::Identity => ("Identity", vec![]),
            other => unreachable!("{other:?} has no operator here; add it above"),
        };
        self.node(op, &[x], "y", attributes);
    }
}

pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: attribute_type::INT,
        i: Some(value),
        ..Default::default()
    }
}

pub(super) fn string(name: &str, value: &'static str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: attribute_type::STRING,
        s: Some(value.into()),
        ..Default::default()
    }
}

pub(super) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: attribute_type::INTS,
        ints: values.to_vec(),
        ..Default::default()
    }
}

pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: attribute_type::FLOAT,
        f: Some(value),
        ..Default::default()
    }
}
