"""Tokenizer files of checkpoints: our export gives the ids of `transformers.AutoTokenizer`, or is refused."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import edge

os.environ["HF_HUB_OFFLINE"] = "1"
from transformers import AutoTokenizer  # noqa: E402

sys.path.insert(0, str(edge.GOLDENS))
from make_added_tokens import grow, write as write_golden  # noqa: E402

TEXTS = [
    "@user see [url] now", "a Good film , @USER !", "[URL][url]@user@User <e>", "nothing is added here", "café Über",
    "cafe\u0301 éé", "这电影很好", "電影 film", "[MASK] [SEP] [CLS] [UNK] [PAD]", "[mask] <unk> <s>", "", "  @user  ",
    "@users, user@user.", "xylophone\u00adÅßø", "film " * 300,
]
MORE = 8  # embeddings of every checkpoint here beyond its vocabulary


def token(content, **flags):
    absent = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized", "special"], False)
    return {"content": content, **absent, **flags}


def typed(content, **flags):
    """Formats a token as `save_pretrained` writes it into `tokenizer_config.json`."""
    return {"__type": "AddedToken", **token(content, **flags)}


def config(**settings):
    return {"tokenizer_config.json": {"tokenizer_class": "BertTokenizer", **settings}}


def special_map(**settings):
    return {"tokenizer_config.json": {"do_lower_case": True}, "special_tokens_map.json": settings}


class Checkpoint:
    """A copy of a fixture with other tokenizer files; `n` is the id of the first token after its vocabulary."""

    def __init__(self, folder, base, files):
        shutil.copytree(edge.FIXTURES / base, folder)
        self.folder = folder
        self.n = grow(folder, MORE)
        (folder / "tokenizer_config.json").unlink(missing_ok=True)
        for name, content in files(self).items():
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / name).write_bytes(text.encode())

    @property
    def vocab(self):
        return (self.folder / "vocab.txt").read_text()

    def tokenizer(self, *added, **parts):
        """The fixture's `tokenizer.json` with changed parts."""
        json_ = json.loads((self.folder / "tokenizer.json").read_text())
        json_["added_tokens"] += added
        for part, fields in parts.items():
            json_[part] |= fields
        return {"tokenizer.json": json_}


def decoder(c, *tokens):
    return {str(c.n + i): t for i, t in enumerate(tokens)}


