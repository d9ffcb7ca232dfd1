"""A whole BERT classifier as one ordinary ONNX file, with the nodes that PyTorch's exporter writes.

The tests use it as a foreign ONNX file; the speed check gives it to ONNX Runtime. It therefore has the exporter's long
forms: shapes computed with Shape and Gather, LayerNorm and GELU as single operations, the mask as a large negative
number. Optimizers of other runtimes search for these patterns, and an importer must support them.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


class Graph:
    """Builder of nodes and constants; every method returns the name of its value."""

    def __init__(self):
        self.nodes, self.constants = [], {}

    def op(self, kind, *inputs, **attributes):
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def constant(self, value, name=None):
        name = name or f"const_{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def number(self, value):
        return self.constant(np.float32(value))

    def integers(self, *values):
        return self.constant(np.array(values, dtype=np.int64))

    def size(self, x, axis):
        """One dimension of `x`, as a tensor of one element."""
        index = self.constant(np.int64(axis))
        return self.op("Unsqueeze", self.op("Gather", self.op("Shape", x), index, axis=0), self.integers(0))


# DistilBERT's names of BERT's weights.
CONFIG = {"dim": "hidden_size", "n_layers": "num_hidden_layers", "n_heads": "num_attention_heads",
          "hidden_dim": "intermediate_size", "activation": "hidden_act"}
WEIGHTS = {
    "distilbert.": "bert.", "transformer.layer.": "encoder.layer.", "attention.q_lin": "attention.self.query",
    "attention.k_lin": "attention.self.key", "attention.v_lin": "attention.self.value",
    "attention.out_lin": "attention.output.dense", "sa_layer_norm": "attention.output.LayerNorm",
    "ffn.lin1": "intermediate.dense", "ffn.lin2": "output.dense", "output_layer_norm": "output.LayerNorm",
}


def as_bert(config, weights):
    """Converts DistilBERT's weights to BERT's names; DistilBERT is a BERT without token types."""
    if config["model_type"] != "distilbert":
        return config, weights
    renamed = {}
    for name, array in weights.items():
        for old, new in WEIGHTS.items():
            name = name.replace(old, new)
        renamed[name] = array
    return {**{CONFIG.get(key, key): value for key, value in config.items()}, "layer_norm_eps": 1e-12}, renamed


class Bert:
    """Builds the graph, in f32, from `weights`: arrays under Hugging Face names, BERT's or DistilBERT's.

    `padding`, the id of the padding token, gives the model RoBERTa's positions.
    """

    def __init__(self, config, weights, padding=None):
        config, weights = as_bert(config, weights)
        self.config, self.g, self.padding = config, Graph(), padding
        self.weights = {name: array.astype(np.float32) for name, array in weights.items() if array.dtype.kind == "f"}
        self.hidden, self.heads = config["hidden_size"], config["num_attention_heads"]

    def weight(self, name):
        if name not in self.g.constants:
            self.g.constant(self.weights[name], name)
        return name

    def linear(self, x, prefix):
        """Linear layer of a batch of rows: MatMul with the transposed weight, then Add, as exporters write it."""
        name = f"{prefix}.weight.transposed"
        self.g.constant(np.ascontiguousarray(self.weights[f"{prefix}.weight"].T), name)
        return self.g.op("Add", self.weight(f"{prefix}.bias"), self.g.op("MatMul", x, name))

    def norm(self, x, prefix):
        g = self.g
        centred = g.op("Sub", x, g.op("ReduceMean", x, axes=[-1]))
        variance = g.op("ReduceMean", g.op("Pow", centred, g.number(2.0)), axes=[-1])
        deviation = g.op("Sqrt", g.op("Add", variance, g.number(self.config["layer_norm_eps"])))
        scaled = g.op("Mul", g.op("Div", centred, deviation), self.weight(f"{prefix}.weight"))
        return g.op("Add", scaled, self.weight(f"{prefix}.bias"))

    def activation(self, x):
        g = self.g
        kind = self.config["hidden_act"]
        if kind == "relu":
            return g.op("Relu", x)
        if kind == "gelu":
            erf = g.op("Erf", g.op("Div", x, g.number(2**0.5)))
            return g.op("Mul", g.op("Mul", x, g.op("Add", erf, g.number(1.0))), g.number(0.5))
        if kind == "gelu_new":
            cube = g.op("Mul", g.op("Pow", x, g.number(3.0)), g.number(0.044715))
            inner = g.op("Mul", g.op("Add", x, cube), g.number((2 / np.pi) ** 0.5))
            return g.op("Mul", g.op("Mul", x, g.number(0.5)), g.op("Add", g.op("Tanh", inner), g.number(1.0)))
        raise ValueError(f"activation {kind}")

    def embeddings(self, token_types):
        g, prefix = self.g, "bert.embeddings"
        x = g.op("Gather", self.weight(f"{prefix}.word_embeddings.weight"), "input_ids")
        types = f"{prefix}.token_type_embeddings.weight"
        if types in self.weights:
            of_each = g.op("Gather", self.weight(types), "token_type_ids") if token_types else g.constant(self.weights[types][0])
            x = g.op("Add", x, of_each)
        positions = g.op("Gather", self.weight(f"{prefix}.position_embeddings.weight"), self.positions())
        return self.norm(g.op("Add", x, positions), f"{prefix}.LayerNorm")

    def positions(self):
        """Position of each token: 0, 1, ...; in a RoBERTa they begin after `padding`, the position of padding."""
        g = self.g
        if self.padding is None:
            all_positions = g.constant(np.arange(self.config["max_position_embeddings"], dtype=np.int64)[None])
            return g.op("Slice", all_positions, g.integers(0), g.size("input_ids", 1), g.integers(1), g.integers(1))
        padding = g.constant(np.int64(self.padding))
        text = g.op("Cast", g.op("Not", g.op("Equal", "input_ids", padding)), to=TensorProto.INT32)
        counted = g.op("Mul", g.op("CumSum", text, g.constant(np.int64(1))), text)
        return g.op("Add", g.op("Cast", counted, to=TensorProto.INT64), padding)

    def split(self, x, order):
        """Reshapes [batch, sequence, hidden] to [batch, heads, ...] in a given order of axes."""
        g = self.g
        width = self.hidden // self.heads
        shape = g.op("Concat", g.size(x, 0), g.size(x, 1), g.integers(self.heads), g.integers(width), axis=0)
        return g.op("Transpose", g.op("Reshape", x, shape), perm=order)

    def attention(self, x, mask, prefix):
        g = self.g
        query = self.split(self.linear(x, f"{prefix}.self.query"), [0, 2, 1, 3])
        key = self.split(self.linear(x, f"{prefix}.self.key"), [0, 2, 3, 1])
        value = self.split(self.linear(x, f"{prefix}.self.value"), [0, 2, 1, 3])
        scores = g.op("Div", g.op("MatMul", query, key), g.number((self.hidden // self.heads) ** 0.5))
        shares = g.op("Softmax", g.op("Add", scores, mask), axis=-1)
        context = g.op("Transpose", g.op("MatMul", shares, value), perm=[0, 2, 1, 3])
        shape = g.op("Concat", g.size(context, 0), g.size(context, 1), g.integers(self.hidden), axis=0)
        out = self.linear(g.op("Reshape", context, shape), f"{prefix}.output.dense")
        return self.norm(g.op("Add", out, x), f"{prefix}.output.LayerNorm")

    def encode(self, token_types):
        g = self.g
        wide = g.op("Unsqueeze", g.op("Unsqueeze", "attention_mask", g.integers(1)), g.integers(2))
        absent = g.op("Sub", g.number(1.0), g.op("Cast", wide, to=TensorProto.FLOAT))
        mask = g.op("Mul", absent, g.number(np.finfo(np.float32).min))
        x = self.embeddings(token_types)
        for i in range(self.config["num_hidden_layers"]):
            prefix = f"bert.encoder.layer.{i}"
            x = self.attention(x, mask, f"{prefix}.attention")
            inner = self.activation(self.linear(x, f"{prefix}.intermediate.dense"))
            x = self.norm(g.op("Add", self.linear(inner, f"{prefix}.output.dense"), x), f"{prefix}.output.LayerNorm")
        return x

    def dense(self, x, prefix):
        return self.g.op("Gemm", x, self.weight(f"{prefix}.weight"), self.weight(f"{prefix}.bias"), transB=1)

    def pooler_head(self, x):
        """Hugging Face's classifier: the first token, dense, tanh (in a DistilBERT ReLU), classifier."""
        first = self.g.op("Gather", x, self.g.constant(np.int64(0)), axis=1)
        if "pre_classifier.weight" in self.weights:
            pooled = self.g.op("Relu", self.dense(first, "pre_classifier"))
        else:
            pooled = self.g.op("Tanh", self.dense(first, "bert.pooler.dense"))
        return self.dense(pooled, "classifier")

    def mean_head(self, x, prefix):
        """Exit head: the mean over the tokens without padding, dense, tanh, classifier."""
        g = self.g
        mask = g.op("Cast", g.op("Unsqueeze", "attention_mask", g.integers(2)), to=TensorProto.FLOAT)
        total = g.op("ReduceSum", g.op("Mul", x, mask), g.integers(1), keepdims=0)
        mean = g.op("Div", total, g.op("ReduceSum", mask, g.integers(1), keepdims=0))
        return self.dense(g.op("Tanh", self.dense(mean, f"{prefix}.dense")), f"{prefix}.classifier")

    def model(self, token_types=True, exit_head=None):
        """Builds the whole model; `exit_head` is the prefix of a mean-pooled head; without it the pooler is used."""
        x = self.encode(token_types)
        logits = self.mean_head(x, exit_head) if exit_head else self.pooler_head(x)
        self.g.nodes[-1].output[0] = "logits"
        assert logits == f"{self.g.nodes[-1].name}_out"
        labels = len(self.config["id2label"])
        inputs = ["input_ids", "attention_mask"] + ["token_type_ids"] * token_types
        graph = helper.make_graph(
            self.g.nodes, "bert",
            [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "sequence"]) for n in inputs],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", labels])],
            initializer=list(self.g.constants.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model
