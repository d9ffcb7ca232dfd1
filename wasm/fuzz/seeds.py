"""Writes small seed files for the fuzzer: seeds.py CORPUS."""

import json
import sys
from pathlib import Path

SPECIAL = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "film", "##s", "g", "o", "d", "go", "▁a", "▁"]
NUMBERED = {word: i for i, word in enumerate(WORDS)}
ADDED = [{"id": i, "content": WORDS[i], **SPECIAL} for i in range(5)]

MODELS = {
    "wordpiece": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": NUMBERED},
    "bpe": {"type": "BPE", "dropout": None, "unk_token": "[UNK]", "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": NUMBERED,
            "merges": [["g", "o"]]},
    "unigram": {"type": "Unigram", "unk_id": 1, "byte_fallback": False,
                "vocab": [[word, -float(i)] for i, word in enumerate(WORDS)]},
    "wordlevel": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": NUMBERED},
}
BERT = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
        "lowercase": True}
NORMALIZERS = {
    "bert": BERT,
    "sequence": {"type": "Sequence", "normalizers": [
        {"type": "NFKC"}, {"type": "Lowercase"}, {"type": "StripAccents"},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}, {"type": "Prepend", "prepend": "▁"}]},
    "none": None,
}
PRE_TOKENIZERS = {
    "bert": {"type": "BertPreTokenizer"},
    "bytes": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "metaspace": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
    "split": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "Isolated", "invert": False},
        {"type": "Digits", "individual_digits": True}, {"type": "Punctuation", "behavior": "Isolated"}]},
}
PROCESSORS = {
    "bert": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
    "roberta": {"type": "RobertaProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2], "trim_offsets": True,
                "add_prefix_space": True},
    "template": {"type": "TemplateProcessing",
                 "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                 "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                 "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}}},
}
SETTINGS = {
    0: {"tokenizer_class": "BertTokenizer", "do_lower_case": False, "strip_accents": True,
        "tokenize_chinese_chars": False, "model_max_length": 512, "unk_token": "[UNK]",
        "additional_special_tokens": ["@user"],
        "added_tokens_decoder": {"9": {"content": "@user", **SPECIAL}, "10": {"content": "[url]", **SPECIAL}}},
    1: {"unk_token": "[UNK]", "cls_token": {"content": "[CLS]", **SPECIAL}, "additional_special_tokens": ["[url]"]},
    2: {"@user": 9, "[url]": 10},
}


def main():
    corpus = Path(sys.argv[1])
    for model in MODELS:
        for kind, parts in (("normalizer", NORMALIZERS), ("pre_tokenizer", PRE_TOKENIZERS),
                            ("post_processor", PROCESSORS)):
            for name, part in parts.items():
                file = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": ADDED,
                        "normalizer": BERT, "pre_tokenizer": PRE_TOKENIZERS["bert"],
                        "post_processor": PROCESSORS["bert"], "decoder": None, "model": MODELS[model], kind: part}
                (corpus / "tokenizer" / f"{model}-{kind}-{name}").write_text(json.dumps(file))
    for file, settings in SETTINGS.items():
        for form in (0, 1):
            seed = bytes([form | file << 1]) + json.dumps(settings).encode()
            (corpus / "tokenizer_config" / f"{file}-{form}").write_bytes(seed)


main()
