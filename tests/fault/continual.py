"""Continual fine-tuning, whole: a stream that drifts, kills at every stage, races of two runners, a changed byte, rollback, watch.

Usage: continual.py FMTRAIN FMTRAIN_FAULTY [TEST...]
"""
import hashlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from rig import SOURCE, alive, descendants, expect, main, read, report, run_trials, spread, trials, wait_until

sys.path.insert(0, str(SOURCE / "tests/support"))
import drifting_stream  # noqa: E402

STAGES = ["triggered", "data-frozen", "trained", "evaluated", "decided"]
CONFIG = """
model: {{path: {tiny}, task: sequence-classification, init: random}}
data: {{train: {stream}/base-train.jsonl, test: {stream}/base-test.jsonl}}
batch: {{global: 32, micro: 8}}
optimizer: {{lr: 5.0e-3}}
schedule: {{epochs: {epochs}}}
engine: {{device: cpu}}
report: {{progress: 'off', bootstrap: 0, tensorboard: false}}
continual:
  registry: models/registry
  schedule: manual
  brakes: {{min_hours: 0, cooldown_hours: 0, max_per_week: 1000}}
"""


class Place:
    """A registry with its config and stream."""

    def __init__(self, folder, stream, epochs=2):
        self.folder, self.path, self.stream = folder, folder.new(), stream
        self.path.mkdir()
        self.config = self.path / "c.yaml"
        self.config.write_text(CONFIG.format(tiny=SOURCE / "configs/tiny_model", stream=stream, epochs=epochs))

    def copy_of(self, other):
        shutil.copytree(other.registry, self.registry)
        return self

    @property
    def registry(self):
        return self.path / "models/registry"

    def drop(self, name, source):
        part = self.registry / "incoming" / (name + ".part")
        shutil.copy(source, part)
        part.rename(self.registry / "incoming" / name)

    def start(self, *words, ranks=1, settings=()):
        launcher = ["mpirun", "-np", ranks] if ranks > 1 else []
        options = [word for key, value in dict(settings).items() for word in ("--set", f"{key}={value}")]
        command = ["bash", "-c", 'source "$0"; exec "$@"', SOURCE / "tests/fault/ranks.sh", *launcher, self.folder.fmtrain,
                   "continual", words[0], self.config, *words[1:], *options]
        variables = {**os.environ, "FMTRAIN_HOME": str(self.folder.path / "home"), "TMPDIR": str(self.folder.path),
                     "OMPI_MCA_btl_vader_backing_directory": str(self.folder.shared)}
        return subprocess.Popen([str(word) for word in command], env=variables, cwd=self.path, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def call(self, *words, ranks=1, settings=(), code=0):
        """What a command prints as JSON."""
        process = self.start(*words, "--json", ranks=ranks, settings=settings)
        out, err = process.communicate(timeout=300)
        expect(process.returncode == code, f"{' '.join(words)} ended with {process.returncode}: {err[-2000:]}")
        return json.loads(out) if out.strip().startswith("{") else {}

    def state(self, cycle=1):
        text = read(self.registry / f"cycles/{cycle:06}/state.json")
        return json.loads(text) if text else {}

    def hashes(self):
        """Every file that a cycle leaves for good, without who wrote it and when."""
        found = {}
        for part in ("versions", "cards", "texts", "cycles"):
            for file in sorted((self.registry / part).rglob("*")):
                name = str(file.relative_to(self.registry))
                if file.is_file() and "/run/" not in name and file.name not in ("state.json", "lock.json", "exit.json") \
                        and not file.name.startswith(("failure", "window.", "reference.")):
                    found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        return found


    def differing(self, other):
        mine, theirs = self.hashes(), other.hashes()
        return sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))


def new_stream(folder, windows=8, texts=1200):
    stream = folder.new()
    drifting_stream.make(stream, windows, texts)
    return stream


def kill_all(process):
    """The launcher and with it all ranks, of which one may be in the kernel for a moment."""
    processes = list(descendants(process.pid))
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.communicate()
    wait_until(lambda: not any(alive(pid) for pid in processes), 10, "the end of all ranks")


def begun(folder, stream):
    """A registry with a first version and a window that has come in: every trial starts from a copy."""
    place = Place(folder, stream)
    place.call("init")
    place.call("check", code=11)
    expect(not (place.registry / "cycles/failure.json").exists(), "a check that found too few texts left a failure's record")
    place.drop("window.jsonl", stream / "windows/02.jsonl")
    place.call("check")  # suspected: the first window of two
    return place


