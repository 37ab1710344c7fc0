"""Figures of training, of a contest and of a sweep, from plain data."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from gamepruning.workbench.report import theme
from gamepruning.workbench.report.formats import format_metric
from gamepruning.workbench.report.results import Contender, RunResult

CONTENDER_COLOURS = {
    "magnitude": theme.AMBER,
    "random": theme.SLATE,
    "scratch": theme.GREEN,
}


@theme.style()
def plot_training(records: Sequence[Mapping], *, result: RunResult) -> Figure:
    """The validation metric over the epochs of all stages.

    Args:
      records: lines of `metrics.jsonl`.
      result: what the run found.

    Returns:
      One panel.
    """
    tuning = f"fine_tune_{result.pruned.key}"
    dense, game, tuned = (
        np.array(
            [(r["epoch"], r["validation"]) for r in records if r["stage"] == stage]
        ).reshape(-1, 2)
        for stage in ("dense", "equilibrium", tuning)
    )
    trunk = game if len(game) else dense
    start = trunk[-1, 0] if len(trunk) else 0
    curves = (
        (dense, "dense", theme.MUTED),
        (game, "gates on", theme.HERO),
        (tuned + (start, 0), "small, fine-tuning", theme.GREEN),
    )
    figure, (axis,) = theme.new_figure(8.6, 3.0)
    for curve, label, colour in curves:
        if len(curve):
            mark = "o" if len(curve) == 1 else None
            axis.plot(*curve.T, color=colour, label=label, lw=1.4, marker=mark, ms=5)
    _show_upper_part(axis, [curve[:, 1] for curve, *_ in curves])
    if len(tuned):
        axis.axvline(start, color=theme.MUTED, linewidth=0.9, linestyle=theme.DASHED)
    axis.set_title(f"Validation {result.metric}")
    theme.show_epochs(axis)
    if result.metric == "accuracy":
        theme.show_percent(axis.yaxis)
    if axis.lines:
        axis.legend(loc="lower right")
    return figure


def _show_upper_part(axis, curves: Sequence[np.ndarray]) -> None:
    """Leave the first epochs below the frame where they would flatten the rest."""
    values = np.concatenate(curves)
    values = values[np.isfinite(values)]
    if values.size:
        low, high = np.quantile(values, 0.08), values.max()
        span = max(high - low, 0.08)
        axis.set_ylim(low - 0.6 * span, high + 0.12 * span)


@theme.style()
def plot_pareto(rows: Sequence[Mapping], *, metric: str) -> Figure:
    """Size against quality of all games of a sweep, those that none beats joined.

    Args:
      rows: rows of `sweep.json`.
      metric: "accuracy" or another.

    Returns:
      One panel; hollow marks are the same networks with their gates still on.
    """
    kept, on, removed = (
        np.array([row[name] for row in rows])
        for name in ("kept", "validation gates on", "validation removed")
    )
    front = np.flatnonzero([row["front"] for row in rows])
    front = front[np.argsort(kept[front], kind="stable")]
    line = {"color": theme.HERO, "marker": "o", "ms": 6, "lw": 1.6}
    figure, (axis,) = theme.new_figure(6.4, 3.6)
    hollow = {"facecolors": "none", "edgecolors": theme.SLATE}
    axis.scatter(kept, on, s=26, label="gates on", **hollow)
    axis.scatter(kept, removed, color=theme.MUTED, s=22, label="players removed")
    axis.plot(kept[front], removed[front], label="not beaten in both", **line)
    if kept.max() > 10 * kept.min():
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.set_xlabel("players kept")
    axis.set_title(f"Validation {metric}")
    if metric == "accuracy":
        theme.show_percent(axis.yaxis)
    axis.legend(loc="lower right")
    return figure


@theme.style()
def plot_contest(result: RunResult) -> Figure:
    """Test metric of each contender at the same size, with its standard error.

    The left panel is the network right after players were taken out, the right one the
    network at the end; without fine-tuning there is only one panel.
    """
    rows = result.contenders[::-1]
    panels = {"": [row.final for row in rows]}
    if result.is_tuned:
        panels = {
            "Right after removal": [row.removed for row in rows],
            "After the same fine-tuning": [row.tuned for row in rows],
        }
    height = 0.5 * len(rows) + 1.3
    figure, axes = theme.new_figure(8.6, height, columns=len(panels), sharey=True)
    for axis, (title, values) in zip(axes, panels.items(), strict=True):
        _draw_contest(axis, rows, values, result)
        axis.set_title(title)
    axes[0].set_yticks(range(len(rows)), [row.label for row in rows])
    axes[0].tick_params(axis="y", labelcolor=theme.INK)
    axes[0].set_ylim(-0.55, len(rows) - 0.3)
    return figure


def _draw_contest(
    axis, rows: Sequence[Contender], values: Sequence, result: RunResult
) -> None:
    for place, (row, value) in enumerate(zip(rows, values, strict=True)):
        if value is not None:
            _draw_mark(axis, place, row, value, result)
    dense = result.dense.final
    if dense is not None:
        axis.axvline(dense, color=theme.MUTED, lw=1.1, linestyle=(0, (4, 3)))
        axis.text(dense, -0.5, "dense ", ha="right", va="bottom", color=theme.MUTED)
    axis.grid(False, axis="y")
    axis.margins(x=0.14)
    axis.spines["left"].set_visible(False)
    axis.set_xlabel(f"test {result.metric}")
    if result.metric == "accuracy":
        theme.show_percent(axis.xaxis)


def _draw_mark(
    axis, place: int, row: Contender, value: float, result: RunResult
) -> None:
    hero = row.key == result.pruned.key
    colour = theme.HERO if hero else CONTENDER_COLOURS.get(row.key, theme.HERO)
    error = standard_error(value, result) or None
    look = {"fmt": "o", "ms": 9 if hero else 7, "color": colour, "capsize": 0}
    axis.errorbar(value, place, xerr=error, elinewidth=1.6, zorder=4, **look)
    axis.annotate(
        format_metric(value, result.metric),
        (value, place),
        xytext=(0, 9),
        textcoords="offset points",
        ha="center",
        color=theme.INK,
        bbox={"facecolor": theme.CARD, "edgecolor": "none", "pad": 1.0},
        fontweight="bold" if hero else "normal",
    )


def standard_error(value: float, result: RunResult) -> float:
    """Binomial standard error of an accuracy on the test data; 0 for other metrics."""
    if result.metric != "accuracy":
        return 0.0
    return float(np.sqrt(max(value * (1 - value), 0.0) / max(result.num_test, 1)))
