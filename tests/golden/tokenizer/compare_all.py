#!/usr/bin/env python3
"""Compares the tokenizer with Hugging Face's on every unit of any text files; prints counts.

  python3 compare_all.py TEST_PROGRAM TOKENIZER_DIR FILE...

TEST_PROGRAM is the built tokenizer_golden_test, TOKENIZER_DIR the directory of bert-base-uncased's tokenizer.json. By its name a
.json file is read as strings, a file of two tab-separated columns as lines, sentences and words, all others as lines (the kinds of
make_golden.py). Needs tokenizers==0.22.*. Exit status 1 when anything differs.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from make_golden import block_row, load


def kinds_of(path):
    if path.suffix == ".json":
        return ["strings"]
    rows = path.read_text(encoding="utf-8").split("\n")[:20]
    return ["lines", "sentences", "words"] if sum("\t" in row for row in rows) > 10 else ["lines"]


def main():
    program, tokenizer, files = sys.argv[1], load(sys.argv[2]), [Path(f).resolve() for f in sys.argv[3:]]
    with tempfile.TemporaryDirectory() as folder:
        entries = [block_row(tokenizer, str(path), kind, 1) for path in files for kind in kinds_of(path)]
        blocks = Path(folder) / "blocks.json"
        blocks.write_text(json.dumps(entries))
        run = subprocess.run([program, "--gtest_filter=*EveryLine*"], capture_output=True, text=True,
                             env=os.environ | {"FMTRAIN_TOKENIZER_BLOCKS": str(blocks)})
    total = 0
    for entry in entries:
        wrong = re.findall(re.escape(f"{entry['file']} as {entry['units']}, units from ") + r"(\d+)", run.stdout)
        total += len(wrong)
        print(f"{entry['file']} as {entry['units']}: {entry['count']} compared, {len(wrong)} differ {' '.join(wrong[:40])}".rstrip())
    if run.returncode != (1 if total else 0):
        sys.exit("the test program failed otherwise:\n" + run.stdout[-4000:] + run.stderr)
    sys.exit(1 if total else 0)


if __name__ == "__main__":
    main()
