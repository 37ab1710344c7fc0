"""The critical-difference diagram: who is told apart from whom."""

import numpy as np
from matplotlib.figure import Figure

from gamepruning.statistics import MethodComparison, cliques
from gamepruning.workbench.report import theme


@theme.style()
def plot_ranks(found: MethodComparison, *, title: str = "") -> Figure:
    """Mean ranks on a line, best on the left; bars join what Nemenyi does not part.

    Args:
      found: the methods compared.
      title: above the diagram.

    Returns:
      One panel.

    References:
      Demsar, JMLR 7 (2006), figure 1.
    """
    order = np.argsort(found.ranks, kind="stable").tolist()
    bars = cliques(found)
    half = (len(order) + 1) // 2
    low, high = 1, len(order)
    margin, top = 0.42 * (high - low), -0.5 * len(bars) - 0.9
    figure, (axis,) = theme.new_figure(7.2, 1.5 + 0.26 * half + 0.12 * len(bars))
    axis.set_axis_off()
    axis.set_ylim(top + 0.1 - half, 3.0)
    axis.set_xlim(low - margin, high + margin)
    _draw_scale(axis, low, high, found)
    for place, bar in enumerate(bars):
        ranks, y = found.ranks[list(bar)], -0.45 * (place + 1)
        axis.plot(
            [ranks.min() - 0.04, ranks.max() + 0.04], [y, y], color=theme.INK, lw=3
        )
    for row, method in enumerate(order[:half]):
        _draw_name(axis, found, method, low - 0.1, top - row, is_best=row == 0)
    for row, method in enumerate(order[half:][::-1]):
        _draw_name(axis, found, method, high + 0.1, top - row)
    axis.set_title(title)
    return figure


def _draw_name(
    axis,
    found: MethodComparison,
    method: int,
    edge: float,
    y: float,
    *,
    is_best: bool = False,
) -> None:
    """A line from a rank on the scale to an edge, where the method's name stands."""
    rank, name = found.ranks[method], found.names[method]
    colour = theme.HERO if is_best else theme.MUTED
    axis.plot([rank, rank, edge], [0, y, y], color=colour, lw=1.0)
    is_left = edge < 1
    text = f"{name}  {rank:.2f}" if is_left else f"{rank:.2f}  {name}"
    shift, side = (-0.08, "right") if is_left else (0.08, "left")
    axis.text(edge + shift, y, text, ha=side, va="center", color=theme.INK)


def _draw_scale(axis, low: int, high: int, found: MethodComparison) -> None:
    axis.plot([low, high], [0, 0], color=theme.INK, lw=1.2)
    step = 1 if high - low < 12 else 2
    for tick in range(low, high + 1, step):
        axis.plot([tick, tick], [0, 0.25], color=theme.INK, lw=1.0)
        axis.text(tick, 0.4, str(tick), ha="center", va="bottom", color=theme.MUTED)
    gap = found.critical_difference
    end = min(low + gap, high)
    axis.plot([low, end], [1.9, 1.9], color=theme.INK, lw=1.6)
    label = f"critical difference {gap:.2f}"
    if low + gap > high:
        label += ", longer than the scale"
    axis.text((low + end) / 2, 2.05, label, ha="center", va="bottom", color=theme.INK)
