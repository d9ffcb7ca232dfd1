"""ONNX Runtime as a contender: its models, quantized in every way that may be its best, and its sessions."""

import json
import logging
import time
from itertools import product

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers import optimizer
from safetensors.numpy import load_file

from onnx_bert import Bert

GRAPHS = {"optimized": "optimized", "plain": "as exported"}
WEIGHTS = {"qint8": "QInt8", "reduced": "reduce_range"}


class DistilBert(Bert):
    """DistilBERT is a BERT without token types, under other names, whose classifier has a ReLU before it."""

    NAMES = {
        "distilbert.transformer.layer": "bert.encoder.layer", "distilbert.embeddings": "bert.embeddings",
        "attention.q_lin": "attention.self.query", "attention.k_lin": "attention.self.key",
        "attention.v_lin": "attention.self.value", "attention.out_lin": "attention.output.dense",
        "sa_layer_norm": "attention.output.LayerNorm", "output_layer_norm": "output.LayerNorm",
        "ffn.lin1": "intermediate.dense", "ffn.lin2": "output.dense",
    }

    def __init__(self, config, weights):
        renamed = {}
        for name, array in weights.items():
            for old, new in self.NAMES.items():
                name = name.replace(old, new)
            renamed[name] = array
        super().__init__({
            **config, "hidden_size": config["dim"], "num_attention_heads": config["n_heads"],
            "num_hidden_layers": config["n_layers"], "hidden_act": config["activation"], "layer_norm_eps": 1e-12,
        }, renamed)

    def embeddings(self, token_types):
        g, prefix = self.g, "bert.embeddings"
        words = g.op("Gather", self.weight(f"{prefix}.word_embeddings.weight"), "input_ids")
        all_positions = g.constant(np.arange(self.config["max_position_embeddings"], dtype=np.int64)[None])
        positions = g.op("Slice", all_positions, g.integers(0), g.size("input_ids", 1), g.integers(1), g.integers(1))
        positions = g.op("Gather", self.weight(f"{prefix}.position_embeddings.weight"), positions)
        return self.norm(g.op("Add", words, positions), f"{prefix}.LayerNorm")

    def pooler_head(self, x):
        first = self.g.op("Gather", x, self.g.constant(np.int64(0)), axis=1)
        return self.dense(self.g.op("Relu", self.dense(first, "pre_classifier")), "classifier")


def whole_model(checkpoint):
    """The checkpoint at full depth, f32, as an ordinary ONNX model, and its number of layers, heads and width."""
    config = json.loads((checkpoint / "config.json").read_text())
    weights = load_file(checkpoint / "model.safetensors")
    if config["model_type"] == "distilbert":
        model = DistilBert(config, weights).model(token_types=False)
        return model, config["n_layers"], config["n_heads"], config["dim"]
    layers = config["num_hidden_layers"]
    head = f"exits.{layers - 1}" if (checkpoint / "exits.json").exists() else None
    model = Bert(config, weights).model(exit_head=head)
    return model, layers, config["num_attention_heads"], config["hidden_size"]


def quantize(source, target, reduce_range):
    logging.disable(logging.WARNING)
    quantize_dynamic(
        source, target, per_channel=True, reduce_range=reduce_range, weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    logging.disable(logging.NOTSET)


def build(checkpoint, folder):
    """The int8 models by (graph, weights): as exported and after ONNX Runtime's optimizer for transformers, as its
    documentation advises; with 8 bits a weight and with 7, which is the exact and sometimes the faster way."""
    paths = {(g, w): folder / f"{g}-{w}.onnx" for g, w in product(GRAPHS, WEIGHTS)}
    stamp = folder / "built.txt"
    source = checkpoint / "model.safetensors"
    built = f"{ort.__version__} {onnx.__version__} {source.stat().st_size} {source.stat().st_mtime_ns}"
    if stamp.exists() and stamp.read_text() == built:
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    model, layers, heads, width = whole_model(checkpoint)
    onnx.save(model, folder / "fp32-plain.onnx")
    fused = optimizer.optimize_model(
        str(folder / "fp32-plain.onnx"), model_type="bert", num_heads=heads, hidden_size=width, opt_level=0
    )
    # What the optimizer finds in the export of PyTorch; if it finds less here, the peer does not get its best.
    wanted = {
        "EmbedLayerNormalization": 1, "Attention": layers, "BiasGelu": layers, "SkipLayerNormalization": 2 * layers,
    }
    found = fused.get_fused_operator_statistics()
    assert {k: found[k] for k in wanted} == wanted, found
    fused.save_model_to_file(str(folder / "fp32-optimized.onnx"))
    for (graph, weights), path in paths.items():
        quantize(folder / f"fp32-{graph}.onnx", path, reduce_range=weights == "reduced")
    for graph in GRAPHS:
        (folder / f"fp32-{graph}.onnx").unlink()
    stamp.write_text(built)
    return paths


def label(key):
    return f"onnxruntime, {GRAPHS[key[0]]}, {WEIGHTS[key[1]]}"


class Session:
    def __init__(self, path, threads=1, spinning=False):
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
        options.add_session_config_entry("session.disable_prepacking", "0")
        options.log_severity_level = 3
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = [i.name for i in self.session.get_inputs()]

    def run(self, ids, mask):
        values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return self.session.run(["logits"], {name: values[name] for name in self.inputs})[0]

    def ask(self, *ids):
        """One sentence, as `common.Server.ask` does it: nanoseconds, and the logits."""
        row = np.array([ids], dtype=np.int64)
        mask = np.ones_like(row)
        start = time.perf_counter_ns()
        logits = self.run(row, mask)
        return time.perf_counter_ns() - start, logits[0].tolist()

    def close(self):
        self.session = None
