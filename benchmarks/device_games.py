"""What is measured on an accelerator: related coalitions, power indices, training."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.cases import (
    LENET,
    Network,
    Sizes,
    draw_masks,
    network_of,
    players_of,
    value_fn_of,
)
from benchmarks.device_parts import Entries, Figures, rounding_of
from benchmarks.networks import bench_gating
from benchmarks.timing import at_most, milliseconds, timed
from gamepruning.coalitions.estimate import IndexEstimate, estimate_indices
from gamepruning.coalitions.evaluation.related import Incremental, make_incremental
from gamepruning.coalitions.semivalues import banzhaf
from gamepruning.coalitions.values import ValueFunction
from gamepruning.compaction.measure import measure_latency

KEY = 0
FEW = 16  # moves that tell how many are affordable
FINE = 0.1  # rounding, as a part of the spread of values, that an index may bear


def prefixes_part(sizes: Sizes) -> Entries:
    """Prefixes and toggles of LeNet-300-100: rank-one updates against full forwards."""
    num_rows = len(network_of(LENET, "float32", sizes).inputs)
    return {
        "rank-one, the library's tile": lambda: _measure_related("auto", sizes),
        "rank-one, all rows in a tile": lambda: _measure_related(num_rows, sizes),
    }


def _measure_related(tile: int | str, sizes: Sizes) -> Figures:
    value_fn = value_fn_of(LENET, "float32", sizes)
    related, is_plain = _incremental(tile, sizes)
    num = value_fn.num_players
    order = np.random.default_rng(0).permutation(num)[None]
    mask = draw_masks(1, num)
    entered = np.argsort(order[0]) < np.arange(1, num + 1)[:, None]
    toggled = mask ^ np.eye(num, dtype=bool)[order[0]]

    def prefixes(count: int) -> np.ndarray:
        return related.prefixes(order[:, :count])[0, 1:]

    def toggles(count: int) -> np.ndarray:
        return related.toggles(mask, order[0, :count])[1][0]

    seconds = sizes.seconds
    return {
        "rows in a tile": related.row_tile,
        "rows look independent in default precision": is_plain,
        "prefixes": _against_full(prefixes, value_fn, entered, seconds),
        "toggles": _against_full(toggles, value_fn, toggled, seconds),
    }


def _against_full(
    walk: Callable[[int], np.ndarray],
    value_fn: ValueFunction,
    masks: np.ndarray,
    budget: float,
) -> Figures:
    """Values a second by a walk, against those of full forwards of the same masks.

    Args:
      walk: number of moves -> the values after each of them.
      value_fn: values the same coalitions one by one.
      masks: the coalitions, in the order of the moves.
      budget: seconds for each side; it decides on the number of moves.
    """
    few = timed(lambda: walk(FEW), 0.0)
    count = int(np.clip(FEW * budget / few.median, FEW, len(masks)))
    updates = timed(lambda: walk(count), budget).median / count
    full = timed(lambda: value_fn(masks), budget, least=3).median / len(masks)
    apart = np.abs(walk(count) - value_fn(masks)[:count]).max()
    return {
        "moves": count,
        "by updates a second": 1 / updates,
        "by full forwards a second": 1 / full,
        "seconds of the first call": few.first,
        "updates / full": full / updates,
        "faster": "updates" if updates < full else "full forwards",
        "largest difference": float(apart),
    }


def _incremental(tile: int | str, sizes: Sizes) -> tuple[Incremental, bool]:
    """The walks, and whether the products' default precision allows them.

    The library compares outputs of two batches; coarse products may differ by more than
    its tolerance, where another batch takes another kernel.
    """
    for precision in ("default", "highest"):
        with jax.default_matmul_precision(precision):
            related = _make_incremental(tile, sizes)
        if related is not None:
            return related, precision == "default"
    raise RuntimeError("the library has no rank-one updates of this network")


def _make_incremental(tile: int | str, sizes: Sizes) -> Incremental | None:
    network = network_of(LENET, "float32", sizes)
    return make_incremental(
        players_of(LENET, sizes),
        network.params,
        network.metric,
        network.inputs,
        network.labels,
        row_tile=tile,
        max_share=float("inf"),
    )


class Stopwatch:
    """A value function, the seconds that are spent in it, and its values.

    Attributes:
      num_players: N.
      seconds: in all calls.
      values: of all coalitions so far.
    """

    def __init__(self, value_fn: ValueFunction):
        self.num_players = value_fn.num_players
        self.seconds = 0.0
        self.values: list[np.ndarray] = []
        self._value_fn = value_fn

    def __call__(self, masks: np.ndarray) -> np.ndarray:
        """The values of coalitions, bool [S, N]."""
        start = time.perf_counter()
        found = self._value_fn(masks)
        self.seconds += time.perf_counter() - start
        self.values.append(found)
        return found


def banzhaf_part(sizes: Sizes) -> Entries:
    """Banzhaf values of all of GPT-2's players by maximum sample reuse."""
    return {"gpt2": lambda: _measure_banzhaf(sizes)}


