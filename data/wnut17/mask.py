"""Copies the three WNUT-17 files and replaces user handles: "@name" becomes "@user", and a name that stands as its own word
   after a lone "@" becomes "user". Words and tags stay as many as they were.
   mask.py SOURCE_FOLDER TARGET_FOLDER   (files of github.com/leondz/emerging_entities_17)"""
import re
import sys
from pathlib import Path

FILES = {"wnut17train.conll": "train.conll", "emerging.dev.conll": "dev.conll", "emerging.test.annotated": "test.conll"}


def mask(word, before):
    if before == "@" and re.fullmatch(r"\w*[A-Za-z]\w{2,}", word):
        return "user"
    return re.sub(r"@\w+", "@user", word)


source, target = Path(sys.argv[1]), Path(sys.argv[2])
for old, new in FILES.items():
    rows = [line.rstrip("\r").split("\t") for line in (source / old).read_text(encoding="utf-8").split("\n")]
    words = [row[0] for row in rows]
    masked = [mask(word, before) for word, before in zip(words, [""] + words)]
    text = "\n".join("\t".join([word] + row[1:]) for word, row in zip(masked, rows))
    (target / new).write_text(text, encoding="utf-8")
    print(new, sum(a != b for a, b in zip(words, masked)), "words masked")
