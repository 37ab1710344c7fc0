"""May a player that left come back, and at what price? The market, three ways.

    python -m experiments.equilibrium_mnist.regrowth     # some fifteen minutes

Whoever loses its seat at a clearing loses its gate in fifty steps, and stands at the
next clearings: at the price of all others ("free"), at twice that price ("twice"), or
at none ("never", as in one-way pruning). All else is alike: seeds, batches, budget.
What is in the result already is not run again.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gamepruning as gp
from experiments.equilibrium_mnist.common import HERE, write_json
from experiments.markdown import read
from gamepruning.equilibrium.market import MarketState
from gamepruning.workbench.datasets import Dataset, load_dataset
from gamepruning.workbench.networks.models import build_model

SEEDS = (0, 1, 2, 3, 4)
KEEP = (0.1, 0.05, 0.02)
TOLLS = {"free": 0.0, "twice": 1.0, "never": np.inf}  # in prices, of who comes back
FORBIDDEN = 1e9  # prices; no player is worth as much
OUT = HERE / "regrowth.json"


class Network(NamedTuple):
    """What is trained, on which data, how long."""

    model: str
    dataset: str
    epochs: int
    batch_size: int


NETWORKS = {
    "64-512-256-10 on digits": Network("mlp", "digits", 100, 64),
    "784-300-100-10 on MNIST": Network("lenet_300_100", "mnist", 6, 128),
}


class Played(NamedTuple):
    """The market so far.

    Attributes:
      market: its state.
      was_out: whose gate was at 0 once, bool [N].
      returns: gates that rose from 0 again, so far.
    """

    market: MarketState
    was_out: jax.Array
    returns: jax.Array


def play(network: Network, data: Dataset, keep: float, toll: float, seed: int) -> Any:
    """One game: who stays, how good it is, and who came back."""
    inputs, labels = jnp.asarray(data.train.inputs), jnp.asarray(data.train.labels)
    model = build_model(network.model, input_shape=data.input_shape, num_outputs=10)
    params = model.init(jax.random.key(seed))
    players = gp.find_players(model.apply, params, inputs[:1])
    per_epoch = len(labels) // network.batch_size
    added: dict[str, jax.Array] = {}  # to the price, as the step that is traced has it
    init, move = gp.make_market_step(
        players,
        gp.cross_entropy,
        gp.joint_optimizer(optax.adam(1e-3), gp.projected_gate_ascent(0.02)),
        gp.Budget(keep=keep),
        num_steps=per_epoch * network.epochs,
        benefit_fn=lambda _, benefits: benefits - added["toll"],
    )

    def step(state: Played, batch: tuple) -> tuple[Played, None]:
        market, out = state.market, state.market.gates == 0
        price = jnp.maximum(market.price, 1e-12)
        added["toll"] = jnp.where(out, min(toll, FORBIDDEN) * price, 0.0)
        market, _ = move(market, batch)
        returns = state.returns + (out & (market.gates > 0)).sum()
        return Played(market, state.was_out | (market.gates == 0), returns), None

    @jax.jit
    def epoch(state: Played, key: jax.Array) -> Played:
        order = jax.random.permutation(key, len(labels))
        rows = order[: per_epoch * network.batch_size].reshape(per_epoch, -1)
        return jax.lax.scan(lambda s, r: step(s, (inputs[r], labels[r])), state, rows)[
            0
        ]

    nobody = jnp.zeros(players.num_players, bool)
    state = Played(init(params), nobody, jnp.zeros((), int))
    for key in jax.random.split(jax.random.key(100 + seed), network.epochs):
        state = epoch(state, key)
    mask = np.asarray(state.market.gates) > 0
    small = gp.compact(players, state.market.params, mask, inputs=(inputs[:1],))
    outputs = jax.jit(small.apply)(small.params, jnp.asarray(data.test.inputs))
    right = (outputs.argmax(-1) == jnp.asarray(data.test.labels)).mean()
    return {
        "seed": seed,
        "kept": [int(mask[f.start : f.stop].sum()) for f in players.families],
        "test": round(100 * float(right), 2),
        "left once": int(state.was_out.sum()),
        "returns": int(state.returns),
        "returned and stay": int((np.asarray(state.was_out) & mask).sum()),
    }


def main() -> None:
    """All networks, sizes, tolls and seeds."""
    found: dict[str, Any] = {"runs": {}}
    if OUT.exists():
        found = read("equilibrium_mnist/regrowth.json")
    found["command"] = "python -m experiments.equilibrium_mnist.regrowth"
    for name, network in NETWORKS.items():
        for seed in SEEDS:
            data = load_dataset(network.dataset, seed=seed)
            for keep in KEEP:
                for how, toll in TOLLS.items():
                    rows = found["runs"].setdefault(f"{name}, {keep:.0%}, {how}", [])
                    if any(row["seed"] == seed for row in rows):
                        continue
                    rows.append(play(network, data, keep, toll, seed))
                    print(name, keep, how, rows[-1], flush=True)
                    write_json(OUT, found)


if __name__ == "__main__":
    main()
