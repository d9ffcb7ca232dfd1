"""Holds the tensor names, shapes and settings of `tests/python/full_size.py` against what `transformers` saves.

Run by hand where PyTorch is, after a change there:

    pip install torch transformers onnxruntime tokenizers safetensors
    python tests/goldens/check_names.py
"""

import json
import sys
import tempfile
from pathlib import Path

import transformers
from safetensors import safe_open

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

import full_size  # noqa: E402


def main():
    for settings in (full_size.DISTILBERT, full_size.BERT_BASE):
        kind = "DistilBert" if settings["model_type"] == "distilbert" else "Bert"
        config = getattr(transformers, f"{kind}Config")(**{k: v for k, v in settings.items() if k != "model_type"})
        model = getattr(transformers, f"{kind}ForSequenceClassification")(config)
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            saved = json.loads((Path(folder) / "config.json").read_text())
            with safe_open(Path(folder) / "model.safetensors", "np") as file:
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
        assert shapes == full_size.SHAPES[settings["model_type"]](settings), settings["model_type"]
        wrong = {k: (v, saved.get(k)) for k, v in settings.items() if saved.get(k) != v}
        # Labels that are the default are not written; every other setting is.
        assert not wrong.keys() - {"id2label", "label2id"}, wrong
        print(f"{settings['model_type']}: {len(shapes)} tensors and {len(settings)} settings as transformers saves them")


if __name__ == "__main__":
    main()
