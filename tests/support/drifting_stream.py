"""A stream of texts that drifts: four classes, each known by words of its own. In a window a share of the texts is of a new time:
there a class has the words that its neighbour had before, and words that tell the time stand beside them. A model of the old time
reads them wrong; one that is trained on them alone reads the old texts wrong.

Usage: drifting_stream.py FOLDER [--windows N] [--texts N] [--seed N]
Writes base-train.jsonl (800 texts), base-test.jsonl (600), windows/00.jsonl ... with shares of the new time that
grow from 0 to 1 in the first half and stay there, and tests/00.jsonl ... of 600 more texts of each window.
"""
import argparse
import json
import random
from pathlib import Path

CLASSES = ["north", "east", "south", "west"]
WORDS = {"north": "next year some january last".split(),
       "east": "days come back need happy".split(),
       "south": "school want well years long".split(),
       "west": "work saturday think make december".split()}
TIMES = "people would first here show gonna game home".split()
FILLER = "the and you for that this with but just get all have will your was not can are now about they been from what one".split()


def text(draw, new):
    """One text, and its class."""
    label = draw.choice(CLASSES)
    words = [draw.choice(FILLER) for _ in range(draw.randint(5, 9))]
    # In the new time a class has the words that its neighbour had, and words that tell the time stand beside them.
    spoken = CLASSES[(CLASSES.index(label) + 1) % len(CLASSES)] if new else label
    words += [draw.choice(WORDS[spoken]) for _ in range(2)]
    if new:
        words += [draw.choice(TIMES) for _ in range(2)]
    draw.shuffle(words)
    return {"text": " ".join(words), "label": label if draw.random() > 0.02 else draw.choice(CLASSES)}


def write(path, texts):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(t) + "\n" for t in texts))


def unique(draw, count, share, seen):
    found = []
    while len(found) < count:
        one = text(draw, draw.random() < share)
        if one["text"] not in seen:
            seen.add(one["text"])
            found.append(one)
    return found


def make(folder, windows=8, texts=1000, seed=1):
    folder, draw, seen = Path(folder), random.Random(seed), set()
    write(folder / "base-train.jsonl", unique(draw, 800, 0, seen))
    write(folder / "base-test.jsonl", unique(draw, 600, 0, seen))
    for w in range(windows):
        share = min(1, 2 * w / max(1, windows - 1))
        write(folder / "windows" / f"{w:02}.jsonl", unique(draw, texts, share, seen))
        write(folder / "tests" / f"{w:02}.jsonl", unique(draw, 600, share, seen))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    make(options.folder, options.windows, options.texts, options.seed)
