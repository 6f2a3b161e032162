"""Golden data of bert_golden_test.cpp, by Hugging Face transformers in fp32 on the CPU.

    python make_golden.py [DIRECTORY of all-MiniLM-L6-v2]

tiny/                a random BERT (2 layers, hidden 32) as a model directory, with a pooler and heads of 5 and 3 labels
tiny_*.safetensors   its hidden states, logits, loss and gradients for a few samples, padded here, packed there
minilm.safetensors   for the real weights: tokens, sampled hidden states, logits, and of each gradient the norm and 16 products
                     with random signs (their errors estimate the distance to our gradient without storing it)
"""
import json
import os
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertForTokenClassification

HERE = os.path.dirname(os.path.abspath(__file__))
IGNORE = -100


def pad(rows, value):
    width = max(len(r) for r in rows)
    return torch.tensor([list(r) + [value] * (width - len(r)) for r in rows])


def packed(x, lengths):
    return torch.cat([x[i, :n] for i, n in enumerate(lengths)])


def run(model, tokens, types, targets):
    """Hidden states of every layer (packed), logits, summed loss; gradients stay in the model."""
    lengths = [len(t) for t in tokens]
    mask = pad([[1] * n for n in lengths], 0)
    model.eval()
    out = model(pad(tokens, 0), attention_mask=mask, token_type_ids=pad(types, 0), output_hidden_states=True)
    if isinstance(model, BertForTokenClassification):
        logits, flat = packed(out.logits, lengths), torch.tensor([t for row in targets for t in row])
    else:
        logits, flat = out.logits, torch.tensor(targets)
    loss = torch.nn.functional.cross_entropy(logits, flat, ignore_index=IGNORE, reduction="sum")
    model.zero_grad()
    loss.backward()
    hidden = [packed(h, lengths).detach().contiguous() for h in out.hidden_states]
    return {"tokens": torch.tensor(sum(map(list, tokens), [])), "types": torch.tensor(sum(map(list, types), [])),
            "lengths": torch.tensor(lengths), "targets": flat, "logits": logits.detach().contiguous(), "loss": loss.detach().reshape(1)}, hidden


def randomise(model, generator):
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(1 + 0.2 * noise if name.endswith("LayerNorm.weight") else 0.2 * noise)


def tiny():
    shape = dict(vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=56, max_position_embeddings=24,
                 type_vocab_size=2, layer_norm_eps=1e-12, hidden_act="gelu")
    generator = torch.Generator().manual_seed(1)
    tagger = BertForTokenClassification(BertConfig(**shape, num_labels=5))
    classifier = BertForSequenceClassification(BertConfig(**shape, num_labels=3))
    randomise(tagger, generator)
    randomise(classifier, generator)
    classifier.bert.load_state_dict(tagger.bert.state_dict(), strict=False)
    lengths = [7, 1, 20, 12]
    tokens = [torch.randint(1, 40, (n,), generator=generator).tolist() for n in lengths]
    types = [[0] * (n - n // 3) + [1] * (n // 3) for n in lengths]
    labels = [[IGNORE if (i + s) % 3 == 0 else (i * 7 + s) % 5 for i in range(n)] for s, n in enumerate(lengths)]
    folder = os.path.join(HERE, "tiny")
    os.makedirs(folder, exist_ok=True)
    json.dump({"model_type": "bert", **shape}, open(os.path.join(folder, "config.json"), "w"), indent=1)
    weights = {"tagger." + n if n.startswith("classifier") else n: p.detach().clone() for n, p in tagger.named_parameters()}
    weights.update({n: p.detach().clone() for n, p in classifier.named_parameters() if "pooler" in n or n.startswith("classifier")})
    save_file(weights, os.path.join(folder, "weights.safetensors"))
    for name, model, targets in (("tokens", tagger, labels), ("sequences", classifier, [2, 0, 1, 0])):
        result, hidden = run(model, tokens, types, targets)
        result.update({f"hidden.{i}": h for i, h in enumerate(hidden)} if name == "tokens" else {})
        result.update({"grad." + n: p.grad.clone() for n, p in model.named_parameters()})
        if name == "sequences":  # the other poolings: the same classifier on the first row, or on the mean of all rows
            rows = torch.split(hidden[-1], lengths)
            result["logits.cls"] = classifier.classifier(torch.stack([r[0] for r in rows])).detach()
            result["logits.mean"] = classifier.classifier(torch.stack([r.mean(0) for r in rows])).detach()
        save_file(result, os.path.join(HERE, f"tiny_{name}.safetensors"))


def signs(count, k):
    """+1 or -1 for the elements 0..count-1: a bit of splitmix64."""
    with np.errstate(over="ignore"):
        z = np.arange(count, dtype=np.uint64) * np.uint64(16) + np.uint64(k) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return 1.0 - 2.0 * (z & np.uint64(1)).astype(np.float64)


def read_sentences(count):
    rows, words, tags, names = [], [], [], []
    for line in open(os.path.join(HERE, "../../../data/wnut17/dev.conll"), encoding="utf-8"):
        if not line.strip():
            if words:
                rows.append((words, tags))
            words, tags = [], []
            continue
        word, tag = line.rstrip("\n").split("\t")[:2]
        words.append(word)
        tags.append(tag)
        if tag not in names:
            names.append(tag)
    return rows[:count], sorted(names)


def minilm(directory):
    tokenizer = AutoTokenizer.from_pretrained(directory)
    rows, names = read_sentences(16)
    model = BertForTokenClassification.from_pretrained(directory, num_labels=len(names), attn_implementation="eager")
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        model.classifier.weight.copy_(torch.randn(model.classifier.weight.shape, generator=generator) * 0.05)
        model.classifier.bias.zero_()
    tokens, targets = [], []
    for words, tags in rows:
        encoded = tokenizer(words, is_split_into_words=True)
        ids, last = encoded.word_ids(), None
        target = []
        for w in ids:
            target.append(names.index(tags[w]) if w is not None and w != last else IGNORE)
            last = w
        tokens.append(encoded["input_ids"])
        targets.append(target)
    result, hidden = run(model, tokens, [[0] * len(t) for t in tokens], targets)
    result["classifier.weight"] = model.classifier.weight.detach().clone()
    for i, h in enumerate(hidden):
        result[f"hidden.{i}"] = h.flatten()[::191].clone()
    for name, p in model.named_parameters():
        g = p.grad.double().flatten().numpy()
        result["grad." + name] = torch.tensor([float(np.linalg.norm(g))] + [float(signs(g.size, k) @ g) for k in range(16)], dtype=torch.float32)
    save_file(result, os.path.join(HERE, "minilm.safetensors"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    tiny()
    minilm(sys.argv[1] if len(sys.argv) > 1 else os.path.expanduser("~/.cache/fmtrain/all-MiniLM-L6-v2"))
