"""Makes the goldens of training (`tests/goldens/training/*`): what PyTorch's autograd says of every loss.

Run by hand, once, where PyTorch is; the result is committed, and no test needs PyTorch:

    pip install torch safetensors
    python tests/goldens/make_training.py

The network is written out below in plain operations, in f32, without dropout, and must give the logits of
`tests/goldens/<fixture>.json`. Everything is computed a second time in f64: how far f32 is from it stands in the
manifest, as `rounding`, so that a test can know which tolerance is fair.

`<fixture>.safetensors` holds, for S tokens in the longest sentence, L layers, E exits, C classes and width H:

    exit_weights                        [E]
    batch/ids, /lengths, /labels        [5, S] padded with 0; [5]; [5]
    batch/rows                          the ids that occur, sorted: the rows of word embeddings below
    student/logits                      [E, 5, C]
    teacher/logits                      [5, C], of the last exit
    teacher/hidden                      [L, 5, S, H], outputs of the layers 1 to L; 0 where there is padding
    teacher/attention                   [L, 5, heads, S, S], query before key; 0 where either is padding
    projection/weight                   [W, H]: a Linear without bias from student to teacher, one for all layers
    projection/teacher_hidden           [L, 5, S, W]
    LOSS/loss                           []
    LOSS/TENSOR                         gradient of TENSOR; word embeddings: `batch/rows` only, position embeddings:
                                        the first S rows only (the other rows of both are 0)
    hidden_projected/projection.weight  [W, H]
    adamw/ids, /lengths, /labels        [10, 5, S]; [10, 5]; [10, 5]: a batch for each step
    adamw/teacher_logits                [10, 5, C]
    adamw/rates, /losses, /norms        [10]: learning rate, loss before the step, norm of the gradient before clipping
    adamw/rows                          the ids that occur in any step
    adamw/TENSOR                        value after ten steps; word embeddings: `adamw/rows` only (the others do not change)

Losses: `hard`, `soft`, `self`, `hidden_mse`, `hidden_projected` (hidden_mse against projection/teacher_hidden),
`hidden_cosine`, `attention`; the functions of these names below are their definitions. The teacher is the student with
noise on its weights. Layers are mapped one to one.
"""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
OUT = HERE / "training"

TEMPERATURE = 2.0
NOISE = 0.02
LENGTHS = [7, 3, 13, 5, 10]
EXIT_WEIGHTS = [1.0, 0.5, 2.0, 1.25]
STEPS, WARMUP, TOTAL = 10, 3, 12
RATE, BETAS, EPS, DECAY, MAX_NORM = 1e-3, (0.9, 0.999), 1e-8, 0.01, 1.0
CLS, SEP, FIRST_WORD = 2, 3, 5
CLASSES = 2