def _measure_banzhaf(sizes: Sizes) -> Figures:
    rounding = rounding_of("gpt2", sizes)
    dtype = "bfloat16" if rounding < FINE else "float32"
    value_fn = value_fn_of("gpt2", dtype, sizes)
    _estimate(value_fn, sizes.pilot)  # compiles what draws coalitions
    start = time.perf_counter()
    _estimate(value_fn, sizes.pilot)
    pilot = time.perf_counter() - start
    budget = max(sizes.pilot, int(sizes.banzhaf_seconds / pilot * sizes.pilot))
    game = Stopwatch(value_fn)
    start = time.perf_counter()
    estimate = _estimate(game, budget)
    seconds = time.perf_counter() - start
    scores = estimate.scores
    return {
        "players": value_fn.num_players,
        "method": estimate.method,
        "key": KEY,
        "forwards in": dtype,
        "rounding of bfloat16 / spread of the values": rounding,
        "evaluations": scores.num_evaluations,
        "seconds": seconds,
        "evaluations a second": scores.num_evaluations / seconds,
        "seconds in forwards": game.seconds,
        "seconds outside": seconds - game.seconds,
        "median standard error": float(np.median(scores.stderr)),
        "standard deviation of the indices": float(np.std(scores.value)),
        "standard deviation of the values": float(np.std(np.concatenate(game.values))),
        "predicted agreement": estimate.agreement,
        "verdict": at_most(
            "seconds outside / in forwards",
            (seconds - game.seconds) / game.seconds,
            0.01,
        ),
    }


def _estimate(game: Any, num_evaluations: int) -> IndexEstimate:
    return estimate_indices(
        jax.random.key(KEY),
        game,
        banzhaf,
        num_evaluations=num_evaluations,
        method="sample_reuse",
    )


def gating_part(sizes: Sizes) -> Entries:
    """A training step with gates against one without."""
    return {
        "mlp": lambda: bench_gating(2 * sizes.steps, steps=min(10, sizes.steps)),
        "gpt2": lambda: _measure_step(sizes),
    }


def _measure_step(sizes: Sizes) -> Figures:
    network, players = network_of("gpt2", "float32", sizes), players_of("gpt2", sizes)
    tx = optax.sgd(0.01)
    gates = jnp.full(players.num_players, 0.5)
    state = tx.init(network.params)

    def plain(params: Any, gates: jax.Array, inputs: jax.Array) -> jax.Array:
        return network.apply(params, inputs)

    args = network.params, state, gates
    times = measure_latency(
        {
            "plain": (_train(network, plain, tx), args),
            "gated": (_train(network, players.gated, tx), args),
        },
        repeats=sizes.steps,
    )
    ratio = times["gated"].median / times["plain"].median
    return {
        "sequences": list(network.inputs.shape),
        "ms": {name: milliseconds(latency) for name, latency in times.items()},
        "verdict": at_most("gated / plain", ratio, 1.10),
    }


def _train(
    network: Network, forward: Callable[..., Any], tx: optax.GradientTransformation
) -> Callable[..., Any]:
    def step(params, state, gates):
        def objective(params):
            outputs = forward(params, gates, network.inputs)
            return -network.metric(outputs, network.labels)

        updates, state = tx.update(jax.grad(objective)(params), state, params)
        return optax.apply_updates(params, updates), state

    return step
