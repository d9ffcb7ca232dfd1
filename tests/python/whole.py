"""Shared functions for tests of whole-model files: export, metadata and inference."""

import json

import numpy as np
import onnx
from onnx import numpy_helper
from tokenizers import Tokenizer

import edge


class Whole:
    """A whole-model ONNX file with the files beside it, opened as a user of ONNX Runtime does."""

    def __init__(self, path):
        self.path = path
        self.session = edge.session(path)
        self.facts = {k: json.loads(v) for k, v in self.session.get_modelmeta().custom_metadata_map.items()}
        self.outputs = [o.name for o in self.session.get_outputs()]
        self.tokenizer = Tokenizer.from_file(str(path.with_name("tokenizer.json")))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.facts["max_tokens"])

    def tokenize(self, texts):
        return [self.tokenizer.encode(text).ids for text in texts]

    def run(self, ids, mask, session=None):
        """Logits [exit, sentence, class]."""
        return np.array((session or self.session).run(self.outputs, {"input_ids": ids, "attention_mask": mask}))

    def run_one_by_one(self, rows, session=None):
        return np.concatenate([self.run(*edge.pad([row]), session) for row in rows], axis=1)

    def weights(self):
        return {t.name: numpy_helper.to_array(t) for t in onnx.load(self.path).graph.initializer}


def export(checkpoint, folder, *options):
    folder.mkdir(parents=True)
    edge.export(checkpoint, folder / "model.onnx", *options)
    return Whole(folder / "model.onnx")


def exits(checkpoint):
    """The number of encoder layers before each exit, from the checkpoint's own files."""
    file = checkpoint / "exits.json"
    if file.exists():
        return json.loads(file.read_text())["layers"]
    config = json.loads((checkpoint / "config.json").read_text())
    return [config.get("num_hidden_layers") or config["n_layers"]]


def other_labels(theirs, ours):
    """Mask of the labels that differ. Their margin must be at most twice the largest difference of the logits."""
    ordered = np.sort(theirs, axis=2)
    margin = ordered[:, :, -1] - ordered[:, :, -2]
    other = ours.argmax(axis=2) != theirs.argmax(axis=2)
    bound = 2 * np.abs(ours - theirs).max(axis=2)
    assert (margin[other] <= bound[other]).all()
    return other
