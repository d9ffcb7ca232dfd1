"""Foreign ONNX files: a whole-model BERT classifier, as exported and after `quantize_dynamic`."""

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load_file

import edge
import foreign
from onnx_bert import Bert

# tract and ONNX Runtime quantize activations alike, but add in different orders before. A value on the edge
# between two integers can be rounded either way. ONNX Runtime with and without its optimizations differs too.
# Int8 may differ by three times as much as those two do.
CLOSE = 1e-4


def modern_names(weights):
    return {k.replace("gamma", "weight").replace("beta", "bias"): v for k, v in weights.items()}


@pytest.fixture(scope="module", params=["with token types", "without token types"])
def folder(request, bundles, tmp_path_factory):
    """Makes a folder with model.onnx, model-int8.onnx, tokenizer.json and config.json, as models are published."""
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
        logits.append(session.run(None, {i.name: values[i.name] for i in session.get_inputs()})[0][0])
    return np.array(logits)


def test_the_model_is_the_fixture(folder):
    """Checks that the graph from the fixture's weights gives PyTorch's logits."""
    golden = json.loads((edge.GOLDENS / "bert-plain.json").read_text())
    logits = run_whole(folder[0] / "fp32.onnx", golden["ids"])
    assert np.abs(logits - np.array(golden["logits"][0])).max() <= CLOSE


def test_the_shipped_model_is_its_checkpoint(bundles, shipped, tmp_path, record):
    """Compares every exit of the export with an ordinary graph of the weights, built without the exporter."""
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
    # If all activations are rounded the same way, as in most sentences, int8 is as close as fp32.
    assert median <= CLOSE
    assert worst <= (CLOSE if precision == "fp32" else 3 * among_themselves)


ROBERTAS = ["camembert", "longformer", "mpnet", "roberta", "xlm-roberta"]


def agrees(model, texts, most):
    """Compares tokens and logits with `tokenizers` and ONNX Runtime."""
    rows = foreign.rows(model, texts, most)
    answers = edge.classify(model, texts)
    assert [a["tokens"] for a in answers] == [len(row) for row in rows]
    assert np.abs(edge.logits_by_exit(answers)[0] - run_whole(model, rows)).max() <= CLOSE
    return answers


@pytest.mark.parametrize("family, padding", [("bert", None), *((family, 1) for family in ROBERTAS), ("roberta", 3)])
def test_long_texts_end_at_the_last_position(tmp_path, family, padding):
    model = foreign.make(tmp_path, padding, model_type=family)
    if padding == 3:
        foreign.settings(model, pad_token_id=3)
    most = 20 if padding is None else 20 - padding - 1
    answers = agrees(model, ["a good film", "film " * 99, "good"], most)
    assert [a["truncated"] for a in answers] == [False, True, False]
    assert answers[1]["tokens"] == most
    # ONNX Runtime has no position for one more token.
    with pytest.raises(Exception, match="out of data bounds|out of bounds|invalid expand|broadcast"):
        run_whole(model, foreign.rows(model, ["film " * 99], most + 1))


def test_a_text_beyond_the_positions_is_an_error_that_names_the_file(tmp_path):
    """Uses a `config.json` with more positions than the model has."""
    model = foreign.make(tmp_path, padding=1, model_type="roberta")
    foreign.settings(model, model_type="bert")
    foreign.unanswered(model, str(model), "20 tokens", "max_position_embeddings", text="film " * 99)
    agrees(model, ["a good film"], 18)
    foreign.settings(model, max_position_embeddings=None, vocab_size=None)
    foreign.unanswered(model, str(model), "max_position_embeddings", text="film " * 99)
    agrees(model, ["a good film"], 18)


