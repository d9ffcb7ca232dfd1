"""Shared functions of the Python tests: our binaries, a second reader of `model.edge`, and ONNX Runtime."""

import hashlib
import json
import os
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("EDGE_BIN_DIR", ROOT / "target" / "release"))
FIXTURES = ROOT / "models" / "fixtures"
GOLDENS = ROOT / "tests" / "goldens"
SHIPPED = ROOT / "models" / "sst2-minilm"
SHARED = ROOT.parent / "shared"
SENTENCES = Path(__file__).with_name("sentences.txt")
FIXTURE_NAMES = ["bert-exits", "bert-plain", "distilbert-exits", "distilbert-plain"]


def run(program, *arguments, timeout=600):
    """Runs one of our binaries and returns its standard output; a failure shows its standard error."""
    program = BIN / program
    command = list(map(str, [program, *arguments]))
    done = subprocess.run(command, capture_output=True, timeout=timeout)
    if done.returncode != 0:
        shown = " ".join(command)[:300]
        said = done.stderr.decode(errors="replace")[-3000:]
        raise AssertionError(f"{shown}\nended with {done.returncode}:\n{said}")
    return done.stdout.decode()


def export(checkpoint, output, *options):
    run("edge-export", *options, checkpoint, "-o", output)
    return output


def classify(model, texts=None, file=None):
    """Full-depth answers of `edge-run`, one object for each text."""
    what = ["--file", file] if file else ["--", *texts]
    output = run("edge-run", model, "--json", "--policy", "never", *what)
    return [json.loads(line) for line in output.split("\n") if line]


def logits_by_exit(answers):
    """`exits` of many answers as an array [exit, sentence, class]."""
    return np.array([a["exits"] for a in answers], dtype=np.float64).transpose(1, 0, 2)


def lines(path):
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def session(model):
    """An ONNX Runtime session with the usual options: all optimizations, one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def pad(rows):
    """Ids and mask of a batch, padded to its longest row."""
    width = max(map(len, rows))
    ids = np.zeros((len(rows), width), dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return ids, mask


class Bundle:
    """`model.edge` read with Python's own tar reader."""

    def __init__(self, path):
        with tarfile.open(path, "r:") as tar:
            members = tar.getmembers()
            assert all(m.isreg() for m in members), [m.name for m in members]
            self.names = [m.name for m in members]
            self.entries = {m.name: tar.extractfile(m).read() for m in members}
        self.manifest = json.loads(self.entries["manifest.json"])
        self.max_tokens = self.manifest["input"]["max_tokens"]
        self._sessions = None

    @property
    def stages(self):
        return [name for name in self.names if name.endswith(".onnx")]

    def verify(self):
        """Verifies the order, sizes and SHA-256 of all entries, the manifest included."""
        stages = [f"stage-{i}.onnx" for i in range(len(self.manifest["stages"]))]
        expected = ["manifest.json", "tokenizer.json", *stages]
        assert self.names == expected
        assert [e["name"] for e in self.manifest["entries"]] == expected[1:]
        for entry in self.manifest["entries"]:
            body = self.entries[entry["name"]]
            assert len(body) == entry["bytes"], entry["name"]
            assert hashlib.sha256(body).hexdigest() == entry["sha256"], entry["name"]
        digest = self.manifest["digest"].encode()
        blank = self.entries["manifest.json"].replace(digest, b"0" * 64, 1)
        assert hashlib.sha256(blank).hexdigest().encode() == digest

    def tokenize(self, texts):
        tokenizer = Tokenizer.from_str(self.entries["tokenizer.json"].decode())
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.max_tokens)
        return [tokenizer.encode(text).ids for text in texts]

    def run_stages(self, ids, mask, jitter=None):
        """Logits [exit, sentence, class] from ONNX Runtime, stage after stage.

        `jitter`, a random generator, moves hidden states by up to 2 units in the last place between stages.
        """
        if self._sessions is None:
            self._sessions = [session(self.entries[name]) for name in self.stages]
        values = {"input_ids": ids, "attention_mask": mask}
        exits = []
        for stage in self._sessions:
            if jitter and "hidden" in values:
                hidden = values["hidden"]
                values["hidden"] = (hidden * (1 + 2.0**-22 * jitter.uniform(-1, 1, hidden.shape))).astype(np.float32)
            feeds = {i.name: values[i.name] for i in stage.get_inputs()}
            names = [o.name for o in stage.get_outputs()]
            for name, value in zip(names, stage.run(names, feeds)):
                if name == "logits":
                    exits.append(value)
                else:
                    values["hidden"] = value
        return np.array(exits)

    def run_one_by_one(self, rows, jitter=None):
        batches = [self.run_stages(*pad([row]), jitter) for row in rows]
        return np.concatenate(batches, axis=1)
