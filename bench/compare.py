#!/usr/bin/env python3
"""Training speed of fmtrain beside the peers, interleaved: every arm once a round, each a fresh process on the same sentences.

    bench/compare.py --peers DIR --python PEER_PYTHON --data WNUT17_DIR --model MODEL_DIR --out bench/results/NAME

DIR holds the peer scripts loop.py, hf_ner.py and peerlib.py (each prints one `RESULT {json}` line); PEER_PYTHON is a Python with
torch and transformers. Batch 32 over all ranks, 10 steps of warm-up, then 40 timed ones, dropout as in the model. Run nothing
else beside it. Writes NAME.json (every run) and NAME.md (medians of samples/s, and of the ratios fmtrain / peer taken inside
each round, which is what counts on a machine whose clock drifts).
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIMIT, WARM, STEPS = 1280, 10, 50
TWO = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29617"]
LOOP = ["loop.py", "--limit", str(LIMIT)]
TRAINER = ["hf_ner.py", "--no-eval", "--limit", str(LIMIT), "--warm", str(WARM), "--steps", str(STEPS)]
# name: (arguments, threads of a process); fmtrain's arguments are settings
ARMS = {
    "fmtrain bf16, 2 x 1": (["engine.precision=bf16"], 1),
    "loop bf16 grouped, DDP 2 x 1": (TWO + LOOP + ["--dist", "ddp", "--bf16", "--group"], 1),
    "loop bf16 grouped, 1 x 2": (LOOP + ["--bf16", "--group"], 2),
    "Trainer bf16 grouped, 2 x 1": (TWO + TRAINER + ["--bf16", "--group-by-length"], 1),
    "Trainer bf16 grouped, 1 x 2": (TRAINER + ["--bf16", "--group-by-length"], 2),
    "fmtrain fp32, 2 x 1": (["engine.precision=fp32"], 1),
    "loop fp32 grouped, DDP 2 x 1": (TWO + LOOP + ["--dist", "ddp", "--group"], 1),
}


def write_subset(o, path):
    """The sentences that the peers draw from the training set, by the peers' own function, as a CoNLL file."""
    sys.path.insert(0, o.peers)
    from peerlib import load_ner, subset
    with open(path, "w", encoding="utf-8") as f:
        for words, tags in subset(load_ner("wnut17", o.data)[0], LIMIT):
            f.writelines(f"{w}\t{t}\n" for w, t in zip(words, tags))
            f.write("\n")


def run_fmtrain(o, work, settings):
    run = tempfile.mkdtemp(dir=work)
    config = {"model": {"path": o.model, "task": "token-classification"}, "data": {"train": work + "/train.conll"},
              "batch": {"global": 32, "micro": 16}, "schedule": {"steps": STEPS}, "checkpoint": {"every": 10**6}}
    with open(run + "/config.yaml", "w") as f:
        json.dump(config, f)  # JSON is YAML
    command = [o.mpirun, "-np", "2", "--bind-to", "core", o.fmtrain, run + "/config.yaml"]
    for s in settings + [f"run.dir={run}/run", "report.progress=off"]:
        command += ["--set", s]
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=600, env=dict(os.environ, OMP_NUM_THREADS="1", **root))
    report = json.load(open(run + "/run/report.json"))
    lines = [json.loads(line) for line in open(run + "/run/log.jsonl")]
    timed = lines[WARM:]
    seconds = sum(r["seconds"]["total"] for r in timed)
    return {"samples_per_s": sum(r["samples"] for r in timed) / seconds, "tokens_per_s": sum(r["tokens"] for r in timed) / seconds,
            "launch_to_first_step_s": report["training"]["first_step_s"], "peak_rss_mb": [m["peak_rss"] / 2**20 for m in report["memory"]],
            "loss_first": lines[0]["loss"], "loss_last": statistics.mean(r["loss"] for r in lines[-5:]),
            "product_gflop_per_s": report["training"]["product_gflop_per_s"], "gflop_per_s": report["training"]["gflop_per_s"]}


