"""What a run works on: data, a network fit for them, and its players."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning import metrics
from gamepruning.compaction.latency import LatencySize
from gamepruning.compaction.user_network import (
    UserNetwork,
    check_outputs,
    check_same_players,
    load_user_network,
)
from gamepruning.errors import InputError
from gamepruning.players import Players, find_players
from gamepruning.run.batches import Measure
from gamepruning.workbench.datasets import Dataset, load_dataset
from gamepruning.workbench.networks.models import Model, build_model
from gamepruning.workbench.networks.user import as_model
from gamepruning.workbench.settings.parts import (
    DataSettings,
    NetworkSettings,
    SettledTraining,
    TrainingSettings,
)

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
    notes: tuple[str, ...] = ()  # what the user should know of the network
    latency: LatencySize | None = None  # measured, where a size is counted in it

    @property
    def needs_balance(self) -> bool:
        """Return True if accuracy misleads: a class is twice as frequent as another."""
        data, is_shown = self.dataset, self.metric is metrics.balanced_accuracy
        if data.task == "regression" or is_shown:
            return False
        splits = (data.train, data.validation, data.test)  # alike for every seed
        counts = np.bincount(np.concatenate([split.labels for split in splits]))
        return bool(counts.max() >= 2 * counts.min())


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
    is_loaded: bool = False,
) -> Task:
    """Load the data, make the network, find its players.

    The seed decides the split of the data, the key the network's random start, whose
    place other weights may take. It is an InputError if data or network are not there,
    or do not fit each other.
    """
    dataset = load_dataset(name, data_dir=data.data_dir, seed=seed, **data.options())
    brought, notes = None, ()
    if chosen.module:
        brought = load_user_network(chosen.module)
        dataset = _reshaped(dataset, chosen.module, brought)
        inputs = jnp.asarray(dataset.train.inputs[:EXAMPLES])
        network, notes = as_model(chosen.module, brought, inputs, is_loaded=is_loaded)
    else:
        network = workbench_network(chosen, dataset.input_shape, dataset.num_outputs)
    if judged.augment and len(dataset.input_shape) != 3:
        raise InputError(f"--augment is for images, {network.name} reads none")
    params = network.init(key)
    inputs = jnp.asarray(dataset.train.inputs[:EXAMPLES])
    measures = _measures(dataset, judged, brought)
    path = (chosen.module or "").rpartition(":")[0]
    examples = jnp.asarray(dataset.train.inputs[:EXAMPLES]), dataset.train.labels
    check_outputs(network, params, dataset, examples, measures[:2], path)
    players = train_players = find_players(network.apply, params, inputs)
    if not network.is_plain:
        call = (params, inputs, jax.random.key(0))
        train_players = find_players(
            network.train_apply,
            *call,
            outputs_like=lambda params: (None, jax.tree.leaves(params)),
        )
        check_same_players(network.name, players, train_players)
    found, named = (dataset, network, params, players), judged.metric != "auto"
    return Task(*found, train_players, *measures, named, notes)


def _measures(
    dataset: Dataset, judged: TrainingSettings, brought: UserNetwork | None
) -> tuple[Measure, Measure, str]:
    """The loss and the metric, and the metric's name; those of the network's own first.

    A metric that a flag names comes before them.
    """
    is_classes, name = dataset.task == "classification", judged.metric
    own_loss = None if brought is None else brought.loss
    own_metric = None if brought is None or name != "auto" else brought.metric
    if name == "auto":
        name = "accuracy" if is_classes else "r2"
    if is_classes == (name == "r2"):
        fit = "accuracy, balanced_accuracy or macro_f1" if is_classes else "r2"
        raise InputError(f"{dataset.name} is for {dataset.task}: take --metric {fit}")
    loss: Measure = metrics.cross_entropy if is_classes else metrics.squared_error
    if judged.class_weights == "balanced":
        if not is_classes or own_loss is not None:
            what = "the usual loss" if is_classes else "classes"
            raise InputError(f"--class-weights balanced goes with {what}: leave it out")
        labels, total = dataset.train.labels, dataset.num_outputs
        weights = metrics.balanced_class_weights(labels, total)
        loss = functools.partial(metrics.cross_entropy, class_weights=weights)
    shown = {"r2": "R^2", "macro_f1": "macro F1"}.get(name, name.replace("_", " "))
    if own_metric is not None:
        shown = getattr(own_metric, "__name__", "metric").strip("<>").replace("_", " ")
    return own_loss or loss, own_metric or metrics.METRICS[name], shown


def workbench_network(
    chosen: NetworkSettings, input_shape: tuple[int, ...], num_outputs: int
) -> Model:
    """One of the networks in `models.py`, fit for some data."""
    options = {"widths": chosen.widths} if chosen.widths else {}
    return build_model(
        chosen.name, input_shape=input_shape, num_outputs=num_outputs, **options
    )


def _reshaped(dataset: Dataset, spec: str, network: UserNetwork) -> Dataset:
    """The data in the shape that a user's network reads."""
    if len(network.inputs) != 1:
        raise InputError(
            f"prune trains networks of one input, {spec} has {len(network.inputs)}: "
            "use the library on it instead, see the README"
        )
    shape = tuple(np.shape(network.inputs[0])[1:])
    if math.prod(shape) != math.prod(dataset.input_shape):
        raise InputError(
            f"{spec} reads examples of shape {shape}, {dataset.name} has "
            f"{tuple(dataset.input_shape)}"
        )
    parts = {
        part: split._replace(inputs=split.inputs.reshape(-1, *shape))
        for part, split in dataset._asdict().items()
        if part in ("train", "validation", "test")
    }
    return dataset._replace(**parts, input_shape=shape)
