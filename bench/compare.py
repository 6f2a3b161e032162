#!/usr/bin/env python3
"""fmtrain beside its peers: the table of goals a1 to a15, interleaved, in pieces.

    bench/compare.py --python PEER_PYTHON --out bench/results/compare [--lines a1 a3 ...] [--quick] [--rounds 5] [--budget 225]
    bench/compare.py --out bench/results/compare --summary          only writes the table again
    bench/compare.py --lines list

PEER_PYTHON: a Python with torch (the wheel that fmtrain is built with), transformers, h5py, accelerate; DeepSpeed for a3-deepspeed and a12. In a round every arm of a line
runs once, in turn, on the same samples from the same weights; a figure is a quotient of two arms of one round, and the table has
the median over rounds with the least and the largest. A call measures the lines named, as many rounds as fit into --budget seconds,
and adds them to OUT.json until each line has --rounds of them; rounds of another build of fmtrain are dropped. "a3" selects a3-best,
a3-default and so on. OUT.md is the table. Run nothing else beside it: other programs' share of the processors is noted.
"""
import argparse
import copy
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
import order  # noqa: E402 - beside this file
import table  # noqa: E402
from arms import BATCH, ROOT_MPI, SEED, Failed, Fmtrain, Peer  # noqa: E402
from lines import EARLIER, flop_per_sample  # noqa: E402
from lines_parts import all_lines  # noqa: E402

SETS = {"wnut17": "conll", "clinc150": "jsonl", "fixed128": "conll"}


def call(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, OMP_NUM_THREADS="1", **ROOT_MPI, **more))
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-600:]}")
    return done.stdout


def prepare(o):
    """Texts, ids, order and models of all sets, once for a --work folder."""
    if not os.path.exists(o.work + "/done"):
        os.makedirs(o.work, exist_ok=True)
        call([o.python, HERE + "/peer_data.py", "texts", o.work, o.model, ROOT])
        for name, ending in SETS.items():
            task = ("sequence" if name == "clinc150" else "token") + "-classification"
            call([o.fmtrain, "prepare", "--model", o.model, "--task", task, f"{o.work}/{name}.{ending}", "-o", f"{o.work}/{name}.h5"], FMTRAIN_HOME=o.work + "/home")
            call([o.python, HERE + "/peer_data.py", "finish", o.work, o.model, name])
            facts = json.load(open(f"{o.work}/{name}.json"))
            with open(f"{o.work}/{name}.order.json", "w") as f:
                json.dump(order.batches(SEED, facts["samples"], BATCH, 8), f)
        call([o.python, HERE + "/peer_data.py", "distinct", o.work, o.model, ROOT])
        open(o.work + "/done", "w").close()
    o.facts = {name: json.load(open(f"{o.work}/{name}.json")) for name in SETS}


def machine(o):
    facts = {k.strip(): v.strip() for k, v in (line.split(":", 1) for line in open("/proc/cpuinfo") if ":" in line)}
    model = f"{facts['model name']} (family {facts['cpu family']}, model {facts['model']})" if "cpu family" in facts else platform.processor()
    peers = call([o.python, "-c", "import importlib.metadata as m, json; have = {d.metadata['Name'].lower() for d in m.distributions()}; "
                                  "print(json.dumps({n: m.version(n) for n in ('torch', 'transformers', 'accelerate', 'h5py', 'tokenizers', 'deepspeed') if n in have}))"])
    return {"processor": model, "cores": sorted(os.sched_getaffinity(0)), "kernel": platform.release(),
            "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, "peers": json.loads(peers),
            "fmtrain": [line for line in call([o.fmtrain, "version"]).strip().split("\n") if "/" not in line]}


