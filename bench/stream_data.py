"""Two real streams for continual_stream.py: base training set, frozen test, and what comes in later, in order of time."""
import hashlib
import json
import os

BTC = ("e", "f", "g", "h")  # sections after the base, in the order they are played


def share(text):
    """A number in [0, 1) that the text alone decides."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 16 ** 12


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as f:
        f.write(text)


# ---- tagged tweets -----------------------------------------------------------------------------------------------------------

def sentences(path):
    """[[(word, tag), ...], ...] of CoNLL columns."""
    found, rows = [], []
    for line in open(path, encoding="utf-8", newline="\n"):
        line = line.rstrip("\r\n")
        if line.strip():
            columns = line.split("\t")
            rows.append((columns[0], columns[-1]))
        elif rows:
            found.append(rows)
            rows = []
    return found + [rows] * bool(rows)


def words(rows):
    return " ".join(word for word, _ in rows)


def conll(texts):
    return "".join("".join(f"{word}\t{tag}\n" for word, tag in rows) + "\n" for rows in texts)


def broad_twitter(data, work):
    """Sections a and b (January and February 2012): 80 % to train on, 10 % for validation, 10 % as core; then e, f, g, h."""
    base = sorted(sentences(data + "/a.conll") + sentences(data + "/b.conll"), key=lambda rows: share(words(rows)))
    parts = {"train": lambda s: s < 0.8, "validation": lambda s: 0.8 <= s < 0.9, "test": lambda s: s >= 0.9}
    for name, inside in parts.items():
        write(f"{work}/data/{name}.conll", conll([rows for rows in base if inside(share(words(rows)))]))
    arrivals = []
    for i, section in enumerate(BTC):
        arrivals.append({"name": section, "file": f"{work}/data/{i + 1}-{section}.conll", "test": None})
        write(arrivals[-1]["file"], conll(sentences(f"{data}/{section}.conll")))
    return {"task": "token-classification", "metric": "f1", "extension": ".conll", "base": "a+b", "arrivals": arrivals,
            "batch": {"global": 32, "micro": 16}, "epochs": 3,
            "about": "Broad Twitter Corpus: sections a and b (2012) first, then e, f, g, h"}


# ---- intents, domain by domain -------------------------------------------------------------------------------------------------

def domains(data, listed):
    """[(name, intents)]: of the file's own list where there is one."""
    if listed and os.path.exists(listed):
        return [(name, sorted(intents)) for name, intents in json.load(open(listed)).items()], os.path.basename(listed)
    intents = sorted({intent for _, intent in data["train"]})
    return [(f"set{i + 1}", intents[30 * i:30 * i + 30]) for i in range(5)], "5 sets of 30 intents in alphabetic order, for want of domains.json"


def jsonl(pairs):
    return "".join(json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n" for text, label in pairs)


def clinc(data, work, base):
    """The first `base` domains (null: half of them) with their own splits; then one domain after the other, training split only."""
    full = json.load(open(data + "/data_full.json", encoding="utf-8"))
    found, source = domains(full, data + "/domains.json")
    first = base or len(found) // 2
    known = {intent for _, intents in found[:first] for intent in intents}

    def of(split, intents):
        return sorted(((t, i) for t, i in full[split] if i in intents), key=lambda pair: share(pair[0]))

    for name, split in (("train", "train"), ("validation", "val"), ("test", "test")):
        write(f"{work}/data/{name}.jsonl", jsonl(of(split, known)))
    arrivals = []
    for i, (name, intents) in enumerate(found[first:]):
        arrivals.append({"name": name, "file": f"{work}/data/{i + 1}-{name}.jsonl", "test": None})
        write(arrivals[-1]["file"], jsonl(of("train", set(intents))))
    return {"task": "sequence-classification", "metric": "accuracy", "extension": ".jsonl",
            "base": ", ".join(name for name, _ in found[:first]), "arrivals": arrivals,
            "batch": {"global": 32, "micro": 16}, "epochs": 3,
            "about": f"CLINC150, one domain after the other ({source}); the labels grow"}


# ---- held-out texts of one arrival ---------------------------------------------------------------------------------------------

def keys(path):
    """[(what tells texts apart, the text as it stands in a file)] in the file's order."""
    if path.endswith(".conll"):
        return [(" ".join(words(rows).split()), conll([rows])) for rows in sentences(path)]
    return [(" ".join(json.loads(line)["text"].split()), line) for line in open(path, encoding="utf-8")]


def held_out(rolling, arrival, path):
    """Writes the texts of a cycle's rolling test that came with this arrival; returns how many."""
    came = {key for key, _ in keys(arrival)}
    texts = [text for key, text in keys(rolling) if key in came]
    write(path, "".join(texts))
    return len(texts)


def with_known_labels(path, labels, out):
    """Writes the texts whose labels a model has; returns (those, all)."""
    lines = open(path, encoding="utf-8").readlines()
    kept = [line for line in lines if json.loads(line)["label"] in labels]
    write(out, "".join(kept))
    return len(kept), len(lines)
