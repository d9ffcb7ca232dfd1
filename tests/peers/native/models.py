"""The models that are raced, as bundles for us and as ONNX files for the peers, built once under a folder."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import edge
import full_size
import peer


@dataclass
class Model:
    name: str
    checkpoint: Path
    bundle: Path
    # By (graph, weights), see peer.py.
    onnx: dict


def minilm(work):
    """The shipped student: its shape is that of MiniLM, 6 layers of width 384."""
    return build("minilm int8", edge.SHIPPED, work / "minilm")


def distilbert(work):
    """DistilBERT's shape, 6 layers of width 768, with random weights."""
    checkpoint = work / "distilbert" / "checkpoint"
    if not (checkpoint / "tokenizer.json").exists():
        shutil.rmtree(checkpoint, ignore_errors=True)
        full_size.write(checkpoint, full_size.DISTILBERT, seed=7)
    return build("distilbert-shape int8", checkpoint, work / "distilbert")


def build(name, checkpoint, folder):
    folder.mkdir(parents=True, exist_ok=True)
    bundle = edge.export(checkpoint, folder / "model.edge", "--int8")
    return Model(name, checkpoint, bundle, peer.build(checkpoint, folder))


def sentences(path):
    """Texts, and their labels where the file is a TSV whose header names `sentence` and `label`."""
    rows = edge.lines(path)
    header = rows[0].split("\t")
    if header != ["sentence", "label"]:
        return rows, None
    texts, labels = zip(*(row.rsplit("\t", 1) for row in rows[1:]))
    return [text.strip() for text in texts], [int(label) for label in labels]
