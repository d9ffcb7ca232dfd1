"""Makes the model fixtures (`models/fixtures/*`) and their PyTorch goldens (`tests/goldens/<fixture>.json`).

Run by hand, once, where PyTorch is; the result is committed, and no test needs PyTorch:

    pip install torch transformers tokenizers safetensors
    python tests/goldens/make.py

Each fixture is a tiny random checkpoint in Hugging Face layout. Together they cover what an export
must read: f32, f16 and bf16 weights; current and legacy tensor names; `tokenizer.json` and
`vocab.txt`; cased and uncased; exits with both poolings, and none; BERT and DistilBERT; three
activations; two and three labels. The weights are drawn wide (a std of 0.1 to 0.2, where training starts from 0.02)
so that a wrong transposition, activation or epsilon shows up in the logits; no wider, for then the order of additions
alone would move the logits by more than the 1e-5 that is allowed between engines.

A golden holds {"texts", "ids", "logits": [exit][sentence][class]}. Logits are computed in f32 from the
weights *as stored*, one sentence at a time, without padding. The forward pass is `transformers`' own,
loaded from the written folder, so that a tensor named wrongly here cannot go unnoticed.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from texts import TEXTS

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MAX_POSITIONS = 128


@dataclass
class Fixture:
    name: str
    kind: str  # "bert" or "distilbert"
    hidden: int
    heads: int
    layers: int
    intermediate: int
    activation: str
    dtype: torch.dtype
    labels: list
    seed: int
    pooling: str | None = None  # exits after every layer; None: the model's own classification head
    legacy_names: bool = False  # LayerNorm.gamma/beta and a position_ids buffer, as files of 2019 have them
    cased_vocab_txt: bool = False  # vocab.txt and tokenizer_config.json in place of tokenizer.json
    layer_norm_eps: float = 1e-12  # BERT's; DistilBERT has it fixed


TWO = ["NEGATIVE", "POSITIVE"]
THREE = ["bad", "so-so", "good"]
FIXTURES = [
    Fixture("bert-exits", "bert", 32, 4, 4, 64, "gelu", torch.float16, TWO, 11, pooling="mean"),
    Fixture("bert-plain", "bert", 40, 4, 3, 80, "gelu_new", torch.float32, THREE, 12,
            legacy_names=True, cased_vocab_txt=True, layer_norm_eps=1e-3),
    Fixture("distilbert-plain", "distilbert", 32, 2, 2, 64, "gelu", torch.bfloat16, TWO, 13),
    Fixture("distilbert-exits", "distilbert", 48, 6, 3, 96, "relu", torch.float16, TWO, 14, pooling="cls"),
]


def vocabulary(cased):
    """About 1,000 pieces: special tokens, characters alone and as continuations, endings, words."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    if cased:
        letters += [c.upper() for c in letters]
    digits = list("0123456789")
    punctuation = [chr(c) for c in range(33, 127) if not chr(c).isalnum()] + list("…—“”’")
    other = list("ßøéабдилмнорсуцчый这电影很好映画長い") + ["ا", "ل", "م", "😍", "👍"]
    endings = (
        "ing ed er est ly s es ness less ful able al ion tion ation ment ous ive y ier ies ity ist ism "
        "en n't ally ingly edly ers or ors age ance ence ant ent ary ic ical ish ize ship hood ward wards"
    ).split()
    words = (HERE / "words.txt").read_text().split()
    if cased:
        words += [w.capitalize() for w in "a i it the this that film movie not never ten somehow".split()]
    pieces = SPECIAL + punctuation + digits + letters + other
    pieces += [f"##{p}" for p in letters + digits + other + endings]
    pieces += words
    return list(dict.fromkeys(pieces))


def tokenizer(vocab, cased):
    """The BERT word-piece tokenizer, built from parts as `tokenizer.json` spells them."""
    ids = {piece: i for i, piece in enumerate(vocab)}
    t = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    t.add_special_tokens(SPECIAL)
    t.normalizer = normalizers.BertNormalizer(lowercase=not cased)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    t.decoder = decoders.WordPiece()
    return t


def config(f, vocab_size):
    labels = dict(
        id2label={i: l for i, l in enumerate(f.labels)},
        label2id={l: i for i, l in enumerate(f.labels)},
    )
    if f.kind == "bert":
        return transformers.BertConfig(
            vocab_size=vocab_size, hidden_size=f.hidden, num_hidden_layers=f.layers,
            num_attention_heads=f.heads, intermediate_size=f.intermediate, hidden_act=f.activation,
            max_position_embeddings=MAX_POSITIONS, layer_norm_eps=f.layer_norm_eps, **labels,
        )
    return transformers.DistilBertConfig(
        vocab_size=vocab_size, dim=f.hidden, n_layers=f.layers, n_heads=f.heads,
        hidden_dim=f.intermediate, activation=f.activation,
        max_position_embeddings=MAX_POSITIONS, **labels,
    )


def draw(state, generator):
    """Fills every tensor by what it is: LayerNorm weights around 1, biases small, the rest wide."""
    for name, tensor in state.items():
        noise = torch.randn(tensor.shape, generator=generator)
        if "LayerNorm.weight" in name or "layer_norm.weight" in name:
            tensor.copy_(1 + 0.2 * noise)
        elif name.endswith("bias"):
            tensor.copy_(0.1 * noise)
        elif "embeddings" in name:
            tensor.copy_(0.3 * noise)
        elif "classifier.weight" in name and not name.startswith("pre_"):
            # Wider still: sentences then differ in confidence, which is what an exit policy looks at.
            tensor.copy_(2.5 * noise / tensor.shape[1] ** 0.5)
        else:
            tensor.copy_(noise / tensor.shape[1] ** 0.5)


