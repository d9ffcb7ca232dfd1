"""Writes sentences for the teacher to label: training sentences in which a phrase is replaced by another one.

    python augment.py train.tsv augmented.tsv

SST-2's training rows are mostly phrases of its sentences; a student that meets whole sentences in use learns from more
of them. The sentences that are held out give nothing.
"""

import random
import sys
from collections import defaultdict

from rows import load, split

SENTENCES = 40_000


def main(source, target):
    texts = [text for text, _ in load(source)]
    train, _ = split(texts)
    texts = [texts[i] for i in train]
    rng = random.Random(5)
    phrases = {t for t in texts if 2 <= len(t.split()) <= 8}
    by_length = defaultdict(list)
    for phrase in sorted(phrases):
        by_length[len(phrase.split())].append(phrase)
    sentences = sorted({t for t in texts if len(t.split()) >= 9})
    made = set()
    while len(made) < SENTENCES:
        words = rng.choice(sentences).split()
        for _ in range(rng.choice([1, 1, 2])):
            replace(words, phrases, by_length, rng)
        if len(words) <= 50:
            made.add(" ".join(words))
    with open(target, "w", encoding="utf8") as file:
        file.write("sentence\n")
        file.writelines(f"{text}\n" for text in sorted(made))


def replace(words, phrases, by_length, rng):
    """Puts another phrase of about the same length in the place of a phrase, if one is found in twenty tries."""
    for _ in range(20):
        n = rng.randint(2, 6)
        i = rng.randrange(max(1, len(words) - n))
        if " ".join(words[i : i + n]) in phrases:
            length = min(8, max(2, n + rng.choice([-1, 0, 0, 1])))
            words[i : i + n] = rng.choice(by_length[length]).split()
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
