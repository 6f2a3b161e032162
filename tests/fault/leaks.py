"""R21: a run that evaluates after every step and saves after every tenth keeps the number of its open files, and its memory does not
grow by 1 % once it is warm.

Usage: leaks.py FMTRAIN FMTRAIN_FAULTY [TEST...]
"""
import os
import statistics
import time

from rig import SOURCE, Job, expect, main, read, report, run_trials, trials

EVALUATIONS, WARM, GROWTH = trials(300, 1000), 100, 0.01


def window(job, pid):
    """(least number of open files, which a leak raises too, median of resident KiB) over two seconds: saves come and go meanwhile."""
    files, memory = [], []
    for _ in range(40):
        files.append(len(os.listdir(f"/proc/{pid}/fd")))
        memory.append(int(read(f"/proc/{pid}/status").split("VmRSS:")[1].split()[0]))
        time.sleep(0.05)
    return min(files), statistics.median(memory)


def grow(folder, ranks, few):
    # As many texts as an update has: all pairs of them, and so all shapes of products, for each of which oneDNN keeps up to 258 KB, have
    # come before WARM. With more texts shapes came for the first time, and looked like a leak, for thousands of steps.
    settings = {"data.validation": few, "data.limit": 16, "evaluate.every": 1, "checkpoint.every": 10}
    with Job(folder, folder.new(), ranks, settings) as job:
        pids = job.started()
        job.wait_steps(WARM)
        time.sleep(5)  # the watchdog looks every 2 s, and keeps a handle of each process that it has looked at
        before = {rank: window(job, pid) for rank, pid in pids.items()}
        start = job.steps()
        while job.steps() < start + EVALUATIONS:  # longer than one wait may take
            job.wait_steps(job.steps() + 50)
        worst = 0
        for rank, pid in pids.items():
            (files, memory), (files_now, memory_now) = before[rank], window(job, pid)
            expect(files_now <= files, f"rank {rank}: {files_now} open files, {files} before")
            worst = max(worst, memory_now / memory - 1)
        expect(worst < GROWTH, f"resident memory grew by {100 * worst:.2f} %")
        return worst


def leaks(folder):
    few = folder.path / "few.conll"
    few.write_text("\n\n".join((SOURCE / "data/wnut17/dev.conll").read_text().split("\n\n")[:20]) + "\n")
    cases = [1, 2]
    growth, failed = run_trials(lambda ranks: grow(folder, ranks, few), cases)
    return report("R21", f"{EVALUATIONS} evaluations and {EVALUATIONS // 10} saves in a run of 1 and of 2 ranks", len(cases), failed,
                  f"no more open files than before; resident memory grew by at most {100 * max(growth, default=0):.2f} %")


main(leaks)