def to_legacy(name):
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


def write(f, folder):
    """Writes the checkpoint; returns its tokenizer, free of the settings that a file may carry."""
    vocab = vocabulary(f.cased_vocab_txt)
    cfg = config(f, len(vocab))
    family = "Bert" if f.kind == "bert" else "DistilBert"
    cls = getattr(transformers, f"{family}ForSequenceClassification")
    model = cls(cfg)
    generator = torch.Generator().manual_seed(f.seed)

    state = {k: torch.empty_like(v) for k, v in model.state_dict().items() if v.is_floating_point()}
    if f.pooling:
        heads = ("bert.pooler.", "classifier.", "pre_classifier.")
        state = {k: v for k, v in state.items() if not k.startswith(heads)}
        for i in range(f.layers):
            state[f"exits.{i}.dense.weight"] = torch.empty(f.hidden, f.hidden)
            state[f"exits.{i}.dense.bias"] = torch.empty(f.hidden)
            state[f"exits.{i}.classifier.weight"] = torch.empty(len(f.labels), f.hidden)
            state[f"exits.{i}.classifier.bias"] = torch.empty(len(f.labels))
    draw(state, generator)
    state = {k: v.to(f.dtype).contiguous() for k, v in state.items()}
    if f.legacy_names:
        state = {to_legacy(k): v for k, v in state.items()}
        state["bert.embeddings.position_ids"] = torch.arange(MAX_POSITIONS).unsqueeze(0)

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})

    settings = cfg.to_dict()
    settings.pop("dtype", None)
    settings["architectures"] = [cls.__name__]
    settings["torch_dtype" if f.legacy_names else "dtype"] = str(f.dtype).removeprefix("torch.")
    (folder / "config.json").write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")
    if f.pooling:
        exits = dict(pooling=f.pooling, hidden=f.hidden, activation="tanh", layers=list(range(1, f.layers + 1)))
        (folder / "exits.json").write_text(json.dumps(exits, indent=1) + "\n")

    tok = tokenizer(vocab, f.cased_vocab_txt)
    if f.cased_vocab_txt:
        (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
        lines = dict(tokenizer_class="BertTokenizer", do_lower_case=False, strip_accents=None,
                     tokenize_chinese_chars=True, model_max_length=MAX_POSITIONS, cls_token="[CLS]",
                     sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]")
        (folder / "tokenizer_config.json").write_text(json.dumps(lines, indent=1) + "\n")
    else:
        if f.name == "bert-exits":
            # Published files often carry the settings of their training; a reader must not obey them.
            tok.enable_truncation(16)
            tok.enable_padding(length=16)
        tok.save(str(folder / "tokenizer.json"), pretty=False)
        tok.no_padding()
    tok.enable_truncation(MAX_POSITIONS)
    if f.cased_vocab_txt:
        theirs = transformers.BertTokenizer.from_pretrained(folder)
        for text in TEXTS:
            ids = theirs(text, truncation=True, max_length=MAX_POSITIONS)["input_ids"]
            assert ids == tok.encode(text).ids, f"{f.name}: transformers reads {text!r} otherwise"
    return tok


def exit_logits(f, weights, hidden_states):
    """[exit][class] for one sentence: `hidden_states` holds the embeddings, then every layer's output."""
    rows = []
    for i, hidden in enumerate(hidden_states[1:]):
        pooled = hidden[0].mean(0) if f.pooling == "mean" else hidden[0, 0]
        dense = torch.tanh(weights[f"exits.{i}.dense.weight"] @ pooled + weights[f"exits.{i}.dense.bias"])
        rows.append((weights[f"exits.{i}.classifier.weight"] @ dense + weights[f"exits.{i}.classifier.bias"]).tolist())
    return rows


def golden(f, folder, tok):
    weights = {k: v.float() for k, v in load_file(folder / "model.safetensors").items()}
    auto = transformers.AutoModel if f.pooling else transformers.AutoModelForSequenceClassification
    model, report = auto.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    missing = {k for k in report["missing_keys"] if "pooler" not in k or not f.pooling}
    assert not missing, f"{f.name}: transformers finds no tensor for {sorted(missing)}"
    model.eval()

    ids = [tok.encode(text).ids for text in TEXTS]
    logits = []
    with torch.no_grad():
        for row in ids:
            out = model(input_ids=torch.tensor([row]), output_hidden_states=True)
            logits.append(exit_logits(f, weights, out.hidden_states) if f.pooling else [out.logits[0].tolist()])
    by_exit = [[sentence[i] for sentence in logits] for i in range(len(logits[0]))]
    return ids, by_exit


def main():
    for f in FIXTURES:
        folder = ROOT / "models" / "fixtures" / f.name
        tok = write(f, folder)
        ids, logits = golden(f, folder, tok)
        rounded = [[[float(f"{x:.8g}") for x in sentence] for sentence in e] for e in logits]
        body = json.dumps({"texts": TEXTS, "ids": ids, "logits": rounded}, ensure_ascii=True, separators=(",", ":"))
        (HERE / f"{f.name}.json").write_text(body + "\n")
        for i, e in enumerate(torch.tensor(logits)):
            winners = [e.argmax(-1).eq(c).sum().item() for c in range(e.shape[-1])]
            print(f"{f.name} exit {i}: std over sentences {e.std(0).tolist()}, winners {winners}")


if __name__ == "__main__":
    main()
