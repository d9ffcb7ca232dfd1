"""Measures static quantization: ONNX Runtime runs a file of `edge-export --format tensorrt`, whose activation scales
are fixed by calibration. The result is saved with those of `edge-distill measure`:

    pip install onnxruntime tokenizers
    python static.py dev.tsv measured static-kl/model.onnx kl
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

dev, measured, model, method = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
dynamic = json.loads((measured / "int8.json").read_text())

options = onnxruntime.SessionOptions()
options.log_severity_level = 3
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
facts = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
tokenizer = Tokenizer.from_file(str(model.with_name("tokenizer.json")))
tokenizer.no_padding()
tokenizer.enable_truncation(facts["max_tokens"])
last = session.get_outputs()[-1].name

rows = [line.rsplit("\t", 1) for line in dev.read_text(encoding="utf8").splitlines()[1:]]
right = 0
for text, label in rows:
    ids = np.array([tokenizer.encode(text.strip()).ids])
    (logits,) = session.run([last], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    right += int(logits.argmax()) == int(label)

n, z = len(rows), 1.959964  # Wilson's interval of 95 %
share = right / n
middle = (share + z * z / (2 * n)) / (1 + z * z / n)
half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
record = {
    "version": dynamic["version"],
    "id": f"static-{method}",
    "name": f"int8, activations static ({method})",
    "step": "quantize",
    "from": "student",
    "data": dynamic["data"] | {"sentences": n},
    "parameters": dynamic["parameters"],
    "bytes": model.stat().st_size,
    "figures": {
        "stated": {
            "source": f"It is the export for TensorRT, which ONNX Runtime {onnxruntime.__version__} computed.",
            "accuracy": {"value": share, "low": middle - half, "high": middle + half},
        }
    },
}
(measured / f"static-{method}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf8")
print(f"{method}: {100 * share:.2f} %")
