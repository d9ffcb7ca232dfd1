//! Stage graphs: calls of the project's functions, with their weights.

use super::functions::{self, OPSET, float, int};
use super::weights::{self, Embeddings, HeadWeights, LayerWeights, Linear};
use super::{Form, aligned};
use crate::Error;
use crate::checkpoint::{Checkpoint, Config, Pooling};
use crate::quantize::{
    EMBEDDING_GROUP, EmbeddingBits, Grid, Precision, Site, WeightBits, int4, int8, rounding,
};
use edge_runtime::graph::{
    ATTENTION_MASK, Activation, DOMAIN, DOMAIN_VERSION, HIDDEN, INPUT_IDS, LOGITS, NEXT_HIDDEN,
    Norm, Packing,
};
use edge_runtime::onnx::{
    AttributeProto, Dimension, DimensionProto, GraphProto, IR_VERSION, ModelProto, NodeProto,
    OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
    data_type,
};
use prost::Message;

/// Rank of packed weights; all other weights have another rank.
const PACKED_RANK: usize = 6;

/// Reads a stage of a checkpoint and returns its graph, and the index of its exit if it has one.
/// Stage 0 is the embeddings; stage `index` ends with encoder layer `index`.
pub(super) fn stage(
    checkpoint: &Checkpoint,
    index: usize,
    form: Form,
) -> Result<(Vec<u8>, Option<usize>), Error> {
    let config = &checkpoint.config;
    let head = weights::head(checkpoint, index)?;
    let exit = head.as_ref().map(|head| head.exit);
    let graph = match index.checked_sub(1) {
        None => embeddings(weights::embeddings(checkpoint)?, head, config, form),
        Some(layer_index) => {
            layer(weights::layer(checkpoint, layer_index)?, head, index, config, form)
        }
    };
    Ok((graph, exit))
}

/// Linear layer that a node of a stage graph computes, if any.
pub(super) fn site(node: &str, stage: usize, exit: Option<usize>) -> Option<Site> {
    let layer = stage.checked_sub(1);
    match node {
        "attention.qkv" => layer.map(Site::Qkv),
        "attention.output" => layer.map(Site::AttentionOutput),
        "intermediate" => layer.map(Site::Intermediate),
        "output" => layer.map(Site::Output),
        "exit.dense" => exit.map(Site::Dense),
        "exit.classifier" => exit.map(Site::Classifier),
        _ => None,
    }
}

/// Stage 0: the embeddings, with an exit head if there is one.
fn embeddings(
    weights: Embeddings,
    head: Option<HeadWeights>,
    config: &Config,
    form: Form,
) -> Vec<u8> {
    let mut stage = Stage::new(form);
    let width = config.encoder.hidden;
    let name = "embeddings";
    let mut inputs = vec![INPUT_IDS.to_string()];
    let bits = match form.precision {
        Precision::Fp32 => None,
        Precision::Int8(int8) => Some(int8.embeddings),
    };
    let tables = [
        ("words", weights.words, bits),
        ("positions", weights.positions, bits.and(Some(EmbeddingBits::Eight))),
    ];
    for (part, values, bits) in tables {
        let rows = values.len() / width;
        let part = format!("{name}.{part}");
        let scale = format!("{part}.scale");
        match bits {
            None => inputs.push(stage.floats(&part, &[rows, width], &values)),
            Some(EmbeddingBits::Eight) => {
                let q = int8::per_row(&values, width);
                inputs.push(stage.bytes(&part, &[rows, width], q.values));
                inputs.push(stage.floats(&scale, &[rows], &q.scales));
            }
            Some(EmbeddingBits::Four) => {
                let group = rounding::group(width, EMBEDDING_GROUP);
                let q = int8::halves(&values, width, group);
                inputs.push(stage.weight(&part, data_type::UINT8, &[rows, width / 2], q.values));
                inputs.push(stage.floats(&scale, &[rows, width / group], &q.scales));
            }
        }
    }
    let epsilon = stage.norm(name, &weights.norm, &mut inputs);
    let op = match bits {
        None => "Embed",
        Some(EmbeddingBits::Eight) => "QEmbed",
        Some(EmbeddingBits::Four) => "Q4Embed",
    };
    let hidden = stage.call(op, name, inputs, vec![epsilon], NEXT_HIDDEN);
    if let Some(head) = head {
        stage.exit(&head, &hidden);
    }
    let ids = (INPUT_IDS, value(INPUT_IDS, data_type::INT64, &["batch", "sequence"], None));
    stage.finish(0, ids.1, Some(width), config)
}

