"""What the experiments of this folder share: data, losses, training of many at once."""

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gamepruning as gp
from gamepruning.baselines import make_hard_concrete_step, open_probability
from gamepruning.workbench.datasets import Dataset, load_dataset
from gamepruning.workbench.networks.models import build_model

HERE = Path(__file__).parent
# XLA rounds a sum by how it is split among threads, and training by another course ends
# elsewhere. Four threads, whatever the cores: so the files here can be made again.
os.environ.setdefault("NPROC", "4")


class Recipe(NamedTuple):
    """How networks are trained.

    Attributes:
      epochs: passes over the training data.
      batch_size: examples a step.
      learning_rate: of Adam, falling to a hundredth by a cosine.
      dropout: share of the inputs that each step leaves out.
      decay: weight of the sum of squared weights in the loss.
      bend: q of the loss (1 - p^q) / q; 0 is cross-entropy.
    """

    epochs: int
    batch_size: int = 32
    learning_rate: float = 5e-3
    dropout: float = 0.1
    decay: float = 1e-4
    bend: float = 0.3


def bounded_loss(bend: float) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """(1 - p^q) / q of the true class's probability, cross-entropy for q = 0.

    A network of a few neurons cannot fit all examples; this loss does not let it spend
    itself on those out of its reach (Zhang and Sabuncu, Generalized Cross Entropy Loss,
    NeurIPS 2018).
    """
    if not bend:
        return gp.cross_entropy

    def loss(outputs, labels):
        log_p = jax.nn.log_softmax(outputs)
        own = jnp.take_along_axis(log_p, labels[:, None], axis=1)
        return ((1 - jnp.exp(bend * own)) / bend).mean()

    return loss


def drop_inputs(key: jax.Array, inputs: jax.Array, share: float) -> jax.Array:
    """Inputs with a share of them at 0, the mean of standardised data."""
    if not share:
        return inputs
    return jnp.where(jax.random.bernoulli(key, 1 - share, inputs.shape), inputs, 0.0)


def sum_of_squares(params: Any) -> jax.Array:
    """Of the weights, biases apart."""
    leaves = [p for p in jax.tree.leaves(params) if p.ndim > 1]
    return sum((jnp.square(leaf).sum() for leaf in leaves), start=jnp.zeros(()))


def mnist(seed: int) -> Dataset:
    """MNIST with a split into training and validation data of its own, flat."""
    return flat(load_dataset("mnist", seed=seed, standardise=True))


def flat(data: Dataset) -> Dataset:
    """Inputs as vectors."""

    def vectors(split):
        return split._replace(
            inputs=np.asarray(split.inputs, np.float32).reshape(len(split.inputs), -1)
        )

    return data._replace(
        train=vectors(data.train),
        validation=vectors(data.validation),
        test=vectors(data.test),
    )


def mlp(widths: Sequence[int], num_inputs: int = 784):
    """The multi-layer perceptron of the paper as pure functions."""
    return build_model(
        "mlp", input_shape=(num_inputs,), num_outputs=10, widths=tuple(widths)
    )


class Member(NamedTuple):
    """A network to be trained beside others of its shapes.

    Attributes:
      params: where it starts.
      seed: the number of its data set in the list.
      key: its random key.
    """

    params: Any
    seed: int
    key: jax.Array


def train_many(
    apply: Callable, members: Sequence[Member], data: Sequence[Dataset], recipe: Recipe
) -> list[Any]:
    """Train networks of one shape side by side, each on the data of its seed."""
    inputs = jnp.stack([jnp.asarray(d.train.inputs) for d in data])
    labels = jnp.stack([jnp.asarray(d.train.labels) for d in data])
    loss_fn = bounded_loss(recipe.bend)
    size = recipe.batch_size
    num_batches = inputs.shape[1] // size
    rate = optax.cosine_decay_schedule(
        recipe.learning_rate, recipe.epochs * num_batches, 0.01
    )
    tx = optax.adam(rate)

    def loss(params, x, y, key):
        outputs = apply(params, drop_inputs(key, x, recipe.dropout))
        return loss_fn(outputs, y) + recipe.decay * sum_of_squares(params)

    def epoch(params, opt_state, seed, key):
        order = jax.random.permutation(key, inputs.shape[1])
        rows = order[: num_batches * size].reshape(num_batches, size)

        def step(carry, now):
            params, opt_state = carry
            index, key = now
            x, y = inputs[seed, index], labels[seed, index]
            grads = jax.grad(loss)(params, x, y, key)
            updates, opt_state = tx.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), None

        keys = jax.random.split(key, num_batches)
        return jax.lax.scan(step, (params, opt_state), (rows, keys))[0]

    run = jax.jit(jax.vmap(epoch))
    params = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *[m.params for m in members]
    )
    opt_state = jax.vmap(tx.init)(params)
    seeds = jnp.array([m.seed for m in members])
    keys = jnp.stack([m.key for m in members])
    for number in range(recipe.epochs):
        now = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
        params, opt_state = run(params, opt_state, seeds, now)
    return [
        jax.tree.map(lambda leaf, k=k: leaf[k], params) for k in range(len(members))
    ]


