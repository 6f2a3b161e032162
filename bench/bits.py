#!/usr/bin/env python3
"""Every bit of losses and weights over ZeRO stages, numbers of ranks, precisions and recomputation: one hash a row, or exit code 1.

Usage: bench/bits.py FMTRAIN [--config configs/tiny_cpu.yaml] [--steps 13] [--output bench/results/bits.md]
Each row set is `fmtrain check invariance` for 1, 2, 4, 8 ranks (threads of one process) at stages 0 to 3, without and with
recomputation of activations. fp32 and bf16 are different arithmetic, so each has a hash of its own.
"""
import argparse
import hashlib
import json
import pathlib
import subprocess
import sys

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("fmtrain")
parser.add_argument("--config", default=str(pathlib.Path(__file__).parent.parent / "configs/tiny_cpu.yaml"))
parser.add_argument("--steps", type=int, default=13)
parser.add_argument("--output")
options = parser.parse_args()


def runs(stage, precision, recompute):
    """[(ranks, hash)] of one setting; the hash covers the losses of all updates and the weights."""
    done = subprocess.run([options.fmtrain, "check", "invariance", options.config, "--steps", str(options.steps), "--json", "--set",
                           f"engine.zero={stage}", "--set", f"engine.precision={precision}", "--set", f"engine.recompute={recompute}"],
                          capture_output=True, text=True)
    if done.returncode not in (0, 6):
        sys.exit(f"bits.py: exit {done.returncode}: {done.stderr}")
    return [(run["ranks"], hashlib.sha256(json.dumps([run["losses"], run["weights_sha256"]]).encode()).hexdigest()[:16])
            for run in json.loads(done.stdout)["runs"]]


lines, equal = [], True
for precision in ("fp32", "bf16"):
    found = set()
    for recompute in ("none", "full"):
        for stage in range(4):
            row = runs(stage, precision, recompute)
            found.update(value for _, value in row)
            lines.append((precision, recompute, stage, row))
    equal = equal and len(found) == 1
ranks = [count for count, _ in lines[0][3]]
text = ["# Equal bits", "",
        f"`bench/bits.py build/fmtrain`: {options.steps} updates of `{pathlib.Path(options.config).name}`; each cell is the start of the "
        "SHA-256 of all losses and the final weights.",
        f"**{'One hash for each precision' if equal else 'DIFFERENT HASHES'}** over {len(lines) * len(ranks)} runs.", "",
        "| precision | recompute | stage | " + " | ".join(f"{count} rank{'s' * (count > 1)}" for count in ranks) + " |", "|---" * (3 + len(ranks)) + "|"]
text += [f"| {p} | {r} | {s} | " + " | ".join(f"`{value}`" for _, value in row) + " |" for p, r, s, row in lines]
print("\n".join(text))
if options.output:
    pathlib.Path(options.output).write_text("\n".join(text) + "\n")
sys.exit(0 if equal else 1)
