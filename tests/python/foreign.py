"""Small foreign classifiers: an ONNX file, `tokenizer.json` and `config.json` in a folder."""

import json
import subprocess

import numpy as np
import onnx
import onnxruntime as ort
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from tokenizers.processors import RobertaProcessing

import edge
from onnx_bert import Bert

LABELS = {"0": "bad", "1": "so-so", "2": "good"}
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def tokenizer(path):
    """Makes a byte-pair tokenizer, like RoBERTa's."""
    pairs = ByteLevelBPETokenizer()
    pairs.train_from_iterator(edge.lines(edge.SENTENCES), vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    pairs.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))
    pairs.save(str(path))
    return pairs.get_vocab_size()


def weights(config):
    """Makes random weights under BERT's names, large enough that answers differ between texts."""
    random = np.random.default_rng(7)
    width, inner, made = config["hidden_size"], config["intermediate_size"], {}

    def table(name, *shape):
        made[name] = random.normal(0, 0.3, shape).astype(np.float32)

    def linear(name, rows, columns):
        table(f"{name}.weight", rows, columns)
        table(f"{name}.bias", rows)

    def norm(name):
        made[f"{name}.weight"], made[f"{name}.bias"] = np.ones(width, np.float32), np.zeros(width, np.float32)

    table("bert.embeddings.word_embeddings.weight", config["vocab_size"], width)
    table("bert.embeddings.position_embeddings.weight", config["max_position_embeddings"], width)
    norm("bert.embeddings.LayerNorm")
    for i in range(config["num_hidden_layers"]):
        layer = f"bert.encoder.layer.{i}"
        for part in ["query", "key", "value"]:
            linear(f"{layer}.attention.self.{part}", width, width)
        linear(f"{layer}.attention.output.dense", width, width)
        linear(f"{layer}.intermediate.dense", inner, width)
        linear(f"{layer}.output.dense", width, inner)
        norm(f"{layer}.attention.output.LayerNorm")
        norm(f"{layer}.output.LayerNorm")
    linear("bert.pooler.dense", width, width)
    linear("classifier", len(config["id2label"]), width)
    return made


def make(folder, padding=None, **settings):
    """Makes a folder with model.onnx; `padding` gives it RoBERTa's positions."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 32, "hidden_act": "gelu", "layer_norm_eps": 1e-5, "max_position_embeddings": 20,
        "vocab_size": tokenizer(folder / "tokenizer.json"), "id2label": LABELS, **settings,
    }
    (folder / "config.json").write_text(json.dumps(config))
    onnx.save(Bert(config, weights(config), padding).model(token_types=False), folder / "model.onnx")
    return folder / "model.onnx"


def settings(model, **changes):
    """Changes settings of config.json; None removes one."""
    path = model.with_name("config.json")
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))


def rows(model, texts, most):
    """Token ids of texts, cut to `most` tokens."""
    tokenizer = Tokenizer.from_file(str(model.with_name("tokenizer.json")))
    tokenizer.enable_truncation(most)
    return [tokenizer.encode(text).ids for text in texts]


def _run(model, text, parts):
    done = subprocess.run([edge.BIN / "edge-run", model, "--json", "--", text], capture_output=True, timeout=60, text=True)
    assert "panicked at" not in done.stderr, done.stderr
    for part in parts:
        assert part in done.stderr, done.stderr
    return done


def refused(model, *parts, text="a good film"):
    """Checks that the model is refused, with one line that contains all parts."""
    done = _run(model, text, parts)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr


def unanswered(model, *parts, text="a good film"):
    """Checks that only one text lacks an answer, and that the message contains all parts."""
    done = _run(model, text, parts)
    (answer,) = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, sorted(answer), answer["text"]) == (1, ["error", "text"], 1), done.stdout


def optimized(model, path, level, without=()):
    """Optimizes the model with ONNX Runtime, without some of its passes."""
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 4
    providers = ["CPUExecutionProvider"]
    ort.InferenceSession(str(model), options, providers=providers, disabled_optimizers=list(without))
    return path
