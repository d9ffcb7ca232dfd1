"""The Python module with good and with bad arguments: test_bindings.py MODEL."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edge_distil import Classifier, EdgeError, Policy


def gives(kind, words, call):
    try:
        call()
    except kind as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"no error, where one is due with: {words}")


model = Path(sys.argv[1])
bundle = model.read_bytes()
classifier = Classifier.from_bytes(bundle)
assert classifier.labels() == ["NEGATIVE", "POSITIVE"]
assert (classifier.exits(), classifier.max_tokens()) == (4, 128)

texts = ["good .", "", "a\0b", "a bad movie " * 100]
together = classifier.classify_many(texts)
assert together == [classifier.classify(text) for text in texts]
assert [p.truncated for p in together] == [False, False, False, True]
assert all(abs(sum(p.probabilities) - 1) < 1e-6 and max(p.probabilities) == p.probability for p in together)
assert classifier.classify_many([]) == []


def stage(policy):
    return classifier.classify("good .", policy).stage


assert stage(None) == stage(Policy.NEVER()) == stage(Policy.CONFIDENCE(thresholds=[1.0])) == 4
assert stage(Policy.CONFIDENCE(thresholds=[0.0])) == stage(Policy.PATIENCE(exits=1)) == 1
assert stage(Policy.MARGIN(thresholds=[1.0, 1.0, 0.0, 0.0])) == 3
assert stage(Policy.ENTROPY(thresholds=[0.0, 1.0, 0.0, 0.0])) == 2

gives(EdgeError.Policy, "3 thresholds", lambda: stage(Policy.CONFIDENCE(thresholds=[0.5] * 3)))
gives(EdgeError.Policy, "0 thresholds", lambda: stage(Policy.MARGIN(thresholds=[])))
gives(EdgeError.Policy, "not between", lambda: stage(Policy.ENTROPY(thresholds=[2.0])))
gives(EdgeError.Policy, "patience 0", lambda: stage(Policy.PATIENCE(exits=0)))
gives(EdgeError.Io, "/no/such", lambda: Classifier.open("/no/such"))
gives(EdgeError.Bundle, "breaks off", lambda: Classifier.from_bytes(bundle[:-1]))
gives(EdgeError.Bundle, "breaks off", lambda: Classifier.from_bytes(b""))
gives(EdgeError.Bundle, "damaged", lambda: Classifier.from_bytes(bundle.replace(b"POSITIVE", b"positive", 1)))

with ThreadPoolExecutor(4) as pool:
    assert list(pool.map(classifier.classify, texts * 20)) == together * 20
