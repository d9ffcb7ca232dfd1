"""Fine-tunes MPNet-base on SST-2 and writes its answers for every row: the teacher of the shipped model.

    python teacher.py train.tsv dev.tsv reviews.tsv [--start sentence-transformers/all-mpnet-base-v2]

Writes teacher.safetensors, for the training rows, and teacher-reviews.safetensors, for these and the reviews' sentences.
Needs torch, transformers and safetensors. MPNet is not a BERT, so PyTorch trains it; the student's recipe only reads its
logits. One epoch in bf16, batch 32, AdamW 2.5e-5, the word embeddings frozen; about half an hour on two cores.
"""

import argparse
import hashlib
import random

import numpy as np
import torch
from rows import load, split
from safetensors.numpy import save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

BATCH, RATE, WARMUP = 32, 2.5e-5, 0.06


def padded(ids, pad):
    longest = max(map(len, ids))
    out = torch.full((len(ids), longest), pad)
    for row, sentence in zip(out, ids):
        row[: len(sentence)] = torch.tensor(sentence)
    return out, (out != pad).long()


def batches(rows, ids):
    """Makes batches of similar lengths, shuffled."""
    rows = random.sample(rows, len(rows))
    out = []
    for i in range(0, len(rows), 50 * BATCH):
        chunk = sorted(rows[i : i + 50 * BATCH], key=lambda r: len(ids[r]))
        chunk = [chunk[k : k + BATCH] for k in range(0, len(chunk), BATCH)]
        random.shuffle(chunk)
        out += chunk
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("train", "dev", "reviews"):
        parser.add_argument(name)
    parser.add_argument("--start", default="sentence-transformers/all-mpnet-base-v2")
    options = parser.parse_args()
    torch.manual_seed(1)
    random.seed(1)
    tokenizer = AutoTokenizer.from_pretrained(options.start)
    model = AutoModelForSequenceClassification.from_pretrained(options.start, num_labels=2)
    model.mpnet.embeddings.word_embeddings.weight.requires_grad = False

    rows, dev = load(options.train), load(options.dev)
    texts = [text for text, _ in rows]
    train, held_out = split(texts)
    with open(options.reviews, encoding="utf8") as file:
        reviews = [text.strip() for text in file.read().splitlines()[1:]]

    def encode(texts):
        return [tokenizer(text, truncation=True, max_length=128)["input_ids"] for text in texts]

    def logits(ids):
        model.eval()
        out = np.zeros((len(ids), 2), np.float32)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            for k in range(0, len(order), 64):
                chosen = order[k : k + 64]
                batch, mask = padded([ids[i] for i in chosen], tokenizer.pad_token_id)
                out[chosen] = model(input_ids=batch, attention_mask=mask).logits.float().numpy()
        model.train()
        return out

    ids, labels = encode(texts), np.array([label for _, label in rows])
    groups = {0.01: [], 0.0: []}
    for name, p in model.named_parameters():
        if p.requires_grad:
            groups[0.0 if name.endswith(("bias", "LayerNorm.weight")) else 0.01].append(p)
    groups = [dict(params=p, weight_decay=decay) for decay, p in groups.items()]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98), eps=1e-6, fused=True)
    plan = batches(train, ids)
    warm = int(WARMUP * len(plan))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, step / warm, (len(plan) - step) / (len(plan) - warm))
    )
    for step, chosen in enumerate(plan, 1):
        batch, mask = padded([ids[i] for i in chosen], tokenizer.pad_token_id)
        with torch.autocast("cpu", torch.bfloat16):
            out = model(input_ids=batch, attention_mask=mask).logits.float()
        loss = torch.nn.functional.cross_entropy(out, torch.from_numpy(labels[chosen]))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 0:
            print(f"{step}/{len(plan)} loss {loss.item():.3f}", flush=True)

    def accuracy(logits, labels):
        return (logits.argmax(1) == np.array(labels)).mean()

    said = logits(ids)
    print("dev", accuracy(logits(encode([t for t, _ in dev])), [label for _, label in dev]))
    print("held out", accuracy(said[held_out], labels[held_out]), "train", accuracy(said[train], labels[train]))
    save("teacher.safetensors", texts, said)
    save("teacher-reviews.safetensors", texts + reviews, np.concatenate([said, logits(encode(reviews))]))


def save(path, texts, logits):
    digest = hashlib.sha256("\n".join(texts).encode()).digest()
    save_file({"logits": logits, "texts": np.frombuffer(digest, np.uint8).copy()}, path)


if __name__ == "__main__":
    main()
