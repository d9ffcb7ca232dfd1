"""Training rows and held-out rows, by the rule of edge-toolkit's data/split.rs. The teacher so never sees the rows that
calibrate the student's exits."""

import hashlib
import re
from pathlib import Path

# Scripts without spaces, in which every character is a word: data/words.rs.
SINGLE = (
    "\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U0002a6df\U0002a700-\U0002ceaf\U0002f800-\U0002fa1f"
)
WORD = re.compile(f"[{SINGLE}]|[^{SINGLE}]+")


def load(path):
    """Reads the sentences and labels of GLUE's train.tsv."""
    lines = Path(path).read_text(encoding="utf8").splitlines()[1:]
    return [(sentence.strip(), int(label)) for sentence, label in (line.rsplit("\t", 1) for line in lines)]


def words_of(text):
    runs = ((run, WORD.findall(run)) for run in text.split())
    # A single such character is often part of an emoticon.
    one = lambda words: sum(bool(re.match(f"[{SINGLE}]", word)) for word in words) < 2
    return tuple(word for run, words in runs for word in ([run] if one(words) else words))


def spans(words, least=1):
    return (words[i:j] for i in range(len(words)) for j in range(i + least, len(words) + 1))


def split(texts, held=2000, seed=1, least_words=6):
    """Splits rows into indices to train on and indices held out."""
    words = [words_of(text) for text in texts]
    seen, whole = set(), []
    for i in sorted(range(len(texts)), key=lambda i: (-len(words[i]), i)):
        if words[i] in seen:
            continue
        if len(words[i]) >= least_words:
            whole.append(i)
        seen.update(spans(words[i]))
    whole.sort(key=lambda i: hashlib.sha256(f"{seed}\t{texts[i]}".encode()).digest())
    held_out = sorted(whole[:held])
    near = {span for i in held_out for span in spans(words[i], (len(words[i]) + 1) // 2)}
    return [i for i in range(len(texts)) if words[i] not in near], held_out
