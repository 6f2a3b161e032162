"""The lines of the table: arms, figures, goals. A figure is a function of one round, so that every ratio is of two arms that saw the
same minute. Goals are those of the project's design; docs/performance.md says how to read the table."""
from arms import Fmtrain, MemoryWatch, Peer, launch_to_first_step, restart_to_first_step

LINEAR, NORMS, HIDDEN, LAYERS = 12 * 384 * 384 + 9 * 384, 4 * 384, 384, 6  # of MiniLM-L6-H384: weights and biases of a layer


def flop_per_sample(facts):
    """Training, by 6 P + 12 L d s a token: weights of the layers, no embeddings, s the token's own sequence length."""
    return (6 * LAYERS * (LINEAR + NORMS) * facts["tokens"] + 12 * LAYERS * HIDDEN * facts["squares"]) / facts["samples"]


EARLIER = "an earlier build"  # the arm of --earlier


class Figure:
    """`of(round)` with a goal: "at least" or "at most" `goal`; `unit` is printed behind it."""

    def __init__(self, text, of, kind, goal, unit=""):
        self.text, self.of, self.kind, self.goal, self.unit = text, of, kind, goal, unit

    def met(self, value):
        return value >= self.goal if self.kind == "at least" else value <= self.goal


def ratio(ours, theirs, goal, what="rate"):
    if what == "seconds" or what in ("rss", "pss"):
        kind, of = ("at most", lambda r: r[ours][what] / r[theirs][what]) if what != "seconds" else ("at least", lambda r: r[theirs][what] / r[ours][what])
        return Figure(f"{what}: {ours} / {theirs}" if what != "seconds" else f"{ours}, faster than {theirs}", of, kind, goal, "x")
    return Figure(f"{ours} / {theirs}", lambda r: r[ours][what] / r[theirs][what], "at least", goal, "x")


def share(arm, precision, goal):
    return Figure(f"{arm}, share of the {precision} product ceiling", lambda r: 100 * r[arm]["share"], "at least", 100 * goal, " %")


class Line:
    """`rounds` of `measure(line, arms)`; by default every arm trains. `needs` are (rows, precisions) of the ceiling, None for none."""
    title, data, steps, warm, needs, unit = "", None, {}, 10, None, "samples/s"
    figures, watch = (), False
    compares_curves = False  # figures need the losses of every round

    def arms(self, o):
        raise NotImplementedError

    def measure(self, o, name, arm):
        """One arm's part of a round."""
        watch = MemoryWatch(arm) if self.watch else None
        found = arm.go(self.warm, self.steps.get(name, self.steps[""]))
        facts = o.facts[self.data]
        by_samples = getattr(arm, "spec", {}).get("pad")
        found["rate"] = found["samples"] / found["seconds"] if by_samples else found["tokens"] / found["seconds"] * facts["samples"] / facts["tokens"]
        if watch:
            found.update(watch.largest())
        return found


def peers(o, data, **extra):
    return {
        "trainer": lambda **s: Peer(o, "trainer", data, **{**extra, **s}),
        "loop": lambda **s: Peer(o, "loop", data, **{**extra, **s}),
        "ranks": lambda dist, **s: Peer(o, "loop", data, ranks=2, threads=1, dist=dist, **{**extra, **s}),
    }


def deepspeed(o, data, stage, **extra):
    return Peer(o, "loop", data, ranks=2, threads=1, dist="deepspeed", stage=stage, environment={"DS_ACCELERATOR": "cpu"}, **extra)


class Fixed(Line):
    data, steps, needs = "fixed128", {"": 6}, (4096, ["fp32", "bf16"])


class A1(Fixed):
    title = "training, fixed length 128, fp32"
    figures = (ratio("fmtrain 2 x 1", "loop", 2.2), ratio("fmtrain 1 x 2", "loop", 2.2), ratio("fmtrain 2 x 1", "Trainer", 2.2),
               ratio("fmtrain 2 x 1", "loop DDP", 2.2), share("fmtrain 2 x 1", "fp32", 0.6), share("fmtrain 1 x 2", "fp32", 0.6), share("loop", "fp32", 0.0))
    precision = {"": "fp32"}

    def arms(self, o):
        p = peers(o, self.data)
        return {"fmtrain 2 x 1": Fmtrain(o, self.data, "fp32"), "fmtrain 1 x 2": Fmtrain(o, self.data, "fp32", 1, 2), "loop": p["loop"](),
                "Trainer": p["trainer"](), "loop DDP": p["ranks"]("ddp")}


