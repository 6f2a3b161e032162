#!/usr/bin/env python3
"""What all arms of compare.py share: texts, token ids, and a model directory with a head. Run by compare.py with the peers' Python.

    peer_data.py texts WORK MODEL ROOT     the raw files wnut17.conll, clinc150.jsonl, fixed128.conll in WORK
    peer_data.py distinct WORK MODEL ROOT  all texts, for the tokenizers
    peer_data.py finish WORK MODEL NAME    after `fmtrain prepare` has made NAME.h5: NAME.npz with the same ids, the model directory
                                           model-NAME; fails unless the Hugging Face tokenizer gives the very same ids
Subsets are drawn by a fixed seed: 1,280 sentences of WNUT-17's training set, 1,280 of CLINC150's; fixed128 joins words of WNUT-17 to
640 texts of exactly 128 tokens.
"""
import json
import random
import shutil
import sys

SAMPLES, FIXED, TOKENS = 1280, 640, 126  # tokens beside [CLS] and [SEP]


def read_conll(path):
    texts = [[]]
    for line in open(path, encoding="utf-8", newline="\n"):
        line = line.rstrip("\r\n")
        if line.strip():
            texts[-1].append((line.split("\t")[0], line.split("\t")[-1]))
        elif texts[-1]:
            texts.append([])
    return [t for t in texts if t]


def write_conll(path, texts):
    with open(path, "w", encoding="utf-8") as f:
        for rows in texts:
            f.writelines(f"{word}\t{tag}\n" for word, tag in rows)
            f.write("\n")


def joined(words, pieces):
    """Texts of exactly TOKENS tokens: a word that would not fit waits for the next text."""
    texts, text, used, waiting = [], [], 0, []
    for item in words:
        queue, waiting = waiting + [item], []
        for word, tag in queue:
            if used + pieces[word] > TOKENS:
                waiting.append((word, tag))
                continue
            if tag.startswith("I-") and (not text or text[-1][1][2:] != tag[2:]):
                tag = "B-" + tag[2:]
            text.append((word, tag))
            used += pieces[word]
        if used == TOKENS:
            texts.append(text)
            text, used = [], 0
        if len(texts) == FIXED:
            return texts
    raise SystemExit(f"only {len(texts)} texts of fixed length")


def texts(work, model, root):
    from tokenizers import Tokenizer
    rng = random.Random(1)
    ner = read_conll(root + "/data/wnut17/train.conll")
    write_conll(work + "/wnut17.conll", rng.sample(ner, SAMPLES))
    tokenizer = Tokenizer.from_file(model + "/tokenizer.json")
    tokenizer.no_padding()
    words = [item for text in ner for item in text]
    distinct = list({w for w, _ in words})
    pieces = dict(zip(distinct, (len(e.ids) for e in tokenizer.encode_batch(distinct, add_special_tokens=False))))
    words = [item for item in words if pieces[item[0]] > 0]
    write_conll(work + "/fixed128.conll", joined(words + words, pieces))
    clinc = json.load(open(root + "/data/clinc150/data_full.json", encoding="utf-8"))["train"]
    with open(work + "/clinc150.jsonl", "w", encoding="utf-8") as f:
        f.writelines(json.dumps({"text": t, "label": label}) + "\n" for t, label in rng.sample(clinc, SAMPLES))


def distinct(work, model, root):
    """distinct.txt: the texts of all sets that come with fmtrain, one a line, none twice."""
    import csv
    found = {}
    for name in ("wnut17/train.conll", "wnut17/dev.conll", "wnut17/test.conll", "ncbi-disease/train.tsv", "ncbi-disease/devel.tsv", "ncbi-disease/test.tsv"):
        found.update((" ".join(w for w, _ in t), None) for t in read_conll(f"{root}/data/{name}"))
    for name in ("train", "test"):
        found.update((r["text"], None) for r in csv.DictReader(open(f"{root}/data/banking77/{name}.csv", encoding="utf-8")))
    for part in json.load(open(root + "/data/clinc150/data_full.json", encoding="utf-8")).values():
        found.update((text, None) for text, _ in part)
    with open(work + "/distinct.txt", "w", encoding="utf-8") as f:
        f.writelines(line + "\n" for line in (" ".join(t.split()) for t in found) if line)


def same_ids(work, model, name, rows):
    """Are the ids of the prepared file those of the Hugging Face tokenizer, for every sample?"""
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(model + "/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(128)
    if name == "clinc150":
        found = tokenizer.encode_batch([json.loads(line)["text"] for line in open(f"{work}/{name}.jsonl", encoding="utf-8")])
    else:
        found = tokenizer.encode_batch([[w for w, _ in t] for t in read_conll(f"{work}/{name}.conll")], is_pretokenized=True)
    return len(found) == len(rows) and all(list(a) == e.ids for a, e in zip(rows, found))


def labels_of(h5, offsets):
    """Classification: of each sample. Tagging: of each token, -100 where there is none."""
    import numpy
    if "labels" in h5:
        return h5["labels"][:]
    labels = numpy.full(offsets[-1], -100, numpy.int64)
    words, gold, first = h5["word_offsets"][:], h5["word_gold"][:], h5["word_token"][:]
    for s in range(len(offsets) - 1):
        for w in range(words[s], words[s + 1]):
            if first[w] >= 0:
                labels[offsets[s] + first[w]] = gold[w]
    return labels


def finish(work, model, name):
    import h5py
    import numpy
    import torch
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification
    h5 = h5py.File(f"{work}/{name}.h5")
    about = json.loads(bytes(h5["description"][:]))
    ids, offsets = h5["tokens"][:].astype(numpy.int64), h5["offsets"][:]
    rows = [ids[a:b] for a, b in zip(offsets, offsets[1:])]
    if not same_ids(work, model, name, rows):
        raise SystemExit(f"{name}: the Hugging Face tokenizer gives other ids")
    if name == "fixed128" and {len(r) for r in rows} != {128}:
        raise SystemExit("fixed128: not all samples have 128 tokens")
    numpy.savez(f"{work}/{name}.npz", ids=ids, offsets=offsets, labels=labels_of(h5, offsets).astype(numpy.int64))
    torch.manual_seed(1)
    cls = AutoModelForSequenceClassification if name == "clinc150" else AutoModelForTokenClassification
    place = f"{work}/model-{name}"
    cls.from_pretrained(model, num_labels=len(about["labels"])).save_pretrained(place)
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        try:
            shutil.copy(f"{model}/{file}", place)
        except FileNotFoundError:
            continue
    lengths = [len(r) for r in rows]
    with open(f"{work}/{name}.json", "w") as f:
        json.dump({"samples": len(rows), "tokens": sum(lengths), "squares": sum(n * n for n in lengths), "labels": len(about["labels"]),
                   "task": "sequence" if name == "clinc150" else "token"}, f)


if __name__ == "__main__":
    {"texts": texts, "distinct": distinct, "finish": finish}[sys.argv[1]](*sys.argv[2:])