/// Stage `index`, 1 or more: an encoder layer, with an exit head if there is one.
fn layer(
    weights: LayerWeights,
    head: Option<HeadWeights>,
    index: usize,
    config: &Config,
    form: Form,
) -> Vec<u8> {
    let mut stage = Stage::new(form);
    let width = config.encoder.hidden;
    let last = index == config.encoder.layers;
    let mask = ATTENTION_MASK.to_string();

    let qkv = (Site::Qkv(index - 1), &weights.qkv);
    let qkv = stage.linear("attention.qkv", qkv, HIDDEN, Activation::Identity);
    let heads = int("heads", weights.heads as i64);
    let context =
        stage.call("SelfAttention", "attention", vec![qkv, mask], vec![heads], "attention.context");
    let output = (Site::AttentionOutput(index - 1), &weights.attention_output);
    let attended = stage.linear("attention.output", output, &context, Activation::Identity);
    let mut inputs = vec![attended, HIDDEN.into()];
    let epsilon = stage.norm("attention.norm", &weights.attention_norm, &mut inputs);
    let middle = stage.call("AddNorm", "attention.norm", inputs, vec![epsilon], "attention.normed");

    let intermediate = (Site::Intermediate(index - 1), &weights.intermediate);
    let wide = stage.linear("intermediate", intermediate, &middle, config.encoder.activation);
    let output = (Site::Output(index - 1), &weights.output);
    let narrow = stage.linear("output", output, &wide, Activation::Identity);
    let mut inputs = vec![narrow, middle];
    let epsilon = stage.norm("output.norm", &weights.output_norm, &mut inputs);
    let hidden = stage.call("AddNorm", "output.norm", inputs, vec![epsilon], NEXT_HIDDEN);
    if let Some(head) = head {
        stage.exit(&head, &hidden);
    }
    let input = value(HIDDEN, data_type::FLOAT, &["batch", "sequence"], Some(width));
    stage.finish(index, input, (!last).then_some(width), config)
}

/// A stage graph under construction.
struct Stage {
    form: Form,
    nodes: Vec<NodeProto>,
    weights: Vec<TensorProto>,
    exit: bool,
}

impl Stage {
    fn new(form: Form) -> Self {
        Stage { form, nodes: Vec::new(), weights: Vec::new(), exit: false }
    }

    fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.weight(name, data_type::FLOAT, shape, raw)
    }

    fn bytes(&mut self, name: &str, shape: &[usize], values: Vec<u8>) -> String {
        self.weight(name, data_type::INT8, shape, values)
    }

    fn packed(
        &mut self,
        name: &str,
        packing: Packing,
        [inputs, outputs]: [usize; 2],
        values: &[u8],
    ) -> String {
        let data_type = if packing.zero_point == 0 { data_type::INT8 } else { data_type::UINT8 };
        let packed = packing.pack(inputs, outputs, values);
        self.weight(name, data_type, &packing.shape(inputs, outputs), packed.to_vec())
    }

    fn weight(&mut self, name: &str, data_type: i32, shape: &[usize], raw: Vec<u8>) -> String {
        self.weights.push(TensorProto {
            dims: shape.iter().map(|d| *d as i64).collect(),
            data_type,
            name: name.into(),
            raw_data: raw.into(),
            ..Default::default()
        });
        name.into()
    }

    /// Adds gamma and beta to a call's inputs, and returns its epsilon attribute.
    fn norm(&mut self, name: &str, norm: &Norm, inputs: &mut Vec<String>) -> AttributeProto {
        let width = norm.gamma.len();
        inputs.push(self.floats(&format!("{name}.gamma"), &[width], &norm.gamma));
        inputs.push(self.floats(&format!("{name}.beta"), &[width], &norm.beta));
        float("epsilon", norm.epsilon)
    }

    fn call(
        &mut self,
        op: &str,
        name: &str,
        inputs: Vec<String>,
        attribute: Vec<AttributeProto>,
        output: &str,
    ) -> String {
        self.nodes.push(NodeProto {
            input: inputs,
            output: vec![output.into()],
            name: name.into(),
            op_type: op.into(),
            attribute,
            domain: DOMAIN.into(),
        });
        output.into()
    }

    fn linear(
        &mut self,
        name: &str,
        l: (Site, &Linear),
        input: &str,
        activation: Activation,
    ) -> String {
        self.linear_as(self.form.precision, name, l, (input, &format!("{name}.result")), activation)
    }

    fn linear_as(
        &mut self,
        precision: Precision,
        name: &str,
        (site, l): (Site, &Linear),
        (input, output): (&str, &str),
        activation: Activation,
    ) -> String {
        let outputs = l.bias.len();
        let shape = [l.weight.len() / outputs, outputs];
        let weight = format!("{name}.weight");
        let mut inputs = vec![input.to_string()];
        let mut attributes = vec![];
        let kind = match precision {
            Precision::Fp32 => {
                inputs.push(self.floats(&weight, &shape, &l.weight));
                "Linear"
            }
            Precision::Int8(int8) => match int8.linear(Some(site)) {
                Grid::Integers(bits) => {
                    let q = int8::per_column(&l.weight, outputs, bits.largest());
                    let kind = match self.form.packed {
                        None => {
                            inputs.push(self.bytes(&weight, &shape, q.values));
                            "QLinear"
                        }
                        Some(target) => {
                            let packing = target.packing(bits == WeightBits::Seven);
                            inputs.push(self.packed(&weight, packing, shape, &q.values));
                            attributes.push(int("zero_point", i64::from(packing.zero_point)));
                            "PackedLinear"
                        }
                    };
                    inputs.push(self.floats(&format!("{name}.scale"), &[outputs], &q.scales));
                    kind
                }
                Grid::Products(bits) => {
                    let q = int4::halves(&l.weight, outputs, bits);
                    let bytes = [("codes", q.codes), ("multipliers", q.multipliers)];
                    for (part, values) in bytes {
                        let (part, shape) =
                            (format!("{name}.{part}"), [values.len() / outputs, outputs]);
                        inputs.push(self.weight(&part, data_type::UINT8, &shape, values));
                    }
                    let scales = &q.expanded.scales;
                    inputs.push(self.floats(&format!("{name}.scale"), &[outputs], scales));
                    "Q4Linear"
                }
            },
        };
        inputs.push(self.floats(&format!("{name}.bias"), &[outputs], &l.bias));
        self.call(&format!("{kind}{}", activation.suffix()), name, inputs, attributes, output)
    }

    /// Adds an exit. The classifier stays in floats: it is tiny, and its result is compared with
    /// thresholds.
    fn exit(&mut self, head: &HeadWeights, hidden: &str) {
        let (op, inputs) = match head.pooling {
            Pooling::Mean => ("MeanPool", vec![hidden.into(), ATTENTION_MASK.into()]),
            Pooling::Cls => ("FirstPool", vec![hidden.into()]),
        };
        let pooled = self.call(op, "exit.pool", inputs, vec![], "exit.pooled");
        let dense = (Site::Dense(head.exit), &head.dense);
        let dense = self.linear("exit.dense", dense, &pooled, head.activation);
        let ends = (dense.as_str(), LOGITS);
        let name = "exit.classifier";
        let classifier = (Site::Classifier(head.exit), &head.classifier);
        self.linear_as(Precision::Fp32, name, classifier, ends, Activation::Identity);
        self.exit = true;
    }

    fn finish(
        self,
        index: usize,
        input: ValueInfoProto,
        next_hidden: Option<usize>,
        config: &Config,
    ) -> Vec<u8> {
        let mut output = Vec::new();
        if let Some(width) = next_hidden {
            let axes = ["batch", "sequence"];
            output.push(value(NEXT_HIDDEN, data_type::FLOAT, &axes, Some(width)));
        }
        if self.exit {
            output.push(value(LOGITS, data_type::FLOAT, &["batch"], Some(config.task.width())));
        }
        let mask = value(ATTENTION_MASK, data_type::INT64, &["batch", "sequence"], None);
        let called = self.nodes.iter().map(|n| n.op_type.as_str()).collect();
        let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.into(), version };
        let mut model = ModelProto {
            ir_version: IR_VERSION,
            producer_name: "edge-export".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            functions: functions::named(called, self.form.precision),
            graph: Some(GraphProto {
                name: format!("stage-{index}"),
                node: self.nodes,
                initializer: self.weights,
                input: vec![input, mask],
                output,
            }),
            opset_import: vec![opset("", OPSET), opset(DOMAIN, DOMAIN_VERSION)],
        };
        aligned::align(&mut model, |weight| weight.dims.len() == PACKED_RANK);
        model.encode_to_vec()
    }
}