class Network:
    """BERT or DistilBERT with exit heads, as a function of a dictionary of tensors with Hugging Face's names."""

    NAMES = {
        "bert": dict(
            layer="bert.encoder.layer.{}.", query="attention.self.query", key="attention.self.key",
            value="attention.self.value", out="attention.output.dense", norm1="attention.output.LayerNorm",
            up="intermediate.dense", down="output.dense", norm2="output.LayerNorm",
        ),
        "distilbert": dict(
            layer="distilbert.transformer.layer.{}.", query="attention.q_lin", key="attention.k_lin",
            value="attention.v_lin", out="attention.out_lin", norm1="sa_layer_norm",
            up="ffn.lin1", down="ffn.lin2", norm2="output_layer_norm",
        ),
    }

    def __init__(self, folder):
        config = json.loads((folder / "config.json").read_text())
        self.kind = config["model_type"]
        bert = self.kind == "bert"
        self.layers = config["num_hidden_layers" if bert else "n_layers"]
        self.heads = config["num_attention_heads" if bert else "n_heads"]
        self.width = config["hidden_size" if bert else "dim"]
        self.eps = config.get("layer_norm_eps", 1e-12)
        self.activation = {"gelu": F.gelu, "relu": F.relu}[config["hidden_act" if bert else "activation"]]
        self.vocabulary = config["vocab_size"]
        exits = json.loads((folder / "exits.json").read_text())
        self.pooling = exits["pooling"]
        assert exits["layers"] == list(range(1, self.layers + 1)) and exits["activation"] == "tanh"
        self.words = f"{self.kind}.embeddings.word_embeddings.weight"
        self.positions = f"{self.kind}.embeddings.position_embeddings.weight"

    def __call__(self, p, ids, lengths):
        """Hidden states and attention probabilities of every layer, logits of every exit."""
        linear = lambda name, x: F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])
        norm = lambda name, x: F.layer_norm(x, (self.width,), p[f"{name}.weight"], p[f"{name}.bias"], self.eps)
        batch, longest = ids.shape
        real = mask(ids, lengths)

        x = p[self.words][ids] + p[self.positions][:longest]
        if self.kind == "bert":
            x = x + p["bert.embeddings.token_type_embeddings.weight"][0]
        x = norm(f"{self.kind}.embeddings.LayerNorm", x)

        names = self.NAMES[self.kind]
        hidden, attention, logits = [], [], []
        for i in range(self.layers):
            at = lambda part: names["layer"].format(i) + names[part]
            split = lambda part: linear(at(part), x).view(batch, longest, self.heads, -1).transpose(1, 2)
            query, key, value = split("query"), split("key"), split("value")
            scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
            probabilities = scores.masked_fill(~real[:, None, None, :], -math.inf).softmax(-1)
            context = (probabilities @ value).transpose(1, 2).reshape(batch, longest, self.width)
            x = norm(at("norm1"), x + linear(at("out"), context))
            x = norm(at("norm2"), x + linear(at("down"), self.activation(linear(at("up"), x))))
            hidden.append(x)
            attention.append(probabilities)

            if self.pooling == "mean":
                pooled = (x * real[..., None]).sum(1) / lengths[:, None]
            else:
                pooled = x[:, 0]
            logits.append(linear(f"exits.{i}.classifier", torch.tanh(linear(f"exits.{i}.dense", pooled))))
        return hidden, attention, logits


def mask(ids, lengths):
    return torch.arange(ids.shape[1]) < lengths[:, None]


# The losses. `w` holds the weights of the exits.


def weighted(w, terms):
    return sum(a * b for a, b in zip(w, terms)) / sum(w[: len(terms)])


def divergence(target, logits):
    """T² · KL(target ‖ logits), both softened; mean over the batch. No gradient to the target."""
    p, q = (F.log_softmax(x / TEMPERATURE, -1) for x in (target.detach(), logits))
    return TEMPERATURE**2 * (p.exp() * (p - q)).sum(-1).mean()


def hard(w, logits, labels):
    return weighted(w, [F.cross_entropy(x, labels) for x in logits])


def soft(w, logits, teacher):
    return weighted(w, [divergence(teacher, x) for x in logits])


def self_(w, logits):
    return weighted(w, [divergence(logits[-1], x) for x in logits[:-1]])


def hidden_mse(student, teacher, real):
    return sum((s - t)[real].square().mean() for s, t in zip(student, teacher)) / len(student)


def hidden_cosine(student, teacher, real):
    pairs = zip(student, teacher)
    return sum((1 - F.cosine_similarity(s[real], t[real], dim=-1)).mean() for s, t in pairs) / len(student)


def attention_mse(student, teacher, real):
    counts = (real[:, None, :, None] & real[:, None, None, :]).expand_as(student[0])
    return sum((s - t)[counts].square().mean() for s, t in zip(student, teacher)) / len(student)


def draw_batch(generator, pool, longest):
    """Five sentences of `LENGTHS` in a drawn order, their words from the pool; ids, lengths, labels."""
    order = torch.randperm(len(LENGTHS), generator=generator)
    lengths = torch.tensor(LENGTHS)[order]
    ids = torch.zeros(len(LENGTHS), longest, dtype=torch.int64)
    for row, n in zip(ids, lengths.tolist()):
        row[:n] = pool[torch.randint(len(pool), (n,), generator=generator)]
        row[0], row[n - 1] = CLS, SEP
    return ids, lengths, torch.randint(CLASSES, (len(LENGTHS),), generator=generator)


