"""Tables, tests and diagrams of the tabular study, made from its result files."""

import json
from pathlib import Path
from typing import Any

import numpy as np

import gamepruning as gp
from gamepruning.files.atomic import new_file
from gamepruning.stats import TIE
from gamepruning.workbench.report import theme
from gamepruning.workbench.report.method_plots import plot_ranks

POLICIES = ("epsilon_greedy", "softmax", "ucb1", "thompson", "thompson_beta")
POLICIES += ("hedge", "exp3")
PRUNERS = (
    *POLICIES,
    "uniform",
    "ucb1, by the mean",
    "ucb1, at once",
    "greedy oracle",
    "magnitude",
    "magnitude, global",
    "activation",
    "activation, global",
    "random",
)
MODELS = ("linear", "svm", "random forest", "gradient boosting")
SIZES = ("75 %", "50 %", "25 %", "10 %")


def summarise(results: Path, names: list[str], command: str) -> None:
    """Write tabular.json, tables in Markdown, and the diagrams."""
    runs = {n: json.loads((results / f"tabular-{n}.json").read_text()) for n in names}
    found: dict[str, Any] = {
        "command": command,
        "seconds": round(sum(run["seconds"] for run in runs.values())),
    }
    text = ["<!-- made by: python -m experiments.bandits.tabular summary -->", ""]
    for task in ("classification", "regression"):
        own = {name: run for name, run in runs.items() if run["task"] == task}
        part = study(own)
        found[task] = part
        text += markdown(task, own, part)
        for stage in ("before", "after"):
            names_of, table = table_at(own, 2, stage)
            diagram = plot_ranks(
                gp.compare_methods(table, names_of),
                title=f"{len(own)} {task} sets, 25 % kept, {stage} fine-tuning",
            )
            figures = results.parent / "figures"
            figures.mkdir(exist_ok=True)
            theme.save_png(diagram, figures / f"ranks-{task}-{stage}.png")
    with new_file(results.parent / "tabular.json") as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")
    with new_file(results.parent / "TABULAR.md") as temporary:
        temporary.write_text("\n".join(text) + "\n")
    print("\n".join(text))


def value(run: dict, method: str, size: int, stage: str) -> float:
    """The mean over the splits."""
    values = run["methods"][method][stage]
    values = values[size] if isinstance(values[0], list) else values
    return float(np.mean(values))


def table_at(runs: dict, size: int, stage: str) -> tuple[list[str], np.ndarray]:
    """Methods, and their results [tables, methods]; the unpruned network is one."""
    methods = ["unpruned", *PRUNERS]
    rows = [[value(run, m, size, stage) for m in methods] for run in runs.values()]
    return methods, np.array(rows)


def study(runs: dict) -> dict[str, Any]:
    """Ranks and tests at every size, before and after fine-tuning."""
    found: dict[str, Any] = {"tables": len(runs), "ranks": {}}
    for stage in ("before", "after"):
        for size, label in enumerate(SIZES):
            methods, table = table_at(runs, size, stage)
            tests = gp.compare_methods(table, methods)
            best = min(POLICIES, key=lambda m: tests.ranks[methods.index(m)])
            place = methods.index(best)
            found["ranks"][f"{label} kept, {stage}"] = {
                "mean ranks": dict(zip(methods, tests.ranks.round(3), strict=True)),
                "means": dict(zip(methods, table.mean(axis=0).round(4), strict=True)),
                "friedman": tests.friedman._asdict(),
                "critical difference": round(tests.critical_difference, 3),
                "best policy": best,
                "best policy against": {
                    other: {
                        "nemenyi p": float(tests.nemenyi[place, methods.index(other)]),
                        **signed_rank(table, place, methods.index(other)),
                    }
                    for other in ("unpruned", "uniform", *PRUNERS[8:])
                },
            }
    found["pulls and seconds to choose"] = {
        method: effort(runs, method) for method in PRUNERS
    }
    methods = ["unpruned", "ucb1", "thompson", *MODELS]
    with_models = [
        [value(run, m, 1, "after") for m in methods] for run in runs.values()
    ]
    tests = gp.compare_methods(with_models, methods)
    found["beside standard models, 50 % kept, after"] = {
        "mean ranks": dict(zip(methods, tests.ranks.round(3), strict=True)),
        "means": dict(zip(methods, np.mean(with_models, 0).round(4), strict=True)),
        "friedman": tests.friedman._asdict(),
        "critical difference": round(tests.critical_difference, 3),
    }
    return found


