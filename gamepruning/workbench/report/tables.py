"""What a run found and what data there are, as tables and as the page of a run."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.text import Text

from gamepruning.metrics import ClassFacts
from gamepruning.workbench.datasets import DatasetInfo
from gamepruning.workbench.report import formats
from gamepruning.workbench.report.page import render
from gamepruning.workbench.report.results import MAX_FAMILIES, RunResult
from gamepruning.workbench.report.table import (
    Heading,
    Row,
    Table,
    number_columns,
    text_columns,
)

MAX_CLASSES = 30  # that are listed one by one


def run_tables(result: RunResult) -> dict[str, Table]:
    """All tables of a run, by their names in the template of its page."""
    tables = {"contest": contest_table(result)}
    if result.classes is not None:
        tables["classes"] = class_table(result, result.classes)
    return tables | {"families": family_table(result), "costs": cost_table(result)}


def print_result(console: Console, result: RunResult) -> None:
    """Print everything that a run found."""
    for note in result.notes:
        console.print(Text(f"Note: {note}", style="yellow"))
    for table in run_tables(result).values():
        console.print(table)


def render_report(
    result: RunResult,
    figures: Mapping[str, str],
    *,
    input_shape: Sequence[int],
    takes_rows: bool = False,
    batch: int | None = None,
) -> str:
    """The page of a run, with SVG elements by the names of its figures."""
    rest = {"max_families": MAX_FAMILIES, "input_shape": input_shape}
    rest |= {"takes_rows": takes_rows, "batch": batch}
    tables = run_tables(result)
    return render("run.html", result=result, figures=figures, **tables, **rest)


def contest_table(result: RunResult) -> Table:
    """Test metric of the dense network and of each contender at each stage."""
    last = "fine-tuned" if result.is_tuned else "trained"  # only "scratch" has it then
    stages = {"gated": "gates on", "removed": "after removal", "repaired": "repaired"}
    if result.pruned.repaired is None:
        del stages["repaired"]
    metric = functools.partial(formats.format_metric, metric=result.metric)
    columns = (
        *text_columns("network"),
        Heading("players", format=formats.format_kept),
        *number_columns(*stages.values(), format=metric),
        Heading(last, format=metric, is_key=True),
    )
    rows = []
    for row in (result.dense, *result.contenders):
        values = (getattr(row, stage) for stage in stages)
        cells = (row.label, row.kept, *values, row.tuned)
        rows.append(Row(cells, "hero" if row.key == result.pruned.key else ""))
    title = f"Test {result.metric} ({result.num_test:,} examples)"
    return Table(columns, rows, title)


def class_table(result: RunResult, classes: ClassFacts) -> Table:
    """Recall by class on the test data, and what one class alone would give."""
    both = (result.dense, result.pruned)
    one = f"always {classes.majority}"
    percent = functools.partial(formats.format_metric, metric="accuracy")
    columns = (
        *text_columns("class"),
        Heading("examples", format="{:,}".format),
        *number_columns("dense", result.pruned.label, one, format=percent),
    )
    rows, worst = [], np.argsort([r or 0.0 for r in result.pruned.recalls])
    for k in sorted(worst[:MAX_CLASSES]):
        name, recalls = classes.names[k], (c.recalls[k] for c in both)
        cells = (name, classes.counts[k], *recalls, float(name == classes.majority))
        rows.append(Row(cells))
    total, share = sum(classes.counts), classes.majority_share
    balanced = 1 / max(sum(count > 0 for count in classes.counts), 1)
    own = (c.balanced_accuracy for c in both)
    rows.append(Row(("balanced accuracy", total, *own, balanced), "total"))
    own = (c.accuracy for c in both)
    rows.append(Row(("accuracy", total, *own, share), "total"))
    few = f", the worst {MAX_CLASSES}" if len(worst) > MAX_CLASSES else ""
    return Table(columns, rows, f"Recall by class{few}")


def family_table(result: RunResult) -> Table:
    """Players kept in each family."""
    columns = (
        *text_columns("family"),
        *number_columns("kept", "of", format="{:,}".format),
        Heading("share", format=formats.format_percent),
        Heading("", "bar"),
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
    both = (result.cost_dense, result.cost_small)
    examples = formats.format_count(both[0].latency_batch, "example")
    lines = {
        "params": ("parameters", "{:,}".format),
        "num_bytes": ("size", formats.format_bytes),
        "macs": ("multiply-adds, one example", "{:,}".format),
        "latency_ms": (f"latency, {examples}, median", "{:.3g} ms".format),
    }
    rows = []
    for key, (name, text) in lines.items():
        before, after = (getattr(cost, key) for cost in both)
        cells = (name, text(before), text(after), formats.format_ratio(before, after))
        rows.append(Row(cells))
    ranges = (f"{c.latency_p10_ms:.3g} to {c.latency_p90_ms:.3g}" for c in both)
    rows.append(Row(("latency, middle 80 %, in ms", *ranges, "")))
    columns = (
        *text_columns(""),
        *number_columns("dense", "small"),
        Heading("ratio", is_key=True),
    )
    return Table(columns, rows, "Cost")


def data_table(rows: Sequence[DatasetInfo]) -> Table:
    """The data sets, and which of them are there."""
    state = {True: "available", False: "missing"}
    places = {row: state[row.available] for row in rows}
    places |= {r: f"built in ({r.where})" for r in rows if r.where == "scikit-learn"}
    lines = [Row((r.name, r.kind, r.task, place)) for r, place in places.items()]
    return Table(text_columns("name", "kind", "task", ""), lines, "Data sets")


def data_hints(rows: Sequence[DatasetInfo]) -> list[str]:
    """Where the present data sets are, and how to get the missing ones."""
    hints = [row for row in rows if row.kind != "table"]
    tables = [row for row in rows if row.kind == "table"]
    places = sorted({str(Path(row.where).parent) for row in tables if "." in row.where})
    missing = sum(not row.available for row in tables)
    text = render("data_hints.txt", hints=hints, places=places, missing=missing)
    return text.splitlines()
