"""Power indices beside shapiq's newest estimators: the same games and budgets.

    python -m experiments.peers.shapiq --peers PYTHON --rows ROWS

PYTHON has shapiq[proxy]; without it, what ROWS has of shapiq's side is taken. ROWS has
a line for each cell, of both sides, so a run that was killed resumes, and costly games
may be run a part at a time: `PYTHON -m experiments.peers.shapiq_side GAME --rows ROWS`.
Cells of the result that ROWS does not have stay as they are. Hours for 604 players and
for PolySHAP and SVARMIQ at 160 evaluations a player.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.peers.games import BUDGETS, GAMES, TIMES, Peer, quota, votes
from experiments.peers.rows import Cell, add_row, read_rows
from gamepruning.coalitions import (
    banzhaf,
    semivalues,
    shapley,
    weighted_voting_banzhaf,
    weighted_voting_shapley,
)
from gamepruning.files.atomic import new_file
from gamepruning.files.versions import versions

OUT = Path(__file__).with_name("shapiq.json")
OURS = "ours, auto"
INDICES = {"shapley": shapley, "banzhaf": banzhaf}
VOTING = {"shapley": weighted_voting_shapley, "banzhaf": weighted_voting_banzhaf}
REFERENCE = {"network": 6400, "trained": 1600}  # evaluations a player
REFERENCE_NAME, REFERENCE_SEED = "reference", 2**20
FOR_REFERENCE = {"shapley": "leverage", "banzhaf": "paired_regression"}


def main(argv: Sequence[str] | None = None) -> int:
    """Both sides, their relative errors, and the file.

    Args:
      argv: the words after the command; None for those of the process.

    Returns:
      The exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m experiments.peers.shapiq")
    parser.add_argument("games", nargs="*", default=list(GAMES), metavar="GAME")
    parser.add_argument("--peers", help="the interpreter that has shapiq[proxy]")
    parser.add_argument("--rows", type=Path, required=True, help="the file to add to")
    parser.add_argument("--times", nargs="+", type=int, default=TIMES, help="budgets")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(argv)
    if options.peers:
        _play_peers(options)
    games = {name: GAMES[name]() for name in options.games}
    for cell in _own_cells(options):
        game = games[cell.game]
        values = _indices(
            cell.power_index, game, cell.times * game.num_players, cell.seed
        )
        add_row(options.rows, cell, values, {})
    data = _merged(options, _errors(options.rows, games))
    with new_file(options.out) as temporary:
        text = json.dumps(data, indent=1)
        temporary.write_text(text + "\n", encoding="utf-8")
    return 0


def _play_peers(options: argparse.Namespace) -> None:
    words = [options.peers, "-m", "experiments.peers.shapiq_side", *options.games]
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*words, "--rows", str(options.rows)], check=True, env=alone)


def _own_cells(options: argparse.Namespace) -> list[Cell]:
    """What is left to do of our side."""
    done = read_rows(options.rows)
    cells = [
        Cell(index, name, OURS, times, seed)
        for name in options.games
        for times, seed in BUDGETS[name]
        for index in INDICES
    ]
    return [cell for cell in cells if cell.times in options.times and cell not in done]


def _errors(path: Path, games: dict[str, Peer]) -> dict[Cell, float]:
    """The relative L2 errors of the rows of these games."""
    exact: dict[tuple[str, str], np.ndarray] = {}
    found = {}
    for cell, row in read_rows(path).items():
        if cell.method == REFERENCE_NAME or cell.game not in games:
            continue
        case = cell.power_index, cell.game
        if case not in exact:
            exact[case] = _reference(path, *case, games[cell.game])
        off = np.linalg.norm(row["values"] - exact[case])
        found[cell] = float(off / np.linalg.norm(exact[case]))
    return found


def _reference(path: Path, index: str, name: str, game: Peer) -> np.ndarray:
    """The exact indices, or an estimate that is kept with the rows."""
    times = REFERENCE.get(name)
    if times is None:
        return _exact(index, name, game)
    cell = Cell(index, name, REFERENCE_NAME, times, REFERENCE_SEED)
    known = read_rows(path)
    if cell not in known:
        add_row(path, cell, _exact(index, name, game), {})
        known = read_rows(path)
    return np.asarray(known[cell]["values"])


def _merged(options: argparse.Namespace, found: dict[Cell, float]) -> dict[str, Any]:
    """The result, with these cells in the place of those that it had."""
    out, rows = options.out, read_rows(options.rows).values()
    known = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    errors: dict[str, Any] = known.get("relative errors", {})
    players = known.get("players", {})
    for cell, error in sorted(found.items()):
        own = errors.setdefault(cell.power_index, {}).setdefault(cell.game, {})
        own = own.setdefault(cell.method, {}).setdefault(str(cell.times), {})
        own[str(cell.seed)] = error
        if cell.game not in players:
            players[cell.game] = GAMES[cell.game]().num_players
    return {
        "command": "python -m experiments.peers.shapiq --peers PYTHON --rows ROWS",
        "shapiq": next((r["shapiq"] for r in rows if "shapiq" in r), known["shapiq"]),
        "machine": versions(),
        "players": players,
        "relative errors": errors,
    }


def _indices(
    index: str, game: Peer, num_evaluations: int, seed: int, method: str = "auto"
) -> np.ndarray:
    def values(masks: np.ndarray) -> np.ndarray:
        return game.values(masks)

    values.is_deterministic = True  # type: ignore[attr-defined]
    found = semivalues(
        jax.random.key(seed),
        values,
        INDICES[index](game.num_players),
        num_evaluations=num_evaluations,
        method=method,
    )
    return np.asarray(found.value)


def _exact(index: str, name: str, game: Peer) -> np.ndarray:
    if index in game.exact:
        return game.exact[index]
    if name == "voting":
        return np.asarray(VOTING[index](quota(), votes().tolist()).value)
    budget = REFERENCE[name] * game.num_players
    return _indices(index, game, budget, REFERENCE_SEED, FOR_REFERENCE[index])


if __name__ == "__main__":
    sys.exit(main())
