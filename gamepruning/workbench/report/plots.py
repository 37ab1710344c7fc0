"""Figures of training, of a contest and of a sweep, from plain data."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from gamepruning.stats import proportion_stderr
from gamepruning.workbench.report import theme
from gamepruning.workbench.report.formats import format_metric
from gamepruning.workbench.report.results import RunResult

PANELS = {
    "removed": "After removal",
    "repaired": "Repaired",
    "tuned": "Fine-tuned alike",
}


def validation_curve(
    records: Sequence[Mapping], stage: str
) -> Float[np.ndarray, "E 2"]:
    """The epochs of a stage in `metrics.jsonl`, each with its validation metric."""
    own = [record for record in records if record["stage"] == stage]
    return np.array([(r["epoch"], r["validation"]) for r in own], float).reshape(-1, 2)


@theme.style()
def plot_training(records: Sequence[Mapping], *, result: RunResult) -> Figure:
    """The validation metric over the epochs of all stages in `metrics.jsonl`."""
    dense, game, tuned = (
        validation_curve(records, stage)
        for stage in ("dense", "equilibrium", f"fine_tune_{result.pruned.key}")
    )
    trunk = game if len(game) else dense
    start = trunk[-1, 0] if len(trunk) else 0
    curves = {
        "dense": (dense, theme.MUTED),
        "gates on": (game, theme.HERO),
        "small, fine-tuning": (tuned + (start, 0), theme.GREEN),
    }
    figure, (axes,) = theme.new_figure(8.6, 3.0)
    for label, (curve, colour) in curves.items():
        if len(curve):
            mark = "o" if len(curve) == 1 else None
            axes.plot(*curve.T, color=colour, label=label, lw=1.4, marker=mark, ms=5)
    _show_upper_part(axes, np.concatenate((dense, game, tuned))[:, 1])
    if axes.lines:
        theme.put_legend_outside(axes)
    if len(tuned):
        axes.axvline(start, color=theme.MUTED, lw=0.9, ls="--")
    axes.set_title(f"Validation {result.metric}")
    theme.show_epochs(axes)
    theme.show_metric(axes.yaxis, result.metric)
    return figure


def _show_upper_part(axes: Axes, values: np.ndarray) -> None:
    """Leave the first epochs below the frame where they would flatten the rest."""
    values = values[np.isfinite(values)]
    if values.size:
        low, high = np.quantile(values, 0.08), values.max()
        span = max(high - low, 0.08)
        axes.set_ylim(low - 0.6 * span, high + 0.12 * span)


@theme.style()
def plot_pareto(
    rows: Sequence[Mapping], *, metric: str, num_examples: int = 0
) -> Figure:
    """Size against quality of the rows of `sweep.json`, those that none beats joined.

    Hollow marks are the same networks with their gates still on. Each point of the
    front has its players and, of an accuracy on so many examples, its standard error.
    """
    kept, on, removed = (
        np.array([row[name] for row in rows])
        for name in ("kept", "validation gates on", "validation removed")
    )
    front = np.flatnonzero([row["front"] for row in rows])
    front = front[np.argsort(kept[front], kind="stable")]
    figure, (axes,) = theme.new_figure(8.6, 3.8)
    hollow = {"facecolors": "none", "edgecolors": theme.SLATE}
    line = {"color": theme.HERO, "marker": "o", "ms": 6, "lw": 1.6, "capsize": 2}
    axes.scatter(kept, on, s=26, label="gates on", **hollow)
    axes.scatter(kept, removed, color=theme.MUTED, s=22, label="players removed")
    best = removed[front]
    error = None
    if num_examples and metric == "accuracy":
        error = proportion_stderr(best, num_examples)
    axes.errorbar(kept[front], best, yerr=error, label="the front", **line)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    if is_log := kept.max() > 10 * kept.min():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
    rows_down = _levels(np.log(kept[front]) if is_log else kept[front])
    for x, y, down in zip(kept[front], best, rows_down, strict=True):
        where = {"textcoords": "offset points", "fontsize": 8.5}
        axes.annotate(f"{x:,}", (x, y), xytext=(4, -11 - 10 * down), **where)
    axes.set(xlabel="players kept", title=f"Validation {metric}")
    theme.show_metric(axes.yaxis, metric)
    theme.put_legend_outside(axes)
    return figure


def _levels(places: np.ndarray) -> list[int]:
    """Rows for labels at sorted places, so that neighbours' do not overlap."""
    room, levels = 0.08 * np.ptp(places), []
    for k, place in enumerate(places):
        near = zip(places[:k], levels, strict=True)
        taken = {level for other, level in near if place - other <= room}
        levels.append(min({*range(k + 1)} - taken))
    return levels


@theme.style()
def plot_contest(result: RunResult) -> Figure:
    """Test metric of each contender at the same size, with its standard error.

    The left panel is the network right after players were taken out, the next ones what
    it is after repair and at the end; without either there is only one panel.
    """
    rows = result.contenders[::-1]
    stages = [stage for stage in PANELS if getattr(result.pruned, stage) is not None]
    titles = [PANELS[stage] for stage in stages] if len(stages) > 1 else [""]
    values = [[getattr(row, stage) for row in rows] for stage in stages[:-1]]
    panels = dict(zip(titles, [*values, [row.final for row in rows]], strict=True))
    height = 0.5 * len(rows) + 1.3
    figure, panes = theme.new_figure(8.6, height, columns=len(panels), sharey=True)
    for axes, (title, values) in zip(panes, panels.items(), strict=True):
        for place, value in enumerate(values):
            if value is not None:
                _draw_mark(axes, place, rows[place].key, value, result)
        _finish_panel(axes, title, result)
    names = [row.label.replace(" (", "\n(") for row in rows]
    panes[0].set_yticks(range(len(rows)), names)
    for axes in panes:
        axes.tick_params(axis="y", labelcolor=theme.INK)
    panes[0].set_ylim(-0.55, len(rows) - 0.3)
    return figure


def _draw_mark(
    axes: Axes, place: int, key: str, value: float, result: RunResult
) -> None:
    is_hero = key == result.pruned.key
    colour = theme.look_of(key)["color"]
    look = {"fmt": "o", "ms": 9 if is_hero else 7, "color": colour, "zorder": 4}
    error = None
    if result.metric == "accuracy":
        error = float(proportion_stderr(value, result.num_test))
    axes.errorbar(value, place, xerr=error, elinewidth=1.6, **look)
    axes.annotate(
        format_metric(value, result.metric),
        (value, place),
        xytext=(0, 9),
        textcoords="offset points",
        ha="center",
        bbox={"facecolor": theme.CARD, "edgecolor": "none", "pad": 1.0},
        fontweight="bold" if is_hero else "normal",
    )


def _finish_panel(axes: Axes, title: str, result: RunResult) -> None:
    if (dense := result.dense.final) is not None:
        axes.axvline(dense, **theme.DENSE)
        axes.text(dense, -0.5, "dense ", ha="right", va="bottom", color=theme.MUTED)
    axes.grid(False, axis="y")
    axes.locator_params(axis="x", nbins=5 if len(axes.figure.axes) < 3 else 4)
    axes.margins(x=0.14 if len(axes.figure.axes) < 3 else 0.22)
    axes.spines["left"].set_visible(False)
    axes.set(xlabel=f"test {result.metric}", title=title)
    theme.show_metric(axes.xaxis, result.metric)
