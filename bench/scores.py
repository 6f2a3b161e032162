#!/usr/bin/env python3
"""Test scores of the reference recipe over seeds: MiniLM on four data sets.

    bench/scores.py --data DIR --out bench/results/scores [--seeds 1 2 3] [--only wnut17 ...] [--summary]

Recipe: AdamW, learning rate 2e-4 linear with 10 % warm-up, weight decay 0.01, clip 1.0, batch 32, 3 epochs, dropout 0.1, at most
128 tokens, the last model (no validation set). Tagging: strict IOB2 F1; classification: accuracy. DIR has the folders wnut17,
ncbi-disease, clinc150, banking77 with the files as published. Appends one JSON line a run to OUT.jsonl (runs that are there are
not repeated) and writes OUT.md with means and standard deviations.
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SETS = {
    "wnut17": {"task": "token-classification", "train": "wnut17/wnut17train.conll", "test": "wnut17/emerging.test.annotated"},
    "ncbi-disease": {"task": "token-classification", "train": "ncbi-disease/train.tsv", "test": "ncbi-disease/test.tsv"},
    "clinc150": {"task": "sequence-classification", "train": "clinc150/data_full.json", "test": "clinc150/data_full.json",
                 "format": "clinc150"},
    "banking77": {"task": "sequence-classification", "train": "banking77/train.csv", "test": "banking77/test.csv",
                  "columns": {"text": "text", "label": "category"}},
}


def run(o, name, seed):
    facts = SETS[name]
    data = {k: v for k, v in facts.items() if k != "task"}
    for split in ("train", "test"):
        data[split] = os.path.abspath(os.path.join(o.data, data[split]))
    with tempfile.TemporaryDirectory() as work:
        config = {"run": {"seed": seed, "dir": work + "/run"}, "model": {"path": "all-MiniLM-L6-v2", "task": facts["task"]}, "data": data,
                  "engine": {"precision": o.precision}, "checkpoint": {"every": 10**6}, "report": {"progress": "off"}}
        with open(work + "/config.yaml", "w") as f:
            json.dump(config, f)  # JSON is YAML
        env = dict(os.environ, OMP_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        subprocess.run(["mpirun", "-np", "2", "--bind-to", "none", o.fmtrain, work + "/config.yaml"], check=True, env=env)
        report = json.load(open(work + "/run/report.json"))
    test = report["after"]["test"]
    return {"data": name, "seed": seed, "precision": o.precision, "metric": test["headline"], "score": 100 * test["metrics"][test["headline"]],
            "metrics": test["metrics"], "intervals": test["intervals"], "loss": test["loss"], "training": report["training"],
            "weights_sha256": report["weights_sha256"], "versions": report["versions"]}


def table(rows):
    lines = ["| data | metric | seeds | scores, % | mean | standard deviation |", "|---|---|---|---|---|---|"]
    for name in SETS:
        found = sorted((r for r in rows if r["data"] == name), key=lambda r: r["seed"])
        if not found:
            continue
        scores = [r["score"] for r in found]
        deviation = f"{statistics.stdev(scores):.2f}" if len(scores) > 1 else ""
        lines.append(f"| {name} | {found[0]['metric']} | {', '.join(str(r['seed']) for r in found)} | "
                     f"{', '.join(f'{s:.2f}' for s in scores)} | {statistics.mean(scores):.2f} | {deviation} |")
    return "\n".join(lines) + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--fmtrain", default=ROOT + "/build/fmtrain")
    p.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3])
    p.add_argument("--only", nargs="*", default=list(SETS))
    p.add_argument("--precision", default="bf16")
    p.add_argument("--summary", action="store_true", help="only write the table of what is there")
    o = p.parse_args()
    rows = [json.loads(line) for line in open(o.out + ".jsonl")] if os.path.exists(o.out + ".jsonl") else []
    done = {(r["data"], r["seed"], r["precision"]) for r in rows}
    for seed in [] if o.summary else o.seeds:
        for name in o.only:
            if (name, seed, o.precision) in done:
                continue
            rows.append(run(o, name, seed))
            with open(o.out + ".jsonl", "a") as f:
                f.write(json.dumps(rows[-1]) + "\n")
            print(f"{name} seed {seed}: {rows[-1]['score']:.2f}", flush=True)
    with open(o.out + ".md", "w") as f:
        f.write(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
