"""R15: signals at random instants, to one or all ranks, and a second one while the state is being saved: exit 75 within 20 s and a
sound checkpoint; a requeue of what ended with 75 finishes the run with the bits of one that nobody disturbed.

Usage: signals.py FMTRAIN FMTRAIN_FAULTY [TEST...]
"""
import random
import re
import signal
import time

from rig import Job, damage, expect, main, read, record, report, run_trials, spread, steps_in, trials, wait_until, weights

STEPS, SECONDS = 60, 20


def settings(every):
    return {"schedule.steps": STEPS, "checkpoint.every": every}


def takes_signals(pid):
    """SIGUSR1 is blocked: the program's thread waits for it."""
    mask = re.search(r"SigBlk:\s*(\w+)", read(f"/proc/{pid}/status"))
    return bool(mask and int(mask[1], 16) >> (signal.SIGUSR1 - 1) & 1)


def saving(run):
    return any((run / "checkpoints").glob(".tmp-*"))


class Leg:
    """A start of the run that is asked to stop `delay` seconds after all its ranks take signals."""

    def __init__(self, folder, run, ranks, every, delay, everyone):
        self.second_hit = self.stopped = False
        with Job(folder, run, ranks, settings(every)) as job:
            wait_until(lambda: all(map(takes_signals, job.started().values())), 30, "the ranks take signals")
            time.sleep(delay)
            if job.process.poll() is None:
                self.ask(job, "all" if everyone else [random.randrange(ranks)])
            start = time.monotonic()
            self.code, _ = job.end(60)
            self.seconds = time.monotonic() - start
            job.gone(5)
            expect(self.code in (0, 75) and record(run).get("code") == self.code,
                   f"exit {self.code}, exit.json {record(run)}: {job.output()}")
            expect(self.seconds <= SECONDS, f"stopped after {self.seconds:.1f} s")
            self.stopped = self.code == 75
            said = f"stopped    at step {record(run).get('step')}, which is saved"
            expect(not self.stopped or said in job.output(), f"does not say \"{said}\": {job.output()}")
        bad = {step: fault for step in steps_in(run) if (fault := damage(run / f"checkpoints/step-{step}"))}
        expect(steps_in(run) and not bad, f"checkpoints {steps_in(run)}, damaged: {bad}")

    def ask(self, job, ranks):
        job.send(random.choice([signal.SIGTERM, signal.SIGUSR1]), ranks)
        end = time.monotonic() + 2
        while not saving(job.run) and job.process.poll() is None and time.monotonic() < end:
            time.sleep(0.001)
        self.second_hit = saving(job.run)
        job.send(random.choice([signal.SIGTERM, signal.SIGUSR1]), ranks)


def requeued(folder, ranks, every, right):
    """Starts a run until it is complete: its legs."""
    run, legs = folder.new(), []
    while not legs or legs[-1].stopped:
        expect(len(legs) < STEPS, "the run does not come to its end")
        legs.append(Leg(folder, run, ranks, every, random.uniform(0, 1.8), random.random() < 0.5))
    expect(weights(run) == right, f"other weights than the undisturbed run after {len(legs)} starts")
    return legs


def stops(folder):
    run = folder.new()
    with Job(folder, run, 2, settings(20)) as job:
        code, _ = job.end(120)
        expect(code == 0, job.output())
    right, legs, failed, runs = weights(run), [], 0, 0
    while sum(leg.stopped for leg in legs) < trials(10, 50) and not failed:
        cases = [(ranks, random.choice([1, 7, 1000]), right) for ranks in (2, 2, 4)]
        results, bad = run_trials(lambda case: requeued(folder, *case), cases, workers=3)
        legs += [leg for run in results for leg in run]
        failed, runs = failed + bad, runs + len(results)
    stopped = [leg for leg in legs if leg.stopped]
    return report("R15", "SIGTERM or SIGUSR1 to one or all ranks of 2 or 4, and again while they save", len(stopped), failed,
                  f"exit 75 after {spread([leg.seconds for leg in stopped])}; {sum(leg.second_hit for leg in legs)} second signals during "
                  f"the save; all checkpoints sound; {runs} requeued runs ended with the bits of an undisturbed one")


main(stops)
