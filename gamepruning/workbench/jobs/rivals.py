"""The networks that a run compares: how they are trained, cut and fine-tuned alike."""

import contextlib
import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gamepruning import distillation, metrics
from gamepruning.compaction.gates import Absorbed
from gamepruning.errors import Diverged
from gamepruning.files.together import of_first_process
from gamepruning.reconstruction import RepairConfig, Repaired, RepairReport, repair
from gamepruning.selection.controls import control_masks
from gamepruning.trees.examples import draw_rows
from gamepruning.workbench.datasets import Split
from gamepruning.workbench.methods import small_networks
from gamepruning.workbench.methods.small_networks import SmallNetwork, make_small
from gamepruning.workbench.methods.subject import Choice, counting_bar
from gamepruning.workbench.registry import find_method
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training import optimizers
from gamepruning.workbench.training.loop import TrainStep, make_train_step, taught
from gamepruning.workbench.training.sizes import counts_of
from gamepruning.workbench.training.stages import Trainer, side_by_side, train_weights
from gamepruning.workbench.training.task import Prepared, Task

SCRATCH, REPAIR_ROWS = "from scratch", 2048  # a label; training examples
SHARES = (1.0, optimizers.FINE_TUNE_RATE)  # of the learning rate, tried from scratch


class Entrant(NamedTuple):
    """A network, and its parameters at each stage that it went through."""

    key: str  # "dense", the method's name, "magnitude", "random" or "scratch"
    label: str  # the name people read
    kept: tuple[int, ...]  # players in each family
    network: Any  # has apply and train_apply
    stages: dict[str, Any]  # "gated" or "removed", "repaired", "tuned": as `Contender`

    @property
    def first(self) -> Any:
        """The parameters before anything was done to them."""
        return next(iter(self.stages.values()))

    @property
    def last(self) -> Any:
        """The parameters at the end."""
        return next(reversed(self.stages.values()))


class Comparison(NamedTuple):
    """All networks of a run."""

    dense: Entrant  # the full one
    pruned: Entrant  # the outcome of the method
    rivals: tuple[Entrant, ...]  # others of the same size
    small: SmallNetwork  # as `compact` returned it
    repair: RepairReport | None  # of the outcome of the method
    notes: tuple[str, ...] = ()  # on rivals that are not all there


def compare(
    made: Prepared, asked: PruneSettings, trainer: Trainer, dense: Any, choice: Choice
) -> Comparison:
    """Take players out, find rivals of the same size, repair and fine-tune all alike.

    The dense network, the largest, is fine-tuned beside the small ones.
    """
    tune_key, mask_key, scratch_key, order_key = jax.random.split(made.keys.rest, 4)
    task, mask, full, key = made.task, choice.mask, choice.full, asked.method
    small, counts = make_small(task, full), counts_of(task.players, mask)
    fulls, tune = {key: full}, Tuner(tune_key, task, trainer, dense)
    has_rivals = asked.rivals and not mask.all()
    if has_rivals:
        masks = control_masks(mask_key, task.players, dense, counts)
        masks.pop(find_method(key).name.removesuffix("-family"), None)
        fulls |= {n: small_networks.as_rival(full, dense, m) for n, m in masks.items()}
    cut, notes, report = [], [], None
    for name, own in fulls.items():
        network = small if own is full else small_networks.cut_alike(task, own, small)
        label, stages = label_of(asked, name), {"removed": network.params}
        if (found := mend(name, task, trainer, own, label)) is not None:
            own = own._replace(params=found.params)
            alike = small_networks.cut_alike(task, own, network)
            stages["repaired"], report = alike.params, report or found.report
        cut.append(Entrant(name, label, counts, network, stages))

    def finish(entrant: Entrant) -> Entrant:
        try:
            after = tune(entrant.key, entrant.label, entrant.network, entrant.last)
        except Diverged as error:
            if entrant.key in ("dense", key):
                raise
            notes.append(f"{entrant.label.capitalize()}: {error}.")
            return entrant
        tuned = {} if after is None else {"tuned": after}
        return entrant._replace(stages=entrant.stages | tuned)

    def finish_small() -> list[Entrant]:
        done = [finish(entrant) for entrant in cut]
        if has_rivals:
            start = small_networks.scratch_params(scratch_key, task, full, mask)
            trained = train_scratch(order_key, task, trainer, small, start)
            if trained is None:
                notes.append("From scratch, training diverged at both learning rates.")
                return done
            stages = {"tuned": trained}
            done.append(finish(Entrant("scratch", SCRATCH, counts, small, stages)))
        return done

    sizes = tuple(family.size for family in task.players.families)
    whole = Entrant("dense", "dense", sizes, task.network, {"gated": dense})
    whole, done = side_by_side(trainer, functools.partial(finish, whole), finish_small)
    pruned, *rivals = done
    return Comparison(whole, pruned, tuple(rivals), small, report, tuple(notes))


