"""Power indices beside shapiq's newest estimators: the same games and budgets.

python -m experiments.peers.shapiq --peers PYTHON   # an interpreter with shapiq[proxy]

About half an hour on two quiet cores. The interpreter's own rows, as
`PYTHON -m experiments.peers.shapiq_side GAME ... > FILE` prints them, may be given by
--rows; they may be of some of the games: what the file has of others stays.
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

from experiments.peers.games import BUDGETS, GAMES, Peer, quota, votes
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
FOR_REFERENCE = {"shapley": "leverage", "banzhaf": "paired_regression"}


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
    played = dict.fromkeys(row["game"] for row in rows)
    games = {name: GAMES[name]() for name in played}
    rows += [_ours(*case) for case in _cases(games)]
    known = json.loads(options.out.read_text()) if options.out.exists() else {}
    errors: dict[str, Any] = known.get("relative errors", {})
    for by_game in errors.values():
        for name in played:
            by_game.pop(name, None)
    exact = {}
    for row in rows:
        index, name = case = row["index"], row["game"]
        if case not in exact:
            exact[case] = _exact(index, name, games[name])
        off = np.linalg.norm(row["values"] - exact[case]) / np.linalg.norm(exact[case])
        here = errors.setdefault(index, {}).setdefault(name, {})
        here = here.setdefault(row["method"], {})
        here.setdefault(str(row["times"]), []).append(float(off))
    data = {
        "command": "python -m experiments.peers.shapiq --peers PYTHON",
        "seeds": known.get("seeds", {})
        | {name: len({seed for _, seed in BUDGETS[name]}) for name in games},
        "shapiq": next(row["shapiq"] for row in lines if "shapiq" in row),
        "machine": versions(),
        "players": known.get("players", {})
        | {name: game.num_players for name, game in games.items()},
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


def _cases(games: dict[str, Peer]) -> Iterator[tuple[str, str, Peer, int, int]]:
    for name, game in games.items():
        for index in INDICES:
            for times, seed in BUDGETS[name]:
                yield index, name, game, times, seed


def _ours(index: str, name: str, game: Peer, times: int, seed: int) -> dict[str, Any]:
    values = _indices(index, game, times * game.num_players, seed)
    row = {"index": index, "game": name, "method": OURS, "times": times, "seed": seed}
    return row | {"values": values}


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
    return _indices(index, game, budget, 2**20, FOR_REFERENCE[index])


if __name__ == "__main__":
    sys.exit(main())
