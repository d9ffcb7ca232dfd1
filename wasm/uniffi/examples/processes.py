"""Puts a label on each text, in several processes: processes.py model.edge "what a wonderful film" "dull" """

import sys
from concurrent.futures import ProcessPoolExecutor

from edge_distil import Classifier


def start(given):
    global classifier
    classifier = given


def label(text):
    return classifier.classify(text).label


if __name__ == "__main__":
    opened = Classifier.open(sys.argv[1])
    with ProcessPoolExecutor(initializer=start, initargs=(opened,)) as pool:
        labels = list(pool.map(label, sys.argv[2:]))
    print(*labels, sep="\n")
