"""Training what is left: on from its weights, and afresh from its first ones."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gamepruning as gp
from experiments.gtap.common import Study, counts_of, write_json


def tune(
    study: Study,
    methods: Sequence[str],
    *,
    sizes: Sequence[float],
    epochs: int,
    fresh_epochs: int,
    batch_size: int = 128,
    rate: float = 1e-3,
) -> None:
    """Fine-tuning and clean-slate retraining of what the methods keep.

    All networks are trained side by side with their gates closed for those who left,
    which is the training of the compacted networks.
    """
    if "tuned" in study.found:
        return
    wanted = counts_of(study.players.num_players, sizes)
    rows = [
        (f"{method} at {n}", study.masks(method)[study.counts.index(n)])
        for method in methods
        for n in wanted
    ]
    masks = np.stack([mask for _, mask in rows])
    network = study.network
    tuned = _train(study, network.params, masks, epochs, batch_size, rate)
    fresh = _train(study, network.start, masks, fresh_epochs, batch_size, rate)
    before = study.test(masks)
    study.found["tuned"] = {
        name: {
            "before": round(float(before[k]), 4),
            "fine-tuned": round(tuned[k], 4),
            "clean slate": round(fresh[k], 4),
        }
        for k, (name, _) in enumerate(rows)
    }
    write_json(study.path, study.found)
    for name, row in study.found["tuned"].items():
        print(f"{study.path.stem:12s} {name:40s} {row}", flush=True)


def _train(study: Study, params: Any, masks: np.ndarray, epochs, size, rate):
    """Test accuracies of the members, trained side by side."""
    network, players = study.network, study.players
    x, y = jnp.asarray(network.train.inputs), jnp.asarray(network.train.labels)
    num_batches = len(y) // size
    schedule = optax.cosine_decay_schedule(rate, epochs * num_batches, 0.01)
    tx = optax.adam(schedule)
    gates = jnp.asarray(masks, jnp.float32)

    def loss(params, gates, rows):
        return gp.cross_entropy(players.gated(params, gates, x[rows]), y[rows])

    @jax.jit
    def epoch(members, states, key):
        order = jax.random.permutation(key, len(y))[: num_batches * size]

        def step(carry, rows):
            def one(params, state, gates):
                grads = jax.grad(loss)(params, gates, rows)
                updates, state = tx.update(grads, state, params)
                return optax.apply_updates(params, updates), state

            return jax.vmap(one)(*carry, gates), None

        return jax.lax.scan(step, (members, states), order.reshape(-1, size))[0]

    members = jax.tree.map(lambda p: jnp.stack([jnp.asarray(p)] * len(masks)), params)
    states = jax.vmap(tx.init)(members)
    for number in range(epochs):
        key = jax.random.fold_in(study.key, 5000 + number)
        members, states = epoch(members, states, key)
    inputs, labels = jnp.asarray(network.test.inputs), jnp.asarray(network.test.labels)

    @jax.jit
    def right(member):
        return gp.accuracy(players.gated(member[0], member[1], inputs), labels)

    return [float(v) for v in jax.lax.map(right, (members, gates))]
