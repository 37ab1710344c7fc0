"""The final tables in the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gamepruning.workbench.datasets import DatasetInfo
from gamepruning.workbench.report.formats import (
    format_bytes,
    format_kept,
    format_metric,
    format_ratio,
)
from gamepruning.workbench.report.results import RunResult
from gamepruning.workbench.settings.spelling import as_typed


def print_result(console: Console, result: RunResult) -> None:
    """Print everything that a run found."""
    for note in result.notes:
        console.print(Text(f"Note: {note}", style="yellow"))
    console.print(contest(result))
    console.print(families(result))
    console.print(costs(result))


def contest(result: RunResult) -> Table:
    """Test metric of each contender at each stage."""
    title = f"Test {result.metric} ({result.num_test:,} examples)"
    table = _table(
        title, "network", "players", "gates on", "after removal", result.last_stage
    )
    for row in (result.dense, *result.contenders):
        values = [
            format_metric(value, result.metric)
            for value in (row.gated, row.removed, row.tuned)
        ]
        style = "bold" if row.key == result.pruned.key else ""
        kept = format_kept(row) if len(row.kept) < 4 else f"{sum(row.kept):,}"
        table.add_row(Text(row.label), kept, *values, style=style)
    return table


def families(result: RunResult) -> Table:
    """Players kept in each family."""
    table = _table("Players", "family", "kept", "of", "share")
    for row in result.families:
        share = f"{100 * row.kept / max(row.total, 1):.1f} %"
        name = row.name + (f" ({row.rescued} rescued)" if row.rescued else "")
        table.add_row(Text(name), f"{row.kept:,}", f"{row.total:,}", share)  # no markup
    left = f"{100 * (1 - result.removed_fraction):.1f} %"
    table.add_section()
    table.add_row("all", f"{result.num_kept:,}", f"{result.num_players:,}", left)
    return table


def costs(result: RunResult) -> Table:
    """Size and speed, dense and small."""
    dense, small = result.cost_dense, result.cost_small
    batch = f"{dense.latency_batch:,} examples"
    rows = [
        ("parameters", "params", "{:,}".format),
        ("size", "num_bytes", format_bytes),
        ("multiply-accumulates, one example", "macs", "{:,}".format),
        (f"latency, {batch}, median", "latency_ms", "{:.3g} ms".format),
    ]
    table = _table("Cost", "", "dense", "small", "ratio")
    for name, key, text in rows:
        before, after = getattr(dense, key), getattr(small, key)
        table.add_row(name, text(before), text(after), format_ratio(before, after))
    return table


def data_table(rows: Sequence[DatasetInfo]) -> Table:
    """What data sets there are."""
    table = _table("Data sets")
    for name in ("name", "kind", "task", ""):
        table.add_column(name)
    for row in rows:
        mark = Text("there", style="green") if row.available else Text("missing")
        table.add_row(Text(row.name), row.kind, row.task, mark)
    return table


def data_hints(rows: Sequence[DatasetInfo]) -> list[str]:
    """Where what is there lies and how to get what is missing; tables share a line."""
    hints = [
        f"{row.name}: {row.where if row.available else row.how}"
        for row in rows
        if row.kind != "table"
    ]
    tables = [row for row in rows if row.kind == "table"]
    places = sorted({str(Path(row.where).parent) for row in tables if row.available})
    hints += [f"tables: {place}" for place in places]
    missing = sum(not row.available for row in tables)
    if missing:
        hints.append(
            f"{missing} missing tables: put NAME.csv with a column `target` into a "
            "folder tabular/, and name the folder above with data_dir or the variable "
            "GAMEPRUNING_DATA; any other CSV file works by its path"
        )
    return [as_typed(hint) for hint in hints]


def _table(title: str, *columns: str) -> Table:
    """A table whose first column is text and whose others are numbers."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left")
    return table
