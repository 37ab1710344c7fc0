"""What one of the processes of `benchmarks.processes` does.

    python -m benchmarks.process_work TASK NUM INDEX PORT [CHECKPOINT]

Prints READY when the value function is made, and then one line of JSON.
"""

import functools
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

import gamepruning as gp
from benchmarks.mesh import bench_mesh
from gamepruning.coalitions import ESTIMATORS, banzhaf, shapley
from gamepruning.selection import (
    compression_curve,
    greedy_scores,
    local_search,
    safe_removal,
)

LOST = 3  # the code of a process that ends because another one has ended
BUDGET = 240
LARGE = ((64, 300, 100, 10), 4096)  # widths and rows of what is timed
SMALL = ((8, 7, 5, 3), 64)
TURNS = 5
COALITIONS = 512
ORDERS = 32


def main(words: list[str]) -> int:
    """One process of a task; see the module."""
    task, num, index, port, *files = words
    if int(num) > 1:
        jax.distributed.initialize(
            f"127.0.0.1:{port}",
            int(num),
            int(index),
            heartbeat_timeout_seconds=60,
            shutdown_timeout_seconds=20,
        )
    try:
        told = TASKS[task](*files)
    except gp.types.LostProcess as error:
        print("LOST", error, flush=True)
        os._exit(LOST)  # nobody is left to say goodbye to
    print(json.dumps(told), flush=True)
    return 0


def make_game(sizes: tuple[tuple[int, ...], int] = SMALL) -> tuple:
    """A random network and rows: the first arguments of a value function."""
    widths, rows = sizes
    rng = np.random.default_rng(0)
    params = [
        rng.normal(size=shape).astype(np.float32) / np.float32(shape[0] ** 0.5)
        for shape in zip(widths, widths[1:], strict=False)
    ]
    inputs = rng.normal(size=(rows, widths[0])).astype(np.float32)
    labels = rng.integers(0, widths[-1], rows)
    players = gp.find_players(_apply, params, inputs[:4])
    return players, params, gp.negative_cross_entropy, inputs, labels


def _apply(params: list, x: Any) -> Any:
    for weights in params[:-1]:
        x = jax.nn.relu(x @ weights)
    return x @ params[-1]


def _mesh() -> Mesh:
    return Mesh(np.asarray(jax.devices()), ("coalitions",))


def _digest(*arrays: Any) -> str:
    content = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    return hashlib.sha256(content).hexdigest()[:16]


# -- the same bits ---------------------------------------------------------------------


def _bits() -> dict[str, str]:
    """The bits of every estimator and selection."""
    players, params, metric, *data = make_game()
    game = functools.partial(gp.value_function, players, params, mesh=_mesh())
    by_updates, in_full = game(metric, *data), game(metric, *data)
    in_full._related._made.append(None)  # as on an accelerator
    grams = gp.reconstruction.gather_grams(players, params, data[0])
    found: dict[str, str] = {}
    for name, value_fn in {"updates": by_updates, "full passes": in_full}.items():
        cases = {**_estimates(value_fn), **_selections(value_fn)}
        found |= {f"{case}, {name}": run() for case, run in cases.items()}
    repaired = game(metric, *data, repair=grams)
    sampled = by_updates.sample_rows(8)
    found["repaired"] = _scores(gp.banzhaf_values(2, repaired, num_evaluations=BUDGET))
    found["sampled rows"] = _scores(
        gp.shapley_values(2, sampled, num_evaluations=BUDGET)
    )
    bands = gp.mcue(0, players, params, data[0], num_samples=8, mesh=_mesh())
    found["uncertainty"] = _digest(bands.variance, bands.stderr)
    return found


def _scores(scores: gp.Scores) -> str:
    return _digest(scores.value, scores.stderr)


def _estimates(value_fn: Any) -> dict[str, Callable[[], str]]:
    """Every estimator for every index that it fits, and exact indices."""
    indices = {"Shapley": shapley(12), "Banzhaf": banzhaf(12)}
    cases: dict[str, Callable[[], str]] = {}
    for method, estimator in ESTIMATORS.items():
        for index, semivalue in indices.items():
            if estimator.misfit(semivalue) is None:
                cases[f"{index} by {method}"] = functools.partial(
                    _estimate, value_fn, semivalue, method
                )
    cases["exact Shapley"] = lambda: _scores(gp.exact_shapley(value_fn))
    unions = np.arange(12) // 4
    cases["Owen"] = lambda: _scores(
        gp.coalitions.owen_values(0, value_fn, unions, num_orders=8)
    )
    return cases