class Cut(NamedTuple):
    """A small network before it is trained on."""

    kept: tuple[int, ...]
    small: Any
    seconds: float


class Shrinking(NamedTuple):
    """How a network shrinks.

    Attributes:
      widths: hidden units of the dense network.
      keep: the budget: how many players, or how many of each family.
      epochs: in which the budget falls.
      ranking: "equilibrium", or a control: "magnitude", "random" or "l0".
      batch_size: examples a step.
      learning_rate: of Adam.
      pixels: whether input features are players, too.
      penalty: of one open gate, for "l0".
    """

    widths: tuple[int, ...]
    keep: int | tuple[int, ...]
    epochs: int
    ranking: str = "equilibrium"
    batch_size: int = 128
    learning_rate: float = 1e-3
    pixels: bool = False
    penalty: float = 0.01


def market(seed: int, data: Dataset, how: Shrinking, recipe: Recipe) -> Cut:
    """Epochs in which the budget falls, then compaction.

    Args:
      seed: of the start and of the order.
      data: examples.
      how: the network shrinks.
      recipe: its dropout and its loss.

    Returns:
      The small network, verified against the gated full one.
    """
    clock = Clock()
    init_key, order_key, other_key = jax.random.split(jax.random.key(seed), 3)
    inputs, labels = jnp.asarray(data.train.inputs), jnp.asarray(data.train.labels)
    model = mlp(how.widths, inputs.shape[1])
    params = model.init(init_key)
    axes = {0: 1} if how.pixels else None
    players = gp.find_players(model.apply, params, inputs[:4], input_axes=axes)
    num_batches = len(inputs) // how.batch_size
    loss_fn = bounded_loss(recipe.bend)
    if how.ranking == "l0":
        start, step = make_hard_concrete_step(
            players, loss_fn, optax.adam(how.learning_rate), how.penalty
        )
        state = start(other_key, params)
    else:
        gates = gp.projected_gate_ascent(0.01)
        start, step = gp.make_market_step(
            players,
            loss_fn,
            gp.joint_optimizer(optax.adam(how.learning_rate), gates),
            gp.Budget(keep=how.keep),
            num_steps=how.epochs * num_batches,
            start=0.15,
            end=0.95 if how.epochs * num_batches >= 4000 else 0.85,
            benefit_fn=ranker(how.ranking, players, other_key),
        )
        state = start(params)

    @jax.jit
    def epoch(state, key):
        order = jax.random.permutation(key, len(inputs))
        order = order[: num_batches * how.batch_size]

        def one(state, now):
            rows, key = now
            x = drop_inputs(key, inputs[rows], recipe.dropout)
            return step(state, (x, labels[rows]))[0], None

        keys = jax.random.split(key, num_batches)
        return jax.lax.scan(one, state, (order.reshape(num_batches, -1), keys))[0]

    for number in range(how.epochs):
        state = epoch(state, jax.random.fold_in(order_key, number))
    if how.ranking == "l0":
        assert isinstance(how.keep, tuple)
        mask = best_of_each(players, open_probability(state.log_alpha), how.keep)
    else:
        mask = np.asarray(state.gates) > 0
        assert set(np.unique(state.gates)) <= {0.0, 1.0}
    small = gp.compact(players, state.params, jnp.asarray(mask), inputs=(inputs[:64],))
    kept = tuple(int(mask[f.start : f.stop].sum()) for f in players.families)
    return Cut(kept, small, clock())


def ranker(ranking: str, players: gp.Players, key: jax.Array):
    """What stands in the place of the benefit, for the controls."""
    if ranking == "equilibrium":
        return None
    fixed = jax.random.uniform(key, (players.num_players,))
    if ranking == "random":
        return lambda params, benefits: fixed

    def magnitude(params, benefits):
        norms = gp.magnitude_scores(players, params).value
        means = [
            jnp.full(f.size, norms[f.start : f.stop].mean()) for f in players.families
        ]
        return norms / jnp.concatenate(means)

    return magnitude


def best_of_each(players, value, counts: Sequence[int]) -> np.ndarray:
    mask = np.zeros(players.num_players, bool)
    for family, count in zip(players.families, counts, strict=True):
        order = np.argsort(-np.asarray(value)[family.start : family.stop])
        mask[family.start + order[:count]] = True
    return mask


def percent_right(apply: Callable, params: Any, split: Any) -> float:
    """Accuracy in percent."""
    outputs = jax.jit(apply)(params, jnp.asarray(split.inputs))
    return round(
        100 * float((outputs.argmax(-1) == jnp.asarray(split.labels)).mean()), 2
    )


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean and sample standard deviation, and the values themselves."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {
        "mean": round(float(np.mean(values)), 3),
        "std": round(deviation, 3),
        "values": [round(float(v), 3) for v in values],
    }


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write at once or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(data, indent=1) + "\n")
    os.replace(partial, path)


class Clock:
    """Seconds since it was made."""

    def __init__(self):
        self._start = time.perf_counter()

    def __call__(self) -> float:
        return round(time.perf_counter() - self._start, 1)
