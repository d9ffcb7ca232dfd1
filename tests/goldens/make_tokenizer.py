"""Makes `tests/goldens/tokenizer.jsonl`: strings and the ids that Hugging Face `tokenizers` gives them.

    pip install tokenizers
    python tests/goldens/make_tokenizer.py [models/sst2-minilm/tokenizer.json]

One JSON object a line, {"text", "ids"}. Special tokens are added, at most 512 ids are kept ([CLS], 510, [SEP]), nothing is
padded. The strings come from a seeded generator: sentences, every control and space character, combining marks, eighty
blocks of Unicode, emoji sequences, special tokens spelled in the text, and every length at which something changes.
"""

import json
import random
import sys
import unicodedata
from pathlib import Path

from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
MAX_IDS = 512

# First and last code point of a block.
BLOCKS = [
    (0x00A1, 0x00FF), (0x0100, 0x017F), (0x0180, 0x024F), (0x0250, 0x02AF), (0x02B0, 0x02FF), (0x0300, 0x036F),
    (0x0370, 0x03FF), (0x0400, 0x04FF), (0x0531, 0x058F), (0x0591, 0x05F4), (0x0600, 0x06FF), (0x0700, 0x074F),
    (0x0780, 0x07BF), (0x0900, 0x097F), (0x0980, 0x09FF), (0x0A00, 0x0A7F), (0x0B80, 0x0BFF), (0x0C00, 0x0C7F),
    (0x0D80, 0x0DFF), (0x0E01, 0x0E5B), (0x0E80, 0x0EFF), (0x0F00, 0x0FFF), (0x1000, 0x109F), (0x10A0, 0x10FF),
    (0x1100, 0x11FF), (0x1200, 0x137F), (0x13A0, 0x13FF), (0x1400, 0x167F), (0x16A0, 0x16FF), (0x1780, 0x17FF),
    (0x1800, 0x18AF), (0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x209F), (0x20A0, 0x20CF),
    (0x20D0, 0x20FF), (0x2100, 0x214F), (0x2150, 0x218F), (0x2190, 0x21FF), (0x2200, 0x22FF), (0x2300, 0x23FF),
    (0x2460, 0x24FF), (0x2500, 0x25FF), (0x2600, 0x27BF), (0x2800, 0x28FF), (0x2C00, 0x2C5F), (0x2E80, 0x2FDF),
    (0x3000, 0x303F), (0x3040, 0x309F), (0x30A0, 0x30FF), (0x3100, 0x312F), (0x3130, 0x318F), (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF), (0xA000, 0xA4CF), (0xA640, 0xA69F), (0xAB70, 0xABBF), (0xAC00, 0xD7A3), (0xE000, 0xF8FF),
    (0xF900, 0xFAFF), (0xFB00, 0xFB4F), (0xFB50, 0xFDFF), (0xFE00, 0xFE0F), (0xFE30, 0xFE6F), (0xFE70, 0xFEFF),
    (0xFF00, 0xFFEF), (0xFFF0, 0xFFFF), (0x10000, 0x1007F), (0x10330, 0x1034F), (0x10400, 0x1044F), (0x11000, 0x1107F),
    (0x1D100, 0x1D1FF), (0x1D400, 0x1D7FF), (0x1F1E6, 0x1F1FF), (0x1F300, 0x1F5FF), (0x1F600, 0x1F64F),
    (0x1F680, 0x1F6FF), (0x1F900, 0x1F9FF), (0x20000, 0x2A6DF), (0x2A700, 0x2EBEF), (0x2F800, 0x2FA1F),
    (0x30000, 0x3134F), (0xE0000, 0xE007F), (0xE0100, 0xE01EF), (0xF0000, 0xFFFFD), (0x100000, 0x10FFFD),
]
PUNCTUATION = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + list("¡¿«»„“”‘’–—…‹›、。「」！？·•′″§¶†‡")
EMOJI = ["😀", "😍", "👍", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇫🇷", "🇯🇵", "❤️", "❤", "☺︎", "1️⃣", "🧑🏿‍🚀", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "\u200d", "\ufe0f"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CASES = list("İIıiẞßςσΣΩΩKKÅÅǅǆǄﬁﬀﬃŉǰΐᾳᾼꭰᎠⅷⅧⓐⒶ") + ["ὈΔΥΣΣΕΎΣ", "ΌΣΟΣ", "İSTANBUL", "DİŞ", "Straße", "STRASSE", "ﬁlm"]
WORDS = (HERE / "words.txt").read_text().split()
OTHER_WORDS = (
    "café naïve façade déjà coöperate Zoë piñata smörgåsbord Ångström crème brûlée über Łódź Dvořák Çelik "
    "œuvre ænima þing ðat Åse Øre señor año mañana garçon hôtel forêt Noël Brontë fiancée résumé jalapeño "
    "кино фильм хорошо Ёлка ταινία ωραία סרט טוב فيلم جميل فلم หนังดีมาก फिल्म अच्छी படம் நல்ல 映画 良い 电影 很好 電影 영화 좋다 "
    "phim hay điện ảnh Việt კინო ֆիլմ ፊልም រឿង ဇာတ်ကား"
).split()


def word(r):
    w = r.choice(WORDS) if r.random() < 0.85 else r.choice(OTHER_WORDS)
    return r.choice([w, w, w, w, w.capitalize(), w.upper(), w[::-1], w + r.choice(WORDS)])


def sentence(r, words):
    out = []
    for _ in range(words):
        w = word(r)
        if r.random() < 0.15:
            w += r.choice(PUNCTUATION)
        if r.random() < 0.03:
            w = r.choice(PUNCTUATION) + w
        out.append(w)
    return r.choice([" ", " ", " ", "  ", "\u00a0", "\t", "-"]).join(out)


def from_block(r, first, last, length):
    """Characters of one block, with a space here and there; surrogates are no characters."""
    chars = [chr(r.randint(first, last)) if r.random() > 0.12 else " " for _ in range(length)]
    return "".join(c for c in chars if not 0xD800 <= ord(c) <= 0xDFFF)


def anywhere(r):
    while True:
        c = r.randint(0, 0x10FFFF)
        if not 0xD800 <= c <= 0xDFFF:
            return chr(c)


def technical(r):
    n = r.randint(0, 10 ** r.randint(1, 12))
    a, b, c = (r.choice(WORDS) for _ in range(3))
    return r.choice([
        f"https://www.example.{r.choice(['org', 'com', 'co.uk'])}/{a}/{b}?{c}={n}&x=%20#{b}",
        f"http://user:pass@{a}.example:8080/~{b}/", f"{a}.{b}@example.com", f"{n:,}", f"{n / 7:.4f}", f"-{n}e-{n % 9}",
        f"${n / 100:.2f}", f"{n % 100}%", f"{n % 28 + 1:02d}/{n % 12 + 1:02d}/{1900 + n % 200}", f"#{a}{b} @{c}_{n}",
        f"<p class=\"{a}\">{b}</p>", f"if ({a}[{n % 10}] != {b}) {{ return {c}; }}", f"C:\\{a}\\{b}.txt", f"0x{n:x}",
        f"{a}_{b}__{c}", f"{a}/{b}/{c}", f"{a}...{b}?!{c}", f"{n}th", f"{a}'s {b}n't {c}'ll", f"½ {n}² {a}³ ×{n % 10}",
        f"({a} [{b} {{{c}}}])", f"**{a}** _{b}_ `{c}`", f"+44 (0)20 {n % 10000:04d} {n % 9999:04d}", f"{n}{a}{n}",
    ])


def fixed():
    yield from ["", " ", "   ", "\n", "\0", "\0\0", "a\0b", "\ufffd", "a\ufffdb", "\ufeff", "\ufeffgood", "good\ufeff", "a\ufeffb"]
    controls = [*range(0x00, 0x21), *range(0x7F, 0xA1), 0xAD, 0x1680, 0x180E, *range(0x2000, 0x2010), *range(0x2028, 0x2030)]
    controls += [0x205F, *range(0x2060, 0x2070), 0x3000, 0xFEFF, 0xFFF9, 0xFFFA, 0xFFFB, 0xFFFC, 0xFFFD, 0xFFFE, 0xFFFF, 0x1FFFF]
    controls += [0xE0001, 0xE0020, 0xE007F, 0x10FFFF]
    for c in controls:
        yield f"good{chr(c)}bad"
    for c in controls[::5]:
        yield f"{chr(c)} a film {chr(c)}{chr(c)}"
    for p in PUNCTUATION:
        yield p
        yield f"it{p}s {p}film{p}"
    for case in CASES:
        yield case
        yield f"a{case} {case}b"
    for e in EMOJI:
        yield e
        yield f"film{e}{e} good {e}"
    for s in SPECIAL:
        yield from [s, s * 3, f"a{s}b", f" {s} ", f"the film {s} was {s}good", s.lower(), s[1:-1], f"[ {s[1:-1]} ]", f"[{s}]", f"{s}ed"]
        yield from [f"{s[:3]}\u200d{s[3:]}", f"\u0301{s}\u0301", f"日{s}本"]
    yield from ["[unused0]", "[unused99]", "##ing", "## ing", "#ing", "[CLS", "SEP]", "[SEP] [SEP][PAD]", "[CLS] a [SEP] b [SEP]"]
    for w in OTHER_WORDS:
        yield w
        yield unicodedata.normalize("NFD", w)
        yield unicodedata.normalize("NFKC", w).upper()
    # The longest word that is looked up has 100 characters; counted after accents are stripped.
    for n in (1, 50, 98, 99, 100, 101, 102, 200, 1000):
        yield "a" * n
        yield "é" * n
        yield "e\u0301" * n
        yield "x" * n + " good"
        yield "日" * min(n, 200)
        yield "😀" * min(n, 200)
    yield "antidisestablishmentarianism" * 3 + "good"
    # Around 510 pieces the end is cut.
    for n in (509, 510, 511, 512, 513):
        yield "good " * n
        yield "." * n
    yield ("unwatchable, overlong and " * 400)[:10_000]
    yield "z" * 10_000
    yield "é日 " * 3333 + "x"
    yield "\u0301" * 600
    yield "e" + "\u0301" * 200 + " fin"
    yield " " * 2000 + "good" + "\t" * 500


def generated(r):
    for _ in range(420):
        yield sentence(r, r.randint(1, 24))
    for first, last in BLOCKS:
        for _ in range(6):
            yield from_block(r, first, last, r.randint(1, 14))
        yield word(r) + from_block(r, first, last, 3) + word(r)
    for _ in range(160):
        yield technical(r)
    for _ in range(120):  # accents stacked on anything
        yield "".join(c + "".join(chr(r.randint(0x300, 0x36F)) for _ in range(r.randint(0, 4))) for c in sentence(r, 3))
    for _ in range(160):
        yield "".join(anywhere(r) for _ in range(r.randint(1, 12)))
    for _ in range(200):
        parts = [word(r), r.choice(PUNCTUATION), r.choice(EMOJI), r.choice(SPECIAL), r.choice(CASES), technical(r), anywhere(r)]
        parts += [from_block(r, *r.choice(BLOCKS), 4), r.choice([" ", "\t", "\u3000", "\u200b", "\0"])]
        r.shuffle(parts)
        yield r.choice(["", " "]).join(parts[: r.randint(2, len(parts))])
    for _ in range(60):  # the same text, differently normalised
        yield unicodedata.normalize(r.choice(["NFC", "NFD", "NFKC", "NFKD"]), sentence(r, 5))


def load(path):
    """The tokenizer with truncation as the runtime has it, whatever the file says of its training."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_IDS)
    return tokenizer


def main():
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "models" / "sst2-minilm" / "tokenizer.json"
    tokenizer = load(path)
    texts = list(dict.fromkeys([*fixed(), *generated(random.Random(20))]))
    with open(HERE / "tokenizer.jsonl", "w", encoding="utf-8") as out:
        for text in texts:
            ids = tokenizer.encode(text).ids
            out.write(json.dumps({"text": text, "ids": ids}, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(f"{len(texts)} strings, {(HERE / 'tokenizer.jsonl').stat().st_size} bytes")


if __name__ == "__main__":
    main()
