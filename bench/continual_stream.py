#!/usr/bin/env python3
"""Continual fine-tuning on real streams: a model that stays as it is, one that is fine-tuned on new texts alone, one with replay.

    bench/continual_stream.py btc --data DIR --work DIR [--out bench/results/continual-stream] [--ranks 2] [--arms frozen naive replay]
    bench/continual_stream.py clinc --data data/clinc150 --work DIR

btc: DIR holds a, b, e, f, g, h.conll of the Broad Twitter Corpus (github.com/GateNLP/broad_twitter_corpus, CC BY 4.0).
clinc: DIR holds data_full.json of CLINC150, and domains.json where there is one (data/README); --base: domains at the start.

Each arm has a registry of its own and the same first version. For every section its file is put into the incoming folder and
`mpirun -np RANKS fmtrain continual run CONFIG --now` makes one cycle; `frozen` makes none. Then `fmtrain eval` scores every version on
the core test and on each section's held-out texts: those that fmtrain keeps for rolling tests, which no cycle of any arm trains on.
Writes OUT-STREAM.json with all of it and OUT-STREAM.md; with --no-gate, which needs a work folder of its own, OUT-STREAM-no-gate.
What is in the work folder is not done again.
"""
import argparse
import filecmp
import hashlib
import json
import os
import shutil
import subprocess
import sys

import stream_data
import stream_table

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ARMS = {"frozen": None, "naive": {"replay": {"share": 0}, "challenger": {"from": "champion"}}, "replay": {}}


def env():
    return dict(os.environ, OMP_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_hwloc_base_binding_policy="none")


def facts_of(output):
    """The JSON that a command printed, after lines of the launcher."""
    start = output.find("{")
    if start < 0:
        raise SystemExit(f"no JSON in: {output[-500:]!r}")
    return json.JSONDecoder().raw_decode(output[start:])[0]


