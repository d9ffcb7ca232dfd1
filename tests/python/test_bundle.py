"""The graphs inside `model.edge`, run by ONNX Runtime stage after stage, compared with `edge-run`."""

import numpy as np
import onnx
import pytest

import edge
import parity

PRECISIONS = ["--fp32", "--int8"]
MODELS = [*edge.FIXTURE_NAMES, "sst2-minilm"]


@pytest.fixture(params=MODELS)
def checkpoint(request):
    if request.param == "sst2-minilm":
        return request.getfixturevalue("shipped")
    return edge.FIXTURES / request.param


@pytest.mark.parametrize("precision", PRECISIONS)
def test_entries_and_graphs_are_sound(bundles, checkpoint, precision):
    bundle = edge.Bundle(bundles(checkpoint, precision))
    bundle.verify()
    exits = 0
    for i, name in enumerate(bundle.stages):
        model = onnx.load_from_string(bundle.entries[name])
        onnx.checker.check_model(model, full_check=True)
        inputs = {v.name for v in model.graph.input}
        outputs = {v.name for v in model.graph.output}
        assert inputs <= {"input_ids" if i == 0 else "hidden", "attention_mask"}, name
        assert ("logits" in outputs) == bundle.manifest["stages"][i]["exit"], name
        assert len(outputs - {"logits"}) == (1 if i + 1 < len(bundle.stages) else 0), name
        exits += "logits" in outputs
    assert exits >= 1


@pytest.mark.parametrize("precision", PRECISIONS)
def test_onnx_runtime_agrees(bundles, checkpoint, precision, record):
    path = bundles(checkpoint, precision)
    bundle = edge.Bundle(path)
    texts = edge.lines(edge.SENTENCES)
    assert len(texts) >= 200
    compare(bundle, edge.classify(path, file=edge.SENTENCES), texts, precision, record, checkpoint.name)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_onnx_runtime_agrees_on_sst2_dev(bundles, shipped, shared, precision, record, tmp_path):
    texts = sst2_dev(shared)[0]
    file = tmp_path / "dev.txt"
    file.write_text("\n".join(texts) + "\n", encoding="utf-8")
    path = bundles(shipped, precision)
    compare(edge.Bundle(path), edge.classify(path, file=file), texts, precision, record, "sst2-minilm, SST-2 dev")


@pytest.mark.parametrize("name", ["bert-exits", "distilbert-exits"])
def test_onnx_runtime_agrees_on_embeddings_of_4_bits(bundles, name, record):
    path = bundles(edge.FIXTURES / name, "--int8", "--embedding-bits", "4")
    bundle = edge.Bundle(path)
    onnx.checker.check_model(onnx.load_from_string(bundle.entries["stage-0.onnx"]), full_check=True)
    answers, texts = edge.classify(path, file=edge.SENTENCES), edge.lines(edge.SENTENCES)
    compare(bundle, answers, texts, "--int8", record, f"{name}, embeddings of 4 bits,")


FORMS = [("--linear-bits", "4")] + [("--pack", processor) for processor in ["avx2", "avx512-vnni", "neon-dot"]]


@pytest.mark.parametrize("name", ["bert-exits", "distilbert-exits"])
@pytest.mark.parametrize("bits", ["7", "8"])
@pytest.mark.parametrize("form", FORMS, ids=" ".join)
def test_onnx_runtime_agrees_on_other_forms_of_linear_layers(bundles, name, bits, form, record):
    path = bundles(edge.FIXTURES / name, "--int8", *form, "--weight-bits", bits)
    bundle = edge.Bundle(path)
    for stage, graph in bundle.entries.items():
        if stage.endswith(".onnx"):
            onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
    nodes = onnx.load_from_string(bundle.entries["stage-1.onnx"]).graph.node
    operator = {"--linear-bits": "Q4Linear", "--pack": "PackedLinear"}[form[0]]
    assert sum(n.op_type.startswith(operator) for n in nodes) == 5
    assert not any(n.op_type.startswith("QLinear") for n in nodes)
    answers, texts = edge.classify(path, file=edge.SENTENCES), edge.lines(edge.SENTENCES)
    compare(bundle, answers, texts, "--int8", record, f"{name}, {bits} bits, {' '.join(form)},")


def sst2_dev(shared):
    rows = [line.rsplit("\t", 1) for line in edge.lines(shared / "data" / "sst2" / "dev.tsv")[1:]]
    return [text for text, _ in rows], np.array([int(label) for _, label in rows])


def compare(bundle, answers, texts, precision, record, name):
    assert [a["text"] for a in answers] == texts
    rows = bundle.tokenize(texts)
    assert [a["tokens"] for a in answers] == [len(row) for row in rows]
    ours = edge.logits_by_exit(answers)
    theirs = bundle.run_one_by_one(rows)

    labels = bundle.manifest["task"]["labels"]
    for answer, logits in zip(answers, ours[-1]):
        assert answer["label"] == labels[int(np.argmax(logits))]
        softmax = np.exp(logits - logits.max())
        softmax /= softmax.sum()
        assert np.allclose([answer["probabilities"][label] for label in labels], softmax, atol=1e-5)

    parity.check(ours, theirs, bundle, rows, precision, record, name)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_padded_batch_gives_the_same(bundles, checkpoint, precision, record):
    """Checks that batch and sequence are dynamic, and that padding changes nothing."""
    bundle = edge.Bundle(bundles(checkpoint, precision))
    rows = bundle.tokenize(edge.lines(edge.SENTENCES)[::7])
    assert len({len(row) for row in rows}) > 5
    alone = bundle.run_one_by_one(rows)
    together = bundle.run_stages(*edge.pad(rows))
    parity.check(together, alone, bundle, rows, precision, record, f"{checkpoint.name}, a padded batch,")
