"""The arms of compare.py: fmtrain, a new program each time, and peers, which wait between rounds and go on when they are asked."""
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BATCH, RATE, SEED = 32, 2e-4, 1
ROOT_MPI = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


class Failed(RuntimeError):
    pass


def lines_of(path):
    try:
        text = open(path).read()
    except OSError:
        return []
    return [json.loads(line) for line in text.split("\n")[:-1]]


class Fmtrain:
    """A run of fmtrain. `ranks` x `threads`; ranks are bound to cores where each has one thread."""

    def __init__(self, o, data, precision, ranks=2, threads=1, dropout=0.1, batch=BATCH, settings=None):
        self.o, self.data, self.precision, self.ranks, self.threads, self.dropout, self.batch = o, data, precision, ranks, threads, dropout, batch
        self.settings, self.program = settings or {}, o.fmtrain

    def describe(self):
        return (f"fmtrain, engine.precision {self.precision}, mpirun -np {self.ranks} {' '.join(self.binding())}, {self.threads} thread(s) a rank, "
                f"batch.global {self.batch}, batch.micro {self.batch // self.ranks}, data.order random, dropout {self.dropout}"
                + (f", {json.dumps(self.settings)}" if self.settings else "") + "; a new process each round")

    def binding(self):
        return ["--bind-to", "core"] if self.threads == 1 else ["--bind-to", "none"]

    def command(self, run, steps, extra=None):
        p = self.dropout
        config = {"run": {"seed": SEED, "dir": run + "/run"}, "batch": {"global": self.batch, "micro": self.batch // self.ranks},
                  "model": {"path": f"{self.o.work}/model-{self.data}", "task": self.o.facts[self.data]["task"] + ("-classification"),
                            "dropout": {"hidden": p, "attention": p, "head": p}},
                  "data": {"train": f"{self.o.work}/{self.data}.h5"}, "optimizer": {"lr": RATE}, "engine": {"precision": self.precision},
                  "schedule": {"name": "constant", "warmup": 0, "steps": steps}, "checkpoint": {"every": 10**6},
                  "report": {"progress": "off", "tensorboard": False, "bootstrap": 0}}
        for section, values in {**self.settings, **(extra or {})}.items():
            config.setdefault(section, {}).update(values)
        with open(run + "/config.yaml", "w") as f:
            json.dump(config, f)  # JSON is YAML
        return [self.o.mpirun, "-np", str(self.ranks)] + self.binding() + [self.program, run + "/config.yaml"]

    def environment(self):
        return dict(os.environ, OMP_NUM_THREADS=str(self.threads), FMTRAIN_HOME=self.o.work + "/home", **ROOT_MPI)

    def go(self, warm, steps, extra=None):
        """`warm` + `steps` updates; the last ones timed. One more follows, for the last update of a run also checks and saves."""
        run = tempfile.mkdtemp(dir=self.o.work)
        launched = time.time()
        with subprocess.Popen(self.command(run, warm + steps + 1, extra), env=self.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True) as self.launcher:
            errors = self.launcher.communicate(timeout=230)[1]
        if self.launcher.returncode:
            raise Failed(errors[-600:])
        wall = time.time() - launched
        report = json.load(open(run + "/run/report.json"))
        lines = lines_of(run + "/run/log.jsonl")
        shutil.rmtree(run)
        timed = lines[warm:warm + steps]
        seconds = sum(r["seconds"]["total"] for r in timed)
        phases = {k: sum(r["seconds"][k] for r in timed) for k in timed[0]["seconds"]}
        return {"seconds": seconds, "samples": sum(r["samples"] for r in timed), "tokens": sum(r["tokens"] for r in timed),
                "losses": [r["loss"] for r in lines[:-1]], "step_tokens": [r["tokens"] for r in lines[:-1]], "phases": phases, "wall": wall,
                "own_product_gflops": report["training"]["product_gflop_per_s"],
                "evaluation": [report[when]["test"] for when in ("before", "after") if report.get(when) and report[when].get("test")]}

    def pids(self):
        """Of the ranks of the run that is going on."""
        try:
            return [int(p) for p in open(f"/proc/{self.launcher.pid}/task/{self.launcher.pid}/children").read().split()]
        except (AttributeError, OSError):
            return []

    def start(self):
        return self

    def close(self):
        pass


class Peer:
    """One process a rank, kept between rounds; each reads requests from its own pipe."""
    port = 29600

    def __init__(self, o, kind, data=None, ranks=1, threads=2, warm=10, **spec):
        self.o, self.data, self.ranks, self.warm, self.processes = o, data, ranks, warm, []
        self.environment = spec.pop("environment", {})
        self.spec = {"kind": kind, "threads": threads, "batch": BATCH, "lr": RATE, "dropout": 0.1, "bf16": False, "group": False, "dist": "none", **spec}
        if data:
            self.spec.update(data=f"{o.work}/{data}.npz", order=f"{o.work}/{data}.order.json", model=f"{o.work}/model-{data}", task=o.facts[data]["task"])

    def describe(self):
        shown = {k: v for k, v in self.spec.items() if k not in ("data", "order", "model", "texts", "work") and v not in (False, None, "none")}
        return f"{self.ranks} process(es); " + ", ".join(f"{k} {v}" for k, v in shown.items()) + f"; {self.warm} updates of warm-up, then kept between rounds"

    def pids(self):
        return [p.pid for p in self.processes]

    def launch(self):
        Peer.port += 1
        self.launched = time.time()
        for rank in range(self.ranks):
            env = dict(os.environ, OMP_NUM_THREADS=str(self.spec["threads"]), PYTHONWARNINGS="ignore", PYTHONDONTWRITEBYTECODE="1", RANK=str(rank),
                       LOCAL_RANK=str(rank), WORLD_SIZE=str(self.ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(Peer.port), **self.environment)
            if self.ranks == 1:  # Trainer takes RANK for a launcher
                for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
                    env.pop(name)
            self.errors = open(f"{self.o.work}/peer{Peer.port}.{rank}.err", "w+")
            self.processes.append(subprocess.Popen([self.o.python, HERE + "/peer_worker.py", json.dumps(self.spec)], env=env, stdin=subprocess.PIPE,
                                                   stdout=subprocess.PIPE, stderr=self.errors, text=True))
        return self

    def ask(self, request, limit=220):
        """The answers of all ranks."""
        try:
            for p in self.processes:
                p.stdin.write(json.dumps(request) + "\n")
                p.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"a peer has ended (exit codes {[p.poll() for p in self.processes]}; -9 is mostly want of memory: a process of a line's peers takes 2 GB)")
        return [self.read(p, limit) for p in self.processes]

    def read(self, process, limit):
        end = time.time() + limit
        while True:
            if not select.select([process.stdout], [], [], max(0, end - time.time()))[0]:
                raise Failed("no answer in time")
            line = process.stdout.readline()
            if line.startswith("RESULT "):
                return json.loads(line[len("RESULT "):])
            if not line:
                self.errors.seek(0)
                raise Failed(self.errors.read()[-600:])

    def start(self):
        self.launch()
        self.curve, self.step_tokens = [], []
        if self.data:
            self.ask({"ready": 1})
        if self.data and self.warm:
            self.go(0, self.warm)
        return self

    def go(self, _warm, steps):
        answers = self.ask({"go": steps})
        a = answers[0]
        self.curve += a["losses"]
        self.step_tokens += a["tokens"]
        return {"seconds": a["stamps"][-1] - a["stamps"][0], "samples": sum(a["samples"]), "tokens": sum(a["tokens"]), "padded": sum(a["padded"]),
                "losses": list(self.curve), "step_tokens": list(self.step_tokens), "first_step_s": a["stamps"][1] - self.launched}

    def close(self):
        for p in self.processes:
            try:
                p.stdin.close()
            except BrokenPipeError:
                pass  # it has ended before
        for p in self.processes:
            try:
                p.wait(10)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        self.processes = []


class MemoryWatch(threading.Thread):
    """Peak megabytes of each process of an arm, seen from outside: {pid: {"rss" (the kernel's own mark), "pss" (looked at every 50 ms)}}."""

    def __init__(self, arm):
        super().__init__(daemon=True)
        self.arm, self.peaks, self.ended = arm, {}, threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(0.05):
            for pid in self.arm.pids():
                try:
                    rss = next(line.split()[1] for line in open(f"/proc/{pid}/status") if line.startswith("VmHWM"))
                    pss = next(line.split()[1] for line in open(f"/proc/{pid}/smaps_rollup") if line.startswith("Pss:"))
                except (OSError, StopIteration):
                    continue  # it has just ended
                peak = self.peaks.setdefault(pid, {"rss": 0, "pss": 0})
                peak["rss"], peak["pss"] = max(peak["rss"], int(rss) / 1024), max(peak["pss"], int(pss) / 1024)

    def largest(self):
        self.ended.set()
        self.join()
        return {k: max(p[k] for p in self.peaks.values()) for k in ("rss", "pss")}


def launch_to_first_step(arm):
    """Seconds from the launch of a new process to the end of its first update."""
    if isinstance(arm, Peer):
        arm.launch()
        stamp = arm.ask({"go": 1})[0]["stamps"][1]
        arm.close()
        return stamp - arm.launched
    run = tempfile.mkdtemp(dir=arm.o.work)
    launched = time.time()
    seconds = first_line(arm, arm.command(run, 3), run, launched)
    shutil.rmtree(run)
    return seconds


def first_line(arm, command, run, launched, after=0, stop=False):
    """Starts a run and waits for the log's line after the first `after` ones; `stop` asks the run to save and end then."""
    with subprocess.Popen(command, env=arm.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while len(lines_of(run + "/run/log.jsonl")) <= after:
            time.sleep(0.002)
            if process.poll() is not None and len(lines_of(run + "/run/log.jsonl")) <= after:
                raise Failed(f"ended with {process.returncode}")
        seconds = time.time() - launched
        if stop:
            process.send_signal(signal.SIGTERM)
    return seconds


def restart_to_first_step(arm, other):
    """{same, other}: launch to the end of the first update after a checkpoint, with as many ranks and as arm `other` has."""
    run = tempfile.mkdtemp(dir=arm.o.work)
    found = {}
    first_line(arm, arm.command(run, 1000), run, time.time(), 3, stop=True)
    for name, a in (("same", arm), ("other", other)):
        before = len(lines_of(run + "/run/log.jsonl"))
        command = a.command(run, 1000, {"batch": {"global": arm.batch, "micro": arm.batch // max(arm.ranks, other.ranks)}})
        found[name] = first_line(a, command, run, time.time(), before, stop=True)
    shutil.rmtree(run)
    return found
