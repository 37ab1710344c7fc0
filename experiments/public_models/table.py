"""The tables of README.md, from results.json."""

from collections import Counter
from typing import Any

from experiments.markdown import Table, percent, read, table

RESULTS = "public_models/results.json"


def models() -> list[str]:
    """A row for each model."""
    heads = (
        "model",
        "package",
        "parameters",
        "players",
        "what plays",
        "can leave, %",
        "gone, %",
        "difference",
        "seconds",
        "outcome",
    )
    rows = [_row(name, row) for name, row in read(RESULTS)["models"].items()]
    return table(heads, "llrrlrrrrl", rows)


def _row(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    kinds = row.get("kinds", {}).items()
    error = row.get("max_error")
    return (
        name,
        f"{row['package']} {row['version']}",
        f"{row['params']:,}" if "params" in row else "",
        f"{row['players']:,}" if "players" in row else "",
        ", ".join(f"{count:,} {kind}" for kind, count in kinds),
        percent(row.get("can_leave")),
        percent(row.get("gone")),
        "" if error is None else f"{error:.0e}",
        f"{row['seconds']:.0f}" if "seconds" in row else "",
        _outcome(row),
    )


def _outcome(row: dict[str, Any]) -> str:
    if row["outcome"] == "whole":
        return "by shapes" if row.get("by_shapes") else "whole"
    return f"{row['outcome']}: {row['reason']}".replace("|", "/")


def summary() -> list[str]:
    """How many came out how."""
    counts = Counter(
        row["outcome"] + ", traced alone" * bool(row.get("by_shapes"))
        for row in read(RESULTS)["models"].values()
    )
    return table(("outcome", "models"), "lr", [(k, str(n)) for k, n in counts.items()])


TABLES: dict[str, Table] = {"public-models": models, "public-summary": summary}
