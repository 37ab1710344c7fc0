"""Figures 1 and 2 of arXiv 2512.22106 for all configurations, on one page."""

from typing import Any

import numpy as np

from experiments.equilibrium_mnist.common import HERE
from experiments.markdown import read
from gamepruning.workbench.report import theme

PLACE = HERE / "figures" / "dynamics.png"
READINGS = ("as printed", "descent", "plain descent", "competition")
CURVES = {
    "accuracy": "accuracy, %",
    "sparsity": "sparsity, %",
    "mean gate": "mean gate",
    "active": "active neurons",
}


def games_of(reading: str) -> dict[str, Any]:
    """All configurations of a reading, by name."""
    parts = read("equilibrium_mnist/dynamics.json")["parts"]
    if reading in parts:
        return parts[reading]["games"]
    kinds = ("presets", "mild")
    return {
        name: game
        for kind in kinds
        if f"{kind}, {reading}" in parts
        for name, game in parts[f"{kind}, {reading}"]["games"].items()
    }


def draw() -> None:
    """Four curves a reading, and histograms of the last gates; accuracy: gates on."""
    rows = [games_of(reading) for reading in READINGS]
    with theme.style():
        figure, axes = _grid([len(games) for games in rows])
        for reading, games, line in zip(READINGS, rows, axes, strict=True):
            _curves(reading, games, line[:4])
            _histograms(games, line[4:])
        PLACE.parent.mkdir(exist_ok=True)
        theme.save_png(figure, PLACE)


def _grid(counts: list[int]):
    figure, first = theme.new_figure(15, 3.2 * 2 * len(counts))
    first[0].remove()
    grid = figure.add_gridspec(2 * len(counts), max(counts))
    axes = []
    for row, num_games in enumerate(counts):
        upper = [figure.add_subplot(grid[2 * row, 2 * k : 2 * k + 2]) for k in range(4)]
        lower = [figure.add_subplot(grid[2 * row + 1, k]) for k in range(num_games)]
        axes.append([*upper, *lower])
    return figure, axes


def _curves(reading: str, games: dict[str, Any], axes) -> None:
    for place, (key, title) in enumerate(CURVES.items()):
        for number, (name, game) in enumerate(games.items()):
            colour = theme.COLOURS[number % len(theme.COLOURS)]
            dash = theme.DASHES[number // len(theme.COLOURS)]
            axes[place].plot(game["curves"][key], color=colour, ls=dash, label=name)
        axes[place].set_title(f"{title} ({reading})" if not place else title)
        axes[place].set_xlabel("epoch")
    axes[0].legend(fontsize=7, loc="lower right")


def _histograms(games: dict[str, Any], axes) -> None:
    edges = np.linspace(0, 1, 51)
    for place, (name, game) in zip(axes, games.items(), strict=True):
        place.stairs(game["histogram"], edges, fill=True, color=theme.SLATE)
        place.axvline(0.01, color=theme.ROSE, ls="--", lw=0.9)
        place.set_yscale("symlog")
        place.set_title(name, fontsize=8)
