"""Figures and the Markdown table of continual_stream.py."""


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else None


def decision(facts):
    """One word or a few for what a step did."""
    cycle = facts.get("cycle")
    if not cycle:
        return facts.get("did", "nothing")
    did = {True: "promoted", False: "not promoted"}.get(cycle.get("promoted"), "promoted by hand")
    return f"{cycle['verdict']}, version {cycle['version']} {did}"


def transfer(rows, tests):
    """Backward and forward transfer and forgetting of the versions in use. Test j came with step j; core came with step 0.

    BWT = mean of R[T][j] - R[j][j], j < T; FWT = mean of R[j-1][j] - R[0][j], j > 1 (the first version is the baseline);
    forgetting of j = max over i < T of R[i][j] - R[T][j]. (Lopez-Paz and Ranzato, 2017; Chaudhry et al., 2018.)
    """
    steps = [row["step"] for row in rows]
    came = {test: 0 if test == "core" else steps.index(test) for test in tests}
    score = [{test: row["served"][test]["score"] for test in tests} for row in rows]
    last = len(rows) - 1
    earlier = [test for test in tests if came[test] < last]
    return {"backward": mean(score[last][t] - score[came[t]][t] for t in earlier),
            "forward": mean(score[came[t] - 1][t] - score[0][t] for t in tests if came[t] > 1),
            "forgetting": {t: max(score[i][t] for i in range(came[t], last)) - score[last][t] for t in earlier},
            "mean_at_end": mean(score[last].values())}


def percent(value):
    return "-" if value is None else f"{100 * value:.1f}"


def cell(score, mark):
    if score is None:
        return "-"
    text = f"{percent(score['score'])} ({percent(score['low'])} - {percent(score['high'])})"
    return f"**{text}**" if mark else text


def scores(result, who):
    """A row an arm and step; the test that came with the step is bold."""
    tests = list(result["tests"])
    lines = ["| arm | after | version | " + " | ".join(f"{t}, n={result['tests'][t]}" for t in tests) + " |", "|---" * (3 + len(tests)) + "|"]
    for arm, rows in result["arms"].items():
        for row in rows:
            if who == "challenger" and not row["facts"].get("cycle"):
                continue
            lines.append(f"| {arm} | {row['step']} | {row['champion' if who == 'served' else 'trained']} | " +
                         " | ".join(cell(row[who][t], t == row["step"]) for t in tests) + " |")
    return lines


def compared(gate, part):
    """What the gate saw of one of its tests: champion, challenger, and the one-sided 95 % bounds of the difference."""
    seen = gate.get(part)
    if not seen or not seen.get("examples"):
        return "-"
    return (f"{percent(seen['champion'])}, {percent(seen['challenger'])} ({100 * seen['lcb95']:+.1f} - {100 * seen['ucb95']:+.1f}), "
            f"n={seen['examples']}")


def decisions(result):
    lines = ["| arm | section | decision | fresh | replayed | drift | rolling test: champion, challenger | core: champion, challenger | why |",
             "|---|---|---|---|---|---|---|---|---|"]
    for arm, rows in result["arms"].items():
        for row in rows[1:]:
            cycle = row["facts"].get("cycle")
            if not cycle:
                continue
            data = cycle.get("data") or {}
            drift = (row["facts"].get("check") or {}).get("drift") or {}
            lines.append(f"| {arm} | {row['step']} | {decision(row['facts'])} | {data.get('fresh', '-')} | {data.get('replayed', '-')} | "
                         f"{drift.get('verdict', '-')} | {compared(cycle['gate'], 'rolling')} | {compared(cycle['gate'], 'core')} | "
                         f"{'; '.join(cycle.get('reasons') or [])} |")
    return lines


def transfers(result):
    tests = list(result["tests"])
    lines = ["| arm | backward | forward | mean at the end | " + "".join(f"forgetting {t} | " for t in tests[:-1]),
             "|---" * (3 + len(tests)) + "|"]
    for arm, f in result["transfer"].items():
        figures = [f["backward"], f["forward"], f["mean_at_end"]] + [f["forgetting"].get(t) for t in tests[:-1]]
        lines.append(f"| {arm} | " + " | ".join(percent(value) for value in figures) + " |")
    return lines


def table(result, command):
    metric = {"f1": "Entity F1 (strict)", "accuracy": "Accuracy"}[result["metric"]]
    lines = [f"# Continual fine-tuning on a stream: {result['stream']}" + ("" if result["gate"] else ", without a gate"), "",
             f"`{command}`, seed {result['seed']}, {result['precision']}, {result['ranks']} ranks, {result['model']}. {result['about']}.",
             f"The first version is trained on {result['base']}; core is a frozen test of that. Every figure in %; in brackets the 95 %",
             "bootstrap interval of `fmtrain eval` over texts (one training seed). A label that a model lacks counts as a wrong answer.",
             "A test is the section's held-out texts, on which no cycle of any arm trains; bold: the section that just came.", "",
             f"## {metric} of the version in use after each section", ""]
    lines += scores(result, "served")
    lines += ["", f"## {metric} of the version that each cycle made (-: rejected, its weights are gone)", ""] + scores(result, "challenger")
    lines += ["", "## Decisions", "", "In brackets the one-sided 95 % bounds of the difference, as the gate used them.", ""] + decisions(result)
    lines += ["", "## Transfer and forgetting, points", "",
              "Backward: last score less the score right after the section came. Forward: score before it came less the first version's.",
              "Forgetting: best earlier score less the last; below 0 is a gain. All of the versions in use.", ""] + transfers(result)
    return "\n".join(lines) + "\n"
