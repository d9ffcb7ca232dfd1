"""Makes `tests/goldens/added-tokens.json`: PyTorch's logits of a checkpoint with added tokens.

Run by hand, once, where PyTorch is; the result is committed, and no test needs PyTorch:

    pip install torch transformers==5.23.0 safetensors
    python tests/goldens/make_added_tokens.py

The checkpoint is the fixture `bert-plain` with two more tokens, which `added_tokens.json` numbers. Their embeddings
are those of two other tokens with the sign changed, so that the test can write the same checkpoint anew.
"""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parents[1] / "models" / "fixtures"
EMBEDDINGS = "bert.embeddings.word_embeddings.weight"
TEXTS = [
    "@user see [url] now", "a good film , @user !", "[URL][url]@user@USER", "nothing is added here", "The film: [url]",
    "@users are not @user", "", "[url]",
]


def grow(folder, count):
    """Gives the model of a checkpoint embeddings for `count` more tokens. Returns the id of the first."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    first = config["vocab_size"]
    config["vocab_size"] += count
    path.write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    table = weights[EMBEDDINGS]
    weights[EMBEDDINGS] = np.concatenate([table, -table[100 : 100 + count]])
    save_file(weights, folder / "model.safetensors")
    return first


def write(folder):
    """The checkpoint of the golden."""
    shutil.copytree(FIXTURES / "bert-plain", folder)
    first = grow(folder, 2)
    (folder / "added_tokens.json").write_text(json.dumps({"[url]": first + 1, "@user": first}))
    return folder


def main():
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with tempfile.TemporaryDirectory() as temporary:
        folder = write(Path(temporary) / "added-tokens")
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
        ids = [tokenizer(text).input_ids for text in TEXTS]
        assert max(map(max, ids)) + 1 == model.config.vocab_size == len(tokenizer)
        with torch.no_grad():
            logits = [model(input_ids=torch.tensor([row])).logits[0].tolist() for row in ids]
    rounded = [[float(f"{x:.8g}") for x in row] for row in logits]
    body = json.dumps({"texts": TEXTS, "ids": ids, "logits": rounded}, separators=(",", ":"))
    (HERE / "added-tokens.json").write_text(body + "\n")


if __name__ == "__main__":
    main()