class A2(Fixed):
    title = "training, fixed length 128, bf16"
    figures = (ratio("fmtrain 2 x 1", "Trainer fp32", 3.5), ratio("fmtrain 2 x 1", "loop", 1.7), ratio("fmtrain 1 x 2", "loop", 1.7),
               ratio("fmtrain 2 x 1", "loop DDP", 1.7), share("fmtrain 2 x 1", "bf16", 0.5), share("fmtrain 1 x 2", "bf16", 0.5), share("loop", "bf16", 0.0))
    precision = {"": "bf16", "Trainer fp32": "fp32"}

    def arms(self, o):
        p = peers(o, self.data, bf16=True)
        return {"fmtrain 2 x 1": Fmtrain(o, self.data, "bf16"), "fmtrain 1 x 2": Fmtrain(o, self.data, "bf16", 1, 2), "loop": p["loop"](),
                "loop DDP": p["ranks"]("ddp"), "Trainer fp32": p["trainer"](bf16=False)}


class Real(Line):
    needs = (1000, ["fp32", "bf16"])
    steps = {"": 12, "fmtrain 2 x 1": 30, "fmtrain 1 x 2": 30, "fmtrain fp32 2 x 1": 20, "loop grouped": 40, "loop compiled": 40, "Trainer grouped": 40, "DDP tuned": 40,
             "loop fp32 grouped": 40, "DDP fp32 grouped": 40, "Trainer pad to 128": 4, "DeepSpeed tuned": 40}
    precision = {"": "bf16", "DeepSpeed ZeRO-1": "fp32", "fmtrain fp32 2 x 1": "fp32", "loop fp32 grouped": "fp32", "DDP fp32 grouped": "fp32", "Trainer default": "fp32",
                 "Trainer pad to 128": "fp32", "DDP default": "fp32", "ZeroRedundancyOptimizer": "fp32", "FSDP2": "fp32"}

    def __init__(self, data):
        self.data = data


class Best(Real):
    figures = (ratio("fmtrain 2 x 1", "loop grouped", 2.3), ratio("fmtrain 1 x 2", "loop grouped", 2.3), ratio("fmtrain 2 x 1", "Trainer grouped", 2.3),
               share("fmtrain 2 x 1", "bf16", 0.6), share("fmtrain 1 x 2", "bf16", 0.6), share("loop grouped", "bf16", 0.0))

    def __init__(self, data):
        super().__init__(data)
        self.title = f"training, {data}, bf16, beside the best peers (bf16 and length grouping)"

    def arms(self, o):
        p = peers(o, self.data, bf16=True, group=True)
        return {"fmtrain 2 x 1": Fmtrain(o, self.data, "bf16"), "fmtrain 1 x 2": Fmtrain(o, self.data, "bf16", 1, 2), "loop grouped": p["loop"](),
                "Trainer grouped": p["trainer"]()}


class Compiled(Real):
    title = "training, wnut17, bf16, beside torch.compile (dynamic shapes, 40 updates of warm-up)"
    figures = (ratio("fmtrain 2 x 1", "loop compiled", 2.3), ratio("loop compiled", "loop grouped", 0.0))

    def arms(self, o):
        p = peers(o, self.data, bf16=True, group=True)
        return {"fmtrain 2 x 1": Fmtrain(o, self.data, "bf16"), "loop grouped": p["loop"](), "loop compiled": p["loop"](compile=True, warm=40)}


class Default(Real):
    figures = (ratio("fmtrain 2 x 1", "Trainer default", 6), ratio("fmtrain 2 x 1", "Trainer pad to 128", 18))

    def __init__(self, data):
        super().__init__(data)
        self.title = f"training, {data}, fmtrain in bf16 beside the defaults of Trainer (fp32)"

    def arms(self, o):
        p = peers(o, self.data)
        return {"fmtrain 2 x 1": Fmtrain(o, self.data, "bf16"), "Trainer default": p["trainer"](), "Trainer pad to 128": p["trainer"](pad=128, warm=3)}


