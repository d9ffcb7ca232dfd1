"""Makes the goldens of the report's figures (`tests/goldens/metrics.json`).

Run by hand, once; the result is committed, and no test needs scikit-learn:

    pip install scikit-learn
    python tests/goldens/make_metrics.py

    f1           scikit-learn's `f1_score`: `macro` with its default labels, those that are true or predicted;
                 `per_class` with all labels, 0 where a label is neither; `positive` with two labels, of label 1
    wilson       SciPy's `binomtest(...).proportion_ci(method="wilson")`
    mcnemar      SciPy's `binomtest` of the texts that one of two models alone gets right
    calibration  the expected calibration error in numpy, with 15 bins (Guo et al. 2017)
"""

import json
from pathlib import Path

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import f1_score

BINS = 15


def f1(truth, predicted, labels):
    every = list(range(labels))
    score = lambda **more: f1_score(truth, predicted, zero_division=0, **more)
    return {
        "labels": labels,
        "truth": list(truth),
        "predicted": list(predicted),
        "macro": float(score(average="macro")),
        "per_class": score(average=None, labels=every).tolist(),
        "positive": float(score(average=None, labels=every)[1]) if labels == 2 else None,
    }


def f1_cases(random):
    written = [
        ([0, 1, 2, 0, 1, 2], [0, 2, 1, 0, 0, 2], 3),
        ([0, 1, 0, 1], [0, 0, 0, 1], 3),  # the last label occurs nowhere
        ([0, 0, 0], [0, 0, 0], 4),  # one label alone
        ([0, 0, 2, 2], [0, 1, 2, 2], 4),  # a label that is predicted and never true
        ([0, 3, 3], [0, 0, 0], 4),  # a label that is true and never predicted
        ([1, 1], [0, 0], 2),
        ([0, 0], [0, 0], 2),  # the positive label occurs nowhere
        ([1, 1], [1, 1], 2),
    ]
    drawn = []
    for labels, seen, rows in [(2, 2, 50), (5, 5, 80), (28, 9, 40), (77, 60, 120)]:
        some = random.choice(labels, seen, replace=False)
        truth = random.choice(some, rows)
        predicted = np.where(random.random(rows) < 0.7, truth, random.choice(some, rows))
        drawn.append((truth.tolist(), predicted.tolist(), labels))
    return [f1(*case) for case in written + drawn]


def wilson(count, of):
    interval = binomtest(count, of).proportion_ci(method="wilson")
    return {"count": count, "of": of, "low": float(interval.low), "high": float(interval.high)}


def mcnemar(first, second):
    p = binomtest(first, first + second).pvalue if first + second else 1.0
    return {"only_first": first, "only_second": second, "p": float(p)}


def calibration(random, labels, rows, scale):
    logits = (scale * random.standard_normal((rows, labels))).astype(np.float32)
    truth = random.integers(labels, size=rows)
    exponents = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    probabilities = exponents / exponents.sum(1, keepdims=True)
    sure, right = probabilities.max(1), probabilities.argmax(1) == truth
    edges = np.linspace(0, 1, BINS + 1)
    error = 0.0
    for low, high in zip(edges[:-1], edges[1:]):
        within = (sure > low) & (sure <= high)
        if within.any():
            error += within.mean() * abs(right[within].mean() - sure[within].mean())
    return {"truth": truth.tolist(), "logits": logits.tolist(), "error": float(error)}


def main():
    random = np.random.default_rng(3)
    golden = {
        "f1": f1_cases(random),
        "wilson": [wilson(*c) for c in [(0, 1), (1, 1), (0, 10), (10, 10), (0, 872), (872, 872), (7, 9), (437, 872)]],
        "mcnemar": [mcnemar(*c) for c in [(0, 0), (0, 1), (1, 0), (0, 12), (5, 5), (3, 11), (140, 171)]],
        # The first of each kind leaves most bins empty.
        "calibration": [calibration(random, *c) for c in [(3, 2, 1.0), (2, 40, 0.2), (2, 60, 3.0), (9, 50, 2.0)]],
    }
    path = Path(__file__).resolve().parent / "metrics.json"
    lines = [f'"{kind}": [\n' + ",\n".join(map(json.dumps, cases)) + "\n]" for kind, cases in golden.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
