#!/usr/bin/env python3
"""Memory of a rank as the run's ledger counted it, beside the formulas of ZeRO and the predictions of `fmtrain check`.

    bench/memory.py --model DIR --out bench/results/memory [--only states|activations] [--sizes minilm base] [--precisions fp32 bf16]
                    [--ranks 1 2 4]

DIR: a model directory with a WordPiece tokenizer of 30,522 ids; its shape is replaced by MiniLM's and BERT-base's, with random
weights. Three updates with AdamW, one leaf a rank. Rows that are measured again replace those of OUT.json; writes OUT.json, OUT.md.

States: parameters (with the bf16 copy) and optimizer at the end, gradients at their peak, largest rank. Bytes held: HELD below. ZeRO's
own formulas (PUBLISHED; Rajbhandari et al., 2020, where bf16 parameters and gradients have 2 bytes) stand beside them.

Activations: one rank; predicted by `fmtrain check` from the same config, so from the same leaves; "x 4": four sentences of the data
joined to one. "Process": peak of the rank's anonymous and shared pages, read from /proc every 10 ms. Pages of files (libraries, mapped
weights) are left out: the kernel takes them back when memory is short.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SIZES = {"minilm": (384, 6), "base": (768, 12)}
WORDS = 30522
LEAVES = [(4, 1), (16, 1), (32, 1), (8, 4)]  # samples of a leaf, sentences of the data in each
MIB = 2**20
# Bytes of a rank by stage. B: two gradient buckets of P / 64 parameters, at least 1 MiB each and at most 16.
SHARDED = "(16 P - 4 E) / N + B"
HELD = ["16 P", "4 P + 12 P / N", SHARDED, SHARDED]
HELD_BF16 = ["14 P - 2 E + 2 W", "2 (P - E) + (12 P + 2 W) / N", SHARDED + " + 2 W / N", SHARDED + " + 2 W / N"]
PUBLISHED = {"fp32": ["16 P", "8 P + 8 P / N", "4 P + 12 P / N", "16 P / N + U"], "bf16": ["16 P", "4 P + 12 P / N", "2 P + 14 P / N", "16 P / N + U"]}


def model_dir(o, work, size):
    path = os.path.join(work, size)
    shutil.copytree(o.model, path, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.load(open(path + "/config.json"))
    hidden, layers = SIZES[size]
    config.update(hidden_size=hidden, num_hidden_layers=layers, intermediate_size=4 * hidden, num_attention_heads=12)
    with open(path + "/config.json", "w") as f:
        json.dump(config, f)
    return path


def sentences(work, joined):
    """WNUT-17's training file, `joined` sentences as one."""
    path = f"{work}/train{joined}.conll"
    if not os.path.exists(path):
        parts = open(ROOT + "/data/wnut17/train.conll").read().strip().split("\n\n")
        with open(path, "w") as f:
            f.write("\n\n".join("\n".join(parts[i : i + joined]) for i in range(0, len(parts), joined)) + "\n")
    return path


def pages(pid):
    """Anonymous and shared bytes of a process, 0 when it is gone."""
    try:
        return sum(int(n) * 1024 for n in re.findall(r"Rss(?:Anon|Shmem):\s*(\d+)", open(f"/proc/{pid}/status").read()))
    except OSError:
        return 0