class Ranks(Real):
    figures = (ratio("fmtrain 2 x 1", "DDP default", 8), ratio("fmtrain 2 x 1", "DDP tuned", 2.3), ratio("fmtrain 2 x 1", "ZeroRedundancyOptimizer", 8),
               ratio("fmtrain 2 x 1", "FSDP2", 8))

    def __init__(self, data):
        super().__init__(data)
        self.title = f"training, {data}, 2 ranks x 1 thread, fmtrain in bf16 beside torch's ways"

    def arms(self, o):
        p = peers(o, self.data)
        return {"fmtrain 2 x 1": Fmtrain(o, self.data, "bf16"), "DDP default": p["ranks"]("ddp"), "DDP tuned": p["ranks"]("ddp", bf16=True, group=True),
                "ZeroRedundancyOptimizer": p["ranks"]("zero"), "FSDP2": p["ranks"]("fsdp2")}


class DeepSpeed(Real):
    """A line of its own: the peers of one line are in memory together."""
    figures = (ratio("fmtrain 2 x 1", "DeepSpeed ZeRO-1", 8), ratio("fmtrain 2 x 1", "DeepSpeed tuned", 2.3))
    title = "training, wnut17, 2 ranks x 1 thread, fmtrain in bf16 beside DeepSpeed (ZeRO-1; tuned: its bf16, and length grouping)"

    def arms(self, o):
        return {"fmtrain 2 x 1": Fmtrain(o, self.data, "bf16"), "DeepSpeed ZeRO-1": deepspeed(o, self.data, 1),
                "DeepSpeed tuned": deepspeed(o, self.data, 1, bf16=True, group=True)}


class Fp32(Real):
    figures = (ratio("fmtrain fp32 2 x 1", "loop fp32 grouped", 1.0), ratio("fmtrain fp32 2 x 1", "DDP fp32 grouped", 1.0), share("fmtrain fp32 2 x 1", "fp32", 0.6))

    def __init__(self, data):
        super().__init__(data)
        self.title = f"training, {data}, fp32 on both sides, peers with length grouping"

    def arms(self, o):
        p = peers(o, self.data, group=True)
        return {"fmtrain fp32 2 x 1": Fmtrain(o, self.data, "fp32"), "loop fp32 grouped": p["loop"](), "DDP fp32 grouped": p["ranks"]("ddp")}


def from_text(o, data, ranks=2, threads=1):
    """fmtrain as a user starts it: on the raw file, which it has prepared into its cache before."""
    return Fmtrain(o, data, "bf16", ranks, threads, settings={"data": {"train": f"{o.work}/{data}.conll"}})


class Fresh(Line):
    """Every round starts every arm anew."""
    data, unit, warm = "wnut17", "s", 0

    def arms(self, o):
        p = {"warm": 0}
        return {"fmtrain 2 x 1": from_text(o, self.data), "Trainer": Peer(o, "trainer", self.data, **p),
                "Trainer 2 x 1": Peer(o, "trainer", self.data, 2, 1, **p), "loop": Peer(o, "loop", self.data, **p),
                "DDP 2 x 1": Peer(o, "loop", self.data, 2, 1, dist="ddp", **p)}


class A4(Fresh):
    title = "launch to the end of the first update, files in the page cache; peers read token ids that were made before"
    figures = (Figure("fmtrain 2 x 1", lambda r: r["fmtrain 2 x 1"]["seconds"], "at most", 1.0, " s"), ratio("fmtrain 2 x 1", "Trainer", 8, "seconds"),
               ratio("fmtrain 2 x 1", "Trainer 2 x 1", 8, "seconds"), ratio("fmtrain 2 x 1", "loop", 1, "seconds"))
    lazy = True

    def measure(self, o, name, arm):
        seconds = launch_to_first_step(arm)
        return {"seconds": seconds, "rate": seconds}


