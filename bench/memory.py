#!/usr/bin/env python3
"""Memory of a rank as the run's ledger counted it, beside the formulas of ZeRO (docs/training.md).

    bench/memory.py --model DIR --out bench/results/memory [--ranks 1 2 4] [--sizes minilm base]

DIR: a model directory with a WordPiece tokenizer of 30,522 ids; its shape is replaced by MiniLM's and BERT-base's, with random
weights. Three updates in fp32 with AdamW, one leaf a rank. Counted: parameters and optimizer at the end, gradients at their
peak, largest rank. Formula, P parameters and N ranks, bytes: stage 0: 16 P, 1: 4 P + 12 P / N, 2 and 3: 16 P / N and two buckets
of 16 MiB (a tensor that spans two fills both). Writes OUT.json and OUT.md.
"""
import argparse
import json
import os
import shutil
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SIZES = {"minilm": (384, 6), "base": (768, 12)}
MIB = 2**20


def model_dir(o, work, size):
    path = os.path.join(work, size)
    shutil.copytree(o.model, path, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.load(open(path + "/config.json"))
    hidden, layers = SIZES[size]
    config.update(hidden_size=hidden, num_hidden_layers=layers, intermediate_size=4 * hidden, num_attention_heads=12)
    with open(path + "/config.json", "w") as f:
        json.dump(config, f)
    return path


def run(o, work, model, ranks, stage):
    config = {"run": {"dir": work + "/run"}, "model": {"path": model, "init": "random"}, "data": {"train": ROOT + "/data/wnut17/train.conll",
              "max_length": 16, "limit": 64}, "batch": {"global": 4, "micro": 4 // ranks}, "schedule": {"steps": 3},
              "engine": {"zero": stage}, "checkpoint": {"async": False}, "report": {"progress": "off", "bootstrap": 0}}
    with open(work + "/config.yaml", "w") as f:
        json.dump(config, f)  # JSON is YAML
    shutil.rmtree(work + "/run", ignore_errors=True)
    env = dict(os.environ, OMP_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    subprocess.run(["mpirun", "-np", str(ranks), "--oversubscribe", "--bind-to", "none", o.fmtrain, work + "/config.yaml"], check=True, env=env)
    facts = json.loads(subprocess.run([o.fmtrain, "check", work + "/config.yaml", "--ranks", str(ranks), "--json"], check=True, env=env,
                                      capture_output=True, text=True).stdout)
    return facts, json.load(open(work + "/run/report.json"))["memory"]


def row(size, ranks, stage, facts, memory):
    p = facts["model"]["parameters"]
    shared = {0: 16 * p, 1: 4 * p + 12 * p / ranks}.get(stage, 16 * p / ranks + 32 * MIB)
    parts = [{"parameters": r["ledger"]["parameters"]["now"], "gradients": r["ledger"]["gradients"]["peak"],
              "optimizer": r["ledger"]["optimizer"]["now"]} for r in memory]
    largest = max(parts, key=lambda r: sum(r.values()))
    return {"size": size, "parameters": p, "ranks": ranks, "stage": stage, "counted": largest, "formula": shared,
            "ratio": sum(largest.values()) / shared, "activations": max(r["ledger"]["activations"]["peak"] for r in memory),
            "pss": [r["pss"] for r in memory], "predicted": facts["memory"]}


def table(rows):
    lines = ["| model | P, million | N | stage | parameters | gradients | optimizer | counted, MiB | formula, MiB | ratio | PSS, mean MiB |",
             "|---|---|---|---|---|---|---|---|---|---|---|"]
    for r in rows:
        c = r["counted"]
        lines.append(f"| {r['size']} | {r['parameters'] / 1e6:.1f} | {r['ranks']} | {r['stage']} | " +
                     " | ".join(f"{c[k] / MIB:.1f}" for k in ("parameters", "gradients", "optimizer")) +
                     f" | {sum(c.values()) / MIB:.1f} | {r['formula'] / MIB:.1f} | {r['ratio']:.3f} | {sum(r['pss']) / len(r['pss']) / MIB:.0f} |")
    return "\n".join(lines) + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--fmtrain", default=ROOT + "/build/fmtrain")
    p.add_argument("--ranks", nargs="*", type=int, default=[1, 2, 4])
    p.add_argument("--sizes", nargs="*", default=list(SIZES))
    o = p.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as work:
        for size in o.sizes:
            model = model_dir(o, work, size)
            for ranks in o.ranks:
                for stage in (0, 1, 2, 3):
                    rows.append(row(size, ranks, stage, *run(o, work, model, ranks, stage)))
                    print(f"{size}, {ranks} ranks, stage {stage}: {rows[-1]['ratio']:.3f}", flush=True)
    with open(o.out + ".json", "w") as f:
        json.dump(rows, f, indent=1)
    with open(o.out + ".md", "w") as f:
        f.write(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
