"""R7: a rank that breaks in any way at any place ends the job with an error at once, is named with host and phase, and leaves no process.

Usage: crashes.py FMTRAIN FMTRAIN_FAULTY [TEST...]
"""
import random
import socket
import time

from rig import Job, expect, main, record, report, run_trials, spread, trials

RANKS = 4
KINDS = {"kill": "SIGKILL", "segv": "SIGSEGV", "abrt": "SIGABRT", "exit": "exit(3)", "throw": "an exception"}
# Point: (phases, of which one is recorded, for the rank that finds the fault may be one further; calls of which one is chosen;
# settings). A rank comes to "forward" 13 times a leaf, to "collective" some 10 times a step.
POINTS = {
    "init": (["init"], (1, 1), {}),
    "data": (["load"], (1, 1), {}),
    "forward": (["train"], (50, 400), {}),
    "collective": (["train"], (100, 400), {}),
    "checkpoint": (["checkpoint"], (2, 8), {"checkpoint.every": 2, "checkpoint.async": "false"}),
    "eval": (["evaluate", "metrics"], (2, 40), {"data.validation": "../data/wnut17/dev.conll"}),
}
SECONDS, TARGET, LINGER = 10, 3, 5


def crash(folder, point, kind, rank):
    phases, calls, settings = POINTS[point]
    host = socket.gethostname()
    fault = f"{point}:{kind}:{rank}:{random.randint(*calls)}"
    run = folder.new()
    if point == "init" and random.random() < 0.5:  # the run directory is there, with the record of an earlier start
        run.mkdir()
        (run / "exit.json").write_text('{"code": 75, "phase": "init", "reason": "an earlier start"}')
    with Job(folder, run, RANKS, settings, fault=fault) as job:
        job.started()
        code, _ = job.end(60)
        expect(job.struck(), f"{fault}: the fault never came: {job.output()}")
        seconds = time.monotonic() - job.struck()
        job.gone(LINGER)
        expect(code != 0, f"{fault}: exit 0")
        expect(seconds <= SECONDS, f"{fault}: ended after {seconds:.1f} s")
        if folder.mpich and kind != "throw":  # its launcher kills the others before they can say anything
            return seconds
        for name in ("exit.json", "failure.json"):
            found = record(job.run, name)
            named = f"rank {rank} on {host}" in found.get("reason", "") or (found.get("rank"), found.get("host")) == (rank, host)
            expect(named and found.get("phase") in phases and found["code"] != 0, f"{fault}: {name} says {found}\n{job.output()}")
        return seconds


def crashes(folder):
    all_kinds, shift = list(KINDS), random.randrange(len(KINDS))
    each = trials(2, 2 * len(KINDS))  # kinds tried at every point
    cases = [(point, all_kinds[(shift + i * each + j) % len(KINDS)], random.randrange(RANKS))
             for i, point in enumerate(POINTS) for j in range(each)]
    count = len(cases)
    seconds, failed = run_trials(lambda case: crash(folder, *case), cases, workers=3)
    late = sum(s > TARGET for s in seconds)
    return report("R7", f"{', '.join(KINDS.values())} at {', '.join(POINTS)} of one of {RANKS} ranks", count, failed,
                  f"job ended after {spread(seconds)} ({late} later than {TARGET} s); rank, host and phase named"
                  f"{' after exceptions (MPICH)' if folder.mpich else ''}, "
                  f"no process left {LINGER} s later")


def nothing_of_it_in_fmtrain(folder):
    """The named points exist in the program for tests only."""
    inside = [b"FMTRAIN_FAULT" in open(program, "rb").read() for program in (folder.fmtrain, folder.faulty)]
    return report("R7", "named points in fmtrain, in fmtrain_faulty", 2, int(inside != [False, True]), f"{inside[0]}, {inside[1]}")


main(nothing_of_it_in_fmtrain, crashes)
