"""Table 2 of arXiv 2512.22106: four configurations, five seeds, several readings.

    python -m experiments.equilibrium_mnist.table2

Writes table2.json after each reading and resumes where it stopped.
"""

import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gamepruning as gp
from experiments.equilibrium_mnist.common import (
    HERE,
    Clock,
    flat,
    mlp,
    percent_right,
    spread,
    write_json,
)
from gamepruning.equilibrium.config import Benefit, Norm
from gamepruning.workbench.datasets import load_dataset

PATH = HERE / "table2.json"
EPOCHS, BATCH_SIZE, SEEDS = 20, 128, (0, 1, 2, 3, 4)
PAPER = {  # accuracy and sparsity in percent
    "very_high_beta": (96.64, 0.0),
    "extreme_beta": (91.15, 95.18),
    "l1_strong": (89.57, 98.31),
    "l1_l2": (91.54, 98.05),
}


class Reading(NamedTuple):
    """What the paper leaves open.

    Attributes:
      benefit: its sign and gradient.
      norm: what |theta_i|^2 is.
      gates: "plain" ascent or "adam".
      weights: "adam" (0.001) or "sgd" (0.1, momentum 0.9).
    """

    benefit: Benefit
    norm: Norm
    gates: str
    weights: str

    def optimizer(self, weight_learning_rate, gate_learning_rate):
        weights = optax.sgd(0.1, 0.9) if self.weights == "sgd" else optax.adam(1e-3)
        inner = optax.scale_by_adam() if self.gates == "adam" else None
        gates = gp.projected_gate_ascent(gate_learning_rate, inner)
        return gp.joint_optimizer(weights, gates)


READINGS = {
    "as printed": Reading("literal", "sum", "plain", "adam"),
    "descent, gates by Adam, SGD": Reading("descent", "sum", "adam", "sgd"),
    "descent, gates by Adam, mean norm": Reading("descent", "mean", "adam", "adam"),
    "descent, plain ascent": Reading("descent", "sum", "plain", "adam"),
    "descent, gates by Adam, unit norm": Reading("descent", "unit", "adam", "adam"),
}


def play(reading: Reading) -> dict[str, Any]:
    """All four configurations and all seeds in one program."""
    clock = Clock()
    data = flat(load_dataset("mnist", seed=0))
    inputs, labels = jnp.asarray(data.train.inputs), jnp.asarray(data.train.labels)
    model = mlp((512, 256))
    players = gp.find_players(model.apply, model.init(jax.random.key(0)), inputs[:4])
    grids = [
        gp.equilibrium.sweep_grid(
            beta=c.number("beta"), gamma=c.number("gamma"), seed=SEEDS
        )
        for c in (gp.equilibrium.EQUILIBRIUM_PRESETS[name] for name in PAPER)
    ]
    points = jax.tree.map(lambda *columns: jnp.concatenate(columns), *grids)
    init, step = gp.equilibrium.make_sweep_step(
        players,
        gp.cross_entropy,
        points,
        gp.UtilityConfig(benefit=reading.benefit, norm=reading.norm),
        optimizer=reading.optimizer,
    )
    num_batches = len(inputs) // BATCH_SIZE

    @jax.jit
    def epoch(state, key):
        order = jax.random.permutation(key, len(inputs))[: num_batches * BATCH_SIZE]

        def one(state, rows):
            return step(state, (inputs[rows], labels[rows]))[0], None

        return jax.lax.scan(one, state, order.reshape(num_batches, -1))[0]

    state = init(jax.vmap(lambda s: model.init(jax.random.key(s)))(points.seed))
    for number in range(EPOCHS):
        state = epoch(state, jax.random.fold_in(jax.random.key(7), number))
        print(f"  epoch {number + 1}, {clock()} s", flush=True)
    rows = {}
    for place, name in enumerate(PAPER):
        own = range(place * len(SEEDS), (place + 1) * len(SEEDS))
        found = [judge(players, state, k, data) for k in own]
        rows[name] = {
            "on": spread([row["on"] for row in found]),
            "removed": spread([row["removed"] for row in found]),
            "sparsity": spread([row["sparsity"] for row in found]),
            "mean gate": spread([row["mean gate"] for row in found]),
            "kept": [row["kept"] for row in found],
            "paper": {"accuracy": PAPER[name][0], "sparsity": PAPER[name][1]},
        }
    return {"reading": reading._asdict(), "rows": rows, "seconds": clock()}


def judge(players: gp.Players, state: Any, k: int, data: Any) -> dict[str, Any]:
    """Test accuracy with the gates on, and after removal."""
    params = jax.tree.map(lambda leaf: leaf[k], state.params)
    gates = state.gates[k]
    mask = np.asarray(gp.equilibrium.surviving_players(gates))
    left = jnp.where(jnp.asarray(mask), gates, 0.0)
    kept = [int(mask[f.start : f.stop].sum()) for f in players.families]
    on = percent_right(lambda p, x: players.gated(p, gates, x), params, data.test)
    removed = percent_right(lambda p, x: players.gated(p, left, x), params, data.test)
    if all(kept) and not mask.all():
        apply = players.apply
        scaled = players.participate(params, left)  # exact for relu
        small = gp.compact(players, scaled, mask, inputs=(data.test.inputs[:64],))
        really = percent_right(small.apply, small.params, data.test)
        assert abs(really - removed) <= 0.02, (really, removed, apply)
        removed = really
    return {
        "on": on,
        "removed": removed,
        "sparsity": 100 * (1 - sum(kept) / players.num_players),
        "mean gate": float(gates.mean()),
        "kept": kept,
    }


def main() -> None:
    found: dict[str, Any] = {
        "command": "python -m experiments.equilibrium_mnist.table2",
        "seeds": list(SEEDS),
        "readings": {},
    }
    if PATH.is_file():
        found = json.loads(PATH.read_text())
    for name, reading in READINGS.items():
        if name not in found["readings"]:
            print(name, flush=True)
            found["readings"][name] = play(reading)
            write_json(PATH, found)


if __name__ == "__main__":
    main()