USER, URL = token("@user"), token("[url]", normalized=True)
FROM_VOCABULARY = {
    "no settings": lambda c: {},
    "added_tokens.json": lambda c: {"added_tokens.json": {"[url]": c.n + 1, "@user": c.n}},
    "added_tokens.json, one special": lambda c: {
        **config(additional_special_tokens=["[url]"]), "added_tokens.json": {"@user": c.n, "[url]": c.n + 1}},
    "added_tokens.json, one special by special_tokens_map.json": lambda c: {
        **special_map(additional_special_tokens=["[url]"]), "added_tokens.json": {"@user": c.n, "[url]": c.n + 1}},
    "added_tokens.json, the mask": lambda c: {
        "vocab.txt": c.vocab.replace("[MASK]", "masked"), "added_tokens.json": {"[MASK]": c.n}},
    "ids with gaps": lambda c: {"added_tokens.json": {"@user": c.n + 5, "[url]": c.n + 2}},
    "ids after a line that is there twice": lambda c: {
        "vocab.txt": c.vocab + "film\nfilm\nlast\n", "added_tokens.json": {"@user": c.n + 3, "[url]": c.n + 4}},
    "an id of a piece": lambda c: {"added_tokens.json": {"@user": 7}},
    "added_tokens_decoder": lambda c: config(added_tokens_decoder=decoder(c, USER, URL)),
    "added_tokens_decoder hides older files": lambda c: {
        **config(added_tokens_decoder=decoder(c, USER)), "added_tokens.json": {"[url]": c.n},
        "special_tokens_map.json": {"additional_special_tokens": ["<e>"], "unk_token": "a"}},
    "added_tokens_decoder, whole words and spaces": lambda c: config(added_tokens_decoder=decoder(
        c, token("@user", single_word=True), token("[url]", lstrip=True, rstrip=True, special=True))),
    "added_tokens_decoder, a token of the vocabulary": lambda c: config(
        added_tokens_decoder={str(c.vocab.split("\n").index("film")): token("film", single_word=True)}),
    "added_tokens_decoder, few fields": lambda c: config(
        added_tokens_decoder=decoder(c, {"content": "@User"}, {"content": "[URL]", "special": True})),
    "added_tokens_decoder, cased": lambda c: config(do_lower_case=False, added_tokens_decoder=decoder(c, USER, URL)),
    "additional_special_tokens": lambda c: config(additional_special_tokens=["@user", "<e>"]),
    "additional_special_tokens, objects": lambda c: config(
        additional_special_tokens=[typed("@user", lstrip=True), typed("Good", normalized=True)]),
    "extra_special_tokens": lambda c: config(extra_special_tokens=["@user", "[url]"]),
    "extra_special_tokens, named": lambda c: config(extra_special_tokens={"user_token": "@user"}),
    "extra before additional": lambda c: config(extra_special_tokens=["@user"], additional_special_tokens=["[url]"]),
    "a token of this model": lambda c: config(user_token="@user", bos_token="<e>"),
    "special_tokens_map.json, additional": lambda c: special_map(additional_special_tokens=["@user", "[url]"]),
    "special_tokens_map.json, extra": lambda c: special_map(extra_special_tokens=[{"content": "@user", "lstrip": True}]),
    "special_tokens_map.json, objects": lambda c: special_map(
        mask_token=token("[MASK]", lstrip=True), pad_token=token("[PAD]", special=True), bos_token=token("[url]")),
    "special_tokens_map.json alone": lambda c: {"special_tokens_map.json": {"unk_token": "[UNK]", "eos_token": "<e>"}},
    "another unknown token": lambda c: {"vocab.txt": c.vocab + "<unk>\n", **config(unk_token="<unk>")},
    "another unknown token in special_tokens_map.json": lambda c: {
        "vocab.txt": c.vocab + "<unk>\n", **special_map(unk_token="<unk>")},
    "other start and end": lambda c: {
        "vocab.txt": c.vocab + "<s>\n</s>\n", **config(cls_token="<s>", sep_token=typed("</s>", special=True))},
    "start and end are added": lambda c: config(
        cls_token="<s>", sep_token="</s>",
        added_tokens_decoder=decoder(c, token("<s>", special=True), token("</s>", special=True))),
    "no padding and no mask": lambda c: config(pad_token=None, mask_token=None),
    "cased": lambda c: config(do_lower_case=False),
    "lower case, accents stay": lambda c: config(strip_accents=False),
    "cased, no accents": lambda c: config(do_lower_case=False, strip_accents=True),
    "Chinese in words": lambda c: config(tokenize_chinese_chars=False),
    "without effect": lambda c: config(
        never_split=["@user"], wordpieces_prefix="@@", clean_up_tokenization_spaces=False, padding_side="left",
        model_max_length=7, truncation_side="right", split_special_tokens=False, do_basic_tokenize=False),
    "DistilBertTokenizerFast": lambda c: config(tokenizer_class="DistilBertTokenizerFast", do_lower_case=False),
    "ElectraTokenizer": lambda c: config(tokenizer_class="ElectraTokenizer"),
    "other line ends, and blanks": lambda c: {
        "vocab.txt": c.vocab.replace("\n", "\r\n") + "\r\n  \r\ncafé \r\n\u00a0x\u3000\r\n", **config(strip_accents=False)},
    "a line twice": lambda c: {"vocab.txt": c.vocab + "film\nlast"},
    "a mark at the start": lambda c: {"vocab.txt": "\ufeff" + c.vocab},
    "no mask token": lambda c: {"vocab.txt": c.vocab.replace("[MASK]", "masked"), **config()},
    "an added token before a special one": lambda c: {
        "vocab.txt": c.vocab.replace("[MASK]", "masked"), **config(extra_special_tokens=["@user"])},
}
FROM_JSON = {
    "do_lower_case wins": lambda c: config(do_lower_case=False),
    "BERT's defaults win": lambda c: {**c.tokenizer(normalizer={"lowercase": False}), **config()},
    "BERT's defaults win by model_type": lambda c: {
        **c.tokenizer(normalizer={"lowercase": False}), "tokenizer_config.json": {"model_max_length": 128}},
    "strip_accents wins": lambda c: {**c.tokenizer(normalizer={"strip_accents": True}), **config(strip_accents=False)},
    "tokenize_chinese_chars wins": lambda c: config(tokenize_chinese_chars=False),
    "PreTrainedTokenizerFast uses the file": lambda c: {
        **c.tokenizer(normalizer={"lowercase": False}),
        **config(tokenizer_class="PreTrainedTokenizerFast", do_lower_case=True)},
    "a class of somebody's own uses the file": lambda c: {
        **c.tokenizer(normalizer={"lowercase": False}), **config(tokenizer_class="OurOwnTokenizer")},
    "its own added tokens": lambda c: {**c.tokenizer({"id": c.n, **URL}), **config()},
    "its own added tokens alone": lambda c: c.tokenizer({"id": c.n, **URL}),
    "and added_tokens.json": lambda c: {
        **c.tokenizer({"id": c.n, **URL}), **config(), "added_tokens.json": {"[url]": c.n, "@user": c.n + 1}},
    "and added_tokens.json alone": lambda c: {"added_tokens.json": {"@user": c.n}},
    "PreTrainedTokenizerFast and added_tokens.json": lambda c: {
        **config(tokenizer_class="PreTrainedTokenizerFast"), "added_tokens.json": {"@user": c.n}},
    "PreTrainedTokenizerFast and added_tokens_decoder": lambda c: {
        **c.tokenizer({"id": c.n, **URL}),
        **config(tokenizer_class="PreTrainedTokenizerFast", mask_token="<e>", extra_special_tokens=["film"],
                 added_tokens_decoder=decoder(c, token("[url]", special=True), USER))},
    "PreTrainedTokenizerFast and special_tokens_map.json": lambda c: {
        **config(tokenizer_class="PreTrainedTokenizerFast"),
        "special_tokens_map.json": {"additional_special_tokens": ["@user"], "mask_token": token("[MASK]")}},
    "added_tokens_decoder": lambda c: config(added_tokens_decoder={
        **{str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in c.tokenizer()["tokenizer.json"]["added_tokens"]},
        **decoder(c, USER, URL)}),
    "additional_special_tokens": lambda c: config(additional_special_tokens=["@user"]),
}
FORMS = [("bert-plain", k, v) for k, v in FROM_VOCABULARY.items()] + [("bert-exits", k, v) for k, v in FROM_JSON.items()]


