"""DistilBERT and BERT-base at full size: export, run, and agree with ONNX Runtime."""

import shutil

import pytest

import edge
import full_size
import parity

CASES = {
    "distilbert": (full_size.DISTILBERT, 66_955_010, ["--fp32", "--int8"]),
    "bert-base": (full_size.BERT_BASE, 109_483_778, ["--int8"]),
}
TEXTS = ["good .", *edge.lines(edge.SENTENCES)[::40], "the film is not what it was . " * 100]


@pytest.mark.parametrize("name", list(CASES))
def test_full_size(tmp_path, record, name):
    config, parameters, precisions = CASES[name]
    try:
        checkpoint = tmp_path / name
        assert full_size.write(checkpoint, config, seed=7) == parameters
        for precision in precisions:
            path = edge.export(checkpoint, tmp_path / "model.edge", precision)
            record(f"{name} {precision}: model.edge is {path.stat().st_size / 1e6:.1f} MB")
            answers = edge.classify(path, texts=TEXTS)
            bundle = edge.Bundle(path)
            rows = bundle.tokenize(TEXTS)
            assert max(map(len, rows)) == 512 and answers[-1]["truncated"]
            ours, theirs = edge.logits_by_exit(answers), bundle.run_one_by_one(rows)
            parity.check(ours, theirs, bundle, rows, precision, record, name)
            assert theirs.std() > 1e-3
            path.unlink()
    finally:
        # The files have half a gigabyte each, and pytest would keep them for three runs.
        shutil.rmtree(tmp_path, ignore_errors=True)
