"""The pruned network, its rivals at the same size, and their fine-tuning."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gamepruning.workbench.jobs.tuning import Tuner
from gamepruning.workbench.methods.registry import find_method
from gamepruning.workbench.methods.sizes import counts_of
from gamepruning.workbench.methods.small_networks import (
    SmallNetwork,
    cut_rival,
    make_small,
    rival_masks,
    scratch_params,
)
from gamepruning.workbench.methods.subject import CHECKED, Choice
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training.loop import make_train_step
from gamepruning.workbench.training.optimizers import FINE_TUNE_RATE, optimizer_at
from gamepruning.workbench.training.stages import Trainer, train_weights
from gamepruning.workbench.training.task import Task

SHARES = (1.0, FINE_TUNE_RATE)  # of the learning rate, tried from scratch


class Entrant(NamedTuple):
    """A network before and after fine-tuning.

    Attributes:
      key: "dense", the method's name, "magnitude", "random" or "scratch".
      label: the name people read.
      kept: players in each family.
      network: has apply and train_apply.
      before: parameters before fine-tuning.
      after: parameters after it; None without fine-tuning.
    """

    key: str
    label: str
    kept: tuple[int, ...]
    network: Any
    before: Any
    after: Any


class Comparison(NamedTuple):
    """All networks of a run.

    Attributes:
      dense: the full one.
      pruned: the outcome of the method.
      rivals: others of the same size.
      small: the small network as `compact` returned it.
    """

    dense: Entrant
    pruned: Entrant
    rivals: tuple[Entrant, ...]
    small: SmallNetwork


def compare(
    key: jax.Array,
    task: Task,
    settings: PruneSettings,
    trainer: Trainer,
    dense: Any,
    choice: Choice,
) -> Comparison:
    """Take players out, find rivals of the same size, fine-tune all alike.

    Args:
      key: random key.
      task: data, network, players.
      settings: of the run.
      trainer: with what.
      dense: parameters of the dense network.
      choice: who stays.

    Returns:
      The networks.
    """
    tune_key, mask_key, scratch_key, order_key = jax.random.split(key, 4)
    tune = Tuner(tune_key, task, trainer)
    inputs = jnp.asarray(task.dataset.validation.inputs[:CHECKED])
    small = make_small(task, choice.full, inputs)
    counts = counts_of(task.players, choice.mask)

    def enter(key: str, label: str, network: Any, params: Any, kept=counts) -> Entrant:
        after = tune(key, label, network, params)
        return Entrant(key, label, kept, network, params, after)

    pruned = enter(settings.method, label_of(settings), small, small.params)
    sizes = tuple(family.size for family in task.players.families)
    whole = enter("dense", "dense", task.network, dense, sizes)
    rivals = []
    if settings.rivals and not choice.mask.all():
        masks = rival_masks(mask_key, task.players, dense, counts)
        masks.pop(find_method(settings.method).name, None)
        for name, mask in masks.items():
            rival = cut_rival(task, choice.full, small, dense, mask)
            rivals.append(enter(name, name, rival, rival.params))
        start = scratch_params(scratch_key, task, choice.full, choice.mask)
        trained = _train_scratch(order_key, task, trainer, small, start)
        rivals.append(enter("scratch", "from scratch", small, trained))
    return Comparison(whole, pruned, tuple(rivals), small)


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


def _train_scratch(
    key: jax.Array, task: Task, trainer: Trainer, small: SmallNetwork, start: Any
) -> Any:
    """Train a small network from its start; the better of two rates counts.

    A rate that suits a wide network can be too high for a narrow one, which is no fault
    of its size. The rate is part of the state, so that both share a compiled step.
    """
    at = optax.inject_hyperparams(functools.partial(optimizer_at, trainer.training))
    rates = {share: share * trainer.training.learning_rate for share in SHARES}
    steps = [make_train_step(small, task.loss, at(rate=r)) for r in rates.values()]
    found = {}
    for (share, rate), own in zip(rates.items(), steps, strict=True):
        params = train_weights(
            f"scratch_{share:g}",
            f"from scratch, rate {rate:g}",
            epochs=trainer.training.epochs,
            key=key,
            made=own._replace(step=steps[0].step),
            apply=small.apply,
            params=start,
            trainer=trainer,
        )
        found[trainer.judge(small.apply, params)] = params
    return found[max(found)]
