"""Budgets of 50, 10, 5 and 2 %: does the network end at its target size?

    python -m experiments.equilibrium_mnist.budgets

Short games on MNIST (300 steps of 64), then real compaction; sizes are counted on the
small network, not taken from the controller.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gamepruning as gp
from experiments.equilibrium_mnist.common import HERE, Clock, write_json
from gamepruning.equilibrium.budget import Unit
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.networks.models import build_model

STEPS, BATCH_SIZE = 300, 64
SHARES = (0.5, 0.1, 0.05, 0.02)
UNITS: tuple[Unit, ...] = ("players", "params", "macs")


def meet(name: str, unit: Unit, share: float, data: Any) -> dict[str, Any]:
    """One game under one budget."""
    clock = Clock()
    inputs, labels = jnp.asarray(data.train.inputs), jnp.asarray(data.train.labels)
    model = build_model(name, input_shape=data.input_shape, num_outputs=10)
    params = model.init(jax.random.key(0))
    players = gp.find_players(model.apply, params, inputs[:1])
    size = gp.players.size_of(players, unit)
    whole = float(size(np.ones(players.num_players)))
    fewest = np.zeros(players.num_players, bool)
    fewest[[family.start for family in players.families]] = True
    if float(size(fewest)) > round(share * whole):
        return {"asked": round(share * whole), "note": "less than one player a family"}
    init, step = gp.make_market_step(
        players,
        gp.cross_entropy,
        gp.joint_optimizer(optax.adam(1e-3), gp.projected_gate_ascent(0.05)),
        gp.Budget(keep=share, unit=unit),
        num_steps=STEPS,
        every=10,
    )
    state, step = init(params), jax.jit(step)
    for number in range(STEPS):
        rows = slice(number * BATCH_SIZE, (number + 1) * BATCH_SIZE)
        state, _ = step(state, (inputs[rows], labels[rows]))
    mask = np.asarray(state.gates) > 0
    small = gp.compact(players, state.params, mask, inputs=(inputs[:1],))
    used = {
        "players": int(mask.sum()),
        "params": gp.compaction.count_params(small.params),
        "macs": gp.compaction.count_macs(small.apply, small.params, inputs[:1]),
    }[unit]
    asked, marginal = round(share * whole), np.asarray(size.marginal(mask))
    outputs = jax.jit(small.apply)(small.params, jnp.asarray(data.test.inputs))
    return {
        "asked": asked,
        "used": used,
        "short of it, %": round(100 * (asked - used) / asked, 2),
        "smallest player": round(float(marginal.min()), 1),
        "met": bool(0 <= asked - used <= max(0.01 * asked, marginal.min())),
        "kept": [int(mask[f.start : f.stop].sum()) for f in players.families],
        "test": round(
            100 * float((outputs.argmax(-1) == jnp.asarray(data.test.labels)).mean()), 2
        ),
        "seconds": clock(),
    }


def main() -> None:
    data = load_dataset("mnist", seed=0)
    found: dict[str, Any] = {
        "command": "python -m experiments.equilibrium_mnist.budgets",
        "steps": STEPS,
        "batch size": BATCH_SIZE,
    }
    for name in ("mlp", "lenet_5"):
        found[name] = {}
        for unit in UNITS:
            for share in SHARES:
                row = meet(name, unit, share, data)
                found[name][f"{share:.0%} of {unit}"] = row
                print(name, unit, share, row, flush=True)
                write_json(HERE / "budgets.json", found)


if __name__ == "__main__":
    main()