def mend(
    name: str, task: Task, trainer: Trainer, full: Absorbed, label: str = ""
) -> Repaired | None:
    """The repair on training examples, kept on file; None where there is to be none."""
    if not trainer.training.repair or full.mask.all():
        return None
    inputs = jnp.asarray(draw_rows(task.dataset.train.inputs, REPAIR_ROWS))
    bar = counting_bar(trainer.progress, f"repair {label}") if label else None
    with warnings.catch_warnings():  # what they say is in the report's notes
        warnings.simplefilter("ignore")
        return repair(
            full.players,
            full.params,
            full.mask,
            inputs,
            config=RepairConfig(
                classes=task.loss is metrics.cross_entropy,
                gauss_newton=(refine := trainer.training.refine),
                last=1000 if refine else 0,  # all readers
                held_out=0.0 if refine else 0.25,
            ),
            progress=bar and (lambda path, number, count: bar(number + 1, count)),
            checkpoint=trainer.folder.checkpoints / f"repair_{name}.npz",
        )


def label_of(settings: PruneSettings, name: str) -> str:
    """What people call a network: its name, and what the equilibrium was told.

    Example:
      >>> label_of(PruneSettings.of(price=0.5), "equilibrium")
      'equilibrium (l1_l2 x 0.5)'
    """
    if find_method(name).kind != "equilibrium":
        return name
    if settings.has_budget:
        told = settings.size.told.replace("--unit ", "")
        return f"equilibrium ({told[2:]})"
    preset, price = settings.prices.preset, settings.prices.price
    return f"equilibrium ({preset}{'' if price == 1.0 else f' x {price:g}'})"


def train_dense(
    made: Prepared, trainer: Trainer, *, name: str = "dense", label: str
) -> Any:
    """Train the dense network, the same in every command and process of this seed."""
    task, tx = made.task, optimizers.weight_optimizer(made.training)
    found = train_weights(
        name,
        label,
        epochs=made.training.epochs,
        key=made.keys.train,
        made=make_train_step(task.network, task.loss, tx),
        apply=task.network.apply,
        params=task.params,
        trainer=trainer,
    )
    return of_first_process(found)


def train_scratch(
    key: jax.Array, task: Task, trainer: Trainer, small: SmallNetwork, start: Any
) -> Any:
    """Train a small network from its start; the better of two rates counts.

    A rate that suits a wide network can be too high for a narrow one, which is no fault
    of its size; at a rate at which it diverges there is none. The rate is part of the
    state, so that both share a compiled step.
    """
    optimizer = functools.partial(optimizers.optimizer_at, trainer.training)
    at = optax.inject_hyperparams(optimizer)
    found, shared = {}, None
    for share in SHARES:
        rate = share * trainer.training.learning_rate
        own = make_train_step(small, task.loss, at(rate=rate))
        shared = shared or own.step
        with contextlib.suppress(Diverged):
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
    best = max(found, key=lambda score: (score == score, score), default=None)
    return found.get(best)


class Tuner:
    """Fine-tunes networks alike; those that share `apply` share a compiled step."""

    def __init__(self, key: jax.Array, task: Task, trainer: Trainer, dense: Any):
        self.key, self.loss, self.trainer = key, task.loss, trainer
        training, (inputs, labels) = trainer.training, trainer.train
        self.epochs = training.fine_tune
        self.teach = None  # what the full network says of images that change
        if training.distil and self.epochs:  # else it says it once
            self.loss = distillation.student_loss(task.loss)
            self.teach = functools.partial(task.network.apply, dense)
            if not training.augment:
                said = distillation.teacher_outputs(task.network.apply, dense, inputs)
                self.trainer = trainer._replace(train=Split(inputs, (labels, said)))
                self.teach = None
        steps = len(inputs) // training.batch_size * self.epochs
        self.tx = optimizers.fine_tuning_optimizer(training, steps)
        self._steps: dict[Callable, TrainStep] = {}

    def __call__(self, name: str, label: str, network: Any, params: Any) -> Any:
        """The parameters after fine-tuning from `params`; None where there is none."""
        if not self.epochs:
            return None
        if network.apply not in self._steps:
            made = make_train_step(network, self.loss, self.tx)
            if self.teach is not None:
                made = made._replace(step=taught(made.step, self.teach))
            self._steps[network.apply] = made
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