@pytest.mark.parametrize("base, form", [(b, f) for b, _, f in FORMS], ids=[f"{b}: {name}" for b, name, _ in FORMS])
def test_ids_are_those_of_transformers(tmp_path, base, form):
    """Compares ids by `tokenizers`, and those in the runtime by ONNX Runtime's logits for transformers' ids."""
    checkpoint = Checkpoint(tmp_path / "checkpoint", base, form)
    bundle = edge.Bundle(edge.export(checkpoint.folder, tmp_path / "model.edge", "--fp32"))
    theirs = AutoTokenizer.from_pretrained(checkpoint.folder)
    rows = [theirs(text, truncation=True, max_length=bundle.max_tokens).input_ids for text in TEXTS]
    for text, ours, row in zip(TEXTS, bundle.tokenize(TEXTS), rows):
        assert ours == row, (text[:40], theirs.convert_ids_to_tokens(row[:20]))
    answers = edge.classify(tmp_path / "model.edge", texts=TEXTS)
    assert [answer["tokens"] for answer in answers] == [len(row) for row in rows]
    assert np.abs(edge.logits_by_exit(answers) - bundle.run_one_by_one(rows)).max() <= 1e-4


def test_logits_with_added_tokens_are_those_of_pytorch(tmp_path):
    golden = json.loads((edge.GOLDENS / "added-tokens.json").read_text())
    folder = write_golden(tmp_path / "checkpoint")
    path = edge.export(folder, tmp_path / "model.edge", "--fp32")
    assert edge.Bundle(path).tokenize(golden["texts"]) == golden["ids"]
    logits = edge.logits_by_exit(edge.classify(path, texts=golden["texts"]))
    assert np.abs(logits[-1] - np.array(golden["logits"])).max() <= 1e-4


