"""Compression curves of several methods in one figure."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gamepruning.workbench.report.plots import LEGEND
from gamepruning.workbench.report.theme import (
    AMBER,
    GREEN,
    HERO,
    MUTED,
    PLUM,
    ROSE,
    SLATE,
    new_figure,
    style,
)

COLOURS = (HERO, PLUM, GREEN, ROSE, AMBER, SLATE)
DASHES = ("-", (0, (4, 2)), (0, (1, 1.6)))


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
      dense: the mean value of the full network, as a dashed line; None for none.
      marked: a size to mark, such as the critical one; None for none.
      stage: when the networks were judged, for the title.

    Returns:
      One panel.
    """
    shares = np.asarray(sizes, float)
    with style():
        figure, axes = new_figure(7.2 if len(curves) <= len(COLOURS) else 8.6, 4.2)
        axis = axes[0]
        for number, (name, values) in enumerate(curves.items()):
            _draw_curve(axis, number, name, shares, np.atleast_2d(np.asarray(values)))
        if dense is not None:
            axis.axhline(dense, color=MUTED, lw=1.1, linestyle=(0, (4, 3)), zorder=1)
            axis.text(shares[0], dense, " dense", va="bottom", color=MUTED)
        if marked is not None:
            axis.axvline(marked, color=MUTED, lw=0.9, linestyle=(0, (3, 3)), zorder=1)
        axis.set_xlabel("players kept")
        axis.set_title(f"Test {metric} {stage}")
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
        if metric == "accuracy":
            axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
        if len(curves) > len(COLOURS):  # inside it would hide what it is about
            axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), **LEGEND)
        elif curves:
            axis.legend(loc="lower right", **LEGEND)
    return figure


def _draw_curve(axis, number: int, name: str, sizes, values: np.ndarray) -> None:
    colour = COLOURS[number % len(COLOURS)]
    dashes = DASHES[number // len(COLOURS) % len(DASHES)]
    mean, spread = values.mean(axis=0), np.zeros(len(sizes))
    if len(values) > 1:
        spread = values.std(axis=0, ddof=1)
        axis.fill_between(
            sizes, mean - spread, mean + spread, color=colour, alpha=0.16, lw=0
        )
    first = number == 0
    axis.plot(
        sizes,
        mean,
        color=colour,
        linestyle=dashes,
        label=name,
        marker="o",
        ms=4.5 if first else 3.5,
        lw=2.4 if first else 1.5,
        zorder=4 if first else 3,
    )
