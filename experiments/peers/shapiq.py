"""Shapley values beside shapiq's newest estimators: the same games and budgets.

python -m experiments.peers.shapiq --peers PYTHON   # an interpreter with shapiq[proxy]

About five minutes on two quiet cores. The interpreter's own rows, as
`PYTHON -m experiments.peers.shapiq_side > FILE` prints them, may be given by --rows.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.peers.games import GAMES, SEEDS, TIMES, Peer, quota, votes
from gamepruning.coalitions import shapley_values, weighted_voting_shapley
from gamepruning.files.atomic import new_file
from gamepruning.files.versions import versions

OUT = Path(__file__).with_name("shapiq.json")
OURS = "ours, auto"
REFERENCE = 6400  # evaluations a player, where nothing is known exactly


def main(argv: Sequence[str] | None = None) -> int:
    """Both sides, their relative errors, and the file.

    Args:
      argv: the words after the command; None for those of the process.

    Returns:
      The exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m experiments.peers.shapiq")
    parser.add_argument("--peers", help="the interpreter that has shapiq[proxy]")
    parser.add_argument("--rows", type=Path, help="its rows, if it has run already")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(argv)
    lines = _lines(options)
    rows = [row for row in lines if "method" in row]
    games = {name: make() for name, make in GAMES.items()}
    exact = {name: _exact(name, game) for name, game in games.items()}
    rows += [_ours(*case) for case in _cases(games)]
    errors: dict[str, Any] = {}
    for row in rows:
        wanted = exact[row["game"]]
        off = np.linalg.norm(row["values"] - wanted) / np.linalg.norm(wanted)
        here = errors.setdefault(row["game"], {}).setdefault(row["method"], {})
        here.setdefault(str(row["times"]), []).append(float(off))
    data = {
        "command": "python -m experiments.peers.shapiq --peers PYTHON",
        "seeds": len(SEEDS),
        "shapiq": next(row["shapiq"] for row in lines if "shapiq" in row),
        "machine": versions(),
        "players": {name: game.num_players for name, game in games.items()},
        "relative errors": errors,
    }
    with new_file(options.out) as temporary:
        temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return 0


def _lines(options: argparse.Namespace) -> list[dict[str, Any]]:
    if options.rows is not None:
        text = options.rows.read_text(encoding="utf-8")
    else:
        words = [options.peers, "-m", "experiments.peers.shapiq_side"]
        alone = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            words, stdout=subprocess.PIPE, text=True, check=True, env=alone
        )
        text = done.stdout
    return [json.loads(line) for line in text.splitlines()]


def _cases(games: dict[str, Peer]) -> Iterator[tuple[str, Peer, int, int]]:
    for name, game in games.items():
        for times in TIMES:
            for seed in SEEDS:
                yield name, game, times, seed


def _ours(name: str, game: Peer, times: int, seed: int) -> dict[str, Any]:
    values = _shapley(game, times * game.num_players, seed)
    row = {"game": name, "method": OURS, "times": times, "seed": seed}
    return row | {"values": values}


def _shapley(game: Peer, num_evaluations: int, seed: int) -> np.ndarray:
    def values(masks: np.ndarray) -> np.ndarray:
        return game.values(masks)

    values.is_deterministic = True  # type: ignore[attr-defined]
    found = shapley_values(
        jax.random.key(seed),
        values,
        game.num_players,
        num_evaluations=num_evaluations,
    )
    return np.asarray(found.value)


def _exact(name: str, game: Peer) -> np.ndarray:
    if game.shapley is not None:
        return game.shapley
    if name == "voting":
        found = weighted_voting_shapley(quota(), votes().tolist())
        return np.asarray(found.value)
    return _shapley(game, REFERENCE * game.num_players, 2**20)


if __name__ == "__main__":
    sys.exit(main())
