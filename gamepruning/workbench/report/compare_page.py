"""The report of a comparison, as one HTML page, and its figures."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from gamepruning.statistics import MethodComparison
from gamepruning.workbench.report import comparison, theme
from gamepruning.workbench.report.curve_plots import plot_curves
from gamepruning.workbench.report.page import render
from gamepruning.workbench.report.rank_plots import plot_ranks
from gamepruning.workbench.settings.compare import EQUILIBRIUM, CompareSettings


def make_figures(
    settings: CompareSettings, rows: Sequence[dict], found: MethodComparison | None
) -> dict[str, Figure]:
    """The critical-difference diagram, and the curves of each data set."""
    figures = {} if found is None else {"ranks": plot_ranks(found)}
    names = [name for name in settings.methods if name != EQUILIBRIUM]
    for dataset in settings.datasets if names else ():
        own = [row for row in rows if row["dataset"] == dataset]
        share = settings.share_of(own[0]["of"])
        name = "curve-" + re.sub(r"\W+", "-", dataset.removesuffix(".csv")).strip("-")
        if name in figures:
            name += f"-{len(figures)}"
        dense = [row["before"] for row in own if row["method"] == comparison.DENSE]
        figures[name] = plot_curves(
            {
                method: np.array([r["values"] for r in own if r["method"] == method])
                for method in names
            },
            sorted({*settings.sizes, share}),
            metric=own[0]["metric"],
            dense=float(np.mean(dense)),
            marked=share,
        )
    return figures


def render_compare(
    settings: CompareSettings,
    rows: Sequence[dict],
    found: MethodComparison | None,
    figures: Mapping[str, Figure],
) -> str:
    """The page of a comparison, with the figures of `make_figures`."""
    is_one, data = len(settings.datasets) == 1, ", ".join(settings.datasets)
    return render(
        "compare.html",
        title=f"{len(settings.methods)} ways to prune {data}",
        settings=settings,
        results=comparison.comparison_table(settings, rows, found),
        num_blocks=len(comparison.blocks_of(settings)) if is_one else None,
        headline=comparison.headline(settings, found),
        pairs=None if found is None else comparison.pairs_table(found),
        figures={n: theme.to_svg(figure, name=n) for n, figure in figures.items()},
    )
