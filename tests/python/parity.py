"""When two engines agree on logits.

In fp32, they do where no logit differs by more than 1e-5.

In int8, most sentences agree as closely. But a value that lies on the edge between two integers, up to the last bit of its
32-bit arithmetic, falls either way, and one step of one activation moves the logits by up to some hundredths. No two
engines that add in another order can avoid that: ONNX Runtime differs from itself as much when its graph optimizations
are turned off. So the yardstick is measured, on the same graphs and sentences: how far ONNX Runtime goes from itself when
the hidden states between stages are moved by up to 2 units in the last place. An engine must not be further away than that.
"""

import numpy as np

FP32 = 1e-5
INT8 = 1e-3  # what counts as the same where no activation fell the other way
SLACK = 0.15  # share of sentences by which two draws of the same luck may differ


def summary(difference):
    """By exit: the share of sentences within INT8, and the largest difference."""
    by_sentence = difference.max(axis=2)
    return (by_sentence <= INT8).mean(axis=1), by_sentence.max(axis=1)


def show(values, form):
    return " ".join(form.format(v) for v in values)


def check(ours, theirs, bundle, rows, precision, record, name):
    """Holds logits [exit, sentence, class] to those of ONNX Runtime for the same bundle and ids."""
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
    # Where nothing falls the other way in most sentences, as after one layer, most are as close as in fp32.
    calm = allowed_share >= 0.75
    assert (np.median(difference.max(axis=2), axis=1)[calm] <= FP32).all()
    # A label may differ only where the logits are as close as that.
    margin = np.abs(theirs.max(axis=2) - np.sort(theirs, axis=2)[:, :, -2])
    other = ours.argmax(axis=2) != theirs.argmax(axis=2)
    assert (margin[other] <= 2 * worst.max()).all()
