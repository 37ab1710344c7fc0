"""Figures of the players: each of the first families has a panel or a colour."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gamepruning.types import Scores
from gamepruning.workbench.report import theme
from gamepruning.workbench.report.plots import validation_curve
from gamepruning.workbench.report.results import MAX_FAMILIES, FamilyRow

Families = Sequence[FamilyRow]
Gates = Float[np.ndarray, "E N"]  # the participation after each epoch
Mask = Bool[np.ndarray, " N"]  # who stays
MAX_LINES, MAX_POINTS = 70, 80
FIELDS_A_ROW, MAX_FIELDS = 10, 20
RED, BLUE = "#d2403f", "#3a72d8"
SIGNS = LinearSegmentedColormap.from_list(
    "signs", [(0, RED), (0.5, f"{RED}00"), (0.5, f"{BLUE}00"), (1, BLUE)]
)


def plot_gates(gates: Gates, families: Families, mask: Mask) -> Figure:
    """Each player's participation after each epoch: bold if it stays, else faint."""
    epochs = np.unique(np.linspace(0, len(gates), MAX_POINTS, dtype=int))
    paths = np.vstack([np.ones((1, gates.shape[1])), gates])[epochs].T

    def draw_lines(axes: Axes, players: np.ndarray, **look) -> None:
        lines = [np.column_stack([epochs, path]) for path in _thin(players)]
        axes.add_collection(LineCollection(lines, capstyle="round", **look))

    def draw(axes: Axes, block: slice, colour: str) -> None:
        own, stays = paths[block], mask[block]
        draw_lines(axes, own[~stays], color=theme.SLATE, lw=0.6, alpha=0.35, zorder=2)
        draw_lines(axes, own[stays], color=colour, lw=1.5, alpha=0.9, zorder=2)
        axes.autoscale_view()
        theme.show_epochs(axes)
        axes.set_ylim(-0.03, 1.05)

    return _panels(families, draw, "participation s", height=3.1, share=True)


def plot_participation(
    gates: Float[np.ndarray, " N"], families: Families, *, threshold: float
) -> Figure:
    """Where the gates ended: Figure 2 of arXiv 2512.22106, with the threshold."""

    def draw(axes: Axes, block: slice, colour: str) -> None:
        counts = np.histogram(gates[block], bins=np.linspace(0.0, 1.0, 41))
        axes.stairs(*counts, fill=True, color=colour)
        axes.axvline(threshold, color=theme.INK, lw=1.0, ls="--")
        axes.set_xlabel("participation s")
        axes.set_yscale("symlog", linthresh=1)

    return _panels(families, draw, "players", height=2.6, share=True)


def plot_scores(
    scores: Scores, families: Families, mask: Mask, *, measure: str
) -> Figure:
    """Sorted scores of each family, those of players that stay in colour.

    Estimates are points with two standard errors to each side, exact scores are bars.
    """
    value, stderr = np.asarray(scores.value), np.asarray(scores.stderr)

    def draw(axes: Axes, block: slice, colour: str) -> None:
        order = np.argsort(-value[block], kind="stable")
        ranked, stays = value[block][order], mask[block][order]
        places, error = np.arange(len(order)), 2 * stderr[block][order]
        for who, ink, alpha in (~stays, theme.SLATE, 0.5), (stays, colour, 1.0):
            x, y, look = places[who], ranked[who], {"color": ink, "alpha": alpha}
            if not stderr.any():
                axes.bar(x, y, width=1.0, lw=0, **look)
            elif len(x):
                axes.errorbar(x, y, error[who], fmt=".", ms=3.5, lw=0.8, **look)
        axes.axhline(0, color=theme.MUTED, lw=0.6)
        axes.set_xlabel("rank")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    label = f"{measure}, ± 2 s.e." if stderr.any() else measure
    return _panels(families, draw, label, height=3.0)


