"""Figures of the players, from plain data.

Each of the first families has a panel or a colour of its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from gamepruning.workbench.report import theme
from gamepruning.workbench.report.results import MAX_FAMILIES, FamilyRow

MAX_LINES, MAX_POINTS = 70, 80


def plot_gates(
    gates: Float[np.ndarray, "E N"],
    families: Sequence[FamilyRow],
    mask: Bool[np.ndarray, " N"],
) -> Figure:
    """Each player's participation after each epoch: bold if it stays, else faint."""
    epochs = np.unique(np.linspace(0, len(gates), MAX_POINTS, dtype=int))
    paths = np.vstack([np.ones((1, gates.shape[1])), gates])[epochs]

    def draw(axis, block: slice, colour: str) -> None:
        own, stays = paths[:, block], mask[block]
        gone, stay = (own[:, _thin(np.flatnonzero(who))] for who in (~stays, stays))
        axis.plot(epochs, gone, color=theme.SLATE, linewidth=0.6, alpha=0.35)
        axis.plot(epochs, stay, color=colour, linewidth=1.5, alpha=0.9)
        theme.show_epochs(axis)
        axis.set_ylim(-0.03, 1.05)

    return _panels(families, draw, "participation s", height=3.1, share=True)


def plot_participation(
    gates: Float[np.ndarray, " N"], families: Sequence[FamilyRow], *, threshold: float
) -> Figure:
    """Where the gates ended: Figure 2 of arXiv 2512.22106, with the threshold."""

    def draw(axis, block: slice, colour: str) -> None:
        axis.hist(gates[block], bins=np.linspace(0.0, 1.0, 41), color=colour)
        axis.axvline(threshold, color=theme.INK, linewidth=1.0, linestyle=theme.DASHED)
        axis.set_xlabel("participation s")
        axis.set_yscale("symlog", linthresh=1)

    return _panels(families, draw, "players", height=2.6, share=True)


def plot_scores(
    value: Float[np.ndarray, " N"],
    families: Sequence[FamilyRow],
    mask: Bool[np.ndarray, " N"],
    *,
    measure: str = "score",
) -> Figure:
    """Sorted scores of each family, those of players that stay in colour."""

    def draw(axis, block: slice, colour: str) -> None:
        order = np.argsort(-value[block], kind="stable")
        ranked, stays = value[block][order], mask[block][order]
        places = np.arange(len(order))
        axis.fill_between(
            places, ranked, color=theme.SLATE, alpha=0.3, step="mid", lw=0
        )
        axis.bar(places[stays], ranked[stays], width=1.0, color=colour)
        axis.set_xlabel("rank")

    return _panels(families, draw, measure, height=3.0)


@theme.style()
def plot_dynamics(
    records: Sequence[Mapping],
    gates: Float[np.ndarray, "E N"],
    families: Sequence[FamilyRow],
    *,
    threshold: float,
    metric: str,
) -> Figure:
    """The four panels of Figure 1 of arXiv 2512.22106, epoch by epoch.

    Args:
      records: lines of `metrics.jsonl`; those of the stage "equilibrium" are shown.
      gates: participation after each epoch.
      families: names and sizes, in the order of the players.
      threshold: players with a smaller gate count as gone.
      metric: what "validation" holds in the records.

    Returns:
      Accuracy with the gates on, sparsity, mean participation, active players.
    """
    played = [record for record in records if record["stage"] == "equilibrium"]
    curve = [(record["epoch"], record["validation"]) for record in played]
    epochs, active = np.arange(1, len(gates) + 1), gates >= threshold
    titles = (f"Validation {metric}", "Sparsity", "Mean participation")
    figure, axes = theme.new_figure(8.6, 2.6, columns=4)
    for axis, title in zip(axes, (*titles, "Active players"), strict=True):
        axis.set_title(title)
        theme.show_epochs(axis, most=3)
    axes[0].plot(*np.array(curve).reshape(-1, 2).T, color=theme.HERO, lw=1.4)
    axes[1].plot(epochs, 1 - active.mean(axis=1), color=theme.HERO)
    for block, family, colour in _blocks(families):
        mean, num_active = (
            gates[:, block].mean(axis=1),
            active[:, block].sum(axis=1),
        )
        axes[2].plot(epochs, mean, color=colour, label=family.name)
        axes[3].plot(epochs, num_active, color=colour)
    theme.show_percent(axes[1].yaxis, decimals=0)
    if metric == "accuracy":
        theme.show_percent(axes[0].yaxis, decimals=0)
    else:
        axes[0].yaxis.set_major_formatter(ScalarFormatter())
    for axis in axes[1:3]:
        axis.set_ylim(-0.02, 1.04)
    axes[2].legend(loc="upper right")
    axes[3].set_yscale("symlog", linthresh=1)
    return figure


@theme.style()
def plot_receptive_fields(
    weights: Float[np.ndarray, "K H W"], *, max_shown: int = 20
) -> Figure:
    """Incoming weights over the image, the strongest first: blue positive, red not."""
    strength = np.square(weights).sum(axis=(1, 2))
    order = np.argsort(-strength)[:max_shown]
    rows = max(-(-len(order) // 10), 1)
    figure = Figure(figsize=(8.6, 0.95 * rows + 0.1), layout="constrained")
    axes = figure.subplots(rows, 10, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, player in zip(axes, order, strict=False):
        limit = np.abs(weights[player]).max() or 1.0
        axis.imshow(weights[player], cmap="RdBu", vmin=-limit, vmax=limit)
    return figure


@theme.style()
def _panels(
    families: Sequence[FamilyRow],
    draw: Callable[[Any, slice, str], None],
    ylabel: str,
    *,
    height: float,
    share: bool = False,
) -> Figure:
    """A panel for each of the first families, drawn by `draw(axis, block, colour)`."""
    blocks = list(_blocks(families))
    figure, axes = theme.new_figure(
        8.6, height, columns=len(blocks), sharex=share, sharey=share
    )
    for axis, (block, family, colour) in zip(axes, blocks, strict=True):
        draw(axis, block, colour)
        axis.set_title(_title(family, len(blocks)))
    axes[0].set_ylabel(ylabel)
    return figure


def _blocks(families: Sequence[FamilyRow]) -> Iterator[tuple[slice, FamilyRow, str]]:
    """The players, the name and the colour of each of the first families."""
    start = 0
    for family, colour in zip(families[:MAX_FAMILIES], theme.COLOURS, strict=False):
        yield slice(start, start + family.total), family, colour
        start += family.total


def _title(family: FamilyRow, panels: int) -> str:
    """Short enough for its panel, with both ends of the name."""
    count, is_narrow = f"{family.kept} of {family.total}", panels > 2
    room = 72 // panels - (1 if is_narrow else 12)
    name = family.name
    if len(name) > room:
        name = f"{name[: room // 2]}…{name[len(name) - (room - 1) // 2 :]}"
    return f"{name}\n{count}" if is_narrow else f"{name}: {count}"


def _thin(indices: np.ndarray) -> np.ndarray:
    """At most `MAX_LINES` of them, evenly spread."""
    if len(indices) <= MAX_LINES:
        return indices
    return indices[np.linspace(0, len(indices) - 1, MAX_LINES, dtype=int)]
