"""shapiq's estimates, as JSON lines; run in an interpreter that has shapiq[proxy].

Nothing of gamepruning or JAX is imported here.
"""

import json
import sys
import warnings
from typing import Any

import numpy as np
import shapiq
from shapiq import approximator

from experiments.peers.games import BUDGETS, GAMES, Peer

METHODS = {
    "shapley": {
        "LeverageSHAP": {},
        "OddSHAP": {},
        "ProxySHAP": {"index": "SV", "max_order": 1, "adjustment": True},
        "RegressionMSR": {"index": "SV"},
    },
    "banzhaf": {
        "ProxySHAP": {"index": "BV", "max_order": 1, "adjustment": True},
        "RegressionMSR": {"index": "BV"},
        "RegressionFBII": {"max_order": 1},
        "SVARMIQ": {"index": "BV", "max_order": 1},
        "SHAPIQ": {"index": "BV", "max_order": 1},
    },
}


def main() -> None:
    """One line for each index, game, method, budget and seed; games may be named."""
    warnings.simplefilter("ignore")
    print(json.dumps({"shapiq": shapiq.__version__}), flush=True)
    for name in sys.argv[1:] or GAMES:
        game = GAMES[name]()
        for index, methods in METHODS.items():
            for method in methods:
                for times, seed in BUDGETS[name]:
                    row: dict[str, Any] = {"index": index, "game": name}
                    row |= {"method": method, "times": times, "seed": seed}
                    row["values"] = _estimate(game, index, method, times, seed)
                    print(json.dumps(row), flush=True)


def _estimate(
    game: Peer, index: str, method: str, times: int, seed: int
) -> list[float]:
    nobody = float(game.values(np.zeros((1, game.num_players), bool))[0])
    kind = getattr(approximator, method)(
        n=game.num_players, random_state=seed, **METHODS[index][method]
    )
    found = kind.approximate(
        budget=times * game.num_players, game=lambda z: game.values(z) - nobody
    )
    return np.asarray(found.get_n_order_values(1)).tolist()


if __name__ == "__main__":
    sys.exit(main())
