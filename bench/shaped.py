#!/usr/bin/env python3
"""Predicted beside measured updates between hosts whose links are shaped; the hosts are network namespaces of this machine.

    bench/shaped.py --out bench/results/shaped-links --hosts 2 --ranks 2 --rates 200,1000     # as root; once for each round

One call is one round of one layout. It records a timeline of a rank. Then, for every rate, it limits what each host sends and what
the switch sends to it (tc tbf), measures that link (`bench comm` with all ranks), trains some updates (`bench scaling`) and
replays the timeline (`bench simulate`): over the link as measured, and over the rate as it was set. A host has one core of this
machine, which its ranks take turns on. The round joins those of OUT.json; OUT.md has medians and spreads of all.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NETNS = ROOT + "/cluster/netns/"
TCP_SHARE = 1448 / 1514  # of the bytes that tbf counts: data in a full Ethernet frame with TCP time stamps
HEAD = """# Updates over shaped links, predicted beside measured

Made by bench/shaped.py: hosts are network namespaces of one machine with a core each, links limited by tc tbf in both directions. A
timeline is recorded with one rank for each host, together in one world, and replayed over the link that `bench comm` found with all
ranks, which use it at once; the error is predicted over measured, less 1. With the rate as set: less the share of Ethernet, IP and TCP
headers, 1448 of 1514 bytes are data. Measured are training runs with the config's global batch; a round has the mean of 3 to 10 updates
after 1 to 5 of warm-up, fewer over slow links.
""".split("\n")
ENVIRONMENT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
               "OMPI_MCA_hwloc_base_binding_policy": "none", "OMP_NUM_THREADS": "1"}


def run(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **ENVIRONMENT}, timeout=900)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\nended with {done.returncode}: {done.stdout[-2000:]}")


def read(path):
    with open(path) as f:
        return json.load(f)


class Hosts:
    """h1 .. hN; what runs on hK runs on core K - 1."""

    def __init__(self, count, work, congestion):
        self.count, self.net, self.place = count, work + "/net", work + "/place"
        with open(self.place, "w") as f:
            f.write('#!/bin/sh\nhost=$(hostname)\nexec taskset -c $((${host#h} - 1)) "$@"\n')
        os.chmod(self.place, 0o755)
        run(NETNS + "up.sh", str(count), self.net, str(os.getpid()))
        for k in range(1, count + 1):
            run(NETNS + "on.sh", self.net, f"h{k}", f"echo {congestion} > /proc/sys/net/ipv4/tcp_congestion_control")

    def launcher(self, hosts, ranks):
        """Words in front of the program, for so many ranks on each of the first hosts."""
        slots = ",".join(f"h{k}:{ranks}" for k in range(1, hosts + 1))
        return [NETNS + "on.sh", self.net, "h1", "mpirun", "-np", "{ranks}", "--host", slots, self.place]

    def shape(self, mbit):
        """A bucket holds 2 ms, and at least one segment of the network card; the queue all that TCP has under way, so nothing is lost."""
        tbf = f"root tbf rate {mbit}mbit burst {max(65536, mbit * 250)} limit 16mb"
        for k in range(1, self.count + 1):
            run(NETNS + "on.sh", self.net, f"h{k}", f"tc qdisc replace dev eth0 {tbf}")
            run(NETNS + "on.sh", self.net, "hub", f"tc qdisc replace dev v{k} {tbf}")

    def comm(self, program, path, hosts, ranks):
        """Buffers of about a bucket: small ones fit into the queues and sockets on the way, and are faster than the link."""
        words = [word.replace("{ranks}", str(hosts * ranks)) for word in self.launcher(hosts, ranks)]
        run(*words, program, "bench", "comm", "--from", "4M", "--to", "25M", "--rounds", "1", "--json", path)


def settings(o):
    return [word for setting in [f"batch.micro={o.micro}", *o.set] for word in ("--set", setting)]


def record(o, work):
    """As many ranks of one host as there are hosts, each with a core: their memory is shared windows, as that of the measured ranks,
    and they share this machine's memory and its clock as the hosts do."""
    run(o.program, "bench", "simulate", "--record", o.config, "--record-ranks", str(o.hosts), "--ranks", "1", "--steps", "24", "--warmup", "6",
        "-o", work + "/record", *settings(o))


def simulate(o, work, links):
    run(o.program, "bench", "simulate", work + "/record/timeline.json", "--per-node", str(o.ranks), "--ranks", str(o.hosts * o.ranks),
        "--zero", str(o.zero), "--measured", work + "/scaling.json", "--measured-zero", str(o.zero), "-o", work, *links)
    return read(work + "/simulation.json")


