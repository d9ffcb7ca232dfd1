"""The checks of `./test` themselves."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from checks import comments, layers, links, quick, steps

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


def test_a_comment_that_names_nothing_is_named_with_its_line(tmp_path, monkeypatch):
    monkeypatch.setattr(comments, "ROOT", tmp_path)
    file = tmp_path / "a.rs"
    file.write_text("/// Number of layers.\n")
    comments.check([file])
    file.write_text(RUST)
    with pytest.raises(steps.Failure, match="a.rs:1: begins with `What this is for.`\na.rs:7: begins with `Whether"):
        comments.check([file])


def test_links_to_files_that_do_not_exist_are_found(tmp_path):
    file = tmp_path / "a.md"
    file.write_text('[a](a.md#top) [web](https://a.org/b) [gone](b.md) <img src="c.png"> [](#here)')
    assert links.dead(file) == ["b.md", "c.png"]


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


def crate(folder, **files):
    """A crate of these files."""
    for name, text in files.items():
        file = folder / name.replace("__", "/").replace("_rs", ".rs")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return layers.Crate(folder)


def test_a_circle_of_files_is_found(tmp_path):
    edges = crate(tmp_path, lib_rs="mod a;\nmod b;\n", a_rs="use crate::b::B;\npub struct A(B);\n",
                  b_rs="use super::a::{self, A};\npub struct B(Box<A>);\n").edges
    assert layers.circles(edges) == [[("a",), ("b",)]]


def test_re_exports_comments_and_tests_are_no_imports(tmp_path):
    edges = crate(tmp_path, lib_rs="mod a;\npub use a::inner::Inner;\n", a_rs="pub mod inner;\npub use inner::Inner;\n",
                  a__inner_rs="pub struct Inner; // crate::a::Other\n#[cfg(test)]\nmod tests {\n    use crate::a::Inner;\n}\n",
                  ).edges
    assert layers.circles(edges) == []
    assert edges[("a", "inner")] == set()


def test_an_import_that_points_up_is_found(tmp_path):
    edges = crate(tmp_path, lib_rs="mod low;\nmod high;\nmod other;\n", high_rs="use crate::low::X;\npub struct Y(X);\n",
                  low_rs="pub struct X;\npub fn f() -> crate::high::Y { todo!() }\n", other_rs="").edges
    assert layers.upward(edges, ["low", "high"]) == [
        "`other` is not in the list of rooms", "low imports high, which is above it"]
