"""Lines of the table that are not training speed: scaling, exactness, and parts measured alone."""
import hashlib
import json
import os
import subprocess
import tempfile

from arms import ROOT_MPI, Failed, Fmtrain, Peer
from lines import A1, A2, A4, A5, A6, A12, A15, Best, Compiled, DeepSpeed, Default, Figure, Fp32, Line, Ranks, ratio

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Losses(Line):
    """Exactness before speed: fp32, no dropout, the same weights, ids and order."""
    unit, warm, steps, compares_curves = "", 0, {"": 20}, True

    def __init__(self, data):
        self.data, self.title = data, f"the same losses over 20 updates without dropout, {data}"
        a, b = "fmtrain fp32 2 x 1", "loop fp32"
        self.figures = (
            Figure("largest difference of a loss, fp32, update 1", lambda r: abs(r[a]["losses"][0] / r[b]["losses"][0] - 1), "at most", 1e-5),
            Figure("fp32, updates 1 to 20", lambda r: max(abs(x / y - 1) for x, y in zip(r[a]["losses"], r[b]["losses"])), "at most", 1e-3),
            Figure("bf16 against torch's autocast, updates 1 to 20", lambda r: max(abs(x - y) for x, y in zip(r["fmtrain bf16 2 x 1"]["losses"],
                   r["loop bf16"]["losses"])) / r[b]["losses"][0], "at most", 3e-2),
            Figure("updates with other tokens", lambda r: sum(x != y for x, y in zip(r[a]["step_tokens"], r[b]["step_tokens"])), "at most", 0))

    def arms(self, o):
        return {"fmtrain fp32 2 x 1": Fmtrain(o, self.data, "fp32", dropout=0.0), "fmtrain bf16 2 x 1": Fmtrain(o, self.data, "bf16", dropout=0.0),
                "loop fp32": Peer(o, "loop", self.data, warm=0, dropout=0.0), "loop bf16": Peer(o, "loop", self.data, warm=0, dropout=0.0, bf16=True)}


class Scaling(Line):
    """32 samples a rank, each rank bound to a core; "alone twice": two programs of one rank side by side, which share the memory and
    nothing else."""
    data, steps = "wnut17", {"": 24}

    def __init__(self, precision):
        self.precision_ = precision
        self.title = f"weak scaling and communication, wnut17, {precision}, 32 samples a rank, ranks bound to cores"
        self.figures = (Figure("2 ranks of 1 rank twice", lambda r: 100 * r["2 ranks"]["rate"] / (2 * r["1 rank"]["rate"]), "at least", 95, " %"),
                        Figure("2 ranks of two programs side by side", lambda r: 100 * r["2 ranks"]["rate"] / r["alone twice"]["rate"], "at least", 95, " %"),
                        Figure("a11: exposed communication of a step, 2 ranks", lambda r: 100 * r["2 ranks"]["phases"]["communication"] / r["2 ranks"]["phases"]["total"],
                               "at most", 5, " %"),
                        Figure("of that, waiting for the other rank without work (0: not told apart by this build)",
                               lambda r: 100 * r["2 ranks"]["phases"].get("waiting", 0) / r["2 ranks"]["phases"]["total"], "at most", 5, " %"),
                        Figure("a9: waiting for data, share of a step", lambda r: 100 * r["2 ranks"]["phases"]["data"] / r["2 ranks"]["phases"]["total"],
                               "at most", 1, " %"))

    def arms(self, o):
        return {"1 rank": Pinned(o, self.data, self.precision_, [0], 1), "2 ranks": Pinned(o, self.data, self.precision_, [0], 2),
                "alone twice": Pinned(o, self.data, self.precision_, [0, 1], 1)}


class Pinned(Fmtrain):
    """Ranks bound to cores; of one rank, a program on each of `cores`, side by side."""

    def __init__(self, o, data, precision, cores, ranks):
        super().__init__(o, data, precision, ranks, batch=32 * ranks)
        self.cores, self.core = cores, 0

    def binding(self):
        return ["--bind-to", "core"] + (["--cpu-set", str(self.core)] if self.ranks == 1 else [])

    def describe(self):
        return super().describe() + (f"; programs side by side on cores {self.cores}" if len(self.cores) > 1 else "")

    def go(self, warm, steps, extra=None):
        if len(self.cores) == 1:
            return super().go(warm, steps, extra)
        import concurrent.futures
        import copy
        each = []
        for core in self.cores:
            one = copy.copy(self)
            one.cores, one.core = [core], core
            each.append(one)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda a: a.go(warm, steps, extra), each))
        return {"seconds": max(f["seconds"] for f in found), "samples": sum(f["samples"] for f in found), "tokens": sum(f["tokens"] for f in found), "losses": []}


