//! The part of ONNX that stage graphs use.
//!
//! Protobuf messages with the field numbers of
//! [onnx.proto](https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). Fields that no stage
//! graph uses are left out: protobuf readers skip unknown fields. `raw_data` decodes without a copy
//! from a [`Bytes`], so that weights are in memory once while they are loaded.

use bytes::{Buf, Bytes};
use prost::encoding::{WireType, decode_key, decode_varint};

/// A whole ONNX file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelProto {
    /// Version of the file format, see [`IR_VERSION`].
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    /// Name of the program that wrote the file.
    #[prost(string, tag = "2")]
    pub producer_name: String,
    /// Version of the program that wrote the file.
    #[prost(string, tag = "3")]
    pub producer_version: String,
    /// The graph.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    /// Operator sets that the graph uses.
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSetIdProto>,
    /// Model-local functions.
    #[prost(message, repeated, tag = "25")]
    pub functions: Vec<FunctionProto>,
}

/// An operator set: a domain and a version.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OperatorSetIdProto {
    /// The domain; empty for standard ONNX.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// The version.
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// A function: an operator defined by a graph of other operators.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FunctionProto {
    /// Name, the `op_type` of the nodes that call it.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Names of the inputs.
    #[prost(string, repeated, tag = "4")]
    pub input: Vec<String>,
    /// Names of the outputs.
    #[prost(string, repeated, tag = "5")]
    pub output: Vec<String>,
    /// Names of the attributes that a call must give.
    #[prost(string, repeated, tag = "6")]
    pub attribute: Vec<String>,
    /// The body, in topological order.
    #[prost(message, repeated, tag = "7")]
    pub node: Vec<NodeProto>,
    /// Description of the function, for people.
    #[prost(string, tag = "8")]
    pub doc_string: String,
    /// Operator sets that the body uses.
    #[prost(message, repeated, tag = "9")]
    pub opset_import: Vec<OperatorSetIdProto>,
    /// The domain of the function.
    #[prost(string, tag = "10")]
    pub domain: String,
}

/// A graph of nodes with its weights.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GraphProto {
    /// The nodes, in topological order.
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    /// Name of the graph.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Weights.
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    /// Inputs.
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    /// Outputs.
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
}

/// One call of an operator.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NodeProto {
    /// Names of the input values.
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    /// Names of the output values.
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    /// Name of the node.
    #[prost(string, tag = "3")]
    pub name: String,
    /// The operator.
    #[prost(string, tag = "4")]
    pub op_type: String,
    /// Attributes.
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
    /// The operator's domain; empty for standard ONNX.
    #[prost(string, tag = "7")]
    pub domain: String,
}

/// A constant argument of a node.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AttributeProto {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value, if it is a float.
    #[prost(float, optional, tag = "2")]
    pub f: Option<f32>,
    /// Value, if it is an integer.
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    /// Value, if it is a string.
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub s: Option<Bytes>,
    /// Value, if it is a tensor.
    #[prost(message, optional, tag = "5")]
    pub t: Option<TensorProto>,
    /// Value, if it is a list of integers.
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    /// Kind of the value: one of [`attribute_type`].
    #[prost(int32, tag = "20")]
    pub r#type: i32,
    /// Inside a function: the attribute of the call that gives the value.
    #[prost(string, tag = "21")]
    pub ref_attr_name: String,
}

/// A tensor of weights.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorProto {
    /// Shape.
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    /// Element type: one of [`data_type`].
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    /// Name.
    #[prost(string, tag = "8")]
    pub name: String,
    /// Elements, row major, little endian.
    #[prost(bytes = "bytes", tag = "9")]
    pub raw_data: Bytes,
    /// A comment.
    #[prost(string, tag = "12")]
    pub doc_string: String,
}

/// A named value with its type.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ValueInfoProto {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Type.
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<TypeProto>,
}

/// A type; tensors only.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TypeProto {
    /// Element type and shape.
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorTypeProto>,
}

/// Element type and shape of a tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorTypeProto {
    /// Element type: one of [`data_type`].
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    /// Shape.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShapeProto>,
}

/// A shape, whose dimensions may be symbols.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorShapeProto {
    /// The dimensions.
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<DimensionProto>,
}

/// One dimension of a shape.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DimensionProto {
    /// A number or a symbol.
    #[prost(oneof = "Dimension", tags = "1, 2")]
    pub value: Option<Dimension>,
}

/// A dimension known now, or one known when the model runs.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Dimension {
    /// A number.
    #[prost(int64, tag = "1")]
    DimValue(i64),
    /// A symbol.
    #[prost(string, tag = "2")]
    DimParam(String),
}

/// IR version of the features that stage graphs use; ONNX Runtime reads it since 1.15.
pub const IR_VERSION: i64 = 9;

/// Element types of [`TensorProto`].
pub mod data_type {
    /// 32-bit float.
    pub const FLOAT: i32 = 1;
    /// Signed 8-bit integer.
    pub const INT8: i32 = 3;
    /// Unsigned bytes.
    pub const UINT8: i32 = 2;
    /// Signed 64-bit integer.
    pub const INT64: i32 = 7;
}

/// Kinds of [`AttributeProto`].
pub mod attribute_type {
    /// 32-bit float, in `f`.
    pub const FLOAT: i32 = 1;
    /// 64-bit integer, in `i`.
    pub const INT: i32 = 2;
    /// Bytes, in `s`.
    pub const STRING: i32 = 3;
    /// Tensor, in `t`.
    pub const TENSOR: i32 = 4;
    /// List of 64-bit integers, in `ints`.
    pub const INTS: i32 = 7;
}

/// Returns the size of a file without the data of its weights. Decoding allocates this part in many
/// small pieces. `None` if the file is not a protobuf message.
///
/// ```
/// use edge_runtime::onnx::{GraphProto, ModelProto, TensorProto, structure_bytes};
/// use prost::Message;
/// let weights = TensorProto { raw_data: vec![0; 1000].into(), ..Default::default() };
/// let graph = GraphProto { initializer: vec![weights], ..Default::default() };
/// let file = ModelProto { graph: Some(graph), ..Default::default() }.encode_to_vec();
/// assert_eq!(structure_bytes(&file), Some(file.len() - 1000));
/// ```
pub fn structure_bytes(file: &[u8]) -> Option<usize> {
    /// Field numbers of the graph in a file, of a weight in a graph, and of the data in a weight.
    const PATH: [u32; 3] = [7, 5, 9];
    fn data(mut message: &[u8], path: &[u32]) -> Option<usize> {
        let Some((field, rest)) = path.split_first() else { return Some(message.len()) };
        let mut sum = 0;
        while message.has_remaining() {
            let (tag, kind) = decode_key(&mut message).ok()?;
            let length = match kind {
                WireType::LengthDelimited => {
                    usize::try_from(decode_varint(&mut message).ok()?).ok()?
                }
                WireType::Varint => {
                    decode_varint(&mut message).ok()?;
                    0
                }
                WireType::SixtyFourBit => 8,
                WireType::ThirtyTwoBit => 4,
                WireType::StartGroup | WireType::EndGroup => return None,
            };
            let inside = message.get(..length)?;
            if tag == *field && kind == WireType::LengthDelimited {
                sum += data(inside, rest)?;
            }
            message = &message[length..];
        }
        Some(sum)
    }
    Some(file.len() - data(file, &PATH)?)
}
