"""Benchmarks of coalition values: against the machine's own matrix products, and scale.

The speed does not depend on the data, which is random in the shape of MNIST.
"""

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import at_least, at_most, in_turns
from gamepruning import metrics
from gamepruning.coalitions.values import ValueFunction, value_function
from gamepruning.compaction.measure import count_macs
from gamepruning.players import Players, find_players
from gamepruning.reconstruction.gram import gather_grams
from gamepruning.workbench.networks.models import build_model

LENET, MNIST = "lenet_300_100", (28, 28, 1)
SHARE = 0.5  # of the measured rate of matrix products
TIMES = 8.0  # prefixes a second, against full passes
PRODUCTS = {"10000x300x1600": (10_000, 300, 1600), "2048x2048x2048": (2048,) * 3}
TURNS = 7
REPAIRED = 1.3  # times a value without repair, at most
GRAM_ROWS = 2048


def bench_coalitions(
    repeats: int | None = None, *, rows: int = 10_000, num_coalitions: int = 128
) -> dict[str, Any]:
    """Coalition values of LeNet-300-100 a second, as a share of what products allow.

    Large matrix products, full values and prefixes of one order are timed in turns;
    medians count. The share is the flops of the products that a full pass needs after
    hoisting, times values a second, over the better rate of the products. The fastest
    turns tell more on a busy machine, where what takes long loses more of its cores.

    Args:
      repeats: turns to time.
      rows: examples.
      num_coalitions: full values a turn.
    """
    players, value_fn, flops = _lenet(rows)
    num = value_fn.num_players
    rng = np.random.default_rng(0)
    masks = rng.random((num_coalitions, num)) < 0.5
    order = rng.permutation(num)[None]
    calls: dict[str, Callable[[], Any]] = _products()
    calls["values"] = lambda: value_fn(masks)
    if value_fn.is_incremental:
        calls["prefixes"] = lambda: value_fn.prefixes(order)
    turns = in_turns(calls, TURNS if repeats is None else repeats)
    seconds = {name: float(np.median(times)) for name, times in turns.items()}
    rates = {name: work / seconds[name] / 1e9 for name, work in _work().items()}
    per_second = num_coalitions / seconds["values"]
    share = per_second * flops / 1e9 / max(rates.values())
    fastest = max(work / min(turns[name]) for name, work in _work().items())
    result = {
        **_setting(players, rows, num_coalitions),
        "values_per_second": per_second,
        "MFLOP a value": flops / 1e6,
        "GFLOP/s of values": per_second * flops / 1e9,
        "GFLOP/s of products": rates,
        "share in the fastest turns": num_coalitions
        * flops
        / min(turns["values"])
        / fastest,
        "verdict": at_least("share of the products' rate", share, SHARE),
    }
    if value_fn.is_incremental:
        prefixes = (num + 1) / seconds["prefixes"]
        result["prefixes_per_second"] = prefixes
        result["verdict of prefixes"] = at_least(
            "prefixes / full values", prefixes / per_second, TIMES
        )
    return result


def bench_repair(
    repeats: int | None = None, *, rows: int = 10_000, num_coalitions: int = 128
) -> dict[str, Any]:
    """A value of LeNet-300-100 after repair against one without.

    Both are called with the same coalitions in turns, and each turn gives a ratio, of
    which the median counts. The processor's time tells more on a busy machine.

    Args:
      repeats: turns to time.
      rows: examples.
      num_coalitions: values a turn.
    """
    players, params, inputs, labels = _lenet_data(rows)
    grams = gather_grams(players, params, inputs[:GRAM_ROWS])
    data = players, params, metrics.accuracy, inputs, labels
    plain, repaired = value_function(*data), value_function(*data, repair=grams)
    masks = np.random.default_rng(0).random((num_coalitions, plain.num_players)) < 0.5
    calls = {"plain": lambda: plain(masks), "repaired": lambda: repaired(masks)}
    turns = TURNS if repeats is None else repeats
    times = in_turns(calls, turns)
    busy = in_turns(calls, turns, clock=time.process_time)
    ratios = np.divide(times["repaired"], times["plain"])
    return {
        **_setting(players, rows, num_coalitions),
        "ms a value": _per_value(times, num_coalitions),
        "processor ms a value": _per_value(busy, num_coalitions),
        "ratio of processor times": float(
            np.median(np.divide(busy["repaired"], busy["plain"]))
        ),
        "verdict": at_most("repaired / plain", float(np.median(ratios)), REPAIRED),
    }


def _setting(players: Players, rows: int, num_coalitions: int) -> dict[str, Any]:
    """What was measured, and on what."""
    return {
        "model": LENET,
        "players": players.num_players,
        "rows": rows,
        "devices": jax.local_device_count(),
        "platform": jax.default_backend(),
        "coalitions": num_coalitions,
    }


def _per_value(times: dict[str, list[float]], num: int) -> dict[str, float]:
    """Median milliseconds of one of `num` values."""
    return {name: 1e3 * float(np.median(each)) / num for name, each in times.items()}