class Tool:
    """A command that writes JSON to a file: `fmtrain bench ...`."""

    def __init__(self, o, command, ranks=1, threads=1):
        self.o, self.arguments, self.ranks, self.threads = o, command, ranks, threads

    def describe(self):
        return f"fmtrain {' '.join(self.arguments)}, {self.ranks} rank(s), {self.threads} thread(s)"

    def go(self):
        with tempfile.TemporaryDirectory(dir=self.o.work) as place:
            launcher = [self.o.mpirun, "-np", str(self.ranks), "--bind-to", "core" if self.threads == 1 else "none"] if self.ranks > 1 else []
            env = dict(os.environ, OMP_NUM_THREADS=str(self.threads), FMTRAIN_HOME=self.o.work + "/home", **ROOT_MPI)
            done = subprocess.run(launcher + [self.o.fmtrain] + self.arguments + ["--json", place + "/found.json"], env=env, capture_output=True, text=True, timeout=230)
            if done.returncode:
                raise Failed(done.stderr[-400:] or done.stdout[-400:])
            return json.load(open(place + "/found.json"))["result"]

    def start(self):
        return self

    def close(self):
        pass


class A13(Line):
    """The optimizer's time as the runs' logs have it: the gradient's norm, clip and the bf16 copy included, and with two ranks the sum of
    their gradients; divided by all parameters."""
    data, unit, steps = "wnut17", "ns", {"": 20}
    title = "optimizer, ns a parameter: fmtrain's share of its updates (norm, clip and bf16 copy included) beside torch's fused AdamW"

    def __init__(self):
        two = lambda r, n: r["torch"][n]
        self.figures = (Figure("1 thread: fmtrain bf16 / torch fused alone", lambda r: r["fmtrain 1 x 1"]["rate"] / two(r, "fused 1"), "at most", 1, "x"),
                        Figure("1 thread: fmtrain bf16 / torch clip and fused", lambda r: r["fmtrain 1 x 1"]["rate"] / two(r, "clip and fused 1"), "at most", 1, "x"),
                        Figure("2 ranks: fmtrain bf16 / torch fused alone, 2 threads", lambda r: r["fmtrain 2 x 1"]["rate"] / two(r, "fused 2"), "at most", 1, "x"),
                        Figure("2 threads: fmtrain bf16 / torch fused alone", lambda r: r["fmtrain 1 x 2"]["rate"] / two(r, "fused 2"), "at most", 1, "x"),
                        Figure("1 thread: share of the in-place stream (28 B a parameter: norm and bf16 copy not counted)",
                               lambda r: 100 * 28 / r["fmtrain 1 x 1"]["rate"] / r["stream, GB/s"]["stream 1"], "at least", 85, " %"))

    def arms(self, o):
        return {"fmtrain 1 x 1": Fmtrain(o, self.data, "bf16", 1, 1), "fmtrain 1 x 2": Fmtrain(o, self.data, "bf16", 1, 2),
                "fmtrain 2 x 1": Fmtrain(o, self.data, "bf16"), "torch": Peer(o, "adamw", shape=[384, 6], seconds=0.7),
                "stream, GB/s": Peer(o, "ceilings", both=[1, 2], precisions=[], stream=True, seconds=0.7)}

    def measure(self, o, name, arm):
        if name == "torch":
            found = arm.ask({})[0]
            return {**found, "rate": found["fused 1"]}
        if name.startswith("stream"):
            found = arm.ask({})[0]
            return {**found, "rate": found["stream 1"]}
        found = arm.go(5, 20)
        return {"phases": found["phases"], "rate": 1e9 * found["phases"]["optimizer"] / 20 / 22.57e6, "losses": []}


class A8(Line):
    """Distinct texts, one a call on fmtrain's side, a thousand a call on the other, which is what suits each."""
    unit, title = "MB/s", "tokenizer, MB/s of UTF-8, distinct texts; identical ids"
    figures = tuple(ratio(f"fmtrain, {n} thread(s)", f"tokenizers, {n} thread(s)", 20) for n in (1, 2)) + (
        Figure("texts with other ids", lambda r: 0 if r["fmtrain, 1 thread(s)"]["ids_sha256"] == r["tokenizers, 1 thread(s)"]["ids_sha256"] else 1, "at most", 0),)

    def arms(self, o):
        arms = {}
        for n in (1, 2):
            arms[f"fmtrain, {n} thread(s)"] = Tool(o, ["bench", "tokenizer", o.model, "--text", o.work + "/distinct.txt", "--threads", str(n), "--rounds", "3"], 1, n)
            arms[f"tokenizers, {n} thread(s)"] = Peer(o, "tokenizer", threads=n, tokenizer=o.model + "/tokenizer.json", texts=o.work + "/distinct.txt",
                                                      environment={"RAYON_NUM_THREADS": str(n), "TOKENIZERS_PARALLELISM": "true" if n > 1 else "false"})
        return arms

    def measure(self, o, name, arm):
        if isinstance(arm, Peer):
            found = arm.ask({})[0]
            return {**found, "rate": max(found["encode_batch"], found["encode_batch_fast"])}
        found = arm.go()["arms"][0]
        return {"cold": found["cold_mb_per_second"], "warm": found["warm_mb_per_second"], "rate": found["cold_mb_per_second"]["median"], "ids_sha256": ids_of(o)}