def draw(network, seed, student):
    """All that is drawn, in f32: batches, the teacher's weights, and a teacher of another width."""
    generator = torch.Generator().manual_seed(seed)
    longest = max(LENGTHS)
    words = FIRST_WORD + torch.randperm(network.vocabulary - FIRST_WORD, generator=generator)
    wide = network.width + 8
    randn = lambda *shape: torch.randn(shape, generator=generator)
    return dict(
        batch=draw_batch(generator, words[:40], longest),
        # Words of a small pool: a row of the word embeddings then has a gradient in some steps and none in others.
        steps=[draw_batch(generator, words[20:80], longest) for _ in range(STEPS)],
        teacher={k: student[k] + NOISE * randn(*student[k].shape) for k in sorted(student)},
        projection=randn(wide, network.width) / network.width**0.5,
        wide_hidden=randn(network.layers, len(LENGTHS), longest, wide),
    )


def is_decayed(name):
    return not (name.endswith(".bias") or "LayerNorm" in name or "layer_norm" in name)


def has_noise_for_gradient(name):
    """A bias of keys adds the same to all scores of a query, and softmax takes it out again: its gradient is 0, and
    what is computed is rounding, which AdamW blows up to steps of full size."""
    return name.endswith(("attention.self.key.bias", "attention.k_lin.bias"))


def train(network, student, drawn, w):
    """Ten steps on hard + soft + self. Returns what the golden holds."""
    p = {k: v.clone().requires_grad_() for k, v in student.items()}
    words = p[network.words]
    others = [(k, v) for k, v in p.items() if k != network.words]
    optimizer = torch.optim.AdamW(
        [
            dict(params=[v for k, v in others if is_decayed(k)], weight_decay=DECAY),
            dict(params=[v for k, v in others if not is_decayed(k)], weight_decay=0.0),
        ],
        lr=RATE, betas=BETAS, eps=EPS,
    )
    # AdamW for the word embeddings, written out, since it is lazy: a row whose gradient is 0 keeps its value and its
    # moments, and is not decayed. The correction of the bias counts all steps, as everywhere else.
    first, second = torch.zeros_like(words), torch.zeros_like(words)

    rates, losses, norms, teacher_logits, seen = [], [], [], [], set()
    for step, (ids, lengths, labels) in enumerate(drawn["steps"], start=1):
        rate = RATE * min(step / WARMUP, (TOTAL - step) / (TOTAL - WARMUP))
        with torch.no_grad():
            teacher = network(drawn["teacher"], ids, lengths)[2][-1]
        logits = network(p, ids, lengths)[2]
        loss = hard(w, logits, labels) + soft(w, logits, teacher) + self_(w, logits)
        for v in p.values():
            v.grad = None
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(p.values(), MAX_NORM)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        with torch.no_grad():
            rows = words.grad.ne(0).any(1)
            gradient = words.grad[rows]
            first[rows] = BETAS[0] * first[rows] + (1 - BETAS[0]) * gradient
            second[rows] = BETAS[1] * second[rows] + (1 - BETAS[1]) * gradient.square()
            m, v = first[rows] / (1 - BETAS[0] ** step), second[rows] / (1 - BETAS[1] ** step)
            words[rows] = words[rows] * (1 - rate * DECAY) - rate * m / (v.sqrt() + EPS)
        occurring = set(ids[mask(ids, lengths)].tolist())
        assert set(rows.nonzero().flatten().tolist()) == occurring
        seen |= occurring
        rates.append(rate)
        losses.append(loss.item())
        norms.append(norm.item())
        teacher_logits.append(teacher)

    seen = torch.tensor(sorted(seen))
    unseen = torch.ones(network.vocabulary, dtype=torch.bool).index_fill(0, seen, False)
    assert torch.equal(words[unseen], student[network.words][unseen])
    values = {k: v.detach() for k, v in p.items()} | {network.words: words.detach()[seen]}
    out = dict(rates=torch.tensor(rates, dtype=words.dtype), losses=torch.tensor(losses, dtype=words.dtype),
               norms=torch.tensor(norms, dtype=words.dtype), teacher_logits=torch.stack(teacher_logits), rows=seen)
    for i, name in enumerate(["ids", "lengths", "labels"]):
        out[name] = torch.stack([s[i] for s in drawn["steps"]])
    return {f"adamw/{k}": v for k, v in (out | values).items()}