def build_of(o):
    """The build that is measured: the hash of the program, and the commit it stands on."""
    with open(o.fmtrain, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()[:12]
    commit = o.commit or subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return {"program": digest, "commit": commit}


def processor_seconds():
    """(busy, stolen) seconds of all processors since the start of the machine."""
    v = [int(x) for x in open("/proc/stat").readline().split()[1:9]]
    hz = os.sysconf("SC_CLK_TCK")
    return (v[0] + v[1] + v[2] + v[5] + v[6]) / hz, v[7] / hz


class Load:
    """Processor seconds of other programs, and stolen ones, since the last call."""

    def __init__(self, o):
        self.o, self.mark = o, None

    def take(self, arms):
        t = os.times()
        mine = sum(t[:4])
        for arm in arms:
            for p in getattr(arm, "processes", []):
                v = open(f"/proc/{p.pid}/stat").read().rsplit(")", 1)[1].split()
                mine += (int(v[11]) + int(v[12])) / os.sysconf("SC_CLK_TCK")
        busy, steal = processor_seconds()
        before, self.mark = self.mark, (mine, busy, steal)
        if before is None:
            return {}
        return {"others_s": round(busy - before[1] - (mine - before[0]), 2), "steal_s": round(steal - before[2], 2)}


def one_round(o, line, arms, ceiling):
    """{arm: what it did}; the ceiling is measured in the midst of the arms."""
    found = {}
    for number, (name, arm) in enumerate(arms.items()):
        if ceiling and number == len(arms) // 2:
            found["ceiling"] = ceiling.ask({})[0]
        found[name] = line.measure(o, name, arm)
        print(f"  {name}: {found[name]['rate']:.4g} {line.unit}", flush=True)
    if ceiling:
        for name in arms:
            precision = line.precision.get(name, line.precision[""])
            top = max(max(found["ceiling"][f"{precision} {t}"].values()) * (2 / t) for t in (1, 2))
            found[name]["share"] = found[name]["rate"] * flop_per_sample(o.facts[line.data]) / 1e9 / top
    return found


def keep(o, key, line, arms, found):
    """Adds a round to OUT.json. Curves are kept once, the longest of each arm."""
    everything = json.load(open(o.out + ".json")) if os.path.exists(o.out + ".json") else {"lines": {}}
    entry = everything["lines"].get(key)
    if not entry or entry["build"]["program"] != o.build["program"]:
        entry = {"title": line.title, "unit": line.unit, "build": o.build, "settings": {}, "curves": {}, "rounds": []}
    entry["settings"].update({name: arm.describe().replace(o.work, "WORK").replace(o.model, "MODEL") for name, arm in arms.items()})
    for name in arms:
        curve = {"losses": found[name].get("losses", []), "tokens": found[name].get("step_tokens", [])}
        if not line.compares_curves:
            found[name].pop("losses", None), found[name].pop("step_tokens", None)
        if len(curve["losses"]) > len(entry["curves"].get(name, {"losses": []})["losses"]):
            entry["curves"][name] = curve
    entry["rounds"].append(found)
    everything["lines"][key] = entry
    everything["machine"] = o.machine
    everything["data"] = o.facts
    with open(o.out + ".json.new", "w") as f:
        json.dump(everything, f, indent=1)
    os.replace(o.out + ".json.new", o.out + ".json")


def rounds_of(o, key):
    entry = json.load(open(o.out + ".json"))["lines"].get(key) if os.path.exists(o.out + ".json") else None
    return len(entry["rounds"]) if entry and entry["build"]["program"] == o.build["program"] else 0


def with_earlier(o, arms):
    """--earlier: each first arm of fmtrain also with that program, beside it in every round."""
    first = next((n for n, a in arms.items() if isinstance(a, Fmtrain)), None)
    if not o.earlier or not first:
        return arms
    old = copy.copy(arms[first])
    old.program = o.earlier
    return {first: arms[first], EARLIER: old, **arms}


def measure(o, key, line):
    """Rounds of one line, until there are enough or the time is up."""
    missing = o.rounds - rounds_of(o, key)
    if missing <= 0 or time.time() > o.end - 20:
        return
    print(f"{key}: {line.title}", flush=True)
    arms, ceiling, load = with_earlier(o, line.arms(o)), None, Load(o)
    try:
        if line.needs:
            ceiling = Peer(o, "ceilings", both=[1, 2], rows=line.needs[0], precisions=sorted(set(line.precision.values())), seconds=0.15).start()
            ceiling.ask({})
        for arm in arms.values():
            if not getattr(line, "lazy", False):
                arm.start()
        everyone = list(arms.values()) + ([ceiling] if ceiling else [])
        load.take(everyone)
        for _ in range(missing):
            start = time.time()
            found = one_round(o, line, arms, ceiling)
            found["load"] = load.take(everyone)
            keep(o, key, line, arms, found)
            print("  " + "; ".join(f"{f.text} {f.of(found):.3g}{f.unit}" for f in line.figures), flush=True)
            if time.time() + 1.1 * (time.time() - start) > o.end:
                break
    except Failed as error:
        print(f"{key}: {error}", flush=True)
    finally:
        for arm in list(arms.values()) + ([ceiling] if ceiling else []):
            arm.close()


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--python", help="of the peers")
    p.add_argument("--out", help="path without extension")
    p.add_argument("--lines", nargs="*", default=[""], help="names, or what stands before a dash in them; list: show them")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--quick", action="store_true", help="two rounds")
    p.add_argument("--budget", type=float, default=1e9, help="seconds after which no round is begun that would not end in time")
    p.add_argument("--work", default=os.path.expanduser("~/.cache/fmtrain-compare"), help="folder for what the arms share; kept for the next call")
    p.add_argument("--model", default=os.path.expanduser("~/.cache/fmtrain/all-MiniLM-L6-v2"))
    p.add_argument("--fmtrain", default=ROOT + "/build/fmtrain")
    p.add_argument("--mpirun", default="mpirun")
    p.add_argument("--earlier", help="another build of fmtrain, measured beside this one")
    p.add_argument("--commit", help="that the program was built from, where git does not tell")
    p.add_argument("--summary", action="store_true")
    return p.parse_args()


def main():
    o = options()
    lines = all_lines()
    if o.lines == ["list"]:
        print("\n".join(f"{key}: {line.title}" for key, line in lines.items()))
        return
    o.end = time.time() + o.budget
    if not o.summary:
        o.rounds = 2 if o.quick else o.rounds
        if shutil.which(o.mpirun) is None or not os.path.exists(o.fmtrain):
            raise SystemExit("mpirun or build/fmtrain is missing: build fmtrain, or name them with --mpirun and --fmtrain")
        prepare(o)
        o.machine, o.build = machine(o), build_of(o)
        for key, line in lines.items():
            if any(x == "" or key == x or key.startswith(x + "-") for x in o.lines):
                measure(o, key, line)
    text = table.markdown(json.load(open(o.out + ".json")), lines, HERE + "/results")
    with open(o.out + ".md", "w") as f:
        f.write(text)


if __name__ == "__main__":
    main()
