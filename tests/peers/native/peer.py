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


def whole_model(checkpoint):
    """The checkpoint at full depth, f32, as an ordinary ONNX model, and its number of layers, heads and width."""
    config = json.loads((checkpoint / "config.json").read_text())
    bert = Bert(config, load_file(checkpoint / "model.safetensors"))
    exits = checkpoint / "exits.json"
    head = f"exits.{len(json.loads(exits.read_text())['layers']) - 1}" if exits.exists() else None
    token_types = bert.config["model_type"] == "bert"
    return bert.model(token_types, head), bert.config["num_hidden_layers"], bert.heads, bert.hidden


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