@theme.style()
def plot_dynamics(
    records: Sequence[Mapping],
    gates: Gates,
    families: Families,
    *,
    threshold: float,
    metric: str,
) -> Figure:
    """The four panels of Figure 1 of arXiv 2512.22106, epoch by epoch.

    They are the metric with the gates on, sparsity, mean participation, and active
    players, those with a gate of at least the threshold.
    """
    epochs, active = np.arange(1, len(gates) + 1), gates >= threshold
    figure, panels = theme.new_figure(8.6, 2.6, columns=4)
    for axes in panels:
        theme.show_epochs(axes, most=3)
    quality, sparsity, mean, number = panels
    quality.set(title=metric[:1].upper() + metric[1:])
    sparsity.set(title="Sparsity", ylim=(-0.02, 1.04))
    mean.set(title="Participation", ylim=(-0.02, 1.04))
    number.set(title="Active players")
    curve = validation_curve(records, "equilibrium")
    quality.plot(*curve.T, color=theme.INK, lw=1.4)
    sparsity.plot(epochs, 1 - active.mean(axis=1), color=theme.INK)
    for block, family, colour in _blocks(families):
        mean.plot(epochs, gates[:, block].mean(axis=1), color=colour)
        left = active[:, block].sum(axis=1)
        number.plot(epochs, left, color=colour, label=_shorten(family.name, 24))
    theme.show_metric(quality.yaxis, metric, decimals=0)
    theme.show_metric(sparsity.yaxis, "accuracy", decimals=0)
    theme.put_legend_outside(number)
    number.set_yscale("symlog", linthresh=1)
    return figure


@theme.style()
def plot_receptive_fields(weights: Float[np.ndarray, "K H W"]) -> Figure:
    """Incoming weights over the image, the strongest first: blue positive, red not.

    Zero is transparent, as on light pages so on dark ones.
    """
    order = np.argsort(-np.square(weights).sum(axis=(1, 2)))[:MAX_FIELDS]
    rows = max(-(-len(order) // FIELDS_A_ROW), 1)
    largest = np.abs(weights[order]).max(axis=(1, 2), keepdims=True)
    fields = weights[order] / np.where(largest, largest, 1)
    blank, gap = rows * FIELDS_A_ROW - len(order), max(weights.shape[1] // 8, 1)
    margins = ((0, blank), (0, gap), (0, gap))
    tiles = np.pad(fields, margins, constant_values=np.nan)
    grid = tiles.reshape(rows, FIELDS_A_ROW, *tiles.shape[1:]).swapaxes(1, 2)
    figure, (axes,) = theme.new_figure(8.6, 0.95 * rows + 0.1)
    axes.set_axis_off()
    mosaic = grid.reshape(rows * tiles.shape[1], -1)[:-gap, :-gap]
    axes.imshow(mosaic, cmap=SIGNS, vmin=-1, vmax=1)
    return figure


@theme.style()
def _panels(
    families: Families,
    draw: Callable[[Axes, slice, str], None],
    ylabel: str,
    *,
    height: float,
    share: bool = False,
) -> Figure:
    """A panel for each of the first families, drawn by `draw(axes, block, colour)`."""
    blocks = list(_blocks(families))
    figure, panels = theme.new_figure(
        8.6, height, columns=len(blocks), sharex=share, sharey=share
    )
    for axes, (block, family, colour) in zip(panels, blocks, strict=True):
        draw(axes, block, colour)
        axes.set_title(_title(family, len(blocks)))
    panels[0].set_ylabel(ylabel)
    return figure


def _blocks(families: Families) -> Iterator[tuple[slice, FamilyRow, str]]:
    """The players, the name and the colour of each of the first families."""
    start = 0
    for family, colour in zip(families[:MAX_FAMILIES], theme.COLOURS, strict=False):
        yield slice(start, start + family.total), family, colour
        start += family.total


def _title(family: FamilyRow, panels: int) -> str:
    """Short enough for its panel, with both ends of the name."""
    count, is_narrow = f"{family.kept} of {family.total}", panels > 2
    room = 72 // panels - (1 if is_narrow else 12)
    name = _shorten(family.name, room)
    return f"{name}\n{count}" if is_narrow else f"{name}: {count}"


def _shorten(name: str, room: int) -> str:
    """A name with both its ends, in so many letters."""
    if len(name) <= room:
        return name
    return f"{name[: room // 2]}…{name[len(name) - (room - 1) // 2 :]}"


def _thin(lines: np.ndarray) -> np.ndarray:
    """At most `MAX_LINES` of them, evenly spread."""
    if len(lines) <= MAX_LINES:
        return lines
    return lines[np.linspace(0, len(lines) - 1, MAX_LINES, dtype=int)]
