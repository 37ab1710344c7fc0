"""shapiq's estimates, as JSON lines; run in an interpreter that has shapiq[proxy].

    PYTHON -m experiments.peers.shapiq_side GAME ... --rows ROWS

Cells that ROWS has already are not run again, so a run that was killed resumes. Few
evaluations come first. Nothing of gamepruning or JAX is imported here.
"""

import argparse
import itertools
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapiq
from shapiq import approximator

from experiments.peers.games import BUDGETS, GAMES, TIMES, Peer
from experiments.peers.rows import Cell, add_row, cells_of, read_rows

_NEW = {
    "ProxySHAP": {"max_order": 1, "adjustment": True},
    "RegressionMSR": {},
    "SVARMIQ": {"max_order": 1},
    "SHAPIQ": {"max_order": 1},
}
METHODS = {
    "shapley": {
        "LeverageSHAP": {},
        "OddSHAP": {},
        **{name: {"index": "SV", **options} for name, options in _NEW.items()},
        "KernelSHAP": {},
        "PermutationSamplingSV": {},
        "PolySHAP": {},
    },
    "banzhaf": {
        **{name: {"index": "BV", **options} for name, options in _NEW.items()},
        "RegressionFBII": {"max_order": 1},
    },
}


def main() -> None:
    """A line for each index, game, method, budget and seed; games may be named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("games", nargs="*", default=list(GAMES), metavar="GAME")
    parser.add_argument("--rows", type=Path, required=True, help="the file to add to")
    parser.add_argument("--methods", nargs="+", help="only these")
    parser.add_argument("--times", nargs="+", type=int, default=TIMES, help="budgets")
    parser.add_argument("--known", type=Path, help="a result whose cells are left out")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    done = read_rows(options.rows).keys() | cells_of(options.known)
    wanted = [
        cell
        for name in options.games
        for cell in _cells(name)
        if cell.method in (options.methods or [cell.method])
        and cell.times in options.times
        and cell not in done
    ]
    for name, cells in itertools.groupby(wanted, lambda cell: cell.game):
        game = GAMES[name]()
        for cell in cells:
            begin = time.perf_counter()
            values = _estimate(game, cell)
            seconds = round(time.perf_counter() - begin, 1)
            add_row(
                options.rows,
                cell,
                values,
                {"seconds": seconds, "shapiq": shapiq.__version__},
            )


def _cells(name: str) -> Iterator[Cell]:
    for times, seed in BUDGETS[name]:
        for index, methods in METHODS.items():
            for method in methods:
                yield Cell(index, name, method, times, seed)


def _estimate(game: Peer, cell: Cell) -> np.ndarray:
    nobody = float(game.values(np.zeros((1, game.num_players), bool))[0])
    options: dict[str, Any] = METHODS[cell.power_index][cell.method]
    kind = getattr(approximator, cell.method)(
        n=game.num_players, random_state=cell.seed, **options
    )
    found = kind.approximate(
        budget=cell.times * game.num_players,
        game=lambda z: game.values(np.atleast_2d(z)) - nobody,
    )
    return np.asarray(found.get_n_order_values(1))


if __name__ == "__main__":
    main()
