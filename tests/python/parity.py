"""Criteria for the agreement of two engines on logits.

In fp32, two engines agree if all logits differ by at most 1e-5.

In int8, most sentences agree as closely. But a value on the edge between two integers, up to the last bit of its 32-bit
arithmetic, can be rounded either way. One step of one activation moves the logits by up to some hundredths. Engines with
different orders of addition cannot avoid that: ONNX Runtime without its graph optimizations differs from itself as much.
So the permitted difference is measured, on the same graphs and sentences. It is the difference of ONNX Runtime from
itself when hidden states between stages are moved by up to 2 units in the last place.
"""

import numpy as np

FP32 = 1e-5
INT8 = 1e-3  # largest difference if all activations were rounded the same way
SLACK = 0.15  # share of sentences by which two random draws may differ


def summary(difference):
    """Share of sentences within INT8, and the largest difference, by exit."""
    by_sentence = difference.max(axis=2)
    return (by_sentence <= INT8).mean(axis=1), by_sentence.max(axis=1)


def show(values, form):
    return " ".join(form.format(v) for v in values)


def check(ours, theirs, bundle, rows, precision, record, name):
    """Compares logits [exit, sentence, class] with those of ONNX Runtime for the same bundle and ids."""
    assert ours.shape == theirs.shape
    difference = np.abs(ours - theirs)
    share, worst = summary(difference)
    if precision == "--fp32":
        record(f"{name} fp32: largest difference to ONNX Runtime, by exit: {show(worst, '{:.1e}')}")
        assert worst.max() <= FP32
        return

    moved = bundle.run_one_by_one(rows, jitter=np.random.default_rng(0))
    allowed_share, allowed_worst = summary(np.abs(moved - bundle.run_one_by_one(rows)))
    record(
        f"{name} int8, by exit: within 1e-3 of ONNX Runtime {show(share, '{:.0%}')}, largest {show(worst, '{:.0e}')}; "
        f"ONNX Runtime and itself, moved by 2 ulp: {show(allowed_share, '{:.0%}')}, largest {show(allowed_worst, '{:.0e}')}"
    )
    slack = max(SLACK, 2 / len(rows))
    assert (share >= allowed_share - slack).all()
    assert worst.max() <= max(INT8, 3 * allowed_worst.max())
    # If most sentences have equal rounding, as after one layer, most are as close as in fp32.
    calm = allowed_share >= 0.75
    assert (np.median(difference.max(axis=2), axis=1)[calm] <= FP32).all()
    # A label may differ only if its logits are that close.
    margin = np.abs(theirs.max(axis=2) - np.sort(theirs, axis=2)[:, :, -2])
    other = ours.argmax(axis=2) != theirs.argmax(axis=2)
    assert (margin[other] <= 2 * worst.max()).all()
