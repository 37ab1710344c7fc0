"""The networks that a run compares: how they are trained, cut and fine-tuned alike."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from gamepruning.workbench.methods import small_networks
from gamepruning.workbench.methods.registry import find_method
from gamepruning.workbench.methods.sizes import counts_of
from gamepruning.workbench.methods.small_networks import SmallNetwork, make_small
from gamepruning.workbench.methods.subject import Choice
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training import optimizers
from gamepruning.workbench.training.loop import TrainStep, make_train_step
from gamepruning.workbench.training.stages import Trainer, side_by_side, train_weights
from gamepruning.workbench.training.task import Prepared, Task

SHARES = (1.0, optimizers.FINE_TUNE_RATE)  # of the learning rate, tried from scratch


class Entrant(NamedTuple):
    """A network before and after fine-tuning."""

    key: str  # "dense", the method's name, "magnitude", "random" or "scratch"
    label: str  # the name people read
    kept: tuple[int, ...]  # players in each family
    network: Any  # has apply and train_apply
    before: Any  # parameters before fine-tuning
    after: Any  # parameters after it; None without fine-tuning


class Comparison(NamedTuple):
    """All networks of a run."""

    dense: Entrant  # the full one
    pruned: Entrant  # the outcome of the method
    rivals: tuple[Entrant, ...]  # others of the same size
    small: SmallNetwork  # as `compact` returned it


def compare(
    made: Prepared, asked: PruneSettings, trainer: Trainer, dense: Any, choice: Choice
) -> Comparison:
    """Take players out, find rivals of the same size, fine-tune all alike.

    The dense network, the largest, is fine-tuned beside the small ones.
    """
    tune_key, mask_key, scratch_key, order_key = jax.random.split(made.keys.rest, 4)
    task, mask, small = made.task, choice.mask, make_small(made.task, choice.full)
    tune, counts = Tuner(tune_key, task, trainer), counts_of(task.players, mask)

    def enter(key: str, label: str, network: Any, params: Any, kept=counts) -> Entrant:
        after = tune(key, label, network, params)
        return Entrant(key, label, kept, network, params, after)

    def enter_small() -> tuple[Entrant, tuple[Entrant, ...]]:
        pruned, rivals = enter(asked.method, label_of(asked), small, small.params), []
        if not asked.rivals or mask.all():
            return pruned, ()
        masks = small_networks.rival_masks(mask_key, task.players, dense, counts)
        masks.pop(find_method(asked.method).name, None)
        for name, own in masks.items():
            rival = small_networks.cut_rival(task, choice.full, small, dense, own)
            rivals.append(enter(name, name, rival, rival.params))
        start = small_networks.scratch_params(scratch_key, task, choice.full, mask)
        trained = train_scratch(order_key, task, trainer, small, start)
        rivals.append(enter("scratch", "from scratch", small, trained))
        return pruned, tuple(rivals)

    def enter_dense() -> Entrant:
        sizes = tuple(family.size for family in task.players.families)
        return enter("dense", "dense", task.network, dense, sizes)

    whole, (pruned, rivals) = side_by_side(trainer, enter_dense, enter_small)
    return Comparison(whole, pruned, rivals, small)


def label_of(settings: PruneSettings) -> str:
    """The method's name, and what the equilibrium was told.

    Example:
      >>> label_of(PruneSettings.of(price=0.5))
      'equilibrium (l1_l2 x 0.5)'
    """
    if find_method(settings.method).kind != "equilibrium":
        return settings.method
    if settings.has_budget:
        return f"equilibrium (keep {settings.size.keep} {settings.size.unit})"
    preset, price = settings.prices.preset, settings.prices.price
    return f"equilibrium ({preset}{'' if price == 1.0 else f' x {price:g}'})"


def train_dense(
    made: Prepared, trainer: Trainer, *, name: str = "dense", label: str
) -> Any:
    """Train the dense network, the same for every command with this seed."""
    task, tx = made.task, optimizers.weight_optimizer(made.training)
    return train_weights(
        name,
        label,
        epochs=made.training.epochs,
        key=made.keys.train,
        made=make_train_step(task.network, task.loss, tx),
        apply=task.network.apply,
        params=task.params,
        trainer=trainer,
    )


def train_scratch(
    key: jax.Array, task: Task, trainer: Trainer, small: SmallNetwork, start: Any
) -> Any:
    """Train a small network from its start; the better of two rates counts.

    A rate that suits a wide network can be too high for a narrow one, which is no fault
    of its size. The rate is part of the state, so that both share a compiled step.
    """
    optimizer = functools.partial(optimizers.optimizer_at, trainer.training)
    at = optax.inject_hyperparams(optimizer)
    found, shared = {}, None
    for share in SHARES:
        rate = share * trainer.training.learning_rate
        own = make_train_step(small, task.loss, at(rate=rate))
        shared = shared or own.step
        params = train_weights(
            f"scratch_{share:g}",
            f"from scratch, rate {rate:g}",
            epochs=trainer.training.epochs,
            key=key,
            made=own._replace(step=shared),
            apply=small.apply,
            params=start,
            trainer=trainer,
        )
        found[trainer.judge(small.apply, params)] = params
    return found[max(found)]


class Tuner:
    """Fine-tunes networks alike; those that share `apply` share a compiled step."""

    def __init__(self, key: jax.Array, task: Task, trainer: Trainer):
        self.key, self.loss, self.trainer = key, task.loss, trainer
        training = trainer.training
        self.epochs = training.fine_tune
        steps = len(trainer.train.labels) // training.batch_size * self.epochs
        self.tx = optimizers.fine_tuning_optimizer(training, steps)
        self._steps: dict[Callable, TrainStep] = {}

    def __call__(self, name: str, label: str, network: Any, params: Any) -> Any:
        """The parameters after fine-tuning from `params`; None where there is none."""
        if not self.epochs:
            return None
        if network.apply not in self._steps:
            step = make_train_step(network, self.loss, self.tx)
            self._steps[network.apply] = step
        return train_weights(
            f"fine_tune_{name}",
            f"fine-tune {label}",
            epochs=self.epochs,
            key=self.key,
            made=self._steps[network.apply],
            apply=network.apply,
            params=params,
            trainer=self.trainer,
        )
