"""What the tests that break processes share: fmtrain under mpirun, its ranks as processes, what it leaves behind, and results."""
import ctypes
import hashlib
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
RELEASE = int(os.environ.get("FMTRAIN_FAULT_SCALE", "1")) > 1
# The tiny model on CPU cores without evaluations; a step takes some 20 ms, a save some 30 ms.
TINY = {"report.progress": "plain", "report.bootstrap": 0, "report.tensorboard": "false", "data.validation": "null", "data.test": "null",
        "schedule.steps": 100000, "checkpoint.every": 1000000}


class Failed(Exception):
    """What a trial was to show is not so."""


def expect(condition, what):
    if not condition:
        raise Failed(what)


def wait_until(condition, seconds, what, period=0.005):
    """The first true value of condition()."""
    end = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        expect(time.monotonic() < end, f"{what}: not within {seconds} s")
        time.sleep(period)


def read(path):
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def alive(pid):
    stat = read(f"/proc/{pid}/stat")
    return stat != "" and stat[stat.rindex(")") + 2] not in "ZX"


def descendants(pid):
    """Processes that one has started, and theirs: MPICH's launcher has one between itself and the ranks."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in read(task).split():
            yield int(child)
            yield from descendants(child)


class Folder:
    """Where jobs run: their directories, the cache of prepared data, and what Open MPI leaves of killed ones. Removed at the end."""

    def __init__(self, programs):
        self.fmtrain, self.faulty = programs
        self.mpich = "MPICH" in subprocess.run([self.fmtrain, "version"], capture_output=True, text=True).stdout
        self.path = Path(tempfile.mkdtemp(prefix="fault-"))
        self.shared = Path(tempfile.mkdtemp(prefix="fault-", dir="/dev/shm"))
        self.count, self.lock, self.launchers = 0, threading.Lock(), []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for folder in (self.path, self.shared):
            shutil.rmtree(folder, ignore_errors=True)

    def abandon(self, *_):
        """For SIGTERM, of ctest or timeout: nothing stays."""
        for launcher in self.launchers:
            launcher.kill()  # its ranks die with it
        time.sleep(1)
        self.__exit__()
        os._exit(143)

    def new(self):
        """A name for a run directory, not made yet."""
        with self.lock:
            self.count += 1
            return self.path / f"run{self.count}"


class Job:
    """One start of fmtrain on `ranks` processes; `settings` go over TINY; `fault`: POINT:KIND:RANK:CALL of fmtrain_faulty."""

    def __init__(self, folder, run, ranks, settings=(), environment=(), fault=None):
        self.run, self.size, self.text = Path(run), ranks, Path(f"{run}.{time.monotonic_ns()}.txt")
        program = folder.faulty if fault else folder.fmtrain
        command = ["bash", "-c", 'source "$0"; exec "$@"', SOURCE / "tests/fault/ranks.sh",
                   "mpirun", "-np", ranks, program, SOURCE / "configs/tiny_cpu.yaml"]
        for key, value in {**TINY, "run.dir": run, **dict(settings)}.items():
            command += ["--set", f"{key}={value}"]
        variables = {**os.environ, "FMTRAIN_HOME": folder.path / "home", "TMPDIR": folder.path,
                     "OMPI_MCA_btl_vader_backing_directory": folder.shared, **dict(environment)}
        if fault:
            variables["FMTRAIN_FAULT"] = fault
        self.known = {}
        self.began = time.monotonic()
        with open(self.text, "wb") as text:
            self.process = subprocess.Popen([str(word) for word in command], env={k: str(v) for k, v in variables.items()},
                                            stdin=subprocess.DEVNULL, stdout=text, stderr=text)
        folder.launchers.append(self.process)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.send(signal.SIGKILL, "all")
        self.process.kill()
        self.process.wait()

    def output(self):
        return read(self.text)

    def pids(self):
        """{rank: pid}, as far as they have started."""
        if len(self.known) < self.size:
            for pid in descendants(self.process.pid):
                if rank := re.search(r"\0(?:OMPI_COMM_WORLD|PMI)_RANK=(\d+)\0", "\0" + read(f"/proc/{pid}/environ")):
                    self.known[int(rank[1])] = pid
        return self.known

    def started(self):
        """All ranks run."""
        end = time.monotonic() + 30
        while len(self.pids()) < self.size:
            expect(self.process.poll() is None, f"ended with {self.process.poll()} before all ranks ran: {self.output()[-1000:]}")
            expect(time.monotonic() < end, f"after 30 s only ranks {sorted(self.known)} run: {self.output()[-1000:]}")
            time.sleep(0.005)
        return self.known

    def send(self, number, ranks):
        """A signal to the ranks given, or "all"."""
        pids = self.pids() if ranks == "all" else self.started()
        for rank in random.sample(list(pids), len(pids)) if ranks == "all" else ranks:
            try:
                os.kill(pids[rank], number)
            except ProcessLookupError:
                pass

    def steps(self):
        """Lines of the log."""
        return read(self.run / "log.jsonl").count("\n")

    def wait_steps(self, steps):
        wait_until(lambda: self.steps() >= steps or self.process.poll() is not None, 60, f"{steps} steps")
        expect(self.process.poll() is None, f"ended with {self.process.poll()} before step {steps}")

    def end(self, seconds):
        """(exit code, seconds it took from now)"""
        start = time.monotonic()
        try:
            return self.process.wait(seconds), time.monotonic() - start
        except subprocess.TimeoutExpired:
            raise Failed(f"the job lives {seconds} s later") from None

    def gone(self, seconds):
        """Seconds until no rank is left."""
        start = time.monotonic()
        wait_until(lambda: not any(alive(pid) for pid in self.known.values()), seconds, "the end of all ranks")
        return time.monotonic() - start

    def struck(self):
        """When the fault came, on time.monotonic()'s clock; None: it has not."""
        line = re.search(r"fault struck at ([\d.]+)", self.output())
        return float(line[1]) if line else None