def compute(network, student, drawn, dtype):
    """All tensors of a golden, and for every loss the names of parameters that it does not reach."""
    cast = lambda tensors: {k: v.to(dtype) for k, v in tensors.items()}
    student = cast(student)
    drawn = drawn | dict(teacher=cast(drawn["teacher"]))
    w = EXIT_WEIGHTS[: network.layers]
    ids, lengths, labels = drawn["batch"]
    real = mask(ids, lengths)
    rows = ids[real].unique()

    with torch.no_grad():
        hidden, attention, logits = network(drawn["teacher"], ids, lengths)
    both_real = real[:, None, :, None] & real[:, None, None, :]
    teacher_hidden = torch.stack(hidden) * real[..., None]
    teacher_attention = torch.stack(attention) * both_real
    teacher_logits = logits[-1]
    wide_hidden = drawn["wide_hidden"].to(dtype) * real[..., None]

    p = {k: v.clone().requires_grad_() for k, v in student.items()}
    p["projection.weight"] = drawn["projection"].to(dtype).requires_grad_()
    hidden, attention, logits = network(p, ids, lengths)
    losses = {
        "hard": hard(w, logits, labels),
        "soft": soft(w, logits, teacher_logits),
        "self": self_(w, logits),
        "hidden_mse": hidden_mse(hidden, teacher_hidden, real),
        "hidden_projected": hidden_mse([F.linear(h, p["projection.weight"]) for h in hidden], wide_hidden, real),
        "hidden_cosine": hidden_cosine(hidden, teacher_hidden, real),
        "attention": attention_mse(attention, teacher_attention, real),
    }
    out = {
        "exit_weights": torch.tensor(w, dtype=dtype),
        "batch/ids": ids, "batch/lengths": lengths, "batch/labels": labels, "batch/rows": rows,
        "student/logits": torch.stack(logits).detach(),
        "teacher/logits": teacher_logits, "teacher/hidden": teacher_hidden, "teacher/attention": teacher_attention,
        "projection/weight": p["projection.weight"].detach(), "projection/teacher_hidden": wide_hidden,
    }
    unreached = {}
    for loss, value in losses.items():
        gradients = torch.autograd.grad(value, list(p.values()), retain_graph=True, allow_unused=True)
        out[f"{loss}/loss"] = value.detach()
        unreached[loss] = []
        for name, g in zip(p, gradients):
            if g is None:
                if name != "projection.weight":
                    unreached[loss].append(name)
                continue
            if name == network.words:
                assert g.count_nonzero() == g[rows].count_nonzero()
                g = g[rows]
            if name == network.positions:
                assert g.count_nonzero() == g[: ids.shape[1]].count_nonzero()
                g = g[: ids.shape[1]]
            out[f"{loss}/{name}"] = g
    return out | train(network, student, drawn, w), unreached


def check_forward(network, student, name):
    """The network is the one of the goldens of inference."""
    golden = json.loads((HERE / f"{name}.json").read_text())
    for i, ids in enumerate(golden["ids"]):
        with torch.no_grad():
            logits = network(student, torch.tensor([ids]), torch.tensor([len(ids)]))[2]
        for exit, row in zip(golden["logits"], logits):
            assert torch.allclose(row[0], torch.tensor(exit[i]), atol=1e-5), f"{name}, sentence {i}"


