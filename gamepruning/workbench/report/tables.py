"""The tables of a pruning run and of the data sets."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from gamepruning.workbench.datasets import DatasetInfo
from gamepruning.workbench.report import formats
from gamepruning.workbench.report.results import Cost, RunResult
from gamepruning.workbench.report.table import (
    Column,
    Row,
    Table,
    number_columns,
    text_columns,
)
from gamepruning.workbench.settings.spelling import as_typed


def print_result(console: Console, result: RunResult) -> None:
    """Print everything that a run found."""
    for note in result.notes:
        console.print(Text(f"Note: {note}", style="yellow"))
    for table in (contest_table(result), family_table(result), cost_table(result)):
        console.print(table)


def contest_table(result: RunResult) -> Table:
    """Test metric of the dense network and of each contender at each stage."""
    columns = (
        *text_columns("network"),
        Column("players", format=formats.format_kept),
        *number_columns(
            *("gates on", "after removal", result.last_stage),
            format=lambda value: formats.format_metric(value, result.metric),
        ),
    )
    rows = [
        Row(
            (row.label, row.kept, row.gated, row.removed, row.tuned),
            "hero" if row.key == result.pruned.key else "",
        )
        for row in (result.dense, *result.contenders)
    ]
    title = f"Test {result.metric} ({result.num_test:,} examples)"
    return Table(columns, rows, title)


def family_table(result: RunResult) -> Table:
    """Players kept in each family."""
    columns = (
        *text_columns("family"),
        *number_columns("kept", "of", format="{:,}".format),
        Column("share", format=formats.format_percent),
        Column("", "bar"),
    )
    rows = []
    for row in result.families:
        name = row.name + (f" ({row.rescued} rescued)" if row.rescued else "")
        share = row.kept / max(row.total, 1)
        rows.append(Row((name, row.kept, row.total, share, share)))
    left = 1 - result.removed_fraction
    total = ("all", result.num_kept, result.num_players, left, None)
    return Table(columns, [*rows, Row(total, "total")], "Players")


def cost_table(result: RunResult) -> Table:
    """Size and speed, dense and small."""
    dense, small = result.cost_dense, result.cost_small
    examples = formats.format_count(dense.latency_batch, "example")
    lines = [
        ("parameters", "params", "{:,}".format),
        ("size", "num_bytes", formats.format_bytes),
        ("multiply-accumulates, one example", "macs", "{:,}".format),
        (f"latency, {examples}, median", "latency_ms", "{:.3g} ms".format),
    ]
    rows = []
    for name, key, text in lines:
        before, after = getattr(dense, key), getattr(small, key)
        cells = (name, text(before), text(after), formats.format_ratio(before, after))
        rows.append(Row(cells))
    ranges = ("latency, middle 80 %, in ms", *map(_latencies, (dense, small)), "")
    columns = (*text_columns(""), *number_columns("dense", "small", "ratio"))
    return Table(columns, [*rows, Row(ranges)], "Cost")


def _latencies(cost: Cost) -> str:
    return f"{cost.latency_p10_ms:.3g} to {cost.latency_p90_ms:.3g}"


def data_table(rows: Sequence[DatasetInfo]) -> Table:
    """The data sets, and which of them are there."""
    return Table(
        text_columns("name", "kind", "task", ""),
        [
            Row(
                (
                    row.name,
                    row.kind,
                    row.task,
                    "available" if row.available else "missing",
                )
            )
            for row in rows
        ],
        "Data sets",
    )


def data_hints(rows: Sequence[DatasetInfo]) -> list[str]:
    """Where the present data sets are, and how to get the missing ones."""
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