def record(run, name="exit.json"):
    """exit.json or failure.json; {} without one."""
    text = read(Path(run) / name)
    return json.loads(text) if text else {}


def weights(run):
    return json.loads((Path(run) / "report.json").read_text())["weights_sha256"]


# ---- checkpoints, read by another program than the one that wrote them ----------------------------------------------------------


class Digest(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


xxhash = ctypes.CDLL("libxxhash.so.0")
xxhash.XXH3_128bits.restype = Digest
xxhash.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
BLOCK = 16 << 20


def damage(checkpoint):
    """What is wrong with a checkpoint by docs/checkpoint-format.md, None if nothing is."""
    try:
        text = (checkpoint / "manifest.json").read_bytes()
        content, _, rest = text.rpartition(b',"sha256":"')
        if hashlib.sha256(content).hexdigest().encode() + b'"}' != rest:
            return "manifest.json does not match its own hash"
        manifest = json.loads(text)
        if f"step-{manifest['step']}" != checkpoint.name:
            return f"holds step {manifest['step']}"
        for entry in manifest["files"]:
            data = (checkpoint / entry["name"]).read_bytes()
            digests = [xxhash.XXH3_128bits(part, len(part)) for part in (data[at:at + BLOCK] for at in range(0, len(data), BLOCK))]
            if len(data) != entry["bytes"] or [f"{d.high:016x}{d.low:016x}" for d in digests] != entry["blocks"]:
                return f"{entry['name']} is damaged"
    except (OSError, ValueError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def steps_in(run):
    """Steps of the visible checkpoints, the newest last."""
    names = os.listdir(Path(run) / "checkpoints") if (Path(run) / "checkpoints").is_dir() else []
    return sorted(int(name[5:]) for name in names if re.fullmatch(r"step-\d+", name))


def latest(run):
    """The last acknowledged step: the hint that is written once a checkpoint was read back; 0: none."""
    line = re.fullmatch(r"step-(\d+)\n", read(Path(run) / "checkpoints/latest"))
    return int(line[1]) if line else 0


# ---- trials ---------------------------------------------------------------------------------------------------------------------


def trials(number, release):
    """How many: as many as every change is tested with, or before a release."""
    return release if RELEASE else number


def run_trials(trial, cases, workers=2):
    """trial(case) for every case, some at a time: the results, and how many failed, which is printed."""
    results, failures = [], []

    def one(case):
        try:
            results.append(trial(case))
        except Failed as failure:
            failures.append(case)
            print(f"failed: {case}: {failure}", flush=True)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, cases))
    return results, len(failures)


def spread(values, unit="s"):
    """Median and largest."""
    return f"median {statistics.median(values):.1f} {unit}, at most {max(values):.1f} {unit}" if values else "none"


def report(test, what, count, failed, figures):
    """The line that tests/fault/run makes its table of."""
    print(f"{test}: {what}: {count} trials, {failed} failures; {figures}", flush=True)
    return failed


def guarded(test, folder):
    try:
        return test(folder)
    except Failed as failure:
        print("failed:", failure, flush=True)
        return True


def main(*tests):
    """Usage of every such test: FMTRAIN FMTRAIN_FAULTY [TEST...]"""
    chosen = [test for test in tests if not sys.argv[3:] or test.__name__ in sys.argv[3:]]
    with Folder(sys.argv[1:3]) as folder:
        signal.signal(signal.SIGTERM, folder.abandon)
        failed = [test.__name__ for test in chosen if guarded(test, folder)]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