def one_rate(o, hosts, work, mbit):
    hosts.shape(mbit)
    between, inside = work + "/between.json", work + "/inside.json"
    hosts.comm(o.program, between, o.hosts, o.ranks)
    if o.ranks > 1:
        hosts.comm(o.program, inside, 1, o.ranks)
    updates = max(3, min(10, mbit // 50))
    warmup = updates // 2
    run("taskset", "-c", "0", o.program, "bench", "scaling", o.config, "--ranks", str(o.hosts * o.ranks), "--strong", "--repetitions", "1",
        "--steps", str(updates + warmup), "--warmup", str(warmup), "--launcher", " ".join(hosts.launcher(o.hosts, o.ranks)), "-o", work,
        *settings(o), "--set", f"engine.zero={o.zero}")
    known = ["--comm", inside] if o.ranks > 1 else []
    found = simulate(o, work, known + ["--comm", between])
    link = found["network"]["between"]
    nominal = simulate(o, work, known + ["--latency", str(link["latency_s"]), "--bandwidth", str(mbit * 125000 * TCP_SHARE / o.ranks)])
    check, predicted = found["validation"][0], found["rows"][0]["strong"]
    return {"mbit": mbit, "updates": updates, "latency_s": link["latency_s"], "host_bytes_per_s": link["bytes_per_s"] * o.ranks,
            "inside": found["network"]["inside"], "measured_s": check["measured_s"], "predicted_s": check["predicted_s"],
            "nominal_s": nominal["validation"][0]["predicted_s"], "measured": read(work + "/scaling.json")["rows"][0],
            "predicted": predicted}


def one_round(o):
    with tempfile.TemporaryDirectory(prefix="shaped-") as work:
        hosts = Hosts(o.hosts, work, o.congestion)
        try:
            record(o, work)
            rates = []
            for mbit in o.rates:
                rates.append(one_rate(o, hosts, work, mbit))
                print(f"{o.hosts} x {o.ranks}, {mbit} Mbit/s: measured {rates[-1]['measured_s']:.3f} s, predicted {rates[-1]['predicted_s']:.3f} s, "
                      f"over the nominal rate {rates[-1]['nominal_s']:.3f} s", flush=True)
            return {"hosts": o.hosts, "ranks": o.ranks, "zero": o.zero, "timeline": read(work + "/record/timeline.json"), "rates": rates}
        finally:
            run(NETNS + "down.sh", hosts.net)


def spread(values, digits):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(all_rounds):
    cells = {}
    for one in all_rounds["rounds"]:
        for rate in one["rates"]:
            cells.setdefault((one["hosts"], one["ranks"], one["zero"], rate["mbit"]), []).append(rate)
    config = ", ".join([all_rounds["config"], f"`batch.micro` {all_rounds['micro']}", *all_rounds["set"]])
    lines = [*HEAD, f"{config}; TCP's congestion control {all_rounds['congestion']}; {all_rounds['machine']}. Medians over rounds (least to most).", "",
             "| hosts x ranks | ZeRO stage | link set, Mbit/s | found: MB/s, us | update measured, s | predicted, s | error, % | "
             "error with the rate as set, % | rounds |", "|---|---|---|---|---|---|---|---|---|"]
    for (hosts, ranks, zero, mbit), rates in sorted(cells.items()):
        def error(name):
            return spread([100 * (r[name] / r["measured_s"] - 1) for r in rates], 1)
        link = f"{statistics.median(r['host_bytes_per_s'] for r in rates) / 1e6:.1f}, {statistics.median(r['latency_s'] for r in rates) * 1e6:.0f}"
        lines.append(f"| {hosts} x {ranks} | {zero} | {mbit} | {link} | {spread([r['measured_s'] for r in rates], 3)} | "
                     f"{spread([r['predicted_s'] for r in rates], 3)} | {error('predicted_s')} | {error('nominal_s')} | {len(rates)} |")
    return "\n".join(lines) + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", required=True)
    p.add_argument("--program", default=ROOT + "/build/fmtrain")
    p.add_argument("--config", default=ROOT + "/configs/ner_wnut17.yaml")
    p.add_argument("--micro", type=int, default=8, help="samples of a leaf; the global batch needs one for every rank")
    p.add_argument("--set", action="append", default=[], help="KEY=VALUE, overrides a key of the config; may be repeated")
    p.add_argument("--hosts", type=int, default=2, help="at most this machine's cores")
    p.add_argument("--ranks", type=int, default=1, help="of a host, a power of two")
    p.add_argument("--zero", type=int, default=1)
    p.add_argument("--congestion", default="reno", help="control of TCP on the hosts, one that the kernel lets every network namespace have")
    p.add_argument("--rates", type=lambda text: [int(word) for word in text.split(",")], default=[200, 1000], help="Mbit/s")
    o = p.parse_args()
    if o.hosts > len(os.sched_getaffinity(0)):
        p.error(f"{o.hosts} hosts need as many cores")
    with open("/proc/cpuinfo") as f:
        cpu = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine())
    machine = f"{os.cpu_count()} cores, {cpu}, Linux {platform.release()}"
    same = {"config": os.path.relpath(o.config, ROOT), "micro": o.micro, "set": o.set, "congestion": o.congestion, "machine": machine}
    known = read(o.out + ".json") if os.path.exists(o.out + ".json") else {**same, "rounds": []}
    if differing := [name for name, value in same.items() if known.get(name) != value]:
        p.error(f"{o.out}.json has rounds of another {' and '.join(differing)}: give another --out")
    known["rounds"].append(one_round(o))
    with open(o.out + ".json", "w") as f:
        json.dump(known, f, indent=1)
    with open(o.out + ".md", "w") as f:
        f.write(table(known))


if __name__ == "__main__":
    main()
