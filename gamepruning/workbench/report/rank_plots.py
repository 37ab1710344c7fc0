"""The critical-difference diagram: who is told apart from whom."""

import numpy as np
from matplotlib.figure import Figure

from gamepruning.bandits import MethodComparison, cliques
from gamepruning.workbench.report.theme import HERO, INK, MUTED, new_figure, style


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
    order = np.argsort(found.ranks, kind="stable")
    num, bars = len(order), cliques(found)
    half = (num + 1) // 2
    low, high = 1, num
    with style():
        figure, axes = new_figure(7.2, 1.5 + 0.26 * half + 0.12 * len(bars))
        axis = axes[0]
        axis.set_axis_off()
        bottom = -0.5 * len(bars) - 1.0 * half - 0.8
        axis.set_ylim(bottom, 3.0)
        margin = 0.42 * (high - low)
        axis.set_xlim(low - margin, high + margin)
        _draw_scale(axis, low, high, found)
        for place, bar in enumerate(bars):
            ranks = found.ranks[list(bar)]
            y = -0.45 * (place + 1)
            axis.plot([ranks.min() - 0.04, ranks.max() + 0.04], [y, y], color=INK, lw=3)
        for place, method in enumerate(order):
            left = place < half
            row = place if left else num - 1 - place
            y = -0.5 * len(bars) - 0.9 - row
            rank, edge = found.ranks[method], low - 0.1 if left else high + 0.1
            colour = HERO if place == 0 else MUTED
            axis.plot([rank, rank, edge], [0, y, y], color=colour, lw=1.0)
            axis.text(
                edge + (-0.08 if left else 0.08),
                y,
                f"{found.names[method]}  {rank:.2f}"
                if left
                else f"{rank:.2f}  {found.names[method]}",
                ha="right" if left else "left",
                va="center",
                color=INK,
            )
        axis.set_title(title)
    return figure


def _draw_scale(axis, low: int, high: int, found: MethodComparison) -> None:
    axis.plot([low, high], [0, 0], color=INK, lw=1.2)
    step = 1 if high - low < 12 else 2
    for tick in range(low, high + 1, step):
        axis.plot([tick, tick], [0, 0.25], color=INK, lw=1.0)
        axis.text(tick, 0.4, str(tick), ha="center", va="bottom", color=MUTED)
    gap = found.critical_difference
    end = min(low + gap, high)
    axis.plot([low, end], [1.9, 1.9], color=INK, lw=1.6)
    label = f"critical difference {gap:.2f}"
    if low + gap > high:
        label += ", longer than the scale"
    axis.text((low + end) / 2, 2.05, label, ha="center", va="bottom", color=INK)
