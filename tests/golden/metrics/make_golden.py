"""Golden values of the metrics, from seqeval 1.2.2 and scikit-learn.

  make_golden.py            writes tagging.json and classes.json beside this file
  make_golden.py WNUT_DIR   also wnut17.tags, from https://github.com/leondz/emerging_entities_17 (CC BY 4.0)
"""
import json
import math
import random
import sys
import warnings
from pathlib import Path

from seqeval import metrics as entity
from seqeval.scheme import IOB2
from sklearn import metrics as item

HERE = Path(__file__).parent
SYSTEMS = ["uh_ritual", "spinningbytes.txt", "sjtu_adapt.txt", "flytxt", "mic-cis.txt", "drexel_cci"]
# One character a tag: a capital begins an entity, a small letter continues it, "." is O. Sentences are divided by a blank.
TAGS = {".": "O", "A": "B-alpha", "a": "I-alpha", "B": "B-creative-work", "b": "I-creative-work", "C": "B-x", "c": "I-x"}
warnings.simplefilter("ignore")


def short(value):
    return None if math.isnan(value) else float(f"{value:.14g}")


def shorts(*values):
    return [short(float(v)) for v in values]


def random_sentence(rng, alphabet):
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(1, 12)))


def noisy(rng, text, alphabet, share):
    return "".join(rng.choice(alphabet) if c != " " and rng.random() < share else c for c in text)


def entity_scores(gold, predicted, mode):
    how = dict(mode=mode, scheme=IOB2, zero_division=0)
    three = (entity.precision_score, entity.recall_score, entity.f1_score)
    scores = shorts(*(f(gold, predicted, average=a, **how) for a in ("micro", "macro", "weighted") for f in three))
    return {"scores": scores, "report": entity.classification_report(gold, predicted, **how)}


def tagging_case(rng, index):
    alphabet = rng.choice([".Aa", "..AaBb", "...AaBbCc", ".AaBbCc", ".abc", ".ABC", "Aa"])
    gold = " ".join(random_sentence(rng, alphabet) for _ in range(4))
    predicted = noisy(rng, gold, rng.choice([".", ".a", ".AaBbCc", alphabet]), rng.choice([0, 0.2, 0.5, 1]))
    g, p = ([[TAGS[c] for c in s] for s in t.split(" ")] for t in (gold, predicted))
    flat_g, flat_p = sum(g, []), sum(p, [])
    inside = sorted(set(flat_g + flat_p) - {"O"})
    try:
        case = {"strict": entity_scores(g, p, "strict"), "lenient": entity_scores(g, p, None)}
    except (ZeroDivisionError, ValueError):  # no entity at all: seqeval has no average of nothing
        return None
    if any(None in case[m]["scores"] for m in case):
        return None
    if index >= 40:
        for mode in ("strict", "lenient"):
            del case[mode]["report"]
    else:
        case["words_report"] = item.classification_report(flat_g, flat_p, zero_division=0)
    micro = item.precision_recall_fscore_support(flat_g, flat_p, labels=inside, average="micro", zero_division=0)[:3]
    case["words"] = shorts(item.accuracy_score(flat_g, flat_p), item.f1_score(flat_g, flat_p, average="macro", zero_division=0),
                           item.f1_score(flat_g, flat_p, average="weighted", zero_division=0), *micro)
    return {"gold": gold, "predicted": predicted, **case}


def class_case(rng, index):
    digits = "012345"[: rng.randint(1, 6)]
    gold = "".join(rng.choice(digits) for _ in range(rng.randint(1, 25)))
    predicted = noisy(rng, gold, rng.choice([digits, "012345", digits[:1]]), rng.choice([0, 0.3, 1]))
    g, p = list(gold), list(predicted)
    averages = [item.precision_recall_fscore_support(g, p, average=a, zero_division=0)[:3] for a in ("macro", "weighted")]
    values = shorts(item.accuracy_score(g, p), *averages[0], *averages[1], item.balanced_accuracy_score(g, p), item.matthews_corrcoef(g, p),
                    item.cohen_kappa_score(g, p))
    case = {"gold": gold, "predicted": predicted, "values": values}
    if index < 20 and any(a == b for a, b in zip(g, p)):  # else scikit-learn 1.9.1 prints supports as 4.0
        case["report"] = item.classification_report(g, p, zero_division=0)
    return case


def cases(make, count):
    rng, made = random.Random(17), []
    while len(made) < count:
        case = make(rng, len(made))
        if case:
            made.append(case)
    return "[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in made) + "\n]\n"


def tags_of(path):
    return [line.rstrip("\r\n").split("\t")[-1].strip() for line in path.open(encoding="utf-8", newline="")]


def wnut(folder):
    """Gold and the six systems' tags, a line a word; one tag when all seven agree."""
    columns = [tags_of(folder / "emerging.test.annotated")] + [tags_of(folder / "submissions" / s) for s in SYSTEMS]
    rows = list(zip(*(c[: max(i for i, t in enumerate(c) if t) + 1] for c in columns), strict=True))
    return "".join((row[0] if len(set(row)) == 1 else "\t".join(row)) + "\n" for row in rows)


(HERE / "tagging.json").write_text(cases(tagging_case, 250))
(HERE / "classes.json").write_text(cases(class_case, 1000))
if len(sys.argv) > 1:
    (HERE / "wnut17.tags").write_text(wnut(Path(sys.argv[1])))
