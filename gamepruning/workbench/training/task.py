"""What a run works on: data, a network fit for them, and its players."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning import metrics
from gamepruning.errors import InputError
from gamepruning.players import Players, find_players
from gamepruning.trees.trainable import is_trainable
from gamepruning.workbench.datasets import Dataset, load_dataset
from gamepruning.workbench.networks.models import Model, build_model
from gamepruning.workbench.networks.user import load_user_network
from gamepruning.workbench.settings.parts import (
    DataSettings,
    NetworkSettings,
    SettledTraining,
    TrainingSettings,
)
from gamepruning.workbench.training.loop import Measure

DEFAULT_TRAINING = TrainingSettings()
EXAMPLES = 8  # examples with which a network is traced


class Task(NamedTuple):
    """Data, network and players that belong together."""

    dataset: Dataset  # inputs in the shape that the network reads
    network: Model
    params: Any  # its start
    players: Players  # of `network.apply`
    train_players: Players  # of `network.train_apply`; the same where it is plain
    loss: Measure  # to be minimised
    metric: Measure  # to be maximised
    metric_name: str  # "accuracy", "R^2", ... as people read it
    is_metric_named: bool = False  # by the user


class Keys(NamedTuple):
    """The random keys of a seed."""

    init: jax.Array  # of the network's start
    train: jax.Array
    choose: jax.Array  # of the choice of players
    rest: jax.Array  # of what comes after it


class Prepared(NamedTuple):
    """A task of one seed, how its networks are trained, and its random keys."""

    task: Task
    training: SettledTraining
    keys: Keys


def make_task(
    name: str,
    data: DataSettings,
    chosen: NetworkSettings,
    judged: TrainingSettings = DEFAULT_TRAINING,
    *,
    seed: int,
    key: jax.Array,
) -> Task:
    """Load the data, make the network, find its players.

    The seed decides the split of the data, the key the network's random start. It is an
    InputError if data or network are not there, or do not fit each other.
    """
    dataset = load_dataset(name, data_dir=data.data_dir, seed=seed, **data.options())
    if chosen.module:
        network, dataset = _user_network(chosen.module, dataset)
    else:
        network = workbench_network(chosen, dataset.input_shape, dataset.num_outputs)
    params = network.init(key)
    inputs = jnp.asarray(dataset.train.inputs[:EXAMPLES])
    _check_outputs(network, params, inputs, dataset)
    players = train_players = find_players(network.apply, params, inputs)
    if not network.is_plain:
        key = jax.random.key(0)
        train_players = find_players(
            network.train_apply, params, inputs, key, outputs_like=lambda p: (None, p)
        )
    loss, metric, kind = _measures(dataset, judged)
    named = judged.metric != "auto"
    return Task(
        dataset, network, params, players, train_players, loss, metric, kind, named
    )


def _measures(
    dataset: Dataset, judged: TrainingSettings
) -> tuple[Measure, Measure, str]:
    """The loss and the metric, and the metric's name."""
    is_classes, name = dataset.task == "classification", judged.metric
    if name == "auto":
        name = "accuracy" if is_classes else "r2"
    if is_classes == (name == "r2"):
        fit = "accuracy, balanced_accuracy or macro_f1" if is_classes else "r2"
        raise InputError(f"{dataset.name} is for {dataset.task}: take --metric {fit}")
    loss: Measure = metrics.cross_entropy if is_classes else metrics.squared_error
    if judged.class_weights == "balanced":
        if not is_classes:
            raise InputError("--class-weights balanced goes with classes: leave it out")
        labels, total = dataset.train.labels, dataset.num_outputs
        weights = metrics.balanced_class_weights(labels, total)
        loss = functools.partial(metrics.cross_entropy, class_weights=weights)
    shown = {"r2": "R^2", "macro_f1": "macro F1"}.get(name, name.replace("_", " "))
    return loss, metrics.METRICS[name], shown


def workbench_network(
    chosen: NetworkSettings, input_shape: tuple[int, ...], num_outputs: int
) -> Model:
    """One of the networks in `models.py`, fit for some data."""
    options = {"widths": chosen.widths} if chosen.widths else {}
    return build_model(
        chosen.name, input_shape=input_shape, num_outputs=num_outputs, **options
    )


def _user_network(spec: str, dataset: Dataset) -> tuple[Model, Dataset]:
    """A user's own network, and the data in the shape that it reads.

    A new start draws on the parameters that the factory returned: the entries of each
    matrix or kernel in a new random order.
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

    def shuffled(key, leaf):
        if leaf.ndim < 2 or not is_trainable(leaf):
            return leaf
        return jax.random.permutation(key, leaf.ravel()).reshape(leaf.shape)

    def init(key):
        leaves, treedef = jax.tree.flatten(params)
        keys = jax.random.split(key, len(leaves))
        return jax.tree.unflatten(treedef, map(shuffled, keys, leaves))

    def train_apply(params, x, key):
        return apply(params, x), params

    parts = {
        part: split._replace(inputs=split.inputs.reshape(-1, *shape))
        for part, split in dataset._asdict().items()
        if part in ("train", "validation", "test")
    }
    model = Model(spec, init, apply, train_apply, is_plain=True)
    return model, dataset._replace(**parts, input_shape=shape)


def _check_outputs(network: Model, params, inputs, dataset: Dataset) -> None:
    """Check that the network's outputs are what the data need."""
    try:
        outputs = jax.eval_shape(network.apply, params, inputs)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{network.name} cannot read inputs of shape {inputs.shape}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    shape, wanted = getattr(outputs, "shape", None), (len(inputs), dataset.num_outputs)
    if shape == wanted or (dataset.task == "regression" and shape == wanted[:1]):
        return
    raise InputError(
        f"expected {network.name} to return outputs of shape {wanted} for "
        f"{dataset.name}, got {shape}"
    )