def peak_pages(launcher):
    """Largest pages() of the children of `launcher` until it ends."""
    peak = 0
    while launcher.poll() is None:
        children = open(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read().split()
        peak = max([peak] + [pages(pid) for pid in children])
        time.sleep(0.01)
    return peak


def run(o, work, model, ranks, precision, keys):
    """A run of three updates: what `fmtrain check` says before it, the memory that its report shows, and its peak_pages()."""
    config = {"run": {"dir": work + "/run"}, "model": {"path": model, "init": "random"}, "schedule": {"steps": 3},
              "checkpoint": {"async": False}, "report": {"progress": "off", "bootstrap": 0}, **keys}
    config["engine"]["precision"] = precision
    with open(work + "/config.yaml", "w") as f:
        json.dump(config, f)  # JSON is YAML
    shutil.rmtree(work + "/run", ignore_errors=True)
    env = dict(os.environ, OMP_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    command = ["mpirun", "-np", str(ranks), "--oversubscribe", "--bind-to", "none", o.fmtrain, work + "/config.yaml"]
    with subprocess.Popen(command, env=env) as launcher:
        peak = peak_pages(launcher)
    if launcher.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {launcher.returncode}")
    facts = json.loads(subprocess.run([o.fmtrain, "check", work + "/config.yaml", "--ranks", str(ranks), "--json"], check=True, env=env,
                                      capture_output=True, text=True).stdout)
    return facts, json.load(open(work + "/run/report.json"))["memory"], peak


def state_row(o, work, model, size, precision, ranks, stage):
    facts, memory, _ = run(o, work, model, ranks, precision, {
        "data": {"train": ROOT + "/data/wnut17/train.conll", "max_length": 128, "limit": 96},
        "batch": {"global": 32, "micro": 32 // ranks}, "engine": {"zero": stage}})
    p, e, low = facts["model"]["parameters"], WORDS * SIZES[size][0], precision == "bf16"
    alike = 1 if ranks == 1 else stage  # a rank alone shares nothing out
    w = facts["memory"]["bf16_copy"] / 2 * (ranks if alike > 0 else 1) if low else 0
    buckets = 2 * 4 * min(max(p // 64, 2**18), 2**22)
    held = {0: 14 * p - 2 * e + 2 * w if low else 16 * p, 1: (2 * (p - e) if low else 4 * p) + (12 * p + 2 * w) / ranks}.get(
        alike, (16 * p - 4 * e + 2 * w) / ranks + buckets)
    whole = 4 * p if low else 8 * p  # parameters and gradients as ZeRO holds them for products
    unit = (2 if low else 4) * e if ranks > 1 else 0
    published = {0: 16 * p, 1: whole + (16 * p - whole) / ranks, 2: whole / 2 + (16 * p - whole / 2) / ranks, 3: 16 * p / ranks + unit}
    parts = [{"parameters": r["ledger"]["parameters"]["now"], "gradients": r["ledger"]["gradients"]["peak"],
              "optimizer": r["ledger"]["optimizer"]["now"]} for r in memory]
    largest = max(parts, key=lambda r: sum(r.values()))
    return {"table": "states", "size": size, "precision": precision, "parameters": p, "products": w, "ranks": ranks, "stage": stage,
            "counted": largest, "formula": held, "published": published[stage], "ratio": sum(largest.values()) / held,
            "pss": [r["pss"] for r in memory], "predicted": facts["memory"]}


def activation_row(o, work, model, size, precision, recompute, micro, joined):
    facts, memory, peak = run(o, work, model, 1, precision, {
        "data": {"train": sentences(work, joined), "max_length": 256}, "batch": {"global": micro, "micro": micro},
        "engine": {"recompute": recompute}})
    counted, predicted = memory[0]["ledger"]["activations"]["peak"], facts["memory"]
    return {"table": "activations", "size": size, "precision": precision, "recompute": recompute, "micro": micro, "joined": joined,
            "counted": counted, "ratio": predicted["activations"] / counted, "process": peak,
            "ledger": memory[0]["ledger"], "predicted": predicted}


def mib(bytes_, digits=1):
    return f"{bytes_ / MIB:.{digits}f}"


def held_formula(row):
    return (HELD_BF16 if row["precision"] == "bf16" else HELD)[1 if row["ranks"] == 1 else row["stage"]]


def tables(rows):
    lines = ["| model | precision | P, million | N | stage | parameters | gradients | optimizer | counted, MiB | held, bytes | held, MiB | counted / held "
             "| ZeRO's formula, bytes | ZeRO's formula, MiB | counted / ZeRO's | PSS, mean MiB |", "|" + "---|" * 16]
    for r in (r for r in rows if r["table"] == "states"):
        c = r["counted"]
        lines.append(f"| {r['size']} | {r['precision']} | {r['parameters'] / 1e6:.1f} | {r['ranks']} | {r['stage']} | " +
                     " | ".join(mib(c[k]) for k in ("parameters", "gradients", "optimizer")) +
                     f" | {mib(sum(c.values()))} | {held_formula(r)} | {mib(r['formula'])} | {r['ratio']:.3f} | {PUBLISHED[r['precision']][r['stage']]} | "
                     f"{mib(r['published'])} | {sum(c.values()) / r['published']:.3f} | {mib(sum(r['pss']) / len(r['pss']), 0)} |")
    lines += ["", "An update of 32 sentences of WNUT-17. P parameters, of which W stand in products and E in the word table, N ranks of one machine, B two",
              "gradient buckets of P / 64, at least 1 MiB each. Of the word table's gradient only the rows of the update's words are held. With bf16 a 16-bit copy",
              "of W stands beside the fp32 parameters, and at stages 0 and 1 the gradients of a leaf stay 16-bit: their sums are made while they are read. To a",
              "rank alone all stages are stage 1. U: the largest unit that ZeRO gathers at stage 3, the word table, of 2 bytes an element in bf16 and 4 in fp32."]
    lines += ["", "| model | precision | recompute | samples of a leaf | activations counted, MiB | predicted, MiB | predicted / counted "
              "| total predicted, MiB | process, MiB | predicted / process |", "|" + "---|" * 10]
    for r in (r for r in rows if r["table"] == "activations"):
        process = r.get("process")  # rows of an earlier version have none
        beside = f"{mib(r['predicted']['total'], 0)} | {mib(process, 0)} | {r['predicted']['total'] / process:.2f}" if process else "- | - | -"
        lines.append(f"| {r['size']} | {r['precision']} | {r['recompute']} | {r['micro']}{' x 4' if r['joined'] == 4 else ''} | {mib(r['counted'])} | "
                     f"{mib(r['predicted']['activations'])} | {r['ratio']:.3f} | {beside} |")
    return "\n".join(lines) + "\n"


def key(row):
    return [row.get(k, "") for k in ("table", "size", "precision", "ranks", "stage", "recompute", "joined", "micro")]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--fmtrain", default=ROOT + "/build/fmtrain")
    p.add_argument("--only", choices=["states", "activations"])
    p.add_argument("--ranks", nargs="*", type=int, default=[1, 2, 4])
    p.add_argument("--sizes", nargs="*", default=list(SIZES))
    p.add_argument("--precisions", nargs="*", default=["fp32", "bf16"])
    o = p.parse_args()
    rows = [r for r in json.load(open(o.out + ".json")) if "table" in r] if os.path.exists(o.out + ".json") else []
    with tempfile.TemporaryDirectory() as work:
        for size in o.sizes:
            model = model_dir(o, work, size)
            for precision in o.precisions:
                new = []
                if o.only != "activations":
                    new += [state_row(o, work, model, size, precision, n, stage) for n in o.ranks for stage in (0, 1, 2, 3)]
                if o.only != "states":
                    new += [activation_row(o, work, model, size, precision, r, *leaf) for r in ("none", "full") for leaf in LEAVES]
                replaced = [key(r) for r in new]
                rows = sorted([r for r in rows if key(r) not in replaced] + new, key=lambda r: [str(k).rjust(12) for k in key(r)])
                with open(o.out + ".json", "w") as f:
                    json.dump(rows, f, indent=1)
                with open(o.out + ".md", "w") as f:
                    f.write(tables(rows))
    print(tables(rows))


if __name__ == "__main__":
    main()