def rounding(f32, f64):
    """For every group of tensors, how far f32 is from f64: the largest difference in the norm of a whole tensor, as a
    share of the norm; and for the weights after ten steps, the largest difference of one number."""
    worst = {}
    for key, exact in f64.items():
        if not exact.is_floating_point() or has_noise_for_gradient(key):
            continue
        off = f32[key].double() - exact
        group = key.split("/")[0]
        value = off.abs().max() if group == "adamw" else off.norm() / exact.norm().clamp_min(1e-30)
        worst[group] = max(worst.get(group, 0.0), value.item())
    return {k: float(f"{v:.2g}") for k, v in worst.items() if v > 0}


def operations():
    """Forward and backward of single operations: `dx` is the gradient of sum(y · dy)."""
    generator = torch.Generator().manual_seed(31)
    out = {}

    def golden(name, function, **inputs):
        inputs = {k: v.requires_grad_() for k, v in inputs.items()}
        y = function(*inputs.values())
        dy = torch.randn(y.shape, generator=generator)
        gradients = torch.autograd.grad(y, list(inputs.values()), dy)
        out.update({f"{name}/{k}": v.detach() for k, v in inputs.items()})
        out.update({f"{name}/y": y.detach(), f"{name}/dy": dy})
        out.update({f"{name}/d{k}": g for k, g in zip(inputs, gradients)})

    x = torch.cat([torch.linspace(-6, 6, 49), torch.tensor([-40.0, -1e-4, 1e-4, 40.0])])
    golden("gelu", F.gelu, x=x.clone())
    golden("gelu_new", lambda x: F.gelu(x, approximate="tanh"), x=x.clone())
    for eps in (1e-12, 1e-3):
        golden(
            f"layer_norm_{eps:g}", lambda x, weight, bias, eps=eps: F.layer_norm(x, (24,), weight, bias, eps),
            # Rows of several sizes; in the smallest, an eps of 1e-3 counts.
            x=torch.tensor([[0.02], [0.5], [1.0], [30.0]]) * torch.randn(4, 24, generator=generator) + 0.3,
            weight=1 + 0.2 * torch.randn(24, generator=generator), bias=0.1 * torch.randn(24, generator=generator),
        )
    return out


def save(tensors, name):
    tensors = {k: v.clone().contiguous() for k, v in sorted(tensors.items())}
    assert all(v.dtype in (torch.float32, torch.int64) and v.isfinite().all() for v in tensors.values())
    save_file(tensors, OUT / f"{name}.safetensors")


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    OUT.mkdir(exist_ok=True)
    manifest = dict(
        temperature=TEMPERATURE,
        adamw=dict(steps=STEPS, warmup=WARMUP, total=TOTAL, rate=RATE, betas=BETAS, eps=EPS, decay=DECAY,
                   max_norm=MAX_NORM, loss="hard + soft + self"),
        fixtures={},
    )
    for name, seed in [("bert-exits", 21), ("distilbert-exits", 22)]:
        folder = ROOT / "models" / "fixtures" / name
        network = Network(folder)
        student = {k: v.float() for k, v in load_file(folder / "model.safetensors").items()}
        check_forward(network, student, name)
        drawn = draw(network, seed, student)
        golden, unreached = compute(network, student, drawn, torch.float32)
        exact, _ = compute(network, student, drawn, torch.float64)
        save(golden, name)
        manifest["fixtures"][name] = dict(
            pooling=network.pooling,
            losses={k.removesuffix("/loss"): round(v.item(), 7) for k, v in golden.items() if k.endswith("/loss")},
            without_gradient=unreached,
            noise_for_gradient=sorted(k for k in student if has_noise_for_gradient(k)),
            rounding=rounding(golden, exact),
        )
        print(name, "norms", [round(x, 3) for x in golden["adamw/norms"].tolist()],
              "losses", [round(x, 3) for x in golden["adamw/losses"].tolist()])
    save(operations(), "operations")
    (OUT / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
