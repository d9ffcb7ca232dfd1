"""ONNX files from elsewhere: a whole-model BERT classifier, as exported and after `quantize_dynamic`."""

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load_file

import edge
from onnx_bert import Bert

# tract and ONNX Runtime quantize activations alike, but add in another order before; a value on
# the edge between two integers may fall either way, and so it does between ONNX Runtime with and
# without its optimizations. Int8 may differ by three times as much as those two do.
CLOSE = 1e-4


def modern_names(weights):
    return {k.replace("gamma", "weight").replace("beta", "bias"): v for k, v in weights.items()}


@pytest.fixture(scope="module", params=["with token types", "without token types"])
def folder(request, bundles, tmp_path_factory):
    """model.onnx, model-int8.onnx, tokenizer.json and config.json side by side, as such models are published."""
    checkpoint = edge.FIXTURES / "bert-plain"
    folder = tmp_path_factory.mktemp("foreign")
    config = json.loads((checkpoint / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config))
    bundle = edge.Bundle(bundles(checkpoint, "--fp32"))
    (folder / "tokenizer.json").write_bytes(bundle.entries["tokenizer.json"])
    bert = Bert(config, modern_names(load_file(checkpoint / "model.safetensors")))
    onnx.save(bert.model(token_types=request.param == "with token types"), folder / "fp32.onnx")
    quantize_dynamic(folder / "fp32.onnx", folder / "int8.onnx", per_channel=True, weight_type=QuantType.QInt8)
    kinds = {n.op_type for n in onnx.load(folder / "int8.onnx").graph.node}
    assert "MatMulInteger" in kinds
    return folder, bundle


def run_whole(path, rows, optimized=True):
    options = ort.SessionOptions()
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    logits = []
    for row in rows:
        ids, mask = edge.pad([row])
        values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        logits.append(session.run(["logits"], {i.name: values[i.name] for i in session.get_inputs()})[0][0])
    return np.array(logits)


def test_the_model_is_the_fixture(folder):
    """What was built by hand from the fixture's weights gives PyTorch's logits."""
    golden = json.loads((edge.GOLDENS / "bert-plain.json").read_text())
    logits = run_whole(folder[0] / "fp32.onnx", golden["ids"])
    assert np.abs(logits - np.array(golden["logits"][0])).max() <= CLOSE


def test_the_shipped_model_is_its_checkpoint(bundles, shipped, tmp_path, record):
    """Every exit of the export against one ordinary graph of the checkpoint's weights, built without the exporter."""
    config, exits = (json.loads((shipped / f"{name}.json").read_text()) for name in ("config", "exits"))
    weights = load_file(shipped / "model.safetensors")
    path = bundles(shipped, "--fp32")
    ours = edge.logits_by_exit(edge.classify(path, file=edge.SENTENCES))
    assert len(ours) == len(exits["layers"])
    rows = edge.Bundle(path).tokenize(edge.lines(edge.SENTENCES))
    for i, layers in enumerate(exits["layers"]):
        bert = Bert({**config, "n_layers": layers}, weights)
        onnx.save(bert.model(exit_head=f"exits.{i}"), tmp_path / "whole.onnx")
        difference = np.abs(run_whole(tmp_path / "whole.onnx", rows) - ours[i]).max()
        record(f"sst2-minilm fp32, exit after layer {layers}: largest difference to one graph of its weights {difference:.1e}")
        assert difference <= CLOSE


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_onnx_runtime_agrees(folder, precision, record):
    folder, bundle = folder
    texts = edge.lines(edge.SENTENCES)
    answers = edge.classify(folder / f"{precision}.onnx", file=edge.SENTENCES)
    rows = bundle.tokenize(texts)
    assert [a["tokens"] for a in answers] == [len(row) for row in rows]
    ours = edge.logits_by_exit(answers)
    assert ours.shape[0] == 1
    theirs = run_whole(folder / f"{precision}.onnx", rows)
    difference = np.abs(ours[0] - theirs).max(axis=1)
    unoptimized = run_whole(folder / f"{precision}.onnx", rows, optimized=False)
    among_themselves = np.abs(unoptimized - theirs).max()
    median, worst = np.median(difference), difference.max()
    record(
        f"foreign ONNX {precision}: difference to ONNX Runtime, median {median:.1e}, largest {worst:.1e}; "
        f"ONNX Runtime with and without its optimizations {among_themselves:.1e}"
    )
    # Where no activation fell the other way, which is most sentences, int8 is as close as fp32.
    assert median <= CLOSE
    assert worst <= (CLOSE if precision == "fp32" else 3 * among_themselves)