def bench_scaling(
    repeats: int | None = None,
    *,
    coalitions: tuple[int, ...] = (100, 1000, 10_000, 100_000),
    rows: tuple[int, ...] = (1000, 3000, 10_000),
) -> dict[str, Any]:
    """Seconds and memory against the number of coalitions, and against rows.

    A network 64-64-32-10, with 500 rows, or with 1000 coalitions.

    Args:
      repeats: calls to time at each size, 1 by default; the fastest counts.
      coalitions: their numbers, rising.
      rows: numbers of examples, rising.
    """
    repeats = 1 if repeats is None else repeats
    by_coalitions = _scale_coalitions(coalitions, repeats)
    by_rows = _scale_rows(rows, max(3, repeats))
    first, last = by_coalitions[0], by_coalitions[-1]
    growth = last["peak_mib"] - first["peak_mib"] - last["masks_mib"]
    return {
        "by coalitions": by_coalitions,
        "by rows": by_rows,
        "exponent in coalitions": _exponent(by_coalitions[1:], "coalitions"),
        "exponent in rows": _exponent(by_rows, "rows"),
        "verdict": {
            "MiB from fewest to most, masks apart": growth,
            "at most": 64.0,
            "met": bool(growth <= 64.0),
        },
    }


def _scale_coalitions(sizes: tuple[int, ...], repeats: int) -> list[dict[str, Any]]:
    value_fn = small_mlp(500)
    rng = np.random.default_rng(0)
    rows = []
    value_fn(rng.random((sizes[0], value_fn.num_players)) < 0.5)
    for size in sizes:
        masks = rng.random((size, value_fn.num_players), np.float32) < 0.5
        seconds = min(in_turns({"": lambda m=masks: value_fn(m)}, repeats)[""])
        rows.append(
            {
                "coalitions": size,
                "seconds": seconds,
                "peak_mib": peak_mib(),
                # the random numbers that masks are made of, the masks and the values
                "masks_mib": (5 * masks.size + 8 * size) / 2**20,
            }
        )
    return rows


def _scale_rows(sizes: tuple[int, ...], repeats: int) -> list[dict[str, Any]]:
    rows = []
    for size in sizes:
        value_fn = small_mlp(size)
        masks = np.random.default_rng(0).random((1000, value_fn.num_players)) < 0.5
        seconds = min(in_turns({"": lambda f=value_fn, m=masks: f(m)}, repeats)[""])
        rows.append({"rows": size, "seconds": seconds, "peak_mib": peak_mib()})
    return rows


def _lenet(rows: int) -> tuple[Players, ValueFunction, int]:
    """LeNet-300-100, its accuracy on random rows, and the flops of a value."""
    players, params, inputs, labels = _lenet_data(rows)
    value_fn = value_function(players, params, metrics.accuracy, inputs, labels)
    return players, value_fn, count_flops(players, params, inputs)


def _lenet_data(rows: int) -> tuple[Players, Any, jax.Array, jax.Array]:
    """LeNet-300-100, its parameters, random rows and labels."""
    model = build_model(LENET, input_shape=MNIST, num_outputs=10)
    params = model.init(jax.random.key(0))
    inputs = jax.random.uniform(jax.random.key(1), (rows, *MNIST))
    labels = jax.random.randint(jax.random.key(2), (rows,), 0, 10)
    players = find_players(model.apply, params, inputs[:8])
    return players, params, inputs, labels


def count_flops(players: Players, params: Any, inputs: Any) -> int:
    """The flops of a value's products: those after the first gate."""
    gates = jnp.ones(players.num_players)
    prefix, suffix = players.hoist(params, inputs)
    residuals = jax.eval_shape(prefix, params, gates, inputs)
    return 2 * count_macs(suffix, residuals, gates)


def small_mlp(rows: int) -> ValueFunction:
    """The accuracy of 64-64-32-10 on random rows."""
    keys = jax.random.split(jax.random.key(0), 4)
    widths = (64, 64, 32, 10)
    params = [
        jax.random.normal(key, shape) / shape[0] ** 0.5
        for key, shape in zip(
            keys[:3], zip(widths, widths[1:], strict=False), strict=True
        )
    ]

    def apply(params, x):
        first, second, last = params
        return jax.nn.relu(jax.nn.relu(x @ first) @ second) @ last

    inputs = jax.random.normal(keys[3], (rows, 64))
    labels = jnp.argmax(apply(params, inputs), axis=-1)
    players = find_players(apply, params, inputs[:8])
    return value_function(players, params, metrics.accuracy, inputs, labels)


def _products() -> dict[str, Callable[[], Any]]:
    """The matrix products: one that all cores share."""
    dot = jax.jit(jnp.dot)

    def product(m: int, k: int, n: int) -> Callable[[], Any]:
        left, right = jnp.ones((m, k)), jnp.ones((k, n))
        return lambda: dot(left, right)

    return {name: product(*shape) for name, shape in PRODUCTS.items()}


def _work() -> dict[str, float]:
    """The flops of each product."""
    return {name: 2.0 * m * k * n for name, (m, k, n) in PRODUCTS.items()}


def _exponent(rows: list[dict[str, Any]], name: str) -> float:
    """The slope of log seconds against log size: 1 where the cost is linear."""
    sizes, seconds = ([row[key] for row in rows] for key in (name, "seconds"))
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def peak_mib() -> float:
    """The largest memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
