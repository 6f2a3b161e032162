"""The Markdown table of compare.py, from its JSON: figures, arms, curves, settings."""
import json
import os
import statistics

from lines import EARLIER, ratio

SHOWN = (1, 5, 10, 20, 30, 40)


def number(value):
    """Three digits that say something."""
    if value == 0 or abs(value) < 1e-3:
        return f"{value:.1e}" if value else "0"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def spread(values, unit=""):
    return f"{number(statistics.median(values))}{unit} ({number(min(values))} - {number(max(values))})"


def beside_earlier(entry):
    ours = next((n for n in entry["settings"] if n.startswith("fmtrain")), None)
    return (ratio(ours, EARLIER, 1.0),) if EARLIER in entry["settings"] and "samples" in entry["rounds"][0][EARLIER] else ()


def figures(data, lines):
    rows = ["| line | what | goal | median (min - max) | rounds | met |", "|---|---|---|---|---|---|"]
    for key, line in lines.items():
        entry = data["lines"].get(key)
        for f in line.figures + beside_earlier(entry) if entry else ():
            try:
                values = [f.of(r) for r in entry["rounds"]]
            except KeyError:
                continue
            goal = f"{'≥' if f.kind == 'at least' else '≤'} {number(f.goal)}{f.unit}" if f.goal or f.kind == "at most" else "-"
            met = "-" if goal == "-" else "yes" if f.met(statistics.median(values)) else "no"
            rows.append(f"| {key} | {f.text} | {goal} | **{number(statistics.median(values))}{f.unit}** ({number(min(values))} - {number(max(values))}) "
                        f"| {len(values)} | {met} |")
    return rows


def elsewhere(results):
    """Figures of a7 and a12, from the tables of saves.py and memory.py."""
    rows = []

    def add(key, text, goal, values, unit, met):
        rows.append(f"| {key} | {text} | {goal} | **{number(statistics.median(values))}{unit}** ({number(min(values))} - {number(max(values))}) | {len(values)} | "
                    f"{'yes' if met(statistics.median(values)) else 'no'} |")

    if os.path.exists(results + "/saves.json"):
        rounds = json.load(open(results + "/saves.json"))["rounds"]
        add("a7", "training waits for a save of 1.31 GB (results/saves.md)", "≤ 0.10 s", [r["fmtrain"]["stall_s"] for r in rounds], " s", lambda v: v <= 0.1)
        add("a7", "on disk at, of the O_DIRECT rate of the round", "≥ 80 %", [100 * r["raw O_DIRECT"]["persist_s"] / r["fmtrain"]["persist_s"] for r in rounds], " %",
            lambda v: v >= 80)
    if os.path.exists(results + "/memory.json"):
        states = [r for r in json.load(open(results + "/memory.json")) if r.get("table") == "states"]
        shares = [r["ratio"] * r["formula"] / r["published"] for r in states]
        add("a12", "fmtrain's states of a rank by ZeRO's formula (results/memory.md), the largest counts", "≤ 1.03x", shares, "x",
            lambda _: max(shares) <= 1.03)
    return rows


def arm_rows(entry):
    rows = [f"| arm | {entry['unit'] or 'last loss'} | real tokens/s | padding | share of its ceiling |", "|---|---|---|---|---|"]
    for name in entry["settings"]:
        runs = [r[name] for r in entry["rounds"] if name in r]
        tokens = spread([r["tokens"] / r["seconds"] for r in runs]) if "tokens" in runs[0] else "-"
        padding = f"{100 * (1 - sum(r['tokens'] for r in runs) / sum(r['padded'] for r in runs)):.0f} %" if "padded" in runs[0] else "0" if "tokens" in runs[0] else "-"
        share = spread([100 * r["share"] for r in runs], " %") if "share" in runs[0] else "-"
        rows.append(f"| {name} | {spread([r['rate'] for r in runs])} | {tokens} | {padding} | {share} |")
    return rows


def ceiling_text(entry):
    found = [r["ceiling"] for r in entry["rounds"] if "ceiling" in r]
    if not found:
        return []
    parts = [f"{key.replace(' ', ', ')} thread(s): F.linear {spread([c[key]['linear'] for c in found])}, oneDNN {spread([c[key]['onednn'] for c in found])}"
             for key in found[0]]
    return ["", "Products at the model's shapes, GFLOP/s: " + "; ".join(parts) + ". The ceiling is the best of them for the whole machine."
            + products_alone(entry)]


def products_alone(entry):
    """How many times the peers a program would be that had our arm's precision and took no time but its products'."""
    names = list(entry["settings"])
    ours = next((n for n in names if n.startswith("fmtrain") and "share" in entry["rounds"][0].get(n, {})), None)
    if not ours:
        return ""
    of = {n: statistics.median(r[ours]["rate"] / r[ours]["share"] / r[n]["rate"] for r in entry["rounds"]) for n in names if not n.startswith("fmtrain")}
    return " A program of nothing but its products would be " + ", ".join(f"{number(v)}x {n}" for n, v in of.items()) + "."


def curves(entry):
    found = {n: c for n, c in entry["curves"].items() if c["losses"]}
    if not found:
        return []
    steps = [s for s in SHOWN if s <= max(len(c["losses"]) for c in found.values())]
    rows = ["", "| loss at update | " + " | ".join(map(str, steps)) + " | tokens of the updates as fmtrain's |", "|" + "---|" * (len(steps) + 2)]
    ours = next((c["tokens"] for n, c in found.items() if n.startswith("fmtrain")), [])
    for name, c in found.items():
        shown = [f"{c['losses'][s - 1]:.4f}" if s <= len(c["losses"]) else "" for s in steps]
        common = min(len(ours), len(c["tokens"]))
        same = "the same" if common and c["tokens"][:common] == ours[:common] else "other batches of the same samples"
        rows.append(f"| {name} | " + " | ".join(shown) + f" | {same} |")
    return rows


def line_text(key, entry):
    loads = [r["load"] for r in entry["rounds"] if r.get("load")]
    beside = f" Beside a round: other programs {spread([x['others_s'] for x in loads])} s of processor time, stolen {spread([x['steal_s'] for x in loads])} s." if loads else ""
    settings = ["", f"Build {entry['build']['program']} of commit {entry['build']['commit']}." + beside] + [f"- {n}: {s}" for n, s in entry["settings"].items()]
    return ["", f"### {key}: {entry['title']}", ""] + arm_rows(entry) + ceiling_text(entry) + curves(entry) + settings


def markdown(data, lines, results):
    m = data["machine"]
    head = ["Medians of figures that are quotients inside one round, with the least and the largest. `bench/README.md` says how to read them.", "",
            f"{m['processor']}, cores {m['cores']}, {m['memory_gb']:.0f} GB; Linux {m['kernel']}; peers: " + ", ".join(f"{k} {v}" for k, v in m["peers"].items()) + ".",
            "fmtrain: " + "; ".join(x.strip() for x in m["fmtrain"][:12]), ""]
    text = head + figures(data, lines) + elsewhere(results)
    for key in lines:
        if key in data["lines"]:
            text += line_text(key, data["lines"][key])
    return "\n".join(text) + "\n"
