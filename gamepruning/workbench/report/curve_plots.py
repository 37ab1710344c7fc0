"""Compression curves of several methods in one figure."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from gamepruning.workbench.report import theme

DASHES = ("-", (0, (4, 2)), (0, (1, 1.6)))


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
      dense: the mean value of the full network, as a dashed line; None for none.
      marked: a size to mark, such as the critical one; None for none.
      stage: when the networks were judged, for the title.

    Returns:
      One panel.
    """
    shares = np.asarray(sizes, float)
    is_crowded = len(curves) > len(theme.COLOURS)
    figure, (axis,) = theme.new_figure(8.6 if is_crowded else 7.2, 4.2)
    for number, (name, values) in enumerate(curves.items()):
        _draw_curve(axis, number, name, shares, np.atleast_2d(np.asarray(values)))
    if dense is not None:
        axis.axhline(dense, color=theme.MUTED, lw=1.1, linestyle=(0, (4, 3)), zorder=1)
        axis.text(shares[0], dense, " dense", va="bottom", color=theme.MUTED)
    if marked is not None:
        axis.axvline(
            marked, color=theme.MUTED, lw=0.9, linestyle=theme.DASHED, zorder=1
        )
    axis.set_xlabel("players kept")
    axis.set_title(f"Test {metric} {stage}")
    theme.show_percent(axis.xaxis)
    if metric == "accuracy":
        theme.show_percent(axis.yaxis)
    if is_crowded:  # inside, the legend would hide the curves
        axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02))
    elif curves:
        axis.legend(loc="lower right")
    return figure


def _draw_curve(axis, number: int, name: str, sizes, values: np.ndarray) -> None:
    colour = theme.COLOURS[number % len(theme.COLOURS)]
    dashes = DASHES[number // len(theme.COLOURS) % len(DASHES)]
    mean, bold = values.mean(axis=0), number == 0
    if len(values) > 1:
        low, high = (mean + sign * values.std(axis=0, ddof=1) for sign in (-1, 1))
        axis.fill_between(sizes, low, high, color=colour, alpha=0.16, lw=0)
    axis.plot(
        sizes,
        mean,
        color=colour,
        linestyle=dashes,
        label=name,
        marker="o",
        ms=4.5 if bold else 3.5,
        lw=2.4 if bold else 1.5,
        zorder=4 if bold else 3,
    )
