"""The committed tokenizer goldens equal the output of the installed `tokenizers`."""

import json

from tokenizers import Tokenizer

import edge


def rows():
    return [json.loads(line) for line in edge.lines(edge.GOLDENS / "tokenizer.jsonl")]


def test_goldens_cover_what_they_should():
    texts = [row["text"] for row in rows()]
    assert len(set(texts)) == len(texts) >= 2000
    assert "" in texts
    assert any("\0" in t for t in texts)
    assert sum(len(t) == 10_000 for t in texts) >= 2
    assert max(len(row["ids"]) for row in rows()) == 512


def test_goldens_are_what_tokenizers_gives(shipped):
    tokenizer = Tokenizer.from_file(str(shipped / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(512)
    for row in rows():
        assert tokenizer.encode(row["text"]).ids == row["ids"], ascii(row["text"][:80])
