"""Figures that compare methods: compression curves, and who is told apart from whom."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gamepruning.stats import MethodComparison, cliques
from gamepruning.workbench.report import theme

MAX_BANDS = 8  # curves, of which each has a band
LINE = {"lw": 1.7, "ms": 3.8, "zorder": 3}  # no method is set apart


@theme.style()
def plot_curves(
    curves: Mapping[str, np.ndarray | Sequence[Sequence[float]]],
    sizes: Sequence[float],
    *,
    metric: str = "accuracy",
    dense: float | None = None,
    marked: float | None = None,
    stage: str = "after removal",
) -> Figure:
    """The quality of the network, [seeds, sizes] by method, against its size.

    A line is the mean over the seeds, its band one standard deviation to each side,
    which many methods do without; the name of the best comes first. A dashed line is
    the full network, another a size to mark, such as the critical one.
    """
    most = 1.0 if metric in (*theme.IN_PERCENT, "macro F1") else np.inf
    shares = np.asarray(sizes, float)
    figure, (axes,) = theme.new_figure(8.6, max(4.2, 0.24 * len(curves)))
    tables = {name: np.atleast_2d(np.asarray(v)) for name, v in curves.items()}
    for name in sorted(tables, key=lambda name: -np.nan_to_num(tables[name].mean())):
        table, look = tables[name], theme.look_of(name) | LINE
        (line,) = axes.plot(shares, table.mean(axis=0), label=name, **look)
        if len(table) > 1 and len(curves) <= MAX_BANDS:
            spread = table.std(axis=0, ddof=1)
            theme.draw_band(axes, line, spread, alpha=0.16, most=most)
    if dense is not None:
        axes.axhline(dense, **theme.DENSE)
        axes.text(shares[0], dense, " dense", va="bottom", color=theme.MUTED)
        axes.margins(y=0.09)  # room for it
    if marked is not None:
        axes.axvline(marked, color=theme.MUTED, lw=0.9, ls="--", zorder=1)
    axes.set(xlabel="players kept", title=f"Test {metric} {stage}")
    theme.show_metric(axes.xaxis, "accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    theme.show_metric(axes.yaxis, metric)
    if curves:
        theme.put_legend_outside(axes)
    return figure


@theme.style()
def plot_ranks(found: MethodComparison, *, title: str = "") -> Figure:
    """Mean ranks on a line, best on the left; bars join what Nemenyi does not part.

    References:
      Demsar, JMLR 7 (2006), figure 1.
    """
    order = np.argsort(found.ranks, kind="stable").tolist()
    bars, high = cliques(found), len(order)
    top = -0.45 * len(bars) - 0.9
    figure, (axes,) = theme.new_figure(8.6, 1.5 + 0.26 * high + 0.12 * len(bars))
    axes.set_axis_off()
    axes.set(xlim=(0.9, high + 0.1), ylim=(top + 0.5 - high, 3.0), title=title)
    _draw_scale(axes, high, found)
    for place, bar in enumerate(bars):
        ranks, y = found.ranks[list(bar)], -0.45 * (place + 1)
        ends = [ranks.min() - 0.04, ranks.max() + 0.04]
        axes.plot(ends, [y, y], color=theme.INK, lw=3)
    for row, method in enumerate(order):  # a line from the rank to the name at the left
        rank, name, y = found.ranks[method], found.names[method], top - row
        colour = theme.look_of(name)["color"]
        axes.plot([rank, rank, 0.9], [0, y, y], color=colour, lw=1.4)
        left = {"ha": "right", "va": "center", "transform": axes.get_yaxis_transform()}
        axes.text(-0.01, y, f"{name}  {rank:.2f}", **left)
    return figure


def _draw_scale(axes: Axes, high: int, found: MethodComparison) -> None:
    axes.plot([1, high], [0, 0], color=theme.INK, lw=1.2)
    for tick in range(1, high + 1, -(-high // 9)):
        axes.plot([tick, tick], [0, 0.25], color=theme.INK, lw=1.0)
        axes.text(tick, 0.4, str(tick), color=theme.MUTED, ha="center", va="bottom")
    gap = found.critical_difference
    end, label = 1 + gap, f"critical difference {gap:.2f}"
    if end > high:
        end, label = high, label + ", longer than the scale"
    axes.plot([1, end], [1.9, 1.9], color=theme.INK, lw=1.6)
    axes.text(high, 2.05, label, ha="right", va="bottom")
