"""Compression curves of several methods in one figure."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from gamepruning.workbench.report import theme

FIRST, OTHERS = {"lw": 2.4, "ms": 4.5, "zorder": 4}, {"lw": 1.5, "ms": 3.5, "zorder": 3}


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
    """The quality of the network against its size, a line for each method.

    Args:
      curves: values by method, [seeds, sizes]; the line is the mean over the seeds and
        the band one standard deviation to each side. The first method is drawn boldest.
      sizes: fractions of the players kept, [sizes].
      metric: what the values are, "accuracy" or another.
      dense: the mean value of the full network, as a dashed line.
      marked: a size to mark, such as the critical one.
      stage: when the networks were judged, for the title.
    """
    shares, is_crowded = np.asarray(sizes, float), len(curves) > len(theme.COLOURS)
    figure, (axes,) = theme.new_figure(8.6 if is_crowded else 7.2, 4.2)
    for name, values in curves.items():
        table = np.atleast_2d(np.asarray(values))
        look = OTHERS if axes.lines else FIRST
        (line,) = axes.plot(shares, table.mean(axis=0), label=name, marker="o", **look)
        if len(table) > 1:
            middle, spread = line.get_ydata(), table.std(axis=0, ddof=1)
            colour = line.get_color()
            theme.draw_band(axes, shares, middle, spread, color=colour, alpha=0.16)
    if dense is not None:
        axes.axhline(dense, **theme.DENSE)
        axes.text(shares[0], dense, " dense", va="bottom", color=theme.MUTED)
    if marked is not None:
        axes.axvline(marked, color=theme.MUTED, lw=0.9, ls="--", zorder=1)
    axes.set_xlabel("players kept")
    axes.set_title(f"Test {metric} {stage}")
    theme.show_percent(axes.xaxis)
    theme.show_metric(axes.yaxis, metric)
    if is_crowded:  # inside, the legend would hide the curves
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02))
    elif curves:
        axes.legend()
    return figure
