"""What a run works on: data, a network fit for them, and its players."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning import metrics
from gamepruning.errors import InputError
from gamepruning.players import Players, find_players
from gamepruning.trees.trainable import is_trainable
from gamepruning.workbench.datasets import Dataset, Split, load_dataset
from gamepruning.workbench.networks.models import Model, build_model
from gamepruning.workbench.networks.user import load_user_network
from gamepruning.workbench.settings.parts import DataSettings, NetworkSettings
from gamepruning.workbench.training.loop import Measure

EXAMPLES = 8  # examples with which a network is traced


class Task(NamedTuple):
    """Data, network and players that belong together.

    Attributes:
      dataset: the data, inputs in the shape that the network reads.
      network: the network.
      params: its start.
      players: the players of `network.apply`.
      train_players: those of `network.train_apply`; the same where it is plain.
      loss: (outputs, labels) -> scalar to be minimised.
      metric: (outputs, labels) -> scalar to be maximised.
      metric_name: "accuracy" or "R^2".
    """

    dataset: Dataset
    network: Model
    params: Any
    players: Players
    train_players: Players
    loss: Measure
    metric: Measure
    metric_name: str


def make_task(
    dataset_name: str,
    data: DataSettings,
    chosen: NetworkSettings,
    *,
    seed: int,
    key: jax.Array,
) -> Task:
    """Load the data, make the network, find its players.

    Args:
      dataset_name: of the data set.
      data: how to read it.
      chosen: which network.
      seed: of the split of the data.
      key: for the network's random start.

    Returns:
      The task.

    Raises:
      InputError: data or network are not there, or do not fit each other.
    """
    dataset = load_dataset(
        dataset_name, data_dir=data.data_dir, seed=seed, **data.options()
    )
    if chosen.module:
        network, dataset = user_network(chosen.module, dataset)
    else:
        network = workbench_network(chosen, dataset.input_shape, dataset.num_outputs)
    params = network.init(key)
    inputs = jnp.asarray(dataset.train.inputs[:EXAMPLES])
    check_outputs(network, params, inputs, dataset)
    players = find_players(network.apply, params, inputs)
    train_players = players
    if not network.is_plain:
        train_players = find_players(
            network.train_apply,
            params,
            inputs,
            jax.random.key(0),
            outputs_like=lambda params: (None, params),
        )
    classes = dataset.task == "classification"
    return Task(
        dataset,
        network,
        params,
        players,
        train_players,
        metrics.cross_entropy if classes else metrics.squared_error,
        metrics.accuracy if classes else metrics.r2,
        "accuracy" if classes else "R^2",
    )


def workbench_network(
    chosen: NetworkSettings, input_shape: tuple[int, ...], num_outputs: int
) -> Model:
    """One of the networks in `models.py`, fit for some data."""
    options = {"widths": chosen.widths} if chosen.widths else {}
    model = build_model(
        chosen.name, input_shape=input_shape, num_outputs=num_outputs, **options
    )
    return model._replace(init=jax.jit(model.init))


def user_network(spec: str, dataset: Dataset) -> tuple[Model, Dataset]:
    """A user's own network, and the data in the shape that it reads.

    A new start draws on the parameters that the factory returned: the entries of each
    matrix or kernel in a new random order.

    Raises:
      InputError: it cannot be trained on these data.
    """
    apply, params, inputs = load_user_network(spec)
    params = jax.tree.map(jnp.asarray, params)
    if len(inputs) != 1:
        raise InputError(
            f"prune trains networks of one input, {spec} has {len(inputs)}: use the "
            "library on it instead, see the README"
        )
    shape = tuple(np.shape(inputs[0])[1:])
    if math.prod(shape) != math.prod(dataset.input_shape):
        raise InputError(
            f"{spec} reads examples of shape {shape}, {dataset.name} has "
            f"{tuple(dataset.input_shape)}"
        )

    def init(key):
        leaves, treedef = jax.tree.flatten(params)
        keys = jax.random.split(key, len(leaves))
        new = [_shuffled(k, leaf) for k, leaf in zip(keys, leaves, strict=True)]
        return jax.tree.unflatten(treedef, new)

    def train_apply(params, x, key):
        return apply(params, x), params

    model = Model(spec, init, apply, train_apply, is_plain=True)
    return model, _reshaped(dataset, shape)


def _shuffled(key: jax.Array, leaf: jax.Array) -> jax.Array:
    if leaf.ndim < 2 or not is_trainable(leaf):
        return leaf
    return jax.random.permutation(key, leaf.ravel()).reshape(leaf.shape)


def _reshaped(dataset: Dataset, shape: tuple[int, ...]) -> Dataset:
    parts = {name: getattr(dataset, name) for name in ("train", "validation", "test")}
    shaped = {
        name: Split(split.inputs.reshape(-1, *shape), split.labels)
        for name, split in parts.items()
    }
    return dataset._replace(**shaped, input_shape=shape)


def check_outputs(network: Model, params, inputs, dataset: Dataset) -> None:
    """Check that the network's outputs are what the data need.

    Raises:
      InputError: they are not.
    """
    try:
        outputs = jax.eval_shape(network.apply, params, inputs)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{network.name} cannot read inputs of shape {inputs.shape}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    shape = getattr(outputs, "shape", None)
    expected: set[tuple[int, ...]] = {(len(inputs), dataset.num_outputs)}
    if dataset.task == "regression":
        expected.add((len(inputs),))
    if shape not in expected:
        raise InputError(
            f"expected {network.name} to return outputs of shape "
            f"{(len(inputs), dataset.num_outputs)} for {dataset.name}, got {shape}"
        )
