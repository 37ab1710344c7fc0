"""How often the 95 % intervals of the default estimator hold: small budgets and noise.

    python -m experiments.gtap.coverage_auto

Games whose exact indices are known for any number of players. To each evaluation comes
normal noise, as large as `noise` times the root mean square of the exact index; where
it is "remembered", a coalition keeps its value, and the game with these values is the
truth. Writes coverage_auto.json after each row, and goes on with the rows that are
missing. About twelve minutes on one busy core.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.gtap.common import write_json
from gamepruning.coalitions.estimate import estimate_indices
from gamepruning.coalitions.exact import exact_semivalue
from gamepruning.coalitions.semivalues import Semivalue, banzhaf, shapley
from gamepruning.coalitions.voting import (
    weighted_voting_banzhaf,
    weighted_voting_shapley,
)

BUDGETS = (10, 20, 50)  # evaluations a player
NOISES = (0.0, 0.1, 1.0, 10.0)
LAWS: dict[str, Callable[[int], Semivalue]] = {
    "shapley": shapley,
    "banzhaf 0.5": lambda n: banzhaf(n, 0.5),
    "banzhaf 0.2": lambda n: banzhaf(n, 0.2),
}
Values = Callable[[np.ndarray], np.ndarray]


class Known(NamedTuple):
    """A game, masks bool [S, N] -> values [S], and its exact index [N]."""

    value_fn: Values
    exact: np.ndarray


def vote(law: Semivalue, quota_share: float | None = None) -> Known:
    """A weighted vote; the quota is the mean weight of a coalition of the law."""
    weights = np.random.default_rng(0).integers(1, 10, law.num_players)
    share = quota_share or (0.5 if law.bias is None else law.bias)
    quota = int(share * weights.sum()) + 1
    exact = (
        weighted_voting_shapley(quota, weights)
        if law.bias is None
        else weighted_voting_banzhaf(quota, weights, law.bias)
    )
    wins = lambda masks: (masks @ weights >= quota).astype(float)  # noqa: E731
    return Known(wins, np.asarray(exact.value))


def interactions(law: Semivalue) -> Known:
    """Two terms a player, each the joint effect of one to five players."""
    n = law.num_players
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 6, 2 * n)
    terms = np.zeros((2 * n, n))
    for term, size in zip(terms, sizes, strict=True):
        term[rng.choice(n, size, replace=False)] = 1.0
    worth = rng.normal(size=2 * n)
    share = 1 / sizes if law.bias is None else law.bias ** (sizes - 1.0)

    def value_fn(masks: np.ndarray) -> np.ndarray:
        return (masks.astype(float) @ terms.T >= sizes - 0.5) @ worth

    return Known(value_fn, (worth * share) @ terms)


def network(law: Semivalue) -> Known:
    """Three smooth units of sums of whole weights, whose law is exactly known."""
    weights = np.random.default_rng(2).integers(-4, 5, (3, law.num_players))
    units = (
        lambda total: np.tanh(total / 6 - 0.3),
        lambda total: 1 / (1 + np.exp((3 - total) / 3)),
        lambda total: np.sqrt(np.maximum(total + 2, 0)) / 2,
    )

    def value_fn(masks: np.ndarray) -> np.ndarray:
        totals = masks @ weights.T
        parts = [unit(totals[:, k]) for k, unit in enumerate(units)]
        return np.sum(parts, axis=0)

    points, shares = np.polynomial.legendre.leggauss(law.num_players // 2 + 2)
    points, shares = (points + 1) / 2, shares / 2
    if law.bias is not None:
        points, shares = np.array([law.bias]), np.ones(1)
    each = [
        np.sum(
            [_unit_index(point, *pair) for pair in zip(units, weights, strict=True)],
            axis=0,
        )
        for point in points
    ]
    return Known(value_fn, shares @ np.array(each))


def _unit_index(bias: float, unit: Callable, weights: np.ndarray) -> np.ndarray:
    """The Banzhaf index of unit(sum of the weights of a coalition)."""
    low, high = weights[weights < 0].sum(), weights[weights > 0].sum()
    values, found = unit(np.arange(low, high + 1.0)), np.zeros(len(weights))
    for weight in np.unique(weights):
        players = np.flatnonzero(weights == weight)
        chance = np.zeros(len(values))
        chance[-low] = 1.0
        for other in np.delete(weights, players[0]):
            chance = (1 - bias) * chance + bias * np.roll(chance, other)
        found[players] = chance @ (np.roll(values, -weight) - values)
    return found


def mixed(law: Semivalue, seed: int | None = None, noise: float = 0.0) -> Known:
    """A bounded sum, a root and a vote; with a seed, plus noise that is remembered."""
    n = law.num_players
    digits, weights = 1 << np.arange(n), np.arange(n) / 5
    masks = (np.arange(2**n)[:, None] & digits) > 0
    table = np.minimum(masks @ weights, 5) + np.sqrt(masks @ weights[::-1])
    table += masks[:, :3].sum(axis=1) >= 2
    if seed is not None:
        scale = noise * _size(mixed(law).exact)
        table += scale * np.random.default_rng(seed).normal(size=len(table))

    def value_fn(masks: np.ndarray) -> np.ndarray:
        return table[np.asarray(masks) @ digits]

    return Known(value_fn, np.asarray(exact_semivalue(value_fn, law).value))


GAMES: dict[str, tuple[int, Callable[[Semivalue], Known]]] = {
    "mixed": (10, mixed),
    "vote": (30, vote),
    "network": (30, network),
    "interactions": (60, interactions),
}


def measure(
    game: Known, law: Semivalue, budget: int, noise: float, keys: int
) -> dict[str, Any]:
    """The share of players and keys whose exact index lies in value +- 1.96 stderr."""
    rng, scale = np.random.default_rng(0), noise * _size(game.exact)

    def value_fn(masks: np.ndarray) -> np.ndarray:
        values = game.value_fn(masks)
        return values + scale * rng.normal(size=len(masks)) if noise else values

    found = [
        estimate_indices(key, value_fn, law, num_evaluations=budget)
        for key in jax.random.split(jax.random.key(1), keys)
    ]
    stderr = np.array([estimate.scores.stderr for estimate in found])
    error = np.array([estimate.scores.value for estimate in found]) - game.exact
    covered = np.abs(error) <= 1.96 * stderr + 1e-12
    return {
        "method": found[0].method,
        "keys": keys,
        "coverage": round(float(covered.mean()), 4),
        "lowest_player": round(float(covered.mean(axis=0).min()), 4),
        "noted": round(float(np.mean([bool(each.note) for each in found])), 3),
    }


def _size(exact: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(exact))))


class Case(NamedTuple):
    """A row of the study."""

    game: str
    num_players: int
    law: str
    noise: str
    evaluations_per_player: int

    def run(self, keys: int) -> dict[str, Any]:
        """Its coverage."""
        law = LAWS[self.law](self.num_players)
        budget = self.evaluations_per_player * self.num_players
        if self.game == "rare vote":
            return measure(vote(law, 0.5), law, budget, 0.0, keys)
        if self.noise == "1, remembered":
            return measure(mixed(law, 0, 1.0), law, budget, 0.0, keys)
        known = GAMES[self.game][1](law)
        return measure(known, law, budget, float(self.noise), keys)


def cases() -> Iterator[Case]:
    """All rows; the last are those of a vote that is hardly ever won."""
    for game, (n, _) in GAMES.items():
        noises = [f"{noise:g}" for noise in NOISES]
        noises += ["1, remembered"] if game == "mixed" else []
        for law in LAWS:
            for noise in noises:
                for times in BUDGETS:
                    yield Case(game, n, law, noise, times)
    for times in BUDGETS:
        yield Case("rare vote", 30, "banzhaf 0.2", "0", times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    result = {"command": "python -m experiments.gtap.coverage_auto", "seconds": 0}
    rows: list[dict[str, Any]] = []
    if options.out.is_file():
        result = json.loads(options.out.read_text(encoding="utf-8"))
        rows = result["rows"]
    done = {tuple(row[name] for name in Case._fields) for row in rows}
    for case in cases():
        if tuple(case) in done:
            continue
        start = time.perf_counter()
        rows.append({**case._asdict(), **case.run(options.keys)})
        seconds = result["seconds"] + time.perf_counter() - start
        result = {**result, "seconds": round(seconds, 1), "rows": rows}
        write_json(options.out, result)
        print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
