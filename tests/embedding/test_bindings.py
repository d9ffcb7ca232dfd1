"""Tests the Python module with valid and invalid arguments: test_bindings.py MODEL."""

import array
import copy
import importlib.metadata
import importlib.resources
import multiprocessing
import os
import pickle
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import edge_distil
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

assert edge_distil.__version__ == importlib.metadata.version("edge-distil") != ""
assert (importlib.resources.files(edge_distil) / "py.typed").is_file()

# Values of other types are refused as texts.
for one in ("abc", b"abc", bytearray(b"abc"), {"abc": 1}):
    gives(TypeError, "classify takes one text", lambda: classifier.classify_many(one))
gives(TypeError, "texts[1]: expected a str, found float", lambda: classifier.classify_many(["a", float("nan")]))
gives(TypeError, "expected a str, found list", lambda: classifier.classify(["a"]))
gives(TypeError, "expected a str, found bytes", lambda: classifier.classify(b"a"))
gives(TypeError, "such as Policy.NEVER()", lambda: classifier.classify("a", Policy.NEVER))
gives(TypeError, "such as Policy.NEVER()", lambda: classifier.classify_many(["a"], "never"))
gives(TypeError, "Classifier.open(path)", Classifier)
gives(TypeError, "bytes-like", lambda: Classifier.from_bytes("model.edge"))
assert classifier.classify_many(text for text in texts) == classifier.classify_many(tuple(texts)) == together
assert Classifier.from_bytes(array.array("B", bundle)).classify(texts[0]) == together[0]
assert Classifier.from_bytes(memoryview(bundle)).labels() == classifier.labels()

# Paths of all types.
for path in (model, str(model), os.fsencode(model)):
    assert Classifier.open(path).classify_many(texts) == together
gives(EdgeError.Io, "/no/such", lambda: Classifier.open(Path("/no/such")))
gives(TypeError, "NoneType", lambda: Classifier.open(None))

opened = Classifier.open(os.path.relpath(model))
assert repr(opened) == f"<Classifier of {model.resolve()}: 2 labels, 4 exits>", repr(opened)
assert repr(classifier) == f"<Classifier of {len(bundle)} bytes: 2 labels, 4 exits>", repr(classifier)
assert repr(together[0]).startswith(f"Prediction(label={together[0].label!r}, probability=0."), repr(together[0])
assert together[0] != together[0].label and None not in together
assert repr(Policy.NEVER()) == "Policy.NEVER()"
assert repr(Policy.MARGIN(thresholds=[0.5])) == "Policy.MARGIN(thresholds=[0.5])"

# A copy shares the model, and is closed separately.
for original in (opened, classifier):
    for made in (copy.copy(original), copy.deepcopy(original), copy.deepcopy([original])[0]):
        assert made is not original and made.classify_many(texts) == together
        made.close()
        made.close()
        gives(ValueError, "closed", lambda: made.classify("a"))
        gives(ValueError, "closed", made.__enter__)
        assert repr(made).endswith(", closed>")
    assert original.classify_many(texts) == together
with Classifier.open(model) as within:
    assert within.classify_many(texts) == together
for closed in (lambda: within.classify_many(texts), within.labels, within.exits, lambda: pickle.dumps(within)):
    gives(ValueError, "closed", closed)

# A pickled classifier opens the same file again, and only that file.
gives(TypeError, "use Classifier.open(path)", lambda: pickle.dumps(classifier))
for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
    pickled = pickle.dumps(opened, protocol)
    assert len(pickled) < 1000
    again = pickle.loads(pickled)
    assert again.classify_many(texts) == together and repr(again) == repr(opened)
for value in (together, Policy.NEVER(), Policy.CONFIDENCE(thresholds=[0.5]), Policy.PATIENCE(exits=2)):
    assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value
    assert repr(pickle.loads(pickle.dumps(value))) == repr(value)
with tempfile.TemporaryDirectory() as folder:
    own = Path(folder) / "own.edge"
    shutil.copy(model, own)
    kept = Classifier.open(own)
    pickled = pickle.dumps(kept)
    replaced = Classifier.open(own)
    own.write_bytes(bundle + b"\0" * 1024)
    gives(pickle.PickleError, "has changed", lambda: pickle.dumps(replaced))
    assert pickle.dumps(kept) == pickled and kept.classify_many(texts) == together
    gives(pickle.UnpicklingError, "its SHA-256 is", lambda: pickle.loads(pickled))
    own.unlink()
    gives(FileNotFoundError, "own.edge", lambda: pickle.loads(pickled))
    gives(FileNotFoundError, "own.edge", lambda: pickle.dumps(replaced))


def stages(texts):
    return [p.stage for p in worker.classify_many(texts, Policy.PATIENCE(exits=2))]


def start(given):
    global worker
    worker = given


if __name__ == "__main__":
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(2, context) as pool:
            assert list(pool.map(opened.classify, texts)) == together
            gives(EdgeError.Policy, "patience 0", pool.submit(opened.classify, "a", Policy.PATIENCE(exits=0)).result)
            gives(TypeError, "Classifier.open(path)", pool.submit(classifier.classify, "a").result)
        worker = opened
        with ProcessPoolExecutor(2, context, initializer=start, initargs=(opened,)) as pool:
            assert list(pool.map(stages, [texts] * 3)) == [stages(texts)] * 3
