"""Makes the goldens of compression (`tests/goldens/compress.safetensors`): what PyTorch's own pruning and fake
quantization say, and what its autograd says the parts of a network are worth.

Run by hand, once, where PyTorch is; the result is committed, and no test needs PyTorch:

    pip install torch safetensors
    python tests/goldens/make_compress.py

    weight                       [24, 32]
    mask/SHARE                   [24, 32] of `torch.nn.utils.prune.l1_unstructured`, 0 or 1
    mask/N:M                     [24, 32] of `torch.ao.pruning.WeightNormSparsifier`, blocks of M inputs
    fake/weight-BITS             [24, 32] of `fake_quantize_per_channel_affine`, a scale for every output
    fake/weight-gradient         [24, 32] gradient of sum(fake(weight)²) by its straight-through estimator
    fake/rows                    [24, 32] `weight` as rows of activations in −127…127
    FIXTURE/ids, /lengths, /labels   [5, S]; [5]; [5]
    FIXTURE/heads                [layers, heads]: Σ over sentences of |a · ∂L/∂a| for the output a of each head
    FIXTURE/neurons              [layers, intermediate]: the same for each neuron of the feed-forward networks

L is the mean over the exits of the cross-entropy of one sentence; ∂L/∂a is taken at a itself, in f64.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch.ao.pruning import WeightNormSparsifier
from torch.nn.utils import prune

import make_training
from make_training import LENGTHS, Network, draw_batch

HERE = Path(__file__).resolve().parent
FIXTURES = ["bert-exits", "distilbert-exits"]


def masks(weight):
    found = {}
    for share in [0.1, 0.5, 0.83]:
        layer = torch.nn.Linear(32, 24)
        layer.weight.data = weight.clone()
        prune.l1_unstructured(layer, "weight", amount=share)
        found[f"mask/{share}"] = layer.weight_mask
    for n, m in [(2, 4), (1, 4), (4, 8)]:
        model = torch.nn.Sequential(torch.nn.Linear(32, 24))
        model[0].weight.data = weight.clone()
        sparsifier = WeightNormSparsifier(sparsity_level=1.0, sparse_block_shape=(1, m), zeros_per_block=m - n)
        sparsifier.prepare(model, [{"tensor_fqn": "0.weight"}])
        sparsifier.step()
        found[f"mask/{n}:{m}"] = model[0].parametrizations.weight[0].mask.float()
    return {name: mask.contiguous() for name, mask in found.items()}


def fake(x, most):
    """Rows of x in −most…most, a scale for each."""
    scale = x.detach().abs().amax(1) / most
    zero = torch.zeros(len(x), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(x, scale, zero, 0, -most, most)


def importance(folder, ids, lengths, labels):
    """What heads and neurons are worth, from the activations' own gradients."""
    network = Network(folder)
    parameters = {k: v.double() for k, v in load_file(folder / "model.safetensors").items()}
    names = network.NAMES[network.kind]
    at = lambda layer, part: names["layer"].format(layer) + names[part] + ".weight"
    watched = {}
    for layer in range(network.layers):
        watched[id(parameters[at(layer, "out")])] = ("heads", layer)
        watched[id(parameters[at(layer, "down")])] = ("neurons", layer)
    seen = {}
    plain = F.linear

    def linear(x, weight, bias):
        if id(weight) in watched:
            x.retain_grad()
            seen[watched[id(weight)]] = x
        return plain(x, weight, bias)

    for p in parameters.values():
        p.requires_grad_()
    sums = {key: 0.0 for key in watched.values()}
    make_training.F.linear = linear
    try:
        for row, n, label in zip(ids, lengths.tolist(), labels):
            _, _, logits = network(parameters, row[None, :n], torch.tensor([n]))
            loss = sum(F.cross_entropy(x, label[None]) for x in logits) / len(logits)
            loss.backward()
            for key, a in seen.items():
                products = (a * a.grad).sum((0, 1))
                if key[0] == "heads":
                    products = products.view(network.heads, -1).sum(1)
                sums[key] = sums[key] + products.abs()
    finally:
        make_training.F.linear = plain
    stack = lambda kind: torch.stack([sums[kind, layer].detach().float() for layer in range(network.layers)])
    return stack("heads"), stack("neurons")


def main():
    generator = torch.Generator().manual_seed(7)
    weight = torch.randn(24, 32, generator=generator)
    tensors = {"weight": weight, **masks(weight)}
    for bits, most in [(7, 63), (8, 127)]:
        tensors[f"fake/weight-{bits}"] = fake(weight, most)
    trained = weight.clone().requires_grad_()
    fake(trained, 63).square().sum().backward()
    tensors["fake/weight-gradient"] = trained.grad
    tensors["fake/rows"] = fake(weight, 127)
    for name in FIXTURES:
        folder = HERE.parents[1] / "models" / "fixtures" / name
        pool = torch.randperm(200, generator=generator)[:60] + 5
        ids, lengths, labels = draw_batch(generator, pool, max(LENGTHS))
        heads, neurons = importance(folder, ids, lengths, labels)
        parts = dict(ids=ids, lengths=lengths, labels=labels, heads=heads, neurons=neurons)
        tensors.update({f"{name}/{part}": tensor for part, tensor in parts.items()})
    save_file({k: v.contiguous() for k, v in tensors.items()}, HERE / "compress.safetensors")


if __name__ == "__main__":
    main()
