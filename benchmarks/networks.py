"""Benchmarks of networks: latency, gating, sweeps, and finding the players."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.resnet18 import make_resnet18
from benchmarks.timing import at_most, milliseconds, seconds_of
from gamepruning import metrics
from gamepruning.compaction.compact import compact
from gamepruning.compaction.measure import measure_latency
from gamepruning.equilibrium import (
    UtilityConfig,
    joint_optimizer,
    make_equilibrium_step,
    make_sweep_step,
    sweep_grid,
)
from gamepruning.players import find_players
from gamepruning.workbench.networks.models import build_model

MNIST = (28, 28, 1)
WHOLE_GAME = UtilityConfig(beta=0.05, gamma=0.05, eta=0.001)


def bench_latency(
    repeats: int | None = None, *, batch: int = 10_000, removed: float = 0.9
) -> dict[str, Any]:
    """Inference of LeNet-300-100 with players removed, against the dense one.

    Args:
      repeats: calls to time; None for a budget of seconds.
      batch: examples a call.
      removed: fraction of every layer that leaves, at random.
    """
    model = build_model("lenet_300_100", input_shape=MNIST, num_outputs=10)
    params = model.init(jax.random.key(0))
    inputs = jax.random.uniform(jax.random.key(1), (batch, *MNIST))
    players = find_players(model.apply, params, inputs[:8])
    mask = np.concatenate(
        [np.arange(f.size) >= round(removed * f.size) for f in players.families]
    )
    small = compact(players, params, mask, inputs=(inputs[:8],))
    times = measure_latency(
        {
            "dense": (model.apply, (params, inputs)),
            "small": (small.apply, (small.params, inputs)),
        },
        budget=6.0,
        repeats=repeats,
    )
    ratio = times["small"].median / times["dense"].median
    return {
        "model": "lenet_300_100",
        "batch": batch,
        "kept": [int(mask[f.start : f.stop].sum()) for f in players.families],
        "ms": {name: milliseconds(latency) for name, latency in times.items()},
        "verdict": at_most("small / dense", ratio, 1 / 3),
    }


def bench_gating(
    repeats: int | None = None, *, batch: int = 128, steps: int = 10
) -> dict[str, Any]:
    """A training step of the 784-512-256-10 MLP with gates, against one without.

    "gated" trains the weights under fixed gates; "game" is the whole step of
    Algorithm 1: gradients of weights and gates, utilities with all terms, competition
    among them, both optimizers.

    Args:
      repeats: calls to time; None for a budget of seconds.
      batch: examples a step.
      steps: steps a call, in one compiled scan.
    """
    model = build_model("mlp", input_shape=MNIST, num_outputs=10)
    params = model.init(jax.random.key(0))
    inputs = jax.random.uniform(jax.random.key(1), (steps, batch, *MNIST))
    labels = jax.random.randint(jax.random.key(2), (steps, batch), 0, 10)
    players = find_players(model.apply, params, inputs[0, :8])
    gates = jnp.full(players.num_players, 0.5)
    tx = optax.sgd(0.1, 0.9)
    game = make_equilibrium_step(
        players,
        metrics.cross_entropy,
        joint_optimizer(),
        WHOLE_GAME,
    )

    def plain(params, gates, x):
        return model.apply(params, x)

    def train(forward: Callable) -> Callable:
        def step(carry, data):
            params, state, gates = carry

            def objective(params):
                return metrics.cross_entropy(forward(params, gates, data[0]), data[1])

            updates, state = tx.update(jax.grad(objective)(params), state, params)
            return (optax.apply_updates(params, updates), state, gates), None

        return lambda carry, data: jax.lax.scan(step, carry, data)[0]

    def play(state, data):
        return jax.lax.scan(game.step, state, data)[0]

    start, data = (params, tx.init(params), gates), (inputs, labels)
    times = measure_latency(
        {
            "plain": (train(plain), (start, data)),
            "gated": (train(players.gated), (start, data)),
            "game": (play, (game.init(params), data)),
        },
        budget=15.0,
        repeats=repeats,
    )
    plain_median = times["plain"].median
    return {
        "model": "784-512-256-10",
        "batch": batch,
        "steps_per_call": steps,
        "ms": {name: milliseconds(latency, steps) for name, latency in times.items()},
        "verdict": at_most("gated / plain", times["gated"].median / plain_median, 1.10),
        "verdict of the game": at_most(
            "game / plain", times["game"].median / plain_median, 1.15
        ),
    }


def bench_sweep(
    repeats: int | None = None, *, num_points: int = 8, steps: int = 20
) -> dict[str, Any]:
    """Eight games in one compiled program, against one game.

    The eight share all devices at hand, which are the cores where there is no
    accelerator; the one has the first device, as always. The network and the batches
    are those of `gamepruning sweep` as it comes: 64-512-256-10, 64 examples a step.

    Args:
      repeats: calls to time; None for a budget of seconds.
      num_points: games of the sweep.
      steps: steps a call, in one compiled scan.
    """
    shape, batch = (8, 8, 1), 64
    model = build_model("mlp", input_shape=shape, num_outputs=10)
    inputs = jax.random.uniform(jax.random.key(1), (steps, batch, *shape))
    labels = jax.random.randint(jax.random.key(2), (steps, batch), 0, 10)
    params = model.init(jax.random.key(0))
    players = find_players(model.apply, params, inputs[0, :8])
    calls = {}
    for count in (1, num_points):
        points = sweep_grid(
            beta=0.05, gamma=[0.01 * (k + 1) for k in range(count)], seed=0
        )
        init, step = make_sweep_step(players, metrics.cross_entropy, points)
        fresh = jax.vmap(lambda seed: model.init(jax.random.key(seed)))

        def play(state, data, step=step):
            return jax.lax.scan(step, state, data)[0]

        calls[f"{count} games"] = (play, (init(fresh(points.seed)), (inputs, labels)))
    times = measure_latency(calls, budget=10.0, repeats=repeats)
    one, many = (times[name].median for name in calls)
    return {
        "model": "64-512-256-10",
        "batch": batch,
        "devices": jax.local_device_count(),
        "steps_per_call": steps,
        "ms": {name: milliseconds(latency, steps) for name, latency in times.items()},
        "verdict": at_most(f"{num_points} games / one", many / one, 3.0),
    }


def bench_trace(repeats: int | None = None) -> dict[str, Any]:
    """Finding the players of ResNet-18 at 224x224, and removing half of them.

    The analysis is what `find_players` takes beyond `jax.make_jaxpr`.

    Args:
      repeats: analyses to time, 3 by default; the median counts.
    """
    apply, params = make_resnet18(jax.random.key(0))
    example = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    tracing, finding = [], []
    for _ in range(repeats or 3):
        jax.clear_caches()
        tracing.append(seconds_of(lambda: jax.make_jaxpr(apply)(params, example)))
        jax.clear_caches()
        finding.append(seconds_of(lambda: find_players(apply, params, example)))
    players = find_players(apply, params, example)
    rng = np.random.default_rng(0)
    mask = np.concatenate(
        [rng.permutation(f.size) < f.size // 2 for f in players.families]
    )
    inputs = jax.random.normal(jax.random.key(1), (1, 224, 224, 3))
    start = time.perf_counter()
    small = compact(players, params, mask, inputs=(inputs,))
    compacting = time.perf_counter() - start
    make_jaxpr, find = float(np.median(tracing)), float(np.median(finding))
    report = small.report
    return {
        "model": "ResNet-18 at 224x224",
        "players": players.num_players,
        "families": len(players.families),
        "kept": int(mask.sum()),
        "opaque": list(players.opaque),
        "seconds": {
            "make_jaxpr": make_jaxpr,
            "find_players": find,
            "analysis": find - make_jaxpr,
            "compact and verify": compacting,
        },
        "params": [int(report.params.before), int(report.params.after)],
        "macs": [int(report.macs.before), int(report.macs.after)],
        "max_error": float(report.max_error),
        "verdict": at_most("seconds of analysis", find - make_jaxpr, 2.0),
    }
