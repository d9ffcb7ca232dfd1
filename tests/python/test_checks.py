"""The checks of `./test` themselves."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from checks import comments, quick, steps

RUST = '''//! What this is for.
//! What stands here is no beginning.

/// Number of layers.
struct A;

    /// Whether it holds.
    fn b() {} /// What follows code is none.

//// Of four slashes is none.
'''


def test_doc_comments_that_name_nothing_are_found():
    assert [line for line, _ in comments.faults(RUST)] == [1, 7]


def test_a_file_may_have_no_more_and_no_fewer_than_the_list_says(tmp_path, monkeypatch):
    monkeypatch.setattr(comments, "ROOT", tmp_path)
    monkeypatch.setattr(comments, "EXCEPTIONS", tmp_path / "comments.txt")
    file = tmp_path / "a.rs"
    file.write_text(RUST)
    for allowed, message in [("", "a.rs:1: begins with `What this is for.`"), ("3 a.rs\n", "lower the 3"),
                             ("2 a.rs\n1 gone.rs\n", "gone.rs: is gone")]:
        comments.EXCEPTIONS.write_text(allowed)
        with pytest.raises(steps.Failure, match=message.replace(".", r"\.")):
            comments.check([file])
    comments.EXCEPTIONS.write_text("2 a.rs\n")
    comments.check([file])


@pytest.mark.parametrize("file, module, test", [
    ("wasm/src/tokenizer/bert.rs", "tokenizer::", None),
    ("toolkit/export/src/quantize.rs", "quantize::", None),
    ("toolkit/src/lib.rs", "", None),
    ("wasm/src/bin/edge-run/main.rs", None, None),
    ("toolkit/export/tests/outputs.rs", None, "outputs"),
    ("tests/tests/cli.rs", None, "cli"),
    ("wasm/tests/model/mod.rs", None, None),
    ("docs/train.md", None, None),
])
def test_the_tests_of_a_file_are_known_by_its_path(file, module, test):
    assert (quick.module(file), quick.test(file)) == (module, test)


def test_a_step_that_fails_is_in_the_table_and_what_could_not_run_is_counted(capfd):
    all_steps = steps.Steps()
    all_steps.run(sys.executable, "-c", "print('NOT RUN: it needs a GPU')")
    with pytest.raises(steps.Failure, match="status 3"), all_steps.step("bad"):
        all_steps.run(sys.executable, "-c", "raise SystemExit(3)")
    all_steps.table()
    said = capfd.readouterr().out
    assert "bad (failed)" in said and "NOT RUN: 1\n  it needs a GPU" in said