def run_peer(o, arguments, threads):
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), HF_HUB_OFFLINE="1", PYTHONWARNINGS="ignore", PYTHONDONTWRITEBYTECODE="1",
               PEER_LAUNCHED=repr(time.time()))
    command = [o.python] + arguments + ["--model", o.model, "--data", "wnut17", "--folder", o.data]
    out = subprocess.run(command, cwd=o.peers, env=env, capture_output=True, text=True, timeout=600)
    results = [line for line in out.stdout.splitlines() if line.startswith("RESULT ")]
    if not results:
        raise RuntimeError(out.stderr[-400:])
    return json.loads(results[-1][len("RESULT "):])


def table(rounds, facts):
    lines = ["| arm | samples/s, median (min - max) | fmtrain bf16 is faster by, median of the rounds (min - max) | first step, s | peak RSS a process, MB | loss of step 1, last |",
             "|---|---|---|---|---|---|"]
    first = next(iter(ARMS))
    for name in ARMS:
        runs = [(r[name], r[first]) for r in rounds if name in r and first in r]
        if not runs:
            continue
        speed = [a["samples_per_s"] for a, _ in runs]
        ratio = [b["samples_per_s"] / a["samples_per_s"] for a, b in runs]
        rss = max(max(a["peak_rss_mb"]) if isinstance(a["peak_rss_mb"], list) else a["peak_rss_mb"] for a, _ in runs)
        start = statistics.median(a["launch_to_first_step_s"] for a, _ in runs)
        losses = f"{runs[0][0]['loss_first']:.2f}, {runs[0][0]['loss_last']:.2f}" if "loss_first" in runs[0][0] else ""
        lines.append(f"| {name} | {statistics.median(speed):.1f} ({min(speed):.1f} - {max(speed):.1f}) | {statistics.median(ratio):.2f} "
                     f"({min(ratio):.2f} - {max(ratio):.2f}) | {start:.1f} | {rss:.0f} | {losses} |")
    share = statistics.median(r[first]["gflop_per_s"] / r[first]["product_gflop_per_s"] for r in rounds if first in r)
    return "\n".join(lines) + f"\n\n{facts}\nfmtrain bf16 reaches {100 * share:.0f} % of the rate of its matrix products alone, measured in the same runs.\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--peers", required=True)
    p.add_argument("--python", required=True)
    p.add_argument("--data", required=True, help="folder with wnut17train.conll, emerging.dev.conll, emerging.test.annotated")
    p.add_argument("--model", default=os.path.expanduser("~/.cache/fmtrain/all-MiniLM-L6-v2"))
    p.add_argument("--fmtrain", default=ROOT + "/build/fmtrain")
    p.add_argument("--mpirun", default="mpirun")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--only", nargs="*", help="arms whose name starts with one of these")
    p.add_argument("--out", required=True, help="path without extension")
    o = p.parse_args()
    o.peers, o.data = os.path.abspath(o.peers), os.path.abspath(o.data)
    rounds = []
    with tempfile.TemporaryDirectory() as work:
        os.environ["FMTRAIN_HOME"] = work
        write_subset(o, work + "/train.conll")
        for k in range(o.rounds):
            rounds.append({})
            for name, (arguments, threads) in ARMS.items():
                if o.only and not any(name.startswith(x) for x in o.only):
                    continue
                try:
                    r = run_fmtrain(o, work, arguments) if name.startswith("fmtrain") else run_peer(o, arguments, threads)
                except (RuntimeError, subprocess.SubprocessError) as error:
                    print(f"round {k} {name}: failed: {error}", flush=True)
                    continue
                rounds[-1][name] = r
                print(f"round {k} {name}: {r['samples_per_s']:.1f} samples/s, first step {r['launch_to_first_step_s']:.2f} s", flush=True)
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    facts = (f"{cpu}, {os.cpu_count()} cores; {platform.platform()}; {o.rounds} rounds, WNUT-17, {LIMIT} sentences, batch 32, "
             f"{STEPS - WARM} timed steps; R x T: ranks x threads.")
    with open(o.out + ".json", "w") as f:
        json.dump({"facts": facts, "rounds": rounds}, f, indent=1)
    text = table(rounds, facts)
    with open(o.out + ".md", "w") as f:
        f.write(text)
    print(text)


if __name__ == "__main__":
    main()