class A15(Fresh):
    title = "restart from a checkpoint to the end of the next update"
    figures = (Figure("on as many ranks (2)", lambda r: r["fmtrain 2 x 1"]["same"], "at most", 1.5, " s"),
               Figure("on 1 rank", lambda r: r["fmtrain 2 x 1"]["other"], "at most", 1.5, " s"))
    lazy = True

    def arms(self, o):
        return {"fmtrain 2 x 1": from_text(o, self.data)}

    def measure(self, o, name, arm):
        found = restart_to_first_step(arm, from_text(o, self.data, 1, 2))
        return {**found, "rate": found["same"]}


class A5(Fresh):
    title = "peak memory of a rank while training, seen from outside"
    unit, watch, steps, needs = "samples/s", True, {"": 12}, None
    figures = tuple(ratio(a, b, 0.5, what) for what in ("rss", "pss") for a, b in (("fmtrain 2 x 1", "Trainer 2 x 1"), ("fmtrain fp32 2 x 1", "Trainer 2 x 1"),
                                                                                ("fmtrain 1 x 2", "Trainer")))

    def arms(self, o):
        arms = super().arms(o)
        return {"fmtrain 2 x 1": arms["fmtrain 2 x 1"], "fmtrain fp32 2 x 1": Fmtrain(o, self.data, "fp32"), "fmtrain 1 x 2": Fmtrain(o, self.data, "bf16", 1, 2),
                "Trainer": arms["Trainer"], "Trainer 2 x 1": arms["Trainer 2 x 1"]}


class A12(Fresh):
    title = "peak memory of a rank that shares states out, seen from outside, beside torch's and DeepSpeed's ways"
    unit, watch, steps = "samples/s", True, {"": 12}
    figures = tuple(ratio(f"fmtrain ZeRO-{stage}", peer, 0.8, what) for what in ("rss", "pss")
                    for stage, peer in ((1, "ZeroRedundancyOptimizer"), (1, "DeepSpeed ZeRO-1"), (2, "DeepSpeed ZeRO-2"), (3, "FSDP2")))

    def arms(self, o):
        ours = {f"fmtrain ZeRO-{stage}": Fmtrain(o, self.data, "fp32", settings={"engine": {"precision": "fp32", "zero": stage}}) for stage in (1, 2, 3)}
        return {**ours, "ZeroRedundancyOptimizer": Peer(o, "loop", self.data, 2, 1, dist="zero", warm=0), "FSDP2": Peer(o, "loop", self.data, 2, 1, dist="fsdp2", warm=0),
                "DeepSpeed ZeRO-1": deepspeed(o, self.data, 1, warm=0), "DeepSpeed ZeRO-2": deepspeed(o, self.data, 2, warm=0)}


class A6(Line):
    warm = 0
    figures = (ratio("fmtrain 2 x 1", "Trainer.evaluate", 5), ratio("fmtrain fp32 2 x 1", "Trainer.evaluate", 1), ratio("fmtrain 2 x 1", "Trainer.evaluate bf16", 1))

    def __init__(self, data, goal):
        self.data, self.title = data, f"evaluation, {data}"
        self.figures = (ratio("fmtrain 2 x 1", "Trainer.evaluate", goal),) + self.figures[1:]

    def arms(self, o):
        return {"fmtrain 2 x 1": Fmtrain(o, self.data, "bf16"), "fmtrain fp32 2 x 1": Fmtrain(o, self.data, "fp32"),
                "Trainer.evaluate": Peer(o, "trainer", self.data, warm=0), "Trainer.evaluate bf16": Peer(o, "trainer", self.data, warm=0, bf16=True)}

    def measure(self, o, name, arm):
        if isinstance(arm, Peer):
            arm.ask({"eval": 1}) if not getattr(arm, "warmed", False) else None
            arm.warmed = True
            found = arm.ask({"eval": 1})[0]
            return {**found, "rate": found["samples"] / found["seconds"], "loss": found["loss"]}
        found = arm.go(1, 1, {"data": {"test": f"{o.work}/{self.data}.h5"}})["evaluation"][-1]  # the second of two, as the peers'
        return {"seconds": found["seconds"], "samples": found["samples"], "rate": found["samples_per_s"], "loss": found["loss"]}
