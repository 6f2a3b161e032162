#!/usr/bin/env python3
"""How long training waits for a checkpoint, and how long until it is on disk: this program and PyTorch's ways, interleaved.

    bench/saves.py --dir DIR --out bench/results/saves [--rounds 5] [--python PYTHON_WITH_TORCH]

State: parameters and both AdamW moments of a BERT-base-sized model (1.31 GB), one process. Arms: fmtrain (`bench checkpoint`: saving
behind the next steps, and once with the next update at once), torch.save, torch.distributed.checkpoint save and async_save, and the
bytes alone written with O_DIRECT, the disk's own rate, which fmtrain's process measures right after its save. Between a save's begin and
the next update there are matrix products of a second on all threads, in every arm the same; how much longer they take beside the save
than right before it is counted too.
torch.save and dcp do not fsync; their files are fsynced before the next arm, and that time counts as persist, as it does here.
Writes OUT.json (all rounds) and OUT.md (medians, and medians of paired ratios).
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
AT_ONCE = "fmtrain, update at once"
ARMS = ["fmtrain", AT_ONCE, "torch.save", "dcp.save", "dcp.async_save", "raw O_DIRECT"]
WORK = 1.0  # seconds of products


def sync_tree(path):
    for folder, _, names in os.walk(path):
        for name in [os.path.join(folder, n) for n in names] + [folder]:
            fd = os.open(name, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)


def peer(work):
    """A process with the same state; a line in (the arm) gives a line out."""
    import torch
    import torch.distributed as dist
    import torch.distributed.checkpoint as dcp
    torch.set_num_threads(2)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29517", RANK="0", WORLD_SIZE="1")
    dist.init_process_group("gloo")
    state = {name: torch.randn(shape) for name, shape in json.loads(sys.stdin.readline())}
    left, right, product = torch.randn(256, 768), torch.randn(768, 3072), torch.empty(256, 3072)
    count = 0
    start = time.perf_counter()
    while time.perf_counter() - start < WORK:
        torch.mm(left, right, out=product)
        count += 1
    print(json.dumps({"torch": torch.__version__}), flush=True)

    def products(between=lambda: None):
        begin = time.perf_counter()
        for _ in range(count):
            torch.mm(left, right, out=product)
            between()
        return time.perf_counter() - begin

    for line in sys.stdin:
        arm, path = line.strip(), os.path.join(work, "peer")
        shutil.rmtree(path, ignore_errors=True)
        os.mkdir(path)
        alone = products()
        start = time.perf_counter()
        if arm == "torch.save":
            torch.save(state, path + "/state.pt")
        elif arm == "dcp.save":
            dcp.save(state, checkpoint_id=path)
        else:
            pending = dcp.async_save(state, checkpoint_id=path)
        stall = time.perf_counter() - start
        lost, done = stall, stall
        if arm == "dcp.async_save":
            ended = []
            pending.add_done_callback(lambda _: ended.append(time.perf_counter() - start))
            lost = max(stall, stall + products() - alone)
            pending.result()
            done = ended[0] if ended else time.perf_counter() - start
        begin = time.perf_counter()
        sync_tree(path)
        print(json.dumps({"stall_s": stall, "lost_s": lost, "persist_s": done + time.perf_counter() - begin}), flush=True)


def ours(work, threads, products=WORK):
    """One save of fmtrain after one that makes buffers, the raw write, and the tensors."""
    path = os.path.join(work, "ours.json")
    subprocess.run([ROOT + "/build/fmtrain", "bench", "checkpoint", "--dir", work, "--rounds", "1", "--threads", str(threads),
                    "--work", str(products), "--json", path],
                   check=True, stdout=subprocess.DEVNULL)
    with open(path) as f:
        result = json.load(f)["result"]
    save = result["rounds"][0]
    raw = dict.fromkeys(("stall_s", "lost_s", "persist_s"), save["raw_write_s"])
    return {key: save[key] for key in ("stall_s", "lost_s", "persist_s", "verified_s", "load_s")}, raw, result


def ask(process, line):
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def table(rounds, facts):
    def median(arm, key, other=None):
        return statistics.median(r[arm][key] / (r[other][key] if other else 1) for r in rounds)
    lines = [f"{facts['bytes'] / 1e9:.2f} GB, {len(rounds)} rounds, {facts['machine']}, torch {facts['torch']}", "",
             "| arm | training waits, s | of fmtrain's wait | with slower products, s | on disk after, s | of the raw rate |",
             "|---|---|---|---|---|---|"]
    for arm in ARMS:
        share = statistics.median(r["raw O_DIRECT"]["persist_s"] / r[arm]["persist_s"] for r in rounds)
        lines.append(f"| {arm} | {median(arm, 'stall_s'):.3f} | {median(arm, 'stall_s', 'fmtrain'):.1f}x | {median(arm, 'lost_s'):.2f} | "
                     f"{median(arm, 'persist_s'):.2f} | {100 * share:.0f} % |")
    lines += ["", f"fmtrain also reads the checkpoint back before it counts: {median('fmtrain', 'verified_s'):.2f} s after the start; it "
              f"loads it from the disk in {median('fmtrain', 'load_s'):.2f} s."]
    return "\n".join(lines) + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--dir", required=True, help="on the disk that is measured")
    p.add_argument("--out")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--python", default=sys.executable)
    p.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    o = p.parse_args()
    if o.peer:
        return peer(o.dir)
    os.makedirs(o.dir, exist_ok=True)
    theirs = subprocess.Popen([o.python, os.path.abspath(__file__), "--peer", "--dir", o.dir],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    versions = ask(theirs, json.dumps(ours(o.dir, 2)[2]["tensors"]))
    rounds = []
    for number in range(o.rounds + 1):
        save, raw, result = ours(o.dir, 2)
        found = {"fmtrain": save, AT_ONCE: ours(o.dir, 2, 0)[0]}
        for arm in ARMS[2:-1]:
            found[arm] = ask(theirs, arm)
        found["raw O_DIRECT"] = raw
        print(json.dumps(found), flush=True)
        if number:  # the first one makes buffers
            rounds.append(found)
    facts = {"bytes": result["bytes"], "machine": f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}", **versions}
    theirs.stdin.close()
    theirs.wait()
    with open(o.out + ".json", "w") as f:
        json.dump({**facts, "rounds": rounds}, f, indent=1)
    with open(o.out + ".md", "w") as f:
        f.write(table(rounds, facts))
    print(table(rounds, facts))


if __name__ == "__main__":
    main()
