"""shapiq's estimates, as JSON lines; run in an interpreter that has shapiq[proxy].

Nothing of gamepruning or JAX is imported here.
"""

import json
import sys
import warnings

import numpy as np
import shapiq
from shapiq import approximator

from experiments.peers.games import GAMES, SEEDS, TIMES, Peer

METHODS = {
    "LeverageSHAP": {},
    "OddSHAP": {},
    "ProxySHAP": {"index": "SV", "max_order": 1, "adjustment": True},
    "RegressionMSR": {"index": "SV"},
}


def main() -> None:
    """One line for each game, method, budget and seed."""
    warnings.simplefilter("ignore")
    print(json.dumps({"shapiq": shapiq.__version__}), flush=True)
    for name, make in GAMES.items():
        game = make()
        for method in METHODS:
            for times in TIMES:
                for seed in SEEDS:
                    row = {"game": name, "method": method, "times": times, "seed": seed}
                    row["values"] = _estimate(game, method, times, seed)
                    print(json.dumps(row), flush=True)


def _estimate(game: Peer, method: str, times: int, seed: int) -> list[float]:
    nobody = float(game.values(np.zeros((1, game.num_players), bool))[0])
    kind = getattr(approximator, method)(
        n=game.num_players, random_state=seed, **METHODS[method]
    )
    found = kind.approximate(
        budget=times * game.num_players, game=lambda z: game.values(z) - nobody
    )
    return np.asarray(found.get_n_order_values(1)).tolist()


if __name__ == "__main__":
    sys.exit(main())