class Stream:
    def __init__(self, options):
        self.o = options
        self.work = os.path.abspath(options.work)
        if options.stream == "btc":
            self.facts = stream_data.broad_twitter(options.data, self.work)
        else:
            self.facts = stream_data.clinc(options.data, self.work, options.base)

    def path(self, *parts):
        return os.path.join(self.work, *parts)

    def config(self, arm):
        extension = self.facts["extension"]
        continual = {"registry": self.path(arm, "registry"), "incoming": self.path(arm, "incoming"), "schedule": "manual",
                     "brakes": {"min_hours": 0, "max_per_week": 1000, "cooldown_hours": 0}, **(ARMS[arm] or {})}
        if self.o.no_gate:
            continual["gate"] = {"core_margin": 0.5}  # else a challenger that is worse on core is thrown away before anybody can promote it
        config = {"run": {"dir": self.path("base"), "seed": self.o.seed}, "model": {"path": self.o.model, "task": self.facts["task"]},
                  "data": {split: self.path("data", split + extension) for split in ("train", "validation", "test")},
                  "batch": self.facts["batch"], "schedule": {"epochs": self.facts["epochs"]},
                  "engine": {"precision": self.o.precision}, "report": {"progress": "off"}, "continual": continual}
        path = self.path(arm, "config.yaml")
        stream_data.write(path, json.dumps(config, indent=1))  # JSON is YAML
        os.makedirs(continual["incoming"], exist_ok=True)
        os.makedirs(continual["registry"], exist_ok=True)
        return path

    def continual(self, what, config, *more):
        """One command; started again while it asks for that (75)."""
        launcher = ["mpirun", "-np", str(self.o.ranks)] if what in ("init", "run") else []
        command = launcher + [self.o.fmtrain, "continual", what, config, *more, "--json"]
        for _ in range(20):
            done = subprocess.run(command, env=env(), stdout=subprocess.PIPE, text=True, timeout=self.o.timeout)
            if done.returncode != 75:
                break
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: exit {done.returncode}")
        return facts_of(done.stdout)

    def keep(self, arm, version):
        """The registry drops the weights of versions that nobody can go back to: a second name for each file."""
        there, here = self.path(arm, "registry", "versions", f"{version:06d}"), self.path(arm, "versions", f"{version:06d}")
        if os.path.isdir(there) and not os.path.isdir(here):
            shutil.copytree(there, here + ".part", copy_function=os.link, dirs_exist_ok=True)
            os.rename(here + ".part", here)

    def facts_of_step(self, arm, arrival, config):
        if not arrival:
            return self.continual("init", config)
        if ARMS[arm] is None:
            return {"did": "nothing"}
        shutil.copy(arrival["file"], self.path(arm, "incoming"))
        facts = self.continual("run", config, "--now")
        if facts.get("cycle"):
            state = json.load(open(self.cycle_file(arm, facts["cycle"], "state.json")))
            facts["cycle"]["data"] = state["records"]["data-frozen"]
            if self.o.no_gate and not facts["cycle"]["promoted"]:
                self.continual("promote", config, str(facts["cycle"]["version"]), "--reason", "a stream without a gate")
                facts["cycle"]["promoted"] = "by hand"
        return facts

    def cycle_file(self, arm, cycle, name):
        return self.path(arm, "registry", "cycles", f"{cycle['number']:06d}", name)

    def play(self, arm):
        """[facts of init, facts of each cycle]; each is kept in a file, so that an interrupted run goes on."""
        config, steps = self.config(arm), []
        for i, arrival in enumerate([None] + self.facts["arrivals"]):
            kept = self.path(arm, f"step-{i}.json")
            if not os.path.exists(kept):
                facts = self.facts_of_step(arm, arrival, config)
                self.keep(arm, (facts.get("cycle") or {"version": 1})["version"])
                stream_data.write(kept, json.dumps(facts, indent=1))
            steps.append(json.load(open(kept)))
            print(f"{arm} {arrival['name'] if arrival else 'init'}: {stream_table.decision(steps[-1])}", flush=True)
        return steps

    def tests(self, played):
        """{"core": file, section: file}: what any arm held out of a section, and all arms must have held out the same."""
        tests = {"core": self.path("data", "test" + self.facts["extension"])}
        for i, arrival in enumerate(self.facts["arrivals"]):
            out = self.path("tests", arrival["name"] + self.facts["extension"])
            for arm, steps in played.items():
                cycle = steps[i + 1].get("cycle")
                if not cycle:
                    continue
                rolling = self.cycle_file(arm, cycle, "rolling" + self.facts["extension"])
                stream_data.held_out(rolling, arrival["file"], out + "." + arm)
                if os.path.exists(out) and not filecmp.cmp(out, out + "." + arm, shallow=False):
                    raise SystemExit(f"{out}: the arms held out different texts of {arrival['name']}")
                os.replace(out + "." + arm, out)
            if os.path.exists(out):
                tests[arrival["name"]] = out
        return tests

    def score(self, model, test):
        """{score, low, high, unknown}; a label that the model lacks is a wrong answer. null: a rejected version, which is gone."""
        if not os.path.isdir(model):
            return None
        key = hashlib.sha256(open(model + "/model.safetensors", "rb").read() + open(test, "rb").read()).hexdigest()[:32]
        kept = self.path("scores", key + ".json")
        if not os.path.exists(kept):
            stream_data.write(kept, json.dumps(self.evaluate(model, test)))
        return json.load(open(kept))

    def evaluate(self, model, test):
        share, part = 1.0, test
        if self.facts["task"] == "sequence-classification":
            part = self.path("scores", "part.jsonl")
            known, all_of_them = stream_data.with_known_labels(test, set(json.load(open(model + "/fmtrain.json"))["labels"]), part)
            share = known / all_of_them
            if known == 0:
                return {"score": 0.0, "low": 0.0, "high": 0.0, "unknown": 1.0}
        command = [self.o.fmtrain, "eval", model, part, "--json"]
        done = subprocess.run(command, env=env(), stdout=subprocess.PIPE, text=True, timeout=self.o.timeout)
        if done.returncode != 0:
            raise SystemExit(f"fmtrain eval {model} {part}: exit {done.returncode}")
        facts, metric = facts_of(done.stdout), self.facts["metric"]
        low, high = facts["intervals"][metric]
        return {"score": share * facts["metrics"][metric], "low": share * low, "high": share * high, "unknown": 1 - share}

    def judged(self, played, tests):
        """Of each arm and step: the champion, and the scores of it and of the challenger on every test."""
        arms = {}
        for arm, steps in played.items():
            champion, rows = 1, []
            for i, facts in enumerate(steps):
                cycle = facts.get("cycle") or {}
                version = cycle.get("version", champion)
                champion = version if cycle.get("promoted") else champion
                name = self.facts["arrivals"][i - 1]["name"] if i else "init"
                row = {"step": name, "champion": champion, "trained": version, "facts": facts}
                for who, number in (("served", champion), ("challenger", version)):
                    model = self.path(arm, "versions", f"{number:06d}")
                    row[who] = {test: self.score(model, file) for test, file in tests.items()}
                rows.append(row)
            arms[arm] = rows
        return arms


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("stream", choices=("btc", "clinc"))
    p.add_argument("--data", required=True)
    p.add_argument("--work", required=True)
    p.add_argument("--out", default=ROOT + "/bench/results/continual-stream")
    p.add_argument("--fmtrain", default=ROOT + "/build/fmtrain")
    p.add_argument("--model", default="all-MiniLM-L6-v2")
    p.add_argument("--precision", default="bf16")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--ranks", type=int, default=2)
    p.add_argument("--base", type=int, help="clinc: domains at the start (half of them)")
    p.add_argument("--no-gate", action="store_true", help="every challenger is promoted, by hand where the gate would not: what it is there for")
    p.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    p.add_argument("--timeout", type=float, default=3600, help="seconds of one command")
    p.add_argument("--prepare", action="store_true", help="only make the work folder")
    o = p.parse_args()
    stream = Stream(o)
    if o.prepare:
        for arm in o.arms:
            print(stream.config(arm))
        return
    played = {arm: stream.play(arm) for arm in o.arms}
    tests = stream.tests(played)
    result = {"version": 1, "stream": o.stream, "seed": o.seed, "precision": o.precision, "ranks": o.ranks, "model": o.model,
              "gate": not o.no_gate,
              **{k: stream.facts[k] for k in ("about", "base", "metric", "task", "epochs")},
              "tests": {name: len(stream_data.keys(file)) for name, file in tests.items()}, "arms": stream.judged(played, tests)}
    result["transfer"] = {arm: stream_table.transfer(rows, list(tests)) for arm, rows in result["arms"].items()}
    name = f"{o.out}-{o.stream}" + "-no-gate" * o.no_gate
    with open(name + ".json", "w") as f:
        json.dump(result, f, indent=1)
        f.write("\n")
    text = stream_table.table(result, f"bench/continual_stream.py {o.stream}" + " --no-gate" * o.no_gate)
    with open(name + ".md", "w") as f:
        f.write(text)
    print(text)


if __name__ == "__main__":
    sys.exit(main())
