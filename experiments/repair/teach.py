"""What a teacher adds in fine-tuning: its outputs, and what it has inside.

    python -m experiments.repair.teach digits    # 3 seeds, a minute
    python -m experiments.repair.teach lenet5    # 3 seeds; needs MNIST

Elimination chooses who stays, closed-form repair comes first. Then the same schedule
with labels alone; with the teacher's outputs, too (0.9 of the loss); and with taps at
the repaired readers added to that. Nothing is chosen by the results; the test part is
read once after each schedule.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gamepruning as gp
from experiments.gtap import digits, lenet5
from experiments.gtap.common import Network, write_json
from experiments.repair.run import Bench
from gamepruning.distillation import distillation_loss, tap_divergence
from gamepruning.reconstruction import RepairConfig, tap_readers

HERE = Path(__file__).parent
SEEDS = (0, 1, 2)
BATCH, RATE = 128, 1e-3
WAYS = ("labels", "teacher", "teacher and taps")


class Study(NamedTuple):
    """What is pruned and fine-tuned.

    Attributes:
      load: seed -> the trained network.
      sizes: how many players stay, or how many of each family.
      epochs: of the schedule.
    """

    load: Callable[[int], Network]
    sizes: tuple[Any, ...]
    epochs: int


STUDIES = {
    "digits": Study(digits.load, ((25, 12), (12, 6)), 30),
    "lenet5": Study(lenet5.load, (60, 30), 20),
}


def run_seed(study: Study, seed: int) -> list[dict[str, Any]]:
    """All sizes of one network."""
    bench = Bench(study.load(seed))
    scores, rows = bench.scores("elimination", jax.random.key(seed)), []
    for size in study.sizes:
        mask = np.asarray(gp.top_n(scores, size, players=bench.players))
        repaired = gp.repair(
            bench.players,
            bench.network.params,
            mask,
            bench.inputs,
            config=RepairConfig(classes=True),
        ).params
        small = gp.compact(bench.players, repaired, mask, min_units=0)
        row = {"seed": seed, "size": size, "repaired": tested(bench, small, None)}
        for way in WAYS:
            start = time.perf_counter()
            params = finetune(bench, small, way, study.epochs, seed)
            row[way] = tested(bench, small, params)
            row[f"{way}, seconds"] = round(time.perf_counter() - start, 1)
        print(row, flush=True)
        rows.append(row)
    return rows


def tested(bench: Bench, small: Any, params: Any) -> float:
    """Accuracy on the test part."""
    part = bench.network.test
    inputs = small.plan.select_inputs(jnp.asarray(part.inputs))
    outputs = jax.jit(small.apply)(small.params if params is None else params, *inputs)
    return float(gp.accuracy(outputs, jnp.asarray(part.labels)))


def finetune(bench: Bench, small: Any, way: str, epochs: int, seed: int) -> Any:
    """The small network's parameters after a schedule of one way."""
    players, params = bench.players, bench.network.params
    inputs = np.asarray(bench.network.train.inputs)
    labels = np.asarray(bench.network.train.labels)
    taps, num = tap_readers(players, small.mask), len(labels) // BATCH
    rate = optax.cosine_decay_schedule(RATE, epochs * num)
    optimizer = optax.adam(rate)

    def loss(weights: Any, x: Any, y: Any) -> jax.Array:
        (own,) = small.plan.select_inputs(x)
        outputs, ours = taps.small(weights, own)
        if way == "labels":
            return gp.cross_entropy(outputs, y)
        teacher = taps.full(params, x)
        found = distillation_loss(outputs, y, teacher.outputs)
        inside = tap_divergence(ours, teacher.taps) if way == WAYS[2] else 0
        return found + inside

    @jax.jit
    def step(weights: Any, state: Any, x: Any, y: Any) -> tuple[Any, Any]:
        change, state = optimizer.update(jax.grad(loss)(weights, x, y), state, weights)
        return optax.apply_updates(weights, change), state

    weights, state = small.params, optimizer.init(small.params)
    numbers = np.random.default_rng(seed)
    for _ in range(epochs):
        order = numbers.permutation(len(labels))[: num * BATCH]
        for rows in order.reshape(num, BATCH):
            weights, state = step(weights, state, inputs[rows], labels[rows])
    return weights


def main() -> None:
    """Run a study, and write its results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=STUDIES)
    name = parser.parse_args().study
    study = STUDIES[name]
    rows = [row for seed in SEEDS for row in run_seed(study, seed)]
    found = {
        "command": f"python -m experiments.repair.teach {name}",
        "epochs": study.epochs,
        "rows": rows,
    }
    write_json(HERE / f"teach-{name}.json", found)


if __name__ == "__main__":
    main()