def stage_seconds(place):
    """A whole cycle, and how long the work after each stage takes."""
    process, seen, began = place.start("run", "--now", ranks=2), "", time.monotonic()
    seconds = {}
    while process.poll() is None:
        stage = place.state().get("stage", "")
        if stage != seen:
            seconds[seen], seen, began = time.monotonic() - began, stage, time.monotonic()
        time.sleep(0.001)
    expect(process.returncode == 0, f"ended with {process.returncode}: {process.communicate()[1][-1000:]}")
    return {**dict.fromkeys(STAGES, 0.02), **seconds}  # a stage may be shorter than a look


def kills(folder):
    """Killed in the work after each stage, and gone on with by another number of ranks: the same decision, the same files."""
    template = begun(folder, new_stream(folder))  # large enough for a challenger that is promoted
    whole = Place(folder, template.stream).copy_of(template)
    seconds = stage_seconds(whole)
    expected, decided = whole.hashes(), whole.state()["records"]["decided"]
    struck = {stage: 0 for stage in STAGES}

    def trial(case):
        stage, number = case
        place = Place(folder, template.stream).copy_of(template)
        process = place.start("run", "--now", ranks=1 + number % 2)
        wait_until(lambda: place.state().get("stage") == stage or process.poll() is not None, 60, f"stage {stage}", 0.001)
        time.sleep(random.random() * seconds[stage])
        kill_all(process)
        found = place.state()
        if found.get("stage") != "published":
            struck[found["stage"]] += 1
        for _ in range(2):  # the next start is killed too, then one may end; a fourth restart from one step would be refused
            process = place.start("run", "--now", ranks=2 - number % 2)
            time.sleep(random.random())
            kill_all(process)
            if place.state().get("stage") == "published":
                break
        killed_last = place.state().get("stage") == "published"
        if not killed_last:
            place.call("run", ranks=1 + number % 2)
        expect(place.state()["records"]["decided"] == decided, "another decision")
        now = {name: value for name, value in place.hashes().items()
               if not name.startswith("cycles/000002") and ".tmp-" not in name}  # a start after the end begins one
        extra = [name for name in now if name not in expected and "000003" not in name]
        differing = [name for name in expected if now.get(name) != expected[name]]
        expect(not differing and not extra, f"other files: {differing} {extra}")
        if killed_last:
            place.call("check", code=11)  # a start removes what the killed one left half written
        half = [str(file.relative_to(place.registry)) for file in place.registry.rglob("*.tmp-*")]
        expect(not half, f"half written: {half}")
        shutil.rmtree(place.path)

    cases = [(stage, n) for stage in STAGES for n in range(trials(4, 20))]
    failed = run_trials(trial, cases)[1]
    return report("continual_kills", "killed in every stage, then twice more", len(cases), failed,
                  "found in " + ", ".join(f"{stage} {count}" for stage, count in struck.items()))


def races(folder):
    """Two runners at once: one does the cycle, the other ends with 9 and writes nothing."""
    template = begun(folder, new_stream(folder, 8, 700))

    def trial(_):
        place = Place(folder, template.stream, epochs=1).copy_of(template)
        both = [place.start("run", "--now", settings={"schedule.epochs": 0.2}) for _ in range(2)]
        errors = [process.communicate(timeout=120)[1] for process in both]
        codes = sorted(process.returncode for process in both)
        expect(codes == [0, 9], f"ended with {codes}: {errors}")
        audit = [json.loads(line) for line in read(place.registry / "audit.jsonl").splitlines()]
        expect([r["version"] for r in audit if r["action"] == "challenge"] == ["000002"], f"challenged: {audit}")
        shutil.rmtree(place.path)

    cases = list(range(trials(8, 100)))
    failed = run_trials(trial, cases, workers=1)[1]
    return report("continual_races", "two runners at once", len(cases), failed, "one winner each")


def alarm(folder):
    """Two windows in a row: suspected, then drift (10), then drift again however often it is asked; and a cycle that drift begins."""
    data = new_stream(folder, texts=700)
    place = Place(folder, data)
    place.call("init")
    verdicts = []
    for w, code in ((0, 0), (6, 0), (6, 0), (7, 10), (7, 10)):
        place.drop(f"{w}.jsonl", data / f"windows/{w:02}.jsonl")
        verdicts.append(place.call("check", code=code)["drift"]["verdict"])
    expect(verdicts == ["none", "suspected", "suspected", "drift", "drift"], f"verdicts {verdicts}")
    expect(len(read(place.registry / "drift.jsonl").splitlines()) == 3, "a repeated check added a line")
    answer = place.call("run", ranks=2)
    expect(answer["why"] == "drift", f"began by {answer['why']}")
    return report("continual_alarm", "windows 0, 6, 6, 7, 7 of 8", 1, 0, ", ".join(verdicts))


