"""Pruned networks before any gradient step: as cut, repaired in closed form, refined.

"Refined" adds Gauss-Newton steps of every reader with the weights that lead to it,
"distilled" such steps of the whole network at the end; neither sees labels.

    python -m experiments.repair.run digits          # 3 seeds, minutes
    python -m experiments.repair.run lenet5          # 5 seeds; needs MNIST
    python -m experiments.repair.run lenet5-market   # the last row of each alone
    python -m experiments.repair.run lenet300        # 5 seeds; needs MNIST
    python -m experiments.repair.run topic           # 3 seeds; emotion likewise
    python -m experiments.repair.run lenet5 0 1      # some seeds

The networks are those of experiments/gtap. Weights are fitted to training rows without
their labels; exchanges are judged on validation rows (digits: on the training rows, as
all choices there); the test part is read once for each network. What is there already
is not run again.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gamepruning as gp
from experiments.gtap import digits, lenet5, lenet300, text
from experiments.gtap.common import Network, find, write_json
from experiments.markdown import read
from gamepruning.reconstruction import (
    ReconstructionConfig,
    RepairConfig,
    eliminate_in_order,
    gather_grams,
    reconstruction_scores,
    trade,
)

HERE = Path(__file__).parent
ROWS, VALIDATION_ROWS = 10_000, 2000
REFINE_ROWS = 30_000
REFINE = RepairConfig(classes=True, gauss_newton=15, held_out=0.0, batch_size=2000)
EVERY_READER = 100  # and more: all are fitted together at the end
ROUNDS, AT_ONCE = 60, 32  # of exchanges
BASELINES = ("random", "magnitude_l2", "taylor")


class Study(NamedTuple):
    """What is pruned, and how far.

    Attributes:
      load: seed -> the trained network.
      seeds: of the networks.
      sizes: how many players stay, or how many of each family.
      only_market: leave the other methods out.
      refines_all: other methods are refined and distilled, too, not only repaired.
    """

    load: Callable[[int], Network]
    seeds: Sequence[int]
    sizes: Sequence[Any]
    only_market: bool = False
    refines_all: bool = True


SHARES = (0.225, 0.1, 0.05)
STUDIES = {
    "digits": Study(digits.load, (0, 1, 2), ((25, 12), (12, 6))),
    "lenet5": Study(lenet5.load, (0, 1, 2, 3, 4), (136, 60, 30)),
    "lenet5-market": Study(lenet5.load, (0, 1, 2, 3, 4), (136, 60, 30), True),
    "lenet300": Study(lenet300.load, (0, 1, 2, 3, 4), SHARES),
    "lenet300-market": Study(lenet300.load, (0, 1, 2, 3, 4), SHARES, True),
    "topic": Study(partial(text.load, "topic"), (0, 1, 2), SHARES, refines_all=False),
    "emotion": Study(
        partial(text.load, "emotion"), (0, 1, 2), SHARES, refines_all=False
    ),
}


class Bench:
    """One trained network, and what its choices are made with."""

    def __init__(self, network: Network):
        self.network = network
        self.players = find(network)
        self.inputs = jnp.asarray(network.train.inputs[:ROWS])
        self.labels = jnp.asarray(network.train.labels[:ROWS])
        self.more_inputs = jnp.asarray(network.train.inputs[:REFINE_ROWS])
        self.seconds: dict[str, float] = {}

    def accuracy(self, params: Any, mask: np.ndarray) -> float:
        """On the test part, after the players are really removed."""
        small = gp.compact(self.players, params, jnp.asarray(mask), min_units=0)
        inputs = small.plan.select_inputs(jnp.asarray(self.network.test.inputs))
        outputs = jax.jit(small.apply)(small.params, *inputs)
        return float(gp.accuracy(outputs, jnp.asarray(self.network.test.labels)))

    def scores(self, method: str, key: jax.Array) -> Any:
        """Higher stays."""
        start = time.perf_counter()
        params, players = self.network.params, self.players
        if method == "random":
            found = gp.baselines.random_scores(key, players)
        elif method == "magnitude_l2":
            found = gp.magnitude_scores(players, params)
        elif method == "taylor":
            found = gp.taylor_scores(
                players, params, gp.cross_entropy, self.inputs, self.labels
            )
        else:
            config = ReconstructionConfig(across="network")
            found = reconstruction_scores(players, params, self.inputs, config=config)
        self.seconds[method] = time.perf_counter() - start
        return found

    def exchanged(self, mask: np.ndarray, by_family: bool, seed: int) -> np.ndarray:
        """Random swaps that raise the likelihood of the network after repair."""
        start = time.perf_counter()
        part, numbers = self.network.validation, np.random.default_rng(seed)
        if len(part.labels) < VALIDATION_ROWS:  # digits: see experiments/gtap/digits.py
            part = self.network.train
        value_fn = gp.value_function(
            self.players,
            self.network.params,
            gp.negative_cross_entropy,
            jnp.asarray(part.inputs[:VALIDATION_ROWS]),
            jnp.asarray(part.labels[:VALIDATION_ROWS]),
            repair=gather_grams(self.players, self.network.params, self.inputs),
        )
        best = float(value_fn(mask))
        for _ in range(ROUNDS):
            trials = [
                swapped(mask, self.players, by_family, numbers) for _ in range(AT_ONCE)
            ]
            values = np.asarray(value_fn(np.array(trials)))
            if values.max() > best:
                best, mask = float(values.max()), trials[int(values.argmax())]
        self.seconds["exchanges"] = time.perf_counter() - start
        return mask


def swapped(mask, players: gp.Players, by_family: bool, numbers) -> np.ndarray:
    """One player leaves and one comes, of the same family or of any."""
    mask = mask.copy()
    where = np.ones(len(mask), bool)
    if by_family:
        family = players.families[int(numbers.integers(len(players.families)))]
        where = players.select(family.name)
    gone, come = np.flatnonzero(mask & where), np.flatnonzero(~mask & where)
    if len(gone) and len(come):
        mask[numbers.choice(gone)], mask[numbers.choice(come)] = False, True
    return mask


def run_seed(study: Study, seed: int) -> dict[str, Any]:
    """All methods and sizes on one network."""
    bench = Bench(study.load(seed))
    rows = [] if study.only_market else by_scores(bench, study, seed)
    rows += [in_market(bench, size) for size in study.sizes]
    dense = dense_accuracy(bench)
    return {"seed": seed, "dense": dense, "rows": rows, "seconds": bench.seconds}


def by_scores(bench: Bench, study: Study, seed: int) -> list[dict[str, Any]]:
    """Scores, the best of which stay; and exchanges after elimination."""
    players, rows = bench.players, []
    for number, method in enumerate((*BASELINES, "elimination")):
        scores = bench.scores(method, jax.random.key(1000 * seed + number))
        for size in study.sizes:
            by_family = isinstance(size, tuple)
            scopes = ["given"] if by_family else ["global", "family"]
            for scope in scopes:
                mask = choose(scores, size, players, scope)
                rows.append(measure(bench, method, scope, size, mask))
                if study.refines_all:
                    rows[-1] |= refined(bench, mask)
                if method == "elimination" and scope != "family":
                    better = bench.exchanged(mask, by_family, seed)
                    name = "elimination, exchanged"
                    rows.append(measure(bench, name, scope, size, better))
                    if study.refines_all:
                        rows[-1] |= refined(bench, better)
    return rows


def in_market(bench: Bench, size: Any) -> dict[str, Any]:
    """Counts by trades (or as given), then elimination and repair in one pass."""
    start = time.perf_counter()
    players, params = bench.players, bench.network.params
    if isinstance(size, tuple):
        counts, scope = size, "given"
    else:
        target = size if isinstance(size, int) else round(size * players.num_players)
        config = ReconstructionConfig(num_examples=VALIDATION_ROWS)
        mask = trade(players, params, bench.inputs, target, config=config).mask
        counts, scope = (
            [int(mask[f.start : f.stop].sum()) for f in players.families],
            "global",
        )
    chosen = time.perf_counter() - start
    first = [
        np.arange(f.size) < k for f, k in zip(players.families, counts, strict=True)
    ]
    found = eliminate_in_order(
        players,
        params,
        np.concatenate(first),
        bench.inputs,
        config=RepairConfig(classes=True),
    )
    row = {
        "method": "market, in order",
        "scope": scope,
        "size": size,
        "kept": list(counts),
        "cut": bench.accuracy(params, found.mask),
        "repaired": bench.accuracy(found.params, found.mask),
        "seconds": round(chosen, 2),
        "repair_seconds": round(time.perf_counter() - start - chosen, 2),
    }
    row |= refined(bench, found.mask)
    print(row, flush=True)
    return row


def refined(bench: Bench, mask: np.ndarray) -> dict[str, float]:
    """After Gauss-Newton steps, on the test part.

    "refined": of each reader with what leads to it; "distilled": then of the whole
    network, to the full one's probabilities.
    """
    params, inputs, row = bench.network.params, bench.more_inputs, {}
    for stage, last in (("refined", 0), ("distilled", EVERY_READER)):
        start = time.perf_counter()
        config = replace(REFINE, last=last)
        found = gp.repair(bench.players, params, mask, inputs, config=config)
        row[f"{stage}_seconds"] = round(time.perf_counter() - start, 2)
        row[stage] = bench.accuracy(found.params, mask)
    return row


def count_by_family(mask: np.ndarray, players: gp.Players) -> list[int]:
    """How many of each family stay."""
    return [int(mask[f.start : f.stop].sum()) for f in players.families]


def choose(scores, size: Any, players: gp.Players, scope: str) -> np.ndarray:
    """The best of all, of each family alike, or as many of each as given."""
    if scope == "given":
        return np.asarray(gp.top_n(scores, size, players=players))
    scope_of: Any = scope
    return np.asarray(gp.top_n(scores, size, players=players, scope=scope_of))


def dense_accuracy(bench: Bench) -> float:
    """Of the network before anybody leaves."""
    outputs = jax.jit(bench.network.model.apply)(
        bench.network.params, jnp.asarray(bench.network.test.inputs)
    )
    return float(gp.accuracy(outputs, jnp.asarray(bench.network.test.labels)))


def measure(bench: Bench, method: str, scope: str, size: Any, mask) -> dict[str, Any]:
    """As cut and repaired, on the test part."""
    start = time.perf_counter()
    params = bench.network.params
    config = RepairConfig(classes=True)
    repaired = gp.repair(bench.players, params, mask, bench.inputs, config=config)
    seconds = time.perf_counter() - start
    row = {
        "method": method,
        "scope": scope,
        "size": size,
        "kept": count_by_family(mask, bench.players),
        "cut": bench.accuracy(params, mask),
        "repaired": bench.accuracy(repaired.params, mask),
        "repair_seconds": round(seconds, 2),
    }
    print(row, flush=True)
    return row


def main(arguments: Sequence[str]) -> None:
    """Run a study; results are written after each seed."""
    name, *seeds = arguments
    study, path = STUDIES[name], HERE / f"{name}.json"
    runs = read(f"repair/{name}.json")["runs"] if path.exists() else []
    done = {run["seed"] for run in runs}
    for seed in map(int, seeds or study.seeds):
        if seed not in done:
            runs.append(run_seed(study, seed))
            write_json(
                path,
                {"command": f"python -m experiments.repair.run {name}", "runs": runs},
            )


if __name__ == "__main__":
    main(sys.argv[1:])
