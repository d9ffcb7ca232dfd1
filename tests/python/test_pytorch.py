"""Exports compared with PyTorch's logits: the goldens of the fixtures, and the reference for SST-2 dev."""

import json

import numpy as np
import pytest

import edge
from test_bundle import sst2_dev

REFERENCE_TOKENS = 64  # largest number of tokens for the reference logits


def golden(name):
    return json.loads((edge.GOLDENS / f"{name}.json").read_text())


@pytest.mark.parametrize("name", edge.FIXTURE_NAMES)
def test_fixture_goldens(bundles, record, name):
    expected = golden(name)
    path = bundles(edge.FIXTURES / name, "--fp32")
    answers = edge.classify(path, texts=expected["texts"])
    assert edge.Bundle(path).tokenize(expected["texts"]) == expected["ids"]
    assert [a["tokens"] for a in answers] == [len(row) for row in expected["ids"]]
    assert [a["truncated"] for a in answers] == [is_cut(path, text) for text in expected["texts"]]
    worst = np.abs(edge.logits_by_exit(answers) - np.array(expected["logits"])).max()
    record(f"{name} fp32: largest difference to PyTorch: {worst:.1e}")
    assert worst <= 1e-4


def is_cut(path, text):
    bundle = edge.Bundle(path)
    bundle.max_tokens += 1
    return len(bundle.tokenize([text])[0]) == bundle.max_tokens


@pytest.fixture(scope="module")
def dev(shared, tmp_path_factory):
    texts, labels = sst2_dev(shared)
    file = tmp_path_factory.mktemp("dev") / "dev.txt"
    file.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return file, labels


def test_sst2_dev_logits(bundles, shared, dev, record):
    """Compares a checkpoint with exits that PyTorch trained with PyTorch's logits."""
    checkpoint = shared / "checkpoints" / "minilm-sst2-exits"
    reference = np.load(checkpoint / "sst2-dev-logits.npy")
    answers = edge.classify(bundles(checkpoint, "--fp32"), file=dev[0])
    # A sentence that was cut for the reference cannot be compared.
    whole = np.array([a["tokens"] <= REFERENCE_TOKENS for a in answers])
    assert whole.sum() >= 0.99 * len(whole)
    difference = np.abs(edge.logits_by_exit(answers) - reference)[:, whole]
    by_exit = " ".join(f"{x:.1e}" for x in difference.max(axis=(1, 2)))
    count = f"{whole.sum()} of {len(whole)} dev sentences"
    record(f"MiniLM with six exits, fp32, {count}: largest difference to PyTorch, by exit: {by_exit}")
    assert difference.max() <= 1e-4


def test_int8_accuracy(bundles, shipped, dev, record):
    """Checks that int8 at full depth costs at most 0.3 points of accuracy."""
    file, labels = dev
    accuracy = {}
    for options in (("--fp32",), ("--int8", "--weight-bits", "8"), ("--int8", "--weight-bits", "7")):
        logits = edge.logits_by_exit(edge.classify(bundles(shipped, *options), file=file))
        by_exit = 100 * (logits.argmax(-1) == labels).mean(axis=1)
        accuracy[" ".join(options)] = by_exit[-1]
        record(f"SST-2 dev accuracy by exit, {' '.join(options)}: {' '.join(f'{x:.2f}' for x in by_exit)}")
    full = accuracy.pop("--fp32")
    for options, value in accuracy.items():
        assert value >= full - 0.3, f"{options}: {value:.2f} % against {full:.2f} %"
