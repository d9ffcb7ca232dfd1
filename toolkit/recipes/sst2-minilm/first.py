"""The first rows of the training data and what the teacher says of them, for trainings that are to be short:

    python first.py train.tsv teacher.safetensors 20000    # writes first.tsv, first.safetensors
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

train, teacher, number = sys.argv[1:]
head, *rows = Path(train).read_text(encoding="utf8").splitlines()
rows = rows[: int(number)]
Path("first.tsv").write_text("\n".join([head, *rows]) + "\n", encoding="utf8")
texts = "\n".join(row.rsplit("\t", 1)[0].strip() for row in rows)
digest = np.frombuffer(hashlib.sha256(texts.encode()).digest(), dtype=np.uint8)
logits = np.ascontiguousarray(load_file(teacher)["logits"][: len(rows)])
save_file({"logits": logits, "texts": digest.copy()}, "first.safetensors")
