"""R1, R10: kill -9 of all ranks or of one, at random instants, while a checkpoint is written all the time: what was acknowledged is
there at the next start, nothing torn is visible, nothing is left over; and a run that was killed ends with the bits of one that was not.

Usage: kills.py FMTRAIN FMTRAIN_FAULTY [TEST...]
"""
import json
import os
import random
import re
import signal
import time

from rig import Failed, Job, damage, expect, latest, main, read, report, run_trials, spread, steps_in, trials, wait_until, weights


def leftovers(run):
    """What broken saves and deletions left: {name: (inode, time of its last change)}, which tell a new one of the same name."""
    found = {}
    for name in os.listdir(run / "checkpoints") if (run / "checkpoints").is_dir() else []:
        if name.startswith((".tmp-", ".del-", "latest.tmp-")):
            try:
                stat = os.stat(run / "checkpoints" / name)
                found[name] = stat.st_ino, stat.st_mtime_ns
            except FileNotFoundError:
                pass
    return found


class Chain:
    """Starts of one run, each killed. What was acknowledged is noted here, outside the run directory."""

    def __init__(self, folder, ranks, settings):
        self.folder, self.ranks, self.settings = folder, ranks, settings
        self.run = folder.new()
        self.acknowledged = self.resumable = self.kills = self.during_saves = 0  # steps: noted now, noted when this start began
        self.left, self.early, self.ended = {}, True, []

    def note(self):
        self.acknowledged = max(self.acknowledged, latest(self.run))
        return self.acknowledged

    def start_and_kill(self):
        with Job(self.folder, self.run, self.ranks, self.settings) as job:
            self.early = not self.early and random.random() < 0.25  # not twice: three starts without a new checkpoint end with 93
            self.wait(job)
            self.kill(job)
            self.check(job)
        self.kills += 1

    def wait(self, job):
        """Until a random instant: of the start, or after the first checkpoint of this start."""
        if self.early:
            job.started()
            return time.sleep(random.uniform(0, 0.8))
        before = self.acknowledged
        wait_until(lambda: self.note() > before or job.process.poll() is not None, 60, "a new checkpoint")
        expect(job.process.poll() is None, f"ended with {job.process.poll()}: {job.output()}")
        still = {name for name, state in leftovers(self.run).items() if self.left.get(name) == state}
        expect(not still, f"left over by an earlier start: {still}")
        end = time.monotonic() + random.uniform(0, 0.25)
        while time.monotonic() < end:
            self.note()
            time.sleep(0.001)

    def kill(self, job):
        job.started()
        self.note()
        if random.random() < 0.5:
            job.send(signal.SIGKILL, "all")
            job.process.kill()
            job.process.wait()
            job.gone(10)
        else:
            job.send(signal.SIGKILL, [random.randrange(self.ranks)])
            code, seconds = job.end(10)
            expect(code != 0, "exit 0 after a rank was killed")
            job.gone(10)
            self.ended.append(seconds)

    def check(self, job):
        """The disk as the kill left it, and what the start that was killed had gone on from."""
        self.note()
        self.left = leftovers(self.run)
        self.during_saves += bool(self.left)
        steps = steps_in(self.run)
        torn = {step: fault for step in steps if (fault := damage(self.run / f"checkpoints/step-{step}"))}
        expect(not torn, f"torn checkpoints are visible: {torn}")
        expect(steps and steps[-1] >= self.acknowledged, f"step {self.acknowledged} was acknowledged, there are {steps}")
        expect("trying an older checkpoint" not in job.output(), job.output())
        resumed = re.search(r"resume     from step (\d+)", job.output())
        expect(not resumed or int(resumed[1]) >= self.resumable,
               f"went on from {resumed and resumed[1]}, step {self.resumable} was acknowledged")
        self.resumable = self.acknowledged


def chain(folder, case):
    ranks, settings, kills = case
    this = Chain(folder, ranks, settings)
    while this.kills < kills:
        try:
            this.start_and_kill()
        except Failed as failure:
            raise Failed(f"after {this.kills} kills: {failure}") from None
    return this


def kills(folder):
    each = trials(10, 25)  # kills in one run directory
    count = int(os.environ.get("FMTRAIN_FAULT_KILLS", trials(30, 1000)))
    cases = []
    for i in range(0, count, each):
        settings = {"checkpoint.every": random.choice([1, 2, 3]), "checkpoint.keep": random.choice([1, 3]),
                    "checkpoint.async": random.choice(["true", "false"]), "engine.zero": random.choice([0, 1, 3])}
        cases.append((4 if i // each % 3 == 2 else 2, settings, each))
    chains, failed = run_trials(lambda case: chain(folder, case), cases, workers=4)
    ended = [seconds for one in chains for seconds in one.ended]
    done = sum(one.kills for one in chains)
    return report("R1", "kill -9 of all or one of 2 or 4 ranks that save every 1 to 3 steps", done, failed,
                  f"0 acknowledged lost, 0 torn visible, leftovers cleaned; {sum(one.during_saves for one in chains)} kills left a "
                  f"broken save; after one rank's death the job ended after {spread(ended)}")


def results(run):
    """What must not differ by a bit: weights, and of every step its loss and gradient."""
    lines = [json.loads(line) for line in read(run / "log.jsonl").splitlines()]
    return weights(run), [(line["step"], line["loss_hex"], line["grad_norm"]) for line in lines]


def resumes(folder):
    steps, count = trials(100, 200), trials(2, 5)
    finite = {"schedule.steps": steps, "checkpoint.every": 10}
    with Job(folder, folder.new(), 2, finite) as job:
        expect(job.end(120)[0] == 0, job.output())
        right = results(job.run)
    run = folder.new()
    for step in sorted(random.sample(range(12, steps - 10), count)):
        with Job(folder, run, 2, finite) as job:
            job.wait_steps(step)
            job.send(signal.SIGKILL, [random.randrange(2)])
            expect(job.end(10)[0] != 0, "exit 0 after a rank was killed")
            job.gone(10)
    with Job(folder, run, 2, finite) as job:
        expect(job.end(120)[0] == 0, job.output())
    return report("R10", f"{steps} steps on 2 ranks, killed at random steps", count, int(results(run) != right),
                  "losses, gradients and weights equal to the last bit")


def clock(folder):
    """However long an epoch is, a checkpoint is never older than checkpoint.seconds."""
    with Job(folder, folder.new(), 2, {"checkpoint.seconds": 1}) as job:
        wait_until(lambda: len(steps_in(job.run)) > 1 or job.process.poll() is not None, 30, "two checkpoints by the clock")
        return int(job.process.poll() is not None)


main(kills, resumes, clock)