def effort(runs: dict, method: str) -> dict[str, float]:
    """Medians over the tables: pulls, and seconds, of one split."""
    own = [run["methods"][method] for run in runs.values()]
    return {
        "pulls": float(np.median([row["pulls"] for row in own])),
        "seconds": float(np.median([row["seconds"] for row in own])),
    }


def signed_rank(table: np.ndarray, one: int, two: int) -> dict[str, float]:
    """Wilcoxon's test of one pair by itself, and on how many tables each is ahead."""
    pair = gp.stats.wilcoxon_test(table[:, [one, two]])
    is_apart = ~np.isclose(table[:, one], table[:, two], rtol=TIE, atol=0)
    return {
        "wilcoxon p": float(pair[0, 1]),
        "ahead": int((is_apart & (table[:, one] > table[:, two])).sum()),
        "behind": int((is_apart & (table[:, one] < table[:, two])).sum()),
    }


def markdown(task: str, runs: dict, part: dict) -> list[str]:
    """Mean ranks and results of one task."""
    metric = "accuracy, %" if task == "classification" else "R^2"
    scale = 100 if task == "classification" else 1
    lines = [f"### {task.capitalize()}: {len(runs)} tables", ""]
    heads = [f"{size} kept" for size in SIZES]
    for stage, title in (("before", "without"), ("after", "with")):
        many = len(PRUNERS) + 1
        lines += [f"Mean rank of {many} ({metric}), {title} fine-tuning:", ""]
        lines += ["| | " + " | ".join(heads) + " |", "| --- |" + " ---: |" * 4]
        rows = [part["ranks"][f"{size} kept, {stage}"] for size in SIZES]
        for method in ("unpruned", *PRUNERS):
            cells = [
                f"{row['mean ranks'][method]:.2f} ({scale * row['means'][method]:.4g})"
                for row in rows
            ]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
        p = ", ".join(f"{row['friedman']['f_p_value']:.1g}" for row in rows)
        gap = rows[0]["critical difference"]
        lines += ["", f"Iman-Davenport p: {p}. Critical difference {gap:.2f}.", ""]
    lines += ["Pulls and seconds to choose all sizes, of one split, median:", ""]
    lines += ["| | pulls | seconds |", "| --- | ---: | ---: |"]
    for method, own in part["pulls and seconds to choose"].items():
        lines.append(f"| {method} | {own['pulls']:,.0f} | {own['seconds']:.2f} |")
    lines.append("")
    beside = part["beside standard models, 50 % kept, after"]
    lines += ["Beside standard models (50 % kept, fine-tuned):", ""]
    lines += ["| | mean rank | mean |", "| --- | ---: | ---: |"]
    for method, rank in beside["mean ranks"].items():
        lines.append(
            f"| {method} | {rank:.2f} | {scale * beside['means'][method]:.4g} |"
        )
    lines += ["", "| table | kept, seconds by ucb1 | unpruned | ucb1 | magnitude |"]
    lines += ["| --- | --- | ---: | ---: | ---: |"]
    for name, run in runs.items():
        own = run["methods"]["ucb1"]
        kept = "/".join(map(str, own["kept of the first split"][2]))
        values = [
            scale * value(run, method, 2, "after")
            for method in ("unpruned", "ucb1", "magnitude")
        ]
        cells = " | ".join(f"{v:.4g}" for v in values)
        lines.append(f"| {name} | {kept}, {own['seconds']:.2f} | {cells} |")
    return [*lines, ""]
