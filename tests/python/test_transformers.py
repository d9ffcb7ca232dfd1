"""Checkpoints of `edge-distill`, loaded by transformers: the classifier is the last exit, or is absent.

These tests alone need PyTorch and transformers: `pip install torch transformers==5.23.0`.
"""

import json

import edge
import numpy as np
import pytest
from conftest import skip_loudly

try:
    import torch
    import transformers
except ImportError:
    torch = None

TEXTS = ["film 1 is good", "film 2 is bad", "a film that is neither good nor bad , but long"]


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Trains a student with an exit after every layer."""
    if torch is None:
        skip_loudly("NOT RUN: needs torch and transformers, which are absent")
    place = tmp_path_factory.mktemp("students")
    rows = [f"film {i} is {['good', 'bad'][i % 2]}\t{['up', 'down'][i % 2]}\n" for i in range(40)]
    (place / "train.tsv").write_text("sentence\tlabel\n" + "".join(rows))

    def student(start, pooling):
        name = f"{start}-{pooling}"
        (place / f"{name}.toml").write_text(
            f"""
            data.train = 'train.tsv'
            model = {{start = '{edge.FIXTURES / start}', exits = 'all', pooling = '{pooling}'}}
            train = {{epochs = 1, batch = 16}}
            """
        )
        edge.run("edge-distill", "finetune", "--recipe", place / f"{name}.toml", "-o", place / name)
        return place / name

    return student


def by_transformers(checkpoint):
    """The logits of `AutoModelForSequenceClassification`, and the names of weights that it initialized randomly."""
    model, info = transformers.AutoModelForSequenceClassification.from_pretrained(
        checkpoint, output_loading_info=True
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(checkpoint / "tokenizer.json"), pad_token="[PAD]"
    )
    model.eval()
    with torch.no_grad():
        logits = [model(**tokenizer(text, return_tensors="pt")).logits[0].numpy() for text in TEXTS]
    return np.array(logits), sorted(info["missing_keys"])


def architectures(checkpoint):
    return json.loads((checkpoint / "config.json").read_text())["architectures"]


def check_the_last_exit(checkpoint):
    assert architectures(checkpoint) == ["BertForSequenceClassification"]
    theirs, made_up = by_transformers(checkpoint)
    assert made_up == []
    bundle = checkpoint.with_suffix(".edge")
    edge.export(checkpoint, bundle, "--fp32")
    ours = edge.logits_by_exit(edge.classify(bundle, TEXTS))[-1]
    np.testing.assert_allclose(theirs, ours, atol=2e-5)


def test_the_class_token_exit_of_a_bert_is_its_classifier(train):
    student = train("bert-exits", "cls")
    check_the_last_exit(student)
    for name, command in {
        "pruned": ["prune", student, "--layers", "2"],
        "mean": ["average", student, student],
        "small": ["vocabulary", student, "--data", student.parent / "train.tsv"],
        "smooth": ["smooth", student, "--data", student.parent / "train.tsv"],
    }.items():
        edge.run("edge-distill", *command, "-o", student.parent / name)
        check_the_last_exit(student.parent / name)


@pytest.mark.parametrize("start, pooling", [("bert-exits", "mean"), ("distilbert-exits", "cls")])
def test_another_exit_is_not_promised(train, start, pooling):
    student = train(start, pooling)
    base = {"bert-exits": "BertModel", "distilbert-exits": "DistilBertModel"}[start]
    assert architectures(student) == [base]
    # transformers reports a new classifier.
    _, made_up = by_transformers(student)
    assert any(name.startswith("classifier") for name in made_up), made_up
    # The encoder is complete.
    encoder, info = getattr(transformers, base).from_pretrained(student, output_loading_info=True)
    assert all(name.startswith("pooler") for name in info["missing_keys"]), info
    layers = json.loads((edge.FIXTURES / start / "exits.json").read_text())["layers"][-1]
    assert encoder.config.num_hidden_layers == layers