def _estimate(value_fn: Any, semivalue: Any, method: str) -> str:
    budget = max(BUDGET, ESTIMATORS[method].cost(semivalue).least_evaluations)
    estimate = gp.coalitions.estimate_indices(
        1, value_fn, semivalue, method=method, num_evaluations=budget
    )
    return _scores(estimate.scores)


def _selections(value_fn: Any) -> dict[str, Callable[[], str]]:
    """Every selection, and what is drawn of it."""
    half = np.arange(12) % 2 == 0
    given: dict[str, Any] = {"step": 2, "num_evaluations": BUDGET}
    build = functools.partial(gp.iterated_building, 0, value_fn, 6, swaps=2, **given)
    prune = functools.partial(gp.iterated_pruning, 0, value_fn, 6, **given)

    def trace(found: Any) -> str:
        return _digest(found.mask, found.order, [r.value for r in found.rounds])

    def arms() -> gp.bandits.RemovalArms:
        players, params, _, *data = make_game()
        return gp.removal_arms(players, params, gp.cross_entropy, *data, mesh=_mesh())

    def games() -> str:
        found = gp.bandits.record_bandits(range(5), gp.ucb1(), arms())
        return _digest(*(game.changes for game in found))

    def removal() -> str:
        return trace(safe_removal(0, gp.ucb1(), arms(), value_fn, 6, step=2))

    def curve() -> str:
        return _digest(compression_curve(prune(), value_fn, [6, 8, 10, 12]).values)

    def search() -> str:
        return _digest(local_search(value_fn, half).mask)

    return {
        "building with exchanges": lambda: trace(build()),
        "pruning": lambda: trace(prune()),
        "bandit removal": removal,
        "bandits of five seeds": games,
        "loss without each": lambda: _digest(arms().loss_changes()),
        "curve": curve,
        "exchanges": search,
        "greedy": lambda: _scores(greedy_scores(0, value_fn, 12, base="full")),
        "bandit on values": lambda: _scores(gp.play_bandit(0, gp.ucb1(), value_fn)),
    }


# -- speed -----------------------------------------------------------------------------


def _speed() -> dict[str, Any]:
    """Seconds of coalitions and of orders, after what is compiled.

    And of matrix products alone, of which the processes share the number.
    """
    players, params, metric, *data = make_game(LARGE)
    value_fn = gp.value_function(players, params, metric, *data, mesh=_mesh())
    rng = np.random.default_rng(1)
    masks = rng.random((COALITIONS, players.num_players)) < 0.5
    rows = np.tile(np.arange(players.num_players), (ORDERS, 1))
    orders = rng.permuted(rows, axis=1)
    calls = {
        "coalitions": lambda: value_fn(masks),
        "orders": lambda: value_fn.prefixes(orders),
    }
    calls["products"] = _products(4000 // jax.process_count())
    told: dict[str, Any] = {}
    for name, call in calls.items():
        call()
        values, times = None, []
        for _ in range(TURNS):
            start = time.perf_counter()
            values = call()
            times.append(time.perf_counter() - start)
        told[name] = {"seconds": times, "bits": _digest(values)}
    return told


def _products(number: int) -> Callable[[], jax.Array]:
    """This process's part of many matrix products: what the machine itself allows."""
    one = jax.numpy.ones((512, 300))
    other = jax.numpy.ones((300, 100))
    product = jax.jit(jax.numpy.matmul)

    def run() -> jax.Array:
        found = one
        for _ in range(number):
            found = product(one, other)
        return found.block_until_ready()

    return run


# -- kills -----------------------------------------------------------------------------


def _job(checkpoint: str) -> dict[str, str]:
    """Estimates and a selection that write checkpoints, one after the other."""
    players, params, metric, *data = make_game(((64, 60, 40, 10), 1024))
    value_fn = gp.value_function(players, params, metric, *data, mesh=_mesh())
    print("READY", flush=True)
    given: dict[str, Any] = {"num_evaluations": 20_000, "round_size": 500}
    scores = gp.banzhaf_values(
        0, value_fn, method="sample_reuse", checkpoint=f"{checkpoint}-1.npz", **given
    )
    told = {"Banzhaf": _scores(scores)}
    scores = gp.shapley_values(
        0, value_fn, method="antithetic", checkpoint=f"{checkpoint}-2.npz", **given
    )
    told["Shapley"] = _scores(scores)
    trace = gp.iterated_building(
        0,
        value_fn,
        0.5,
        step=4,
        num_evaluations=1000,
        checkpoint=f"{checkpoint}-3.npz",
    )
    return told | {"building": _digest(trace.mask, trace.order)}


TASKS: dict[str, Callable[..., dict]] = {
    "bits": _bits,
    "speed": _speed,
    "job": _job,
    "mesh": bench_mesh,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
