"""Checkpoints at full size with random weights, under the tensor names and settings that `transformers` writes.

`tests/goldens/check_names.py` compares these names, shapes and settings with `transformers` itself.
"""

import json
import shutil

import numpy as np
from safetensors.numpy import save_file

import edge

LABELS = {"id2label": {"0": "NEGATIVE", "1": "POSITIVE"}, "label2id": {"NEGATIVE": 0, "POSITIVE": 1}}
DISTILBERT = {
    "model_type": "distilbert", "architectures": ["DistilBertForSequenceClassification"],
    "activation": "gelu", "attention_dropout": 0.1, "dim": 768, "dropout": 0.1, "hidden_dim": 3072,
    "initializer_range": 0.02, "max_position_embeddings": 512, "n_heads": 12, "n_layers": 6, "pad_token_id": 0,
    "qa_dropout": 0.1, "seq_classif_dropout": 0.2, "sinusoidal_pos_embds": False, "vocab_size": 30522, **LABELS,
}
BERT_BASE = {
    "model_type": "bert", "architectures": ["BertForSequenceClassification"],
    "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 768,
    "initializer_range": 0.02, "intermediate_size": 3072, "layer_norm_eps": 1e-12, "max_position_embeddings": 512,
    "num_attention_heads": 12, "num_hidden_layers": 12, "pad_token_id": 0, "type_vocab_size": 2,
    "vocab_size": 30522, **LABELS,
}


def linear(name, inputs, outputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def distilbert_shapes(c):
    width, inner = c["dim"], c["hidden_dim"]
    shapes = {
        "distilbert.embeddings.word_embeddings.weight": (c["vocab_size"], width),
        "distilbert.embeddings.position_embeddings.weight": (c["max_position_embeddings"], width),
        **norm("distilbert.embeddings.LayerNorm", width),
    }
    for i in range(c["n_layers"]):
        layer = f"distilbert.transformer.layer.{i}"
        for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
            shapes |= linear(f"{layer}.attention.{part}", width, width)
        shapes |= norm(f"{layer}.sa_layer_norm", width)
        shapes |= linear(f"{layer}.ffn.lin1", width, inner) | linear(f"{layer}.ffn.lin2", inner, width)
        shapes |= norm(f"{layer}.output_layer_norm", width)
    return shapes | linear("pre_classifier", width, width) | linear("classifier", width, len(c["id2label"]))


def bert_shapes(c):
    width, inner = c["hidden_size"], c["intermediate_size"]
    shapes = {
        "bert.embeddings.word_embeddings.weight": (c["vocab_size"], width),
        "bert.embeddings.position_embeddings.weight": (c["max_position_embeddings"], width),
        "bert.embeddings.token_type_embeddings.weight": (c["type_vocab_size"], width),
        **norm("bert.embeddings.LayerNorm", width),
    }
    for i in range(c["num_hidden_layers"]):
        layer = f"bert.encoder.layer.{i}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes |= linear(f"{layer}.attention.{part}", width, width)
        shapes |= norm(f"{layer}.attention.output.LayerNorm", width)
        shapes |= linear(f"{layer}.intermediate.dense", width, inner) | linear(f"{layer}.output.dense", inner, width)
        shapes |= norm(f"{layer}.output.LayerNorm", width)
    return shapes | linear("bert.pooler.dense", width, width) | linear("classifier", width, len(c["id2label"]))


SHAPES = {"distilbert": distilbert_shapes, "bert": bert_shapes}


def write(folder, config, seed):
    """Writes a full-size f32 checkpoint with the tokenizer of a fixture, whose ids are a part of the vocabulary."""
    random = np.random.default_rng(seed)
    tensors = {}
    for name, shape in SHAPES[config["model_type"]](config).items():
        noise = random.standard_normal(shape, dtype=np.float32)
        is_norm = "norm.weight" in name.lower()
        tensors[name] = 1 + 0.1 * noise if is_norm else np.float32(0.04) * noise
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    shutil.copy(edge.FIXTURES / "bert-exits" / "tokenizer.json", folder)
    return sum(t.size for t in tensors.values())