@pytest.mark.parametrize(
    "changes, parts",
    [
        ({"id2label": None}, ["2 labels (LABEL_0, LABEL_1)", "3 outputs"]),
        ({"id2label": None, "num_labels": 4}, ["4 labels", "3 outputs"]),
        ({"id2label": {"0": "a", "1": "b"}}, ["2 labels (a, b)", "3 outputs"]),
        ({"id2label": {str(i): f"n{i}" for i in range(5)}}, ["5 labels (n0, n1, n2, n3, …)", "3 outputs"]),
        ({"id2label": {"1": "a", "2": "b", "3": "c"}}, ["keys 1, 2, 3", "expected 0 to 2"]),
        ({"id2label": {"0": "a", "1": "b", "3": "c"}}, ["keys 0, 1, 3", "expected 0 to 2"]),
        ({"id2label": {"0": "a", "1": "b", "2": "a"}}, ["labels 0 and 2", "`a`"]),
        ({"id2label": {"0": "a"}}, ["1 label", "regression"]),
        ({"problem_type": "multi_label_classification"}, ["multi_label_classification"]),
        ({"problem_type": "regression"}, ["regression"]),
        ({"vocab_size": 0}, ["vocab_size is 0"]),
        ({"max_position_embeddings": 1e30}, ["max_position_embeddings is 1e"]),
        ({"model_type": "roberta", "max_position_embeddings": 2}, ["max_position_embeddings is 2", "roberta"]),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, changes, parts):
    model = foreign.make(tmp_path)
    foreign.settings(model, **changes)
    foreign.refused(model, *parts)


def test_a_token_beyond_the_vocabulary_costs_its_text_only(tmp_path):
    model = foreign.make(tmp_path)
    foreign.settings(model, vocab_size=100)
    foreign.unanswered(model, "text 1", "token id", "below 100")


def test_names_of_labels_are_those_of_transformers(tmp_path):
    model = foreign.make(tmp_path)
    for names, expected in [
        ({"0": 0, "1": 1, "2": 2}, ["0", "1", "2"]),
        ({"0": True, "1": "b", "2": 1.5}, ["True", "b", "1.5"]),
        (None, ["LABEL_0", "LABEL_1", "LABEL_2"]),
    ]:
        foreign.settings(model, id2label=names, num_labels=3)
        answer = edge.classify(model, ["a good film"])[0]
        assert list(answer["probabilities"]) == expected
        assert answer["label"] == expected[np.argmax(answer["exits"][0])]


def test_weights_in_an_external_file_are_named(tmp_path):
    model = foreign.make(tmp_path)
    onnx.save(onnx.load(model), model, save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    foreign.refused(model, str(model), "`model.onnx_data`")


def test_fused_operators_are_computed_rightly_or_named(tmp_path):
    model, path = foreign.make(tmp_path), tmp_path / "optimized.onnx"
    basic, extended = (getattr(ort.GraphOptimizationLevel, f"ORT_ENABLE_{name}") for name in ("BASIC", "EXTENDED"))
    agrees(foreign.optimized(model, path, basic), ["a good film", "dull"], 20)
    foreign.refused(foreign.optimized(model, path, extended), "com.microsoft.FusedMatMul", "optimizations")
    foreign.optimized(model, path, extended, without=["GemmActivationFusion", "MatMulScaleFusion"])
    agrees(path, ["a good film", "dull"], 20)
    fused = onnx.load(path)
    assert {n.op_type for n in fused.graph.node if n.domain == "com.microsoft"} == {"BiasGelu"}
    node = next(n for n in fused.graph.node if n.op_type == "MatMul")
    for name, domain, remedy in [
        ("Attention", "com.microsoft", "without ONNX Runtime's optimizations"),
        ("FusedMatMul", "com.microsoft", "without ONNX Runtime's optimizations"),
        ("MatMul", "elsewhere", "standard operators"),
        ("MatMull", "", "standard operators"),
    ]:
        node.op_type, node.domain = name, domain
        onnx.save(fused, path)
        foreign.refused(path, str(path), f"the operator {domain}{'.' * bool(domain)}{name} ", remedy)


def test_files_that_are_not_onnx_are_named(tmp_path):
    model = foreign.make(tmp_path)
    good = model.read_bytes()
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    for content, part in [
        (b"", "empty"),
        (pointer, "Git LFS pointer"),
        (b"<!doctype html><html></html>", "HTML"),
        (b"Entry not found, and more text that goes on for a while, and then some", "a text file"),
        (b"PK\x03\x04" + bytes(99), "ZIP"),
        (good[: len(good) // 2], "cut short"),
        (bytes(99), "not an ONNX file"),
    ]:
        model.write_bytes(content)
        foreign.refused(model, str(model), part)


def test_outputs_other_than_logits_are_refused(tmp_path):
    path = foreign.make(tmp_path)

    def changed(change):
        model = onnx.load(path)
        change(model.graph)
        onnx.save(model, tmp_path / "changed.onnx")
        return tmp_path / "changed.onnx"

    def rename(graph, name="scores"):
        graph.node[-1].output[0] = graph.output[0].name = name

    def then(kind):
        def change(graph):
            rename(graph, "before")
            graph.node.append(onnx.helper.make_node(kind, ["before"], ["logits"]))
            graph.output[0].name = "logits"
        return change

    def tokens(graph):
        graph.output[0].name = next(n.output[0] for n in graph.node if n.op_type == "Erf")

    def two(graph):
        rename(graph)
        graph.output.append(onnx.helper.make_tensor_value_info(graph.node[-2].output[0], 1, None))

    agrees(changed(rename), ["a good film"], 20)
    agrees(changed(then("Identity")), ["a good film"], 20)
    foreign.refused(changed(then("Softmax")), "`logits` comes from Softmax")
    foreign.refused(changed(then("Sigmoid")), "`logits` comes from Sigmoid")
    foreign.refused(changed(tokens), "[batch, labels]")
    foreign.refused(changed(two), "its outputs are scores, ")


@pytest.mark.parametrize("precision", ["--fp32", "--fp16", "--int8"])
def test_our_own_export_answers_at_its_last_exit(wholes, precision):
    model = wholes(edge.FIXTURES / "bert-exits", "--format", "onnx", precision)
    rows = model.tokenize(texts := ["a good film", "dull"])
    ours = edge.logits_by_exit(edge.classify(model.path, texts))
    assert ours.shape[0] == 1 and len(model.outputs) > 1
    assert np.abs(ours[0] - model.run_one_by_one(rows)[-1]).max() <= (2e-2 if precision == "--fp16" else 1e-3)
