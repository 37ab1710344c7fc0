"""Rows of a comparison, one JSON line a cell: what both interpreters write and read."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Cell(NamedTuple):
    """One estimate: of an index of a game, by a method, at a budget, with a seed.

    Attributes:
      power_index: "shapley" or "banzhaf".
      game: its name.
      method: the estimator.
      times: evaluations a player.
      seed: the seed.
    """

    power_index: str
    game: str
    method: str
    times: int
    seed: int


def add_row(path: Path, cell: Cell, values: np.ndarray, more: dict[str, Any]) -> None:
    """Write a line at the end of the file, apart from one that was cut off."""
    row = cell._asdict() | more | {"values": np.asarray(values).tolist()}
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" + json.dumps(row) + "\n")


def read_rows(path: Path) -> dict[Cell, dict[str, Any]]:
    """The rows of a file by their cells; none where there is no file.

    A line that was cut off while it was written is passed over.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    rows = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    return {Cell(*(row[name] for name in Cell._fields)): row for row in rows}


def cells_of(path: Path | None) -> set[Cell]:
    """The cells of a result, `relative errors` by index, game, method, times, seed."""
    if path is None:
        return set()
    found = json.loads(path.read_text(encoding="utf-8"))["relative errors"]
    return {
        Cell(index, game, method, int(times), int(seed))
        for index, games in found.items()
        for game, methods in games.items()
        for method, budgets in methods.items()
        for times, errors in budgets.items()
        for seed in errors
    }
