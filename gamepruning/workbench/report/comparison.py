"""What a comparison found: ranks, tests, tables, figures, and its page."""

import functools
import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from gamepruning.files.paths import short_names
from gamepruning.stats import MethodComparison, compare_methods
from gamepruning.workbench.registry import EQUILIBRIUM
from gamepruning.workbench.report import theme
from gamepruning.workbench.report.formats import format_metric, format_percent
from gamepruning.workbench.report.method_plots import plot_curves, plot_ranks
from gamepruning.workbench.report.page import render
from gamepruning.workbench.report.table import (
    Heading,
    Row,
    Table,
    number_columns,
    rows_to_csv,
    text_columns,
)
from gamepruning.workbench.settings.studies import CompareSettings

DENSE, PULLS = "dense", "evaluations or pulls"
NAMES = "dataset seed method metric kept of before after balanced".split()
NAMES += "evaluations seconds".split()


def rank(settings: CompareSettings, rows: Sequence[dict]) -> MethodComparison | None:
    """The methods ranked by their result after fine-tuning; None for a single block.

    Blocks are data sets, each the mean of its seeds. With one data set they are its
    seeds, which says something about this network and these data alone. A network that
    puts out no finite numbers is behind all that do.
    """
    blocks = blocks_of(settings)
    if len(blocks) < 2:
        return None

    def result(block: tuple[str, int | None], method: str) -> float:
        dataset, seed = block
        own = [r for r in rows if (r["dataset"], r["method"]) == (dataset, method)]
        own = [row for row in own if seed in (None, row["seed"])]
        finals = [r["before"] if r["after"] is None else r["after"] for r in own]
        return float(np.mean(finals))

    results = np.array([[result(b, name) for name in settings.methods] for b in blocks])
    is_finite = np.isfinite(results)
    worst = np.min(results, axis=1, keepdims=True, initial=0.0, where=is_finite)
    results = np.where(is_finite, results, worst - 1)
    return compare_methods(results, settings.methods, alpha=settings.alpha)


def blocks_of(settings: CompareSettings) -> list[tuple[str, int | None]]:
    """(data set, seed) of each block; no seed where data sets are the blocks."""
    if len(settings.datasets) > 1:
        return [(dataset, None) for dataset in settings.datasets]
    only = next(iter(settings.datasets))
    return [(only, seed) for seed in range(settings.seeds)]


def headline(settings: CompareSettings, found: MethodComparison | None) -> str:
    """What the ranks say, in a sentence."""
    if found is None:
        return "One data set and one seed make one block: nothing to rank"
    what = "data sets" if len(settings.datasets) > 1 else "seeds of one network"
    p, gap = found.friedman.f_p_value, found.critical_difference
    told = "too few blocks to tell any two methods apart"
    if gap <= len(found.names) - 1:
        told = f"mean ranks further apart than {gap:.2f} differ"
    return (
        f"{found.num_blocks} {what}; Iman and Davenport p = {p:.2g}; {told} "
        f"(Nemenyi, {100 * found.alpha:g} %)"
    )


def comparison_table(
    settings: CompareSettings, rows: Sequence[dict], found: MethodComparison | None
) -> Table:
    """A line for the dense network and each method, the best rank first.

    Means over all data sets and seeds.
    """
    wins = found is not None and _has_winner(found)
    ranks = {} if found is None else dict(zip(found.names, found.ranks, strict=True))
    names = sorted(settings.methods, key=lambda name: ranks.get(name, 0.0))
    metric = functools.partial(format_metric, metric=rows[0]["metric"])
    columns = {
        "method": Heading("method", "text"),
        "before": Heading("repaired" if settings.repair else "removed", format=metric),
        "after": Heading("fine-tuned", format=metric, is_key=True),
        "balanced": Heading("balanced", format=format_percent),
        "rank": Heading("mean rank", format="{:.2f}".format),
        "kept": Heading("kept", format=format_percent),
        "evaluations": Heading(PULLS, format="{:,.0f}".format, is_detail=True),
        "seconds": Heading("seconds", format="{:.1f}".format),
    }
    if not any(row.get("unbalanced") for row in rows):
        del columns["balanced"]
    body = []
    for name in (DENSE, *names):
        own = [row for row in rows if row["method"] == name]
        share = float(np.mean([row["kept"] / row["of"] for row in own]))
        cells = {"method": name, "kept": share, "rank": ranks.get(name)}
        kind = "hero" if wins and name == names[0] else ""
        known = [cells[n] if n in cells else _mean(own, n) for n in columns]
        body.append(Row(known, kind))
    return Table([*columns.values()], body, is_narrow=True)


