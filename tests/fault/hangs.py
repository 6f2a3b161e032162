"""R8, R9: a rank that does not come ends the job within its deadline with 8 and is named; a job suspended as a whole goes on; ranks end
with their launcher.

Usage: hangs.py FMTRAIN FMTRAIN_FAULTY [TEST...]
"""
import random
import signal
import time

from rig import Job, expect, main, record, report, run_trials, spread, trials

RANKS = 4
LOAD_LIMIT, STEP_LIMIT, MARGIN = 5, 3, 5
QUICK = {"FMTRAIN_WAIT_LIMIT": LOAD_LIMIT, "FMTRAIN_STEP_LIMIT": STEP_LIMIT, "FMTRAIN_WATCH_PERIOD": 0.2}
# What: (point and kind, calls of which one is chosen, deadline)
HANGS = {
    "SIGSTOP": ("forward:stop", (100, 400), STEP_LIMIT),
    "an endless loop": ("forward:loop", (100, 400), STEP_LIMIT),
    "mismatched collectives": ("collective:mismatch", (100, 400), STEP_LIMIT),
    "a blocked read": ("data:read", (1, 1), LOAD_LIMIT),
}


def hang(folder, what, rank):
    """Seconds after the deadline."""
    point, calls, deadline = HANGS[what]
    with Job(folder, folder.new(), RANKS, environment=QUICK, fault=f"{point}:{rank}:{random.randint(*calls)}") as job:
        job.started()
        code, _ = job.end(60)
        expect(job.struck(), f"the fault never came: {job.output()}")
        late = time.monotonic() - job.struck() - deadline
        job.gone(MARGIN)
        found = record(job.run)
        expect(code != 0 and found.get("code") == 8, f"exit {code}, exit.json {found}\n{job.output()}")
        expect(late <= MARGIN, f"ended {late:.1f} s after the deadline")
        expect(any(f"{words} rank {rank} on " in found["reason"] for words in ("at fault:", "missing:")), f"not named: {found['reason']}")
        expect(what != "SIGSTOP" or "stopped" in found["reason"], f"not said to be stopped: {found['reason']}")
        return late


def hangs(folder):
    count = trials(8, 40)
    cases = [(list(HANGS)[i % len(HANGS)], random.randrange(RANKS)) for i in range(count)]
    late, failed = run_trials(lambda case: hang(folder, *case), cases, workers=4)
    return report("R8", f"{', '.join(HANGS)} of one of {RANKS} ranks", count, failed,
                  f"exit 8, the rank named, ended after the deadline by {spread(late)}")


def suspend(folder, seconds):
    with Job(folder, folder.new(), RANKS, environment=QUICK) as job:
        job.wait_steps(5)
        job.started()
        job.send(signal.SIGSTOP, "all")
        time.sleep(seconds)
        before = job.steps()
        job.send(signal.SIGCONT, "all")
        job.wait_steps(before + 20)
        job.send(signal.SIGUSR1, [random.randrange(RANKS)])
        code, _ = job.end(20)
        expect(code == 75, f"exit {code}, not 75, after a suspended job was continued: {job.output()}")


def suspended_jobs(folder):
    cases = [random.uniform(0.5, 1) * STEP_LIMIT if i % 2 else random.uniform(1.5, 2) * STEP_LIMIT for i in range(trials(2, 10))]
    _, failed = run_trials(lambda case: suspend(folder, case), cases)
    return report("R8", f"all ranks suspended for up to {2 * STEP_LIMIT} s, then continued", len(cases), failed, "no alarm")


def orphan(folder, delay):
    with Job(folder, folder.new(), RANKS, {"checkpoint.every": 2}) as job:
        job.started()
        time.sleep(delay)
        job.process.kill()
        job.process.wait()
        return job.gone(10)


def killed_launchers(folder):
    count = trials(3, 20)
    seconds, failed = run_trials(lambda case: orphan(folder, case), [random.uniform(0, 2) for _ in range(count)], workers=3)
    return report("R9", f"launcher of {RANKS} ranks killed at a random instant", count, failed, f"ranks gone after {spread(seconds)}")


main(hangs, suspended_jobs, killed_launchers)