/// Named tensor with symbolic axes, and optionally a last axis of known size.
pub(super) fn value(
    name: &str,
    elem_type: i32,
    axes: &[&str],
    last: Option<usize>,
) -> ValueInfoProto {
    let dim = axes
        .iter()
        .map(|a| Dimension::DimParam((*a).into()))
        .chain(last.map(|n| Dimension::DimValue(n as i64)))
        .map(|value| DimensionProto { value: Some(value) })
        .collect();
    let shape = Some(TensorShapeProto { dim });
    let tensor_type = Some(TensorTypeProto { elem_type, shape });
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize::{Int8, Sites};
    use crate::testing::normals;
    use edge_runtime::graph::{Elements, Op, StageGraph};

    /// A decoded stage has the rounded weights, for every width.
    #[test]
    fn layers_of_4_bits_are_read_as_the_int8_weights_that_they_stand_for() {
        let shapes = [
            (4, 2, 6, WeightBits::Seven),
            (64, 4, 200, WeightBits::Eight),
            (38, 1, 2, WeightBits::Seven),
        ];
        for (hidden, heads, intermediate, bits) in shapes {
            let config = format!(
                r#"{{"model_type": "distilbert", "dim": {hidden}, "n_layers": 1, "n_heads": {heads},
                "hidden_dim": {intermediate}, "vocab_size": 9, "max_position_embeddings": 8}}"#
            );
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("config.json"), config).unwrap();
            let config = Config::read(&folder.path().join("config.json")).unwrap();
            let (gamma, beta) = (vec![1.0; hidden], vec![0.0; hidden]);
            let norm = || Norm { gamma: gamma.clone(), beta: beta.clone(), epsilon: 1e-12 };
            let floats = |n: usize| normals(17 + n as u64, n);
            let linear = |inputs: usize, outputs: usize| Linear {
                weight: floats(inputs * outputs),
                bias: vec![0.5; outputs],
            };
            let layer = LayerWeights {
                qkv: linear(hidden, 3 * hidden),
                heads,
                attention_output: linear(hidden, hidden),
                attention_norm: norm(),
                intermediate: linear(hidden, intermediate),
                output: linear(intermediate, hidden),
                output_norm: norm(),
            };
            let head = HeadWeights {
                exit: 0,
                pooling: Pooling::Mean,
                dense: linear(hidden, hidden),
                activation: Activation::Tanh,
                classifier: linear(hidden, 2),
            };
            let mut expected = Vec::new();
            for l in [
                &layer.qkv,
                &layer.attention_output,
                &layer.intermediate,
                &layer.output,
                &head.dense,
            ] {
                expected.push(int4::halves(&l.weight, l.bias.len(), bits).expanded);
            }
            let int8 = Int8 { four_bits: Sites::ALL, ..Int8::new(bits, EmbeddingBits::Eight) };
            let form = Form { precision: Precision::Int8(int8), packed: None };
            let file = super::layer(layer, Some(head), 1, &config, form);
            let stage = StageGraph::decode("stage-1", file.into()).unwrap();
            let mut read = stage.calls.iter().filter_map(|call| match &call.op {
                Op::Linear { weight, .. } => Some(weight),
                _ => None,
            });
            for expected in expected {
                let weight = read.next().unwrap();
                let Elements::I8 { values, scales } = &weight.elements else {
                    panic!("{weight:?}")
                };
                assert_eq!((&values[..], scales), (&expected.values[..], &expected.scales));
                assert_eq!(weight.rows * weight.columns, values.len());
            }
            let classifier = read.next().unwrap();
            assert!(matches!(classifier.elements, Elements::F32(_)) && read.next().is_none());
        }
    }
}