def _has_winner(found: MethodComparison) -> bool:
    """Return True if the best mean rank is told apart from every other."""
    best, second = np.sort(found.ranks)[:2]
    return bool(second - best > found.critical_difference)


def _mean(rows: Sequence[dict], key: str) -> float | None:
    values = [row[key] for row in rows if row.get(key) is not None]
    return float(np.mean(values)) if values else None


def pairs_table(found: MethodComparison) -> Table:
    """The p values of the best method against each other one."""
    best, *others = np.argsort(found.ranks, kind="stable")
    columns = (
        *text_columns(f"{found.names[best]} against"),
        Heading("mean rank", format="{:.2f}".format),
        *number_columns("Nemenyi p", "Wilcoxon-Holm p", format="{:.3f}".format),
    )
    tests = (found.ranks, found.nemenyi[best], found.wilcoxon[best])
    rows = [Row((found.names[k], *(test[k] for test in tests))) for k in others]
    return Table(columns, rows)


def comparison_csv(rows: Sequence[dict]) -> str:
    """A line for each data set, seed and method."""
    return rows_to_csv(NAMES, [[row.get(name) for name in NAMES] for row in rows])


def sizes_note(settings: CompareSettings) -> str:
    """Which methods have no curve, and why, in a sentence; empty where all have one."""
    if EQUILIBRIUM not in settings.methods:
        return ""
    why = "its game trains towards one budget, and each other size would be another"
    return f"{EQUILIBRIUM} has its own size only and no curve: {why} training"


def make_figures(
    settings: CompareSettings, rows: Sequence[dict], found: MethodComparison | None
) -> dict[str, Figure]:
    """The critical-difference diagram, and the curves of each data set."""
    figures = {} if found is None else {"ranks": plot_ranks(found)}
    names = [name for name in settings.methods if name != EQUILIBRIUM]
    for dataset, stem in short_names(settings.datasets).items() if names else ():
        own = [row for row in rows if row["dataset"] == dataset]
        name = "curve-" + re.sub(r"\W+", "-", stem).strip("-")
        if name in figures:
            name += f"-{len(figures)}"
        dense = [row["before"] for row in own if row["method"] == DENSE]
        curves = {m: [r["values"] for r in own if r["method"] == m] for m in names}
        sizes = next(row["sizes"] for row in own if row["method"] in names)
        figures[name] = plot_curves(
            curves,
            [size / own[0]["of"] for size in sizes],
            metric=own[0]["metric"],
            dense=float(np.mean(dense)),
            marked=settings.share_of(own[0]["of"]),
            stage=f"after {'repair' if settings.repair else 'removal'}",
        )
    return figures


def render_compare(
    settings: CompareSettings,
    rows: Sequence[dict],
    found: MethodComparison | None,
    figures: Mapping[str, Figure],
    data: Mapping[str, Sequence[str]],  # what a reader must know of each data set
) -> str:
    """The page of a comparison, with the figures of `make_figures`."""
    is_one = len(settings.datasets) == 1
    names = ", ".join(short_names(settings.datasets).values())
    return render(
        "compare.html",
        title=f"{len(settings.methods)} ways to prune {names}",
        data=data,
        settings=settings,
        results=comparison_table(settings, rows, found),
        num_blocks=len(blocks_of(settings)) if is_one else None,
        headline=headline(settings, found),
        sizes_note=sizes_note(settings),
        pairs=None if found is None else pairs_table(found),
        figures={n: theme.to_html(figure, name=n) for n, figure in figures.items()},
    )
