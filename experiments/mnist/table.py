"""The table of README.md, from results.json."""

from experiments.markdown import Table, percent, read, shape, table

START = "gamepruning prune --dataset mnist"


def presets() -> list[str]:
    """One row a command: what is kept, and accuracies beside those of the rivals."""
    heads = ("flags", "kept", "removed, %", "gates on", "after removal", "fine-tuned")
    heads += ("magnitude", "random", "from scratch")
    rows = [_row(run) for run in read("mnist/results.json")["runs"]]
    return table(heads, "ll" + "r" * 7, rows)


def _row(run: dict) -> list[str]:
    _, own, *rivals = run["networks"]
    flags = run["command"].removeprefix(START).strip()
    rescued = " (rescued)" if any(run["rescued"]) else ""
    return [
        f"`{flags}`" if flags else "(the default, l1_l2)",
        shape(own["kept"]) + rescued,
        percent(run["removed"]),
        *(percent(own[stage]) for stage in ("gates on", "after removal", "fine-tuned")),
        *(percent(rival["fine-tuned"]) for rival in rivals),
    ]


TABLES: dict[str, Table] = {"mnist-presets": presets}