def trust(folder):
    """Rollback brings the exact files back within a second; a changed byte is refused; a rollback while a cycle trains leaves both."""
    stream = new_stream(folder)
    place = begun(folder, stream)
    settings = {"continual.challenger.lr_scale": 1, "schedule.epochs": 6}
    expect(place.call("run", "--now", settings=settings)["cycle"]["promoted"], "the challenger of a drifted window was not promoted")
    files = {v: {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in (place.registry / f"versions/{v:06}").iterdir()} for v in (1, 2)}
    seconds = []
    for expected in (1, 2, 1):
        answer = place.call("rollback", "--reason", "test")
        expect(answer["champion"] == expected, f"champion {answer['champion']}")
        seconds.append(answer["seconds"])
        now = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in (place.registry / f"versions/{expected:06}").iterdir()}
        expect(now == files[expected], "other bytes after the rollback")
    expect(max(seconds) < 1, f"a rollback took {max(seconds)} s")
    lineage = place.call("lineage", "2")
    expect([a["version"] for a in lineage["ancestors"]] == [2, 1] and lineage["verified"], f"lineage {lineage}")

    weights = place.registry / "versions/000002/model.safetensors"
    whole = bytearray(weights.read_bytes())
    whole[len(whole) // 2] ^= 1
    weights.write_bytes(whole)
    for words in (("rollback",), ("lineage", "2")):
        place.call(*words, code=4)
    expect(json.loads(read(place.registry / "aliases.json"))["champion"] == "000001", "a changed version became champion")
    whole[len(whole) // 2] ^= 1
    weights.write_bytes(whole)

    place.drop("later.jsonl", stream / "windows/06.jsonl")
    process = place.start("run", "--now", settings={"schedule.epochs": 30})
    wait_until(lambda: place.state(2).get("stage") == "data-frozen", 60, "a cycle that trains")
    place.call("rollback", "--reason", "while a cycle trains")
    expect(place.call("list")["versions"][1]["alias"] == "champion", "the rollback did not count")
    err = process.communicate(timeout=200)[1]
    expect(process.returncode == 0, f"the cycle ended with {process.returncode}: {err[-1000:]}")
    expect(place.call("list")["versions"][1]["alias"] == "champion", "a challenger of the model that was left became champion")
    return report("continual_trust", "rollbacks, a changed byte, a rollback in a cycle", 1, 0, spread(seconds))


def stop(folder):
    """SIGTERM in a cycle: exit 75, and the next start ends with the same files; watch passes it on and ends with 0."""
    template = begun(folder, new_stream(folder, 8, 700))
    whole = Place(folder, template.stream).copy_of(template)
    whole.call("run", "--now", settings={"schedule.epochs": 6})
    place = Place(folder, template.stream).copy_of(template)
    process = place.start("run", "--now", settings={"schedule.epochs": 6})
    wait_until(lambda: (place.registry / "cycles/000001/run/log.jsonl").exists(), 60, "a training")
    time.sleep(0.3)
    process.terminate()
    err = process.communicate(timeout=60)[1]
    expect(process.returncode == 75, f"ended with {process.returncode}: {err[-1000:]}")
    code = json.loads(read(place.registry / "cycles/exit.json"))["code"]
    expect(code == 75, f"exit.json says {code}")
    place.call("run", ranks=2, settings={"schedule.epochs": 6})
    expect(place.hashes() == whole.hashes(), f"other files after a stop: {place.differing(whole)}")
    place.drop("later.jsonl", template.stream / "windows/06.jsonl")
    process = place.start("run", "--now", settings={"schedule.epochs": 200})
    wait_until(lambda: place.state(2).get("stage") == "data-frozen", 60, "a second cycle that trains")
    kill_all(process)
    process = place.start("watch", "--every", "1", "--launcher", "mpirun -np 2", settings={"schedule.epochs": 200})
    log = place.registry / "cycles/000002/run/log.jsonl"
    before = read(log).count("\n")
    wait_until(lambda: read(log).count("\n") > before + 20, 60, "watch goes on with the cycle")
    process.terminate()  # of watch alone, not of its launcher's ranks
    err = process.communicate(timeout=60)[1]
    expect(process.returncode == 0, f"watch ended with {process.returncode}: {err[-1000:]}")
    code = json.loads(read(place.registry / "cycles/exit.json"))["code"]
    expect(code == 75, f"the run that watch had started ended with {code}")
    return report("continual_stop", "SIGTERM in a cycle and to watch", 1, 0, "same files")


def refusals(folder):
    """What is said when a command cannot be carried out, and that a cycle that is given up does not stand in the way."""
    data = new_stream(folder, texts=700)
    place = Place(folder, data)

    def refused(*words, code, text, settings=()):
        process = place.start(*words, settings=settings)
        err = process.communicate(timeout=120)[1]
        expect(process.returncode == code, f"{words} ended with {process.returncode}: {err[-500:]}")
        expect(text in err, f"{words} said {err[-500:]}")

    for words in (("run",), ("check",), ("rollback",), ("promote",), ("lineage",)):
        refused(*words, code=2, text="has no champion; ")
    refused("status", code=2, text="continual.registry: is missing; name a directory", settings={"continual.registry": "null"})
    refused("run", code=2, text='"words=5"', settings={"continual.gate.slices": "[words=5]"})
    refused("init", "--model", str(SOURCE / "configs/tiny_model"), code=2, text="has no fmtrain.json")
    place.call("init")
    refused("run", "--abandon", "no reason", code=2, text="no cycle is unfinished")
    refused("rollback", code=2, text="no previous champion to go back to")
    refused("promote", code=2, text="has no challenger; name a version")
    refused("lineage", "7", code=2, text="no version 000007")
    expect(place.call("run", "--now")["why"] == "no new labelled texts to train on", "a cycle without texts")

    place.drop("broken.jsonl", SOURCE / "README.md")
    place.drop("window.jsonl", data / "windows/06.jsonl")
    process = place.start("run", "--now", settings={"continual.gate.bootstrap": 1000000})  # a second, else 20 ms
    wait_until(lambda: place.state().get("stage") == "evaluated" or process.poll() is not None, 60, "an evaluation", 0.001)
    kill_all(process)
    expect(place.state().get("stage") == "evaluated", "killed too late")
    counts = place.registry / "cycles/000001/counts.json"
    counts.write_text(counts.read_text().replace("1", "0", 1))
    refused("run", code=4, text="counts.json: is not what was counted; end the cycle with --abandon")
    expect(place.call("run", "--abandon", "its counts were changed")["did"] == "abandoned", "not abandoned")
    place.drop("later.jsonl", data / "windows/07.jsonl")
    answer = place.call("run", "--now", ranks=2)
    expect(answer["cycle"]["number"] == 2 and answer["cycle"]["version"] == 2, f"after an abandoned cycle: {answer['cycle']}")
    expect(any("broken.jsonl:1:" in line for line in answer["check"]["refused"]), f"refused {answer['check']['refused']}")
    return report("continual_refusals", "what cannot be done", 1, 0, "said")


def accuracy(place, version, test):
    out = subprocess.run([place.folder.fmtrain, "eval", place.registry / f"versions/{version:06}", test, "--json"], capture_output=True,
                         text=True, env={**os.environ, "FMTRAIN_HOME": str(place.folder.path / "home"), "OMP_NUM_THREADS": "1"})
    expect(out.returncode == 0, out.stderr)
    return json.loads(out.stdout)["metrics"]["accuracy"]


def stream(folder):
    """Eight windows of gradual drift: with replay the last window is read and the first is not forgotten. Without, the first is
    forgotten, or the gate keeps such challengers out and the last is not read: the margin lets in what loses up to half."""
    data = new_stream(folder, texts=1000)
    last, first = data / "tests/07.jsonl", data / "base-test.jsonl"
    scores = {}
    for name, share in (("replay", 0.5), ("naive", 0)):
        place = Place(folder, data, epochs=4)
        # The gate keeps forgetful challengers out; here it is to be seen what they forget.
        settings = {"continual.replay.share": share, "continual.gate.core_margin": 0.5, "continual.challenger.from": "champion",
                    "continual.challenger.lr_scale": 1, "continual.challenger.l2_start": 0}
        place.call("init", settings={"schedule.epochs": 8})
        scores["frozen"], scores["begun"] = accuracy(place, 1, last), accuracy(place, 1, first)
        for w in range(8):
            place.drop(f"{w}.jsonl", data / f"windows/{w:02}.jsonl")
            did = place.call("run", "--now", ranks=1 + w % 2, settings=settings)
            if not did["cycle"]["promoted"] and did["cycle"]["verdict"] == "inconclusive":
                place.call("promote", "--reason", "the newest one, whatever it forgot")
        champion = json.loads(read(place.registry / "aliases.json"))["champion"]
        scores[name] = accuracy(place, int(champion), last), accuracy(place, int(champion), first)
    figures = (f"last window: frozen {scores['frozen']:.3f}, replay {scores['replay'][0]:.3f}, naive {scores['naive'][0]:.3f}; "
               f"first: begun {scores['begun']:.3f}, replay {scores['replay'][1]:.3f}, naive {scores['naive'][1]:.3f}")
    fine = scores["replay"][0] >= scores["frozen"] + 0.05 and scores["begun"] - scores["replay"][1] <= 0.02
    fine = fine and min(naive - replay for naive, replay in zip(scores["naive"], scores["replay"])) < -0.02
    print(figures, flush=True)
    return report("continual_stream", "8 windows", 1, 0 if fine else 1, figures)


main(kills, races, alarm, trust, stop, refusals, stream)
