"""How often the 95 % intervals of every estimator cover the exact index.

    python -m experiments.gtap.coverage

Two games of 12 players that can be enumerated: a small random network (probability of
the true class with some hidden units only) and a weighted vote. Writes coverage.json.

The marginals of a vote are 0 or 1, so that an interval from the normal distribution
needs a dozen of each: few samples of 2 N or N evaluations are too few there, however
true the standard error (`stderr_over_rmse`).
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from experiments.gtap.common import write_json
from gamepruning.coalitions.estimators import ESTIMATORS
from gamepruning.coalitions.exact import exact_semivalue
from gamepruning.coalitions.indices import semivalues
from gamepruning.coalitions.semivalues import (
    Semivalue,
    banzhaf,
    beta_semivalue,
    shapley,
)

NUM_PLAYERS = 12
WEIGHTS = np.array([9, 8, 8, 7, 6, 6, 5, 5, 4, 3, 3, 2])
BUDGETS = {"network": (20, 50, 200), "voting": (20, 50, 200, 1000)}  # a player
CASES = (  # method, index
    *((method, banzhaf(NUM_PLAYERS, 0.5)) for method in ("toggle", "toggle_all")),
    *((method, banzhaf(NUM_PLAYERS, 0.2)) for method in ("toggle", "toggle_all")),
    *(("sample_reuse", banzhaf(NUM_PLAYERS, p)) for p in (0.2, 0.5, 0.8)),
    *(("regression", banzhaf(NUM_PLAYERS, p)) for p in (0.2, 0.5, 0.8)),
    ("paired_regression", banzhaf(NUM_PLAYERS, 0.5)),
    ("permutation", shapley(NUM_PLAYERS)),
    ("antithetic", shapley(NUM_PLAYERS)),
    ("antithetic_centred", shapley(NUM_PLAYERS)),
    ("leverage", shapley(NUM_PLAYERS)),
    ("toggle", shapley(NUM_PLAYERS)),
    ("toggle_all", shapley(NUM_PLAYERS)),
    ("toggle_all", beta_semivalue(NUM_PLAYERS, 4.0, 1.0)),
)


def network_game(seed: int = 0) -> Callable:
    """Mean probability of the true class with some hidden units of a random network."""
    rng = np.random.default_rng(seed)
    x, w1 = rng.normal(size=(64, 8)), rng.normal(size=(8, NUM_PLAYERS))
    hidden = np.maximum(x @ w1 + rng.normal(size=NUM_PLAYERS), 0)
    w2 = rng.normal(size=(NUM_PLAYERS, 3))
    label = (hidden @ w2).argmax(axis=1)

    def value_fn(masks):
        logits = np.einsum("sn,bn,nc->sbc", np.asarray(masks, float), hidden, w2 / 2)
        odds = np.exp(logits - logits.max(axis=2, keepdims=True))
        return (odds[:, np.arange(64), label] / odds.sum(axis=2)).mean(axis=1)

    return _tabulated(value_fn)


def voting_game(semivalue: Semivalue) -> Callable:
    """1 for coalitions whose weight is above its mean under the index's law."""
    in_at_once = semivalue.weights() @ np.arange(NUM_PLAYERS) / (NUM_PLAYERS - 1)
    quota = round(in_at_once * WEIGHTS.sum()) + 1
    return _tabulated(lambda masks: (masks @ WEIGHTS >= quota).astype(float))


def _tabulated(value_fn: Callable) -> Callable:
    digits = 1 << np.arange(NUM_PLAYERS)
    everything = (np.arange(2**NUM_PLAYERS)[:, None] & digits) > 0
    table = np.asarray(value_fn(everything))
    return lambda masks: table[np.asarray(masks) @ digits]


def coverage(
    value_fn: Callable,
    method: str,
    semivalue: Semivalue,
    num_evaluations: int,
    num_keys: int,
    seed: int = 0,
) -> dict:
    """The share of players and keys whose exact index lies in value +- 1.96 stderr."""
    truth = exact_semivalue(value_fn, semivalue).value
    keys = jax.random.split(jax.random.key(seed), num_keys)
    found = [
        semivalues(
            key, value_fn, semivalue, num_evaluations=num_evaluations, method=method
        )
        for key in keys
    ]
    value = np.array([scores.value for scores in found])
    stderr = np.array([scores.stderr for scores in found])
    error = value - np.asarray(truth)
    covered = np.abs(error) <= 1.96 * stderr + 1e-12
    ratio = float(np.sqrt((stderr**2).mean() / (error**2).mean()))
    return {
        "method": method,
        "index": " ".join([semivalue.name, *map(str, semivalue.parameters)]),
        "num_evaluations": num_evaluations,
        "num_keys": num_keys,
        "coverage": round(float(covered.mean()), 4),
        "lowest_player": round(float(covered.mean(axis=0).min()), 4),
        "stderr_over_rmse": round(ratio, 3) if np.isfinite(ratio) else None,
        "bias_over_rmse": round(
            float(np.sqrt((error.mean(axis=0) ** 2).mean() / (error**2).mean())), 3
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-keys", type=int, default=400)
    parser.add_argument("--budgets", type=int, nargs="+", help="evaluations a player")
    parser.add_argument("--games", nargs="+", default=list(BUDGETS))
    parser.add_argument("--methods", nargs="+", default=list(ESTIMATORS))
    here = Path(__file__).with_suffix(".json")
    parser.add_argument("--out", type=Path, default=here)
    options = parser.parse_args()
    rows, start = [], time.perf_counter()
    games = {"network": lambda semivalue: network_game(), "voting": voting_game}
    for game, times in [
        (g, b) for g in options.games for b in options.budgets or BUDGETS[g]
    ]:
        for method, semivalue in CASES:
            if method in options.methods:
                budget, value_fn = times * NUM_PLAYERS, games[game](semivalue)
                row = coverage(value_fn, method, semivalue, budget, options.num_keys)
                rows.append({"game": game, **row})
                print(rows[-1], flush=True)
    result = {
        "command": "python -m experiments.gtap.coverage",
        "seconds": round(time.perf_counter() - start),
        "rows": rows,
    }
    write_json(options.out, result)


if __name__ == "__main__":
    main()