def test_tokenizer_json_alone_keeps_case(tmp_path):
    """Keeps case, as documented: transformers would lower-case the texts, because the class is BERT's."""
    checkpoint = Checkpoint(tmp_path / "checkpoint", "bert-exits", lambda c: c.tokenizer(normalizer={"lowercase": False}))
    bundle = edge.Bundle(edge.export(checkpoint.folder, tmp_path / "model.edge", "--fp32"))
    assert bundle.entries["tokenizer.json"] == (checkpoint.folder / "tokenizer.json").read_bytes()


def test_transformers_reads_our_tokenizer_as_it_is(tmp_path):
    """Checks that the settings beside our `tokenizer.json` keep transformers from BERT's defaults."""
    checkpoint = Checkpoint(tmp_path / "checkpoint", "bert-plain", lambda c: {
        **config(do_lower_case=False), "added_tokens.json": {"[url]": c.n, "@user": c.n + 1}})
    data = tmp_path / "data.tsv"
    data.write_text("".join(f"{line}\n" for line in ["sentence\tlabel", "a Good film é Über 電\tgood", "dull\tbad"]))
    small = tmp_path / "small"
    edge.run("edge-distill", "vocabulary", checkpoint.folder, "--data", data, "-o", small)
    assert not (small / "added_tokens.json").exists()
    bundle = edge.Bundle(edge.export(small, tmp_path / "model.edge", "--fp32"))
    theirs = AutoTokenizer.from_pretrained(small)
    rows = [theirs(text, truncation=True, max_length=bundle.max_tokens).input_ids for text in TEXTS]
    assert bundle.tokenize(TEXTS) == rows
    assert theirs("[url] @user").input_ids[1:3] == [len(theirs) - 2, len(theirs) - 1]
    batch = theirs(["a Good film", "dull"], padding=True).input_ids
    assert len(batch[0]) == len(batch[1]) and batch[1][-1] == theirs.convert_tokens_to_ids("[PAD]")


REFUSED = {
    "a class in Python": ("bert-plain", lambda c: config(tokenizer_class="BertJapaneseTokenizer"),
                          ["tokenizer_config.json", "BertJapaneseTokenizer"]),
    "a class in Python with tokenizer.json": ("bert-exits", lambda c: config(tokenizer_class="BertJapaneseTokenizer"),
                                              ["tokenizer_config.json", "BertJapaneseTokenizer"]),
    "a class of another kind": ("bert-plain", lambda c: config(tokenizer_class="XLNetTokenizer"), ["XLNetTokenizer"]),
    "a class of another kind with tokenizer.json": (
        "bert-exits", lambda c: config(tokenizer_class="XLNetTokenizerFast"), ["WordPiece", "XLNetTokenizer", "Unigram"]),
    "PreTrainedTokenizerFast without its file": (
        "bert-plain", lambda c: config(tokenizer_class="PreTrainedTokenizerFast"), ["tokenizer.json"]),
    "truncation on the left": ("bert-plain", lambda c: config(truncation_side="left"), ["truncation_side", "left"]),
    "special tokens as text": ("bert-plain", lambda c: config(split_special_tokens=True), ["split_special_tokens"]),
    "code": ("bert-plain", lambda c: config(auto_map={"AutoTokenizer": ["code.Tokenizer", None]}), ["auto_map"]),
    "lower case by null": ("bert-plain", lambda c: config(do_lower_case=None), ["do_lower_case", "null"]),
    "no start": ("bert-plain", lambda c: config(cls_token=None), ["cls_token", "null"]),
    "another normalizer": ("bert-exits", lambda c: {**c.tokenizer(normalizer={"type": "Lowercase"}), **config()},
                           ["tokenizer.json", "normalizer", "PreTrainedTokenizerFast"]),
    "another start": ("bert-exits", lambda c: config(cls_token="a"), ["tokenizer.json", "post_processor"]),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_settings_that_cannot_be_followed_are_refused_by_name(tmp_path, name):
    base, form, words = REFUSED[name]
    checkpoint = Checkpoint(tmp_path / "checkpoint", base, form)
    command = [edge.BIN / "edge-export", "--fp32", checkpoint.folder, "-o", tmp_path / "model.edge"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and not (tmp_path / "model.edge").exists()
    assert "panicked" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
