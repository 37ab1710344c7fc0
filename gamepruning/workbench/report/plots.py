"""Figures of a run, each a function from plain data to a `Figure`."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter, ScalarFormatter

from gamepruning.workbench.report.results import Contender, FamilyRow, RunResult
from gamepruning.workbench.report.theme import (
    CARD,
    CONTENDER_COLOURS,
    FAMILY_COLOURS,
    GREEN,
    HERO,
    INK,
    MUTED,
    SLATE,
    new_figure,
    style,
)

MAX_LINES, MAX_POINTS, MAX_FAMILIES = 70, 80, 4
LEGEND = {"frameon": True, "framealpha": 1.0, "facecolor": CARD, "edgecolor": "none"}


def plot_training(records: Sequence[Mapping], *, result: RunResult) -> Figure:
    """The validation metric over the epochs of all stages.

    Args:
      records: lines of `metrics.jsonl`.
      result: what the run found.

    Returns:
      One panel.
    """
    tuning = f"fine_tune_{result.pruned.key}"
    stages = {
        name: [record for record in records if record["stage"] == name]
        for name in ("dense", "equilibrium", tuning)
    }
    with style():
        figure, axes = new_figure(8.6, 3.0)
        _draw_curves(axes[0], stages, tuning, result.metric)
    return figure


def _draw_curves(axis, stages: Mapping[str, list], tuning: str, metric: str) -> None:
    looks = {"dense": ("dense", MUTED), "equilibrium": ("gates on", HERO)}
    for name, (label, colour) in looks.items():
        if stages[name]:
            epochs = [record["epoch"] for record in stages[name]]
            values = [record["validation"] for record in stages[name]]
            axis.plot(epochs, values, color=colour, label=label, lw=1.4)
    trunk = stages["equilibrium"] or stages["dense"]
    start = trunk[-1]["epoch"] if trunk else 0
    if stages[tuning]:
        epochs = [start + record["epoch"] for record in stages[tuning]]
        values = [record["validation"] for record in stages[tuning]]
        mark = "o" if len(epochs) == 1 else None
        label = "small, fine-tuning"
        axis.plot(epochs, values, color=GREEN, label=label, lw=1.4, marker=mark, ms=5)
        axis.axvline(start, color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)))
    axis.set_title(f"Validation {metric}")
    _label_epochs(axis)
    _show_upper_part(axis, metric)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="lower right", **LEGEND)


def _show_upper_part(axis, metric: str) -> None:
    """Leave the first epochs below the frame where they would flatten the rest."""
    values = np.concatenate(
        [line.get_ydata() for line in axis.get_lines()[:3]] or [[0]]
    )
    values = values[np.isfinite(values)]
    if values.size:
        low, high = np.quantile(values, 0.08), values.max()
        span = max(high - low, 0.08)
        axis.set_ylim(low - 0.6 * span, high + 0.12 * span)
    if metric == "accuracy":
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))


def _label_epochs(axis, most: int = 6) -> None:
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(nbins=most, integer=True))


def plot_dynamics(
    records: Sequence[Mapping],
    gates: np.ndarray,
    families: Sequence[FamilyRow],
    *,
    threshold: float,
    metric: str,
) -> Figure:
    """The four panels of Figure 1 of arXiv 2512.22106, epoch by epoch.

    Args:
      records: lines of `metrics.jsonl`; those of the stage "equilibrium" are shown.
      gates: participation after each epoch, float [E, N].
      families: names and sizes, in the order of the players.
      threshold: players with a smaller gate count as gone.
      metric: what "validation" holds in the records.

    Returns:
      Accuracy with the gates on, sparsity, mean participation, active players.
    """
    played = [record for record in records if record["stage"] == "equilibrium"]
    epochs = np.arange(1, len(gates) + 1)
    active = gates >= threshold
    starts = np.cumsum([0] + [family.total for family in families])
    with style():
        figure, axes = new_figure(8.6, 2.6, columns=4)
        curve = [(record["epoch"], record["validation"]) for record in played]
        axes[0].plot(*np.array(curve).reshape(-1, 2).T, color=HERO, lw=1.4)
        axes[0].set_title(f"Validation {metric}")
        axes[1].plot(epochs, 1 - active.mean(axis=1), color=HERO)
        axes[1].set_title("Sparsity")
        axes[1].set_ylim(-0.02, 1.04)
        for index, family in enumerate(families[:MAX_FAMILIES]):
            block = slice(starts[index], starts[index + 1])
            colour = FAMILY_COLOURS[index % len(FAMILY_COLOURS)]
            mean = gates[:, block].mean(axis=1)
            axes[2].plot(epochs, mean, color=colour, label=family.name)
            axes[3].plot(epochs, active[:, block].sum(axis=1), color=colour)
        axes[2].set_title("Mean participation")
        axes[2].set_ylim(-0.02, 1.04)
        axes[2].legend(loc="upper right", **LEGEND)
        axes[3].set_title("Active players")
        axes[3].set_yscale("symlog", linthresh=1)
        for axis in axes:
            _label_epochs(axis, most=3)
        for axis in axes[:2]:
            axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        if metric != "accuracy":
            axes[0].yaxis.set_major_formatter(ScalarFormatter())
    return figure


def plot_participation(
    gates: np.ndarray, families: Sequence[FamilyRow], *, threshold: float
) -> Figure:
    """Where the gates ended: Figure 2 of arXiv 2512.22106, with the threshold.

    Args:
      gates: participation at the end, float [N].
      families: names and sizes, in the order of the players.
      threshold: players with a smaller gate left.

    Returns:
      A histogram for each family, the first `MAX_FAMILIES`.
    """
    shown = families[:MAX_FAMILIES]
    bins = np.linspace(0.0, 1.0, 41)
    with style():
        figure, axes = new_figure(
            8.6, 2.6, columns=len(shown), sharey=True, sharex=True
        )
        start = 0
        for index, (axis, family) in enumerate(zip(axes, shown, strict=True)):
            colour = FAMILY_COLOURS[index % len(FAMILY_COLOURS)]
            axis.hist(gates[start : start + family.total], bins=bins, color=colour)
            axis.axvline(threshold, color=INK, linewidth=1.0, linestyle=(0, (3, 3)))
            axis.set_title(_title(family, len(shown)))
            axis.set_xlabel("participation s")
            axis.set_yscale("symlog", linthresh=1)
            start += family.total
        axes[0].set_ylabel("players")
    return figure


def plot_pareto(rows: Sequence[Mapping], *, metric: str) -> Figure:
    """Size against quality of all games of a sweep, those that none beats joined.

    Args:
      rows: rows of `sweep.json`.
      metric: "accuracy" or another.

    Returns:
      One panel; hollow marks are the same networks with their gates still on.
    """
    kept = np.array([row["kept"] for row in rows])
    on = np.array([row["validation gates on"] for row in rows])
    removed = np.array([row["validation removed"] for row in rows])
    front = sorted((row for row in rows if row["front"]), key=lambda row: row["kept"])
    with style():
        figure, axes = new_figure(6.4, 3.6)
        axis = axes[0]
        axis.scatter(
            kept, on, facecolors="none", edgecolors=SLATE, s=26, label="gates on"
        )
        axis.scatter(kept, removed, color=MUTED, s=22, label="players removed")
        axis.plot(
            [row["kept"] for row in front],
            [row["validation removed"] for row in front],
            color=HERO,
            marker="o",
            ms=6,
            lw=1.6,
            label="not beaten in both",
        )
        if kept.max() > 10 * kept.min():
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.set_xlabel("players kept")
        axis.set_title(f"Validation {metric}")
        if metric == "accuracy":
            axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
        axis.legend(loc="lower right", **LEGEND)
    return figure


def plot_gates(gates: np.ndarray, families: Sequence[FamilyRow], mask: np.ndarray):
    """How each player's participation went: those that stay bold, the others faint.

    Args:
      gates: participation after each epoch, float [E, N].
      families: names and sizes, in the order of the players.
      mask: who stays, bool [N].

    Returns:
      One panel a family, the first `MAX_FAMILIES`.
    """
    shown = families[:MAX_FAMILIES]
    with style():
        figure, axes = new_figure(
            8.6, 3.1, columns=len(shown), sharey=True, sharex=True
        )
        start = 0
        for index, (axis, family) in enumerate(zip(axes, shown, strict=True)):
            block = slice(start, start + family.total)
            colour = FAMILY_COLOURS[index % len(FAMILY_COLOURS)]
            _draw_paths(axis, gates[:, block], mask[block], colour)
            axis.set_title(_title(family, len(shown)))
            _label_epochs(axis)
            start += family.total
        axes[0].set_ylabel("participation s")
        axes[0].set_ylim(-0.03, 1.05)
    return figure


def _title(family: FamilyRow, panels: int) -> str:
    """Short enough for its panel, with both ends of the name."""
    count, is_narrow = f"{family.kept} of {family.total}", panels > 2
    room = 72 // panels - (1 if is_narrow else 12)
    name = family.name
    if len(name) > room:
        name = f"{name[: room // 2]}…{name[len(name) - (room - 1) // 2 :]}"
    return f"{name}\n{count}" if is_narrow else f"{name}: {count}"


def _draw_paths(axis, gates: np.ndarray, mask: np.ndarray, colour: str) -> None:
    rows = np.unique(np.linspace(0, len(gates), MAX_POINTS, dtype=int))
    padded = np.vstack([np.ones((1, gates.shape[1])), gates])[rows]
    gone, stay = np.flatnonzero(~mask), np.flatnonzero(mask)
    for player in _thin(gone, MAX_LINES):
        axis.plot(rows, padded[:, player], color=SLATE, linewidth=0.6, alpha=0.35)
    for player in _thin(stay, MAX_LINES):
        axis.plot(rows, padded[:, player], color=colour, linewidth=1.5, alpha=0.9)


def _thin(indices: np.ndarray, limit: int) -> np.ndarray:
    if len(indices) <= limit:
        return indices
    return indices[np.linspace(0, len(indices) - 1, limit, dtype=int)]


def plot_scores(
    value: np.ndarray,
    families: Sequence[FamilyRow],
    mask: np.ndarray,
    *,
    measure: str = "score",
) -> Figure:
    """Sorted scores of each family, those that stay in colour.

    Args:
      value: score of each player, float [N].
      families: names and sizes, in the order of the players.
      mask: who stays, bool [N].
      measure: what a score is.

    Returns:
      One panel a family, the first `MAX_FAMILIES`.
    """
    shown = families[:MAX_FAMILIES]
    with style():
        figure, axes = new_figure(8.6, 3.0, columns=len(shown))
        start = 0
        for index, (axis, family) in enumerate(zip(axes, shown, strict=True)):
            block = slice(start, start + family.total)
            order = np.argsort(-value[block], kind="stable")
            ranked, stays = value[block][order], mask[block][order]
            places = np.arange(family.total)
            colour = FAMILY_COLOURS[index % len(FAMILY_COLOURS)]
            axis.fill_between(places, ranked, color=SLATE, alpha=0.3, step="mid", lw=0)
            axis.bar(places[stays], ranked[stays], width=1.0, color=colour)
            axis.set_title(_title(family, len(shown)))
            axis.set_xlabel("rank")
            start += family.total
        axes[0].set_ylabel(measure)
    return figure


def plot_contest(result: RunResult) -> Figure:
    """Test metric of each contender at the same size, with its standard error.

    The left panel is the network right after players were taken out, the right one the
    network at the end; without fine-tuning there is only one panel.
    """
    rows = result.contenders
    both = result.is_tuned
    titles = ["Right after removal", "After the same fine-tuning"] if both else [""]
    with style():
        figure, axes = new_figure(
            8.6, 0.5 * len(rows) + 1.3, columns=len(titles), sharey=True
        )
        for stage, axis, title in zip(("removed", "tuned"), axes, titles, strict=False):
            values = [getattr(row, stage) for row in rows]
            _draw_contest(
                axis, rows, values if both else [r.final for r in rows], result
            )
            axis.set_title(title)
        axes[0].set_yticks(range(len(rows)), [row.label for row in reversed(rows)])
        axes[0].tick_params(axis="y", labelcolor=INK)
        axes[0].set_ylim(-0.55, len(rows) - 0.3)
    return figure


def _draw_contest(axis, rows, values, result: RunResult) -> None:
    for place, (row, value) in enumerate(
        zip(reversed(rows), reversed(values), strict=True)
    ):
        if value is not None:
            _draw_mark(axis, place, row, value, result)
    dense = result.dense.final
    if dense is not None:
        axis.axvline(dense, color=MUTED, lw=1.1, linestyle=(0, (4, 3)))
        axis.text(dense, -0.5, "dense ", ha="right", va="bottom", color=MUTED)
    axis.grid(False, axis="y")
    axis.margins(x=0.14)
    axis.spines["left"].set_visible(False)
    axis.set_xlabel(f"test {result.metric}")
    if result.metric == "accuracy":
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))


def _draw_mark(axis, place: int, row: Contender, value, result: RunResult) -> None:
    colour = CONTENDER_COLOURS.get(row.key, HERO)
    hero = row.key == result.pruned.key
    error = standard_error(value, result)
    axis.errorbar(
        value,
        place,
        xerr=error or None,
        fmt="o",
        ms=9 if hero else 7,
        color=HERO if hero else colour,
        capsize=0,
        elinewidth=1.6,
        zorder=4,
    )
    axis.annotate(
        f"{100 * value:.1f} %" if result.metric == "accuracy" else f"{value:.3f}",
        (value, place),
        xytext=(0, 9),
        textcoords="offset points",
        ha="center",
        color=INK,
        bbox={"facecolor": CARD, "edgecolor": "none", "pad": 1.0},
        fontweight="bold" if hero else "normal",
    )


def standard_error(value: float, result: RunResult) -> float:
    """Binomial standard error of an accuracy on the test data; 0 for other metrics."""
    if result.metric != "accuracy":
        return 0.0
    return float(np.sqrt(max(value * (1 - value), 0.0) / max(result.num_test, 1)))


def plot_receptive_fields(weights: np.ndarray, *, max_shown: int = 20) -> Figure:
    """What each surviving first-layer player looks at, as small pictures.

    Args:
      weights: incoming weights over the image, float [K, H, W].
      max_shown: pictures at most, the strongest first.

    Returns:
      A grid of pictures, ten in a row; blue is positive, red is negative.
    """
    strength = np.square(weights).sum(axis=(1, 2))
    order = np.argsort(-strength)[:max_shown]
    columns = min(10, max(len(order), 1))
    rows = -(-len(order) // columns)
    with style():
        figure = Figure(figsize=(8.6, 0.95 * rows + 0.1), layout="constrained")
        axes = figure.subplots(rows, 10, squeeze=False).ravel()
        for axis in axes:
            axis.set_axis_off()
        for axis, player in zip(axes, order, strict=False):
            limit = np.abs(weights[player]).max() or 1.0
            axis.imshow(weights[player], cmap="RdBu", vmin=-limit, vmax=limit)
    return figure