def ids_of(o):
    """Hash of the ids that `fmtrain tokenize` gives, as peer_parts.py hashes those of the peer."""
    out = subprocess.run([o.fmtrain, "tokenize", o.model, o.work + "/distinct.txt"], capture_output=True, text=True, check=True).stdout
    lines = (",".join(map(str, json.loads(line)["ids"])) + "\n" for line in out.splitlines())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class A9(Line):
    unit, title = "rows/s", "rows of 128 ids in a random order, file in the page cache"
    figures = tuple(Figure(f"fmtrain / {name}", lambda r, n=name: r["fmtrain"]["rate"] / r["peers"][n], "at least", goal, "x")
                    for name, goal in (("h5py, one row a call", 20), ("h5py, a sorted batch a call", 1), ("DataLoader", 40)))

    def arms(self, o):
        return {"fmtrain": Tool(o, ["bench", "io", "--rounds", "3"]), "peers": Peer(o, "rows", threads=1, seconds=1.5, work=o.work)}

    def measure(self, o, name, arm):
        found = arm.ask({})[0] if isinstance(arm, Peer) else arm.go()
        return {"rate": found["h5py, one row a call"] if isinstance(arm, Peer) else rows_per_second(found), **found}


def rows_per_second(found):
    return next(a for a in found["arms"] if a["arm"] == "plan_order")["rows_per_second"]["median"]


class A10(Line):
    """One figure a size: gloo in the same round, MPI_Allreduce in the same command."""
    unit, title, sizes = "GB/s", "all-reduce, 2 ranks, bus bandwidth by bytes", (65536, 1 << 20, 25 << 20, 91 << 20, 440 << 20)

    def __init__(self):
        of = lambda r, key, size: r["fmtrain"][str(size)][key]
        name = lambda size: f"{size >> 20} MiB" if size >> 20 else f"{size >> 10} KiB"
        self.figures = ()
        for size, gloo, mpi in zip(self.sizes, (1, 1, 4, 4, 4), (1, 1, 2, 3.5, 3.5)):
            self.figures += (Figure(f"{name(size)}: fmtrain / gloo", lambda r, s=size: of(r, "bus", s) / r["gloo"][str(s)], "at least", gloo, "x"),
                             Figure(f"{name(size)}: fmtrain / MPI_Allreduce", lambda r, s=size: of(r, "times_mpi", s), "at least", mpi, "x"))
            if size >= 25 << 20:
                self.figures += (Figure(f"{name(size)}: share of the in-place stream", lambda r, s=size: 100 * of(r, "share", s), "at least", 80, " %"),)

    def arms(self, o):
        return {"fmtrain": Tool(o, ["bench", "comm", "--from", "65536", "--to", str(440 << 20), "--rounds", "3"], 2), "gloo": Peer(o, "allreduce", ranks=2, threads=1,
                                                                                                                        sizes=list(self.sizes))}

    def measure(self, o, name, arm):
        largest = str(self.sizes[-1])
        if isinstance(arm, Peer):
            found = arm.ask({})[0]
            return {**found, "rate": found[largest]}
        rows = [r for r in arm.go()["rows"] if r["arm"] == "all_reduce"]
        found = {str(r["bytes"]): {"bus": r["bus_gb_per_second"]["median"], "times_mpi": r["times_mpi_all_reduce"]["median"],
                                   "share": r["share_of_in_place"]["median"]} for r in rows}
        return {**found, "rate": found[largest]["bus"]}


def all_lines():
    return {"loss": Losses("wnut17"), "loss-clinc150": Losses("clinc150"), "loss-fixed128": Losses("fixed128"), "a1": A1(), "a2": A2(),
            "a3-best": Best("wnut17"), "a3-default": Default("wnut17"), "a3-ranks": Ranks("wnut17"), "a3-deepspeed": DeepSpeed("wnut17"), "a3-compiled": Compiled("wnut17"), "a3-fp32": Fp32("wnut17"),
            "a3-clinc150-best": Best("clinc150"), "a3-clinc150-default": Default("clinc150"), "a3-clinc150-ranks": Ranks("clinc150"),
            "a4": A4(), "a5": A5(), "a6": A6("wnut17", 5), "a6-fixed128": A6("fixed128", 2), "a8": A8(), "a9": A9(), "a10": A10(),
            "a12": A12(), "a13": A13(), "a14-bf16": Scaling("bf16"), "a14-fp32": Scaling("fp32"),
            "a15": A15()}
