"""One way from a method's name to the players that stay in a run."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.errors import InputError
from gamepruning.selection import SelectionTrace
from gamepruning.uncertainty.mcue import mcue
from gamepruning.workbench.methods.bandits import CAUTION
from gamepruning.workbench.methods.equilibrium import play_equilibrium
from gamepruning.workbench.methods.gates import without_gates
from gamepruning.workbench.methods.rank import check_scoring, rank
from gamepruning.workbench.methods.registry import Kind, Method, find_method
from gamepruning.workbench.methods.sizes import (
    check_keep,
    check_round_to,
    order_of,
    take,
)
from gamepruning.workbench.methods.subject import Choice, Rounds, Subject
from gamepruning.workbench.settings.parts import SettledTraining
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training.optimizers import make_game_step
from gamepruning.workbench.training.stages import Trainer
from gamepruning.workbench.training.task import Task

UNSURE_ON = 500  # validation examples on which the bias is looked for
HALF = 0.5  # the bias of the Banzhaf value


def choose(
    keys: tuple[jax.Array, jax.Array],
    task: Task,
    settings: PruneSettings,
    trainer: Trainer,
    dense: Any,
) -> Choice:
    """Choose the players that stay, by the method of the settings.

    Rounds are written down, and an interrupted run resumes from the last one.

    Args:
      keys: of training, with which the equilibrium game sees the batches that the
        dense network saw, and of all other choices.
      task: data, network, players.
      settings: method, size and budgets.
      trainer: shows progress, and knows the folder.
      dense: the trained weights; the equilibrium game starts from those of the task.

    Returns:
      The choice.

    Raises:
      InputError: size or budget do not fit the network, or not even the first round
        stays within --max-drop.
    """
    method = selected_method(settings)
    return CHOOSERS[method.kind](keys, method, task, settings, trainer, dense)


def selected_method(settings: PruneSettings) -> Method:
    """The method with the selection that --selection, or "auto", gives it.

    By itself an index builds and a bandit prunes, where --keep is one number.

    Example:
      >>> named = lambda **flags: selected_method(PruneSettings.of(**flags))
      >>> named(method="banzhaf", keep="0.1").selection
      'building'
      >>> named(method="ucb1", keep="51/26").selection
      'top_n'
    """
    method, selection = find_method(settings.method), settings.selection
    if "selection" not in method.asks:
        return method
    if selection == "auto":
        selection = "pruning" if method.kind == "bandit" else "building"
        if method.kind == "index" and method.is_iterated:
            selection = method.selection
        elif settings.size.max_drop is None and not _is_one_number(settings):
            selection = "top_n"
    return dataclasses.replace(method, selection=selection)


def _is_one_number(settings: PruneSettings) -> bool:
    """Return True if players can be decided on one by one."""
    size = settings.size
    return not isinstance(size.target, tuple) and size.round_to == 1


def check_choice(
    task: Task, settings: PruneSettings, training: SettledTraining
) -> None:
    """Check what can be checked before anything is trained.

    Raises:
      InputError: size or budget do not fit the network.
    """
    players, size = task.players, settings.size
    method = selected_method(settings)
    if method.kind == "equilibrium":
        check_round_to(players, size)
        make_game_step(task, settings, training)  # raises if --keep cannot be met
        return
    if size.max_drop is None:
        check_keep(players, size)
        if method.is_iterated and not _is_one_number(settings):
            raise InputError(
                f"--method {settings.method} compares all players with each other: "
                "give --keep one number, and leave --round-to out"
            )
    bias = HALF if settings.bias is None else settings.bias
    check_scoring(method, settings.scoring, bias, players.num_players)


def _by_game(keys, method: Method, task, settings, trainer, dense) -> Choice:
    return play_equilibrium(keys[0], task, settings, trainer, task.params)


def _by_rank(keys, method: Method, task: Task, settings, trainer, dense) -> Choice:
    """Rank the players of the trained network; the best stay."""
    key, size = keys[1], settings.size
    bias = HALF if settings.bias is None else settings.bias
    if method.kind == "index":
        key, bands_key = jax.random.split(key)
        if method.scorer == "biased_banzhaf" and settings.bias is None:
            bias = least_certain_bias(bands_key, task, dense)
    if method.selection == "family":
        size = dataclasses.replace(size, scope="family")
    subject = Subject(task, dense, settings.scoring, bias)
    keep = None if size.max_drop is not None else check_keep(task.players, size)
    rounds = _rounds(subject, settings, method, keep, trainer)
    source = rank(key, method, subject, rounds).source
    if isinstance(source, SelectionTrace):
        value, mask, measure = _read(source, size.max_drop)
    else:
        keep = check_keep(task.players, size)
        value, mask = np.asarray(source.value), take(task.players, source, keep, size)
        is_bandit = method.kind == "bandit"
        measure = (
            f"loss change without it, + {CAUTION:g} s.e." if is_bandit else "score"
        )
    full = without_gates(task.network.apply, task.players, dense, mask)
    nobody = (0,) * len(task.players.families)
    return Choice(mask, value, full, dense, nobody, measure=measure)


CHOOSERS: dict[Kind, Callable[..., Choice]] = {
    "equilibrium": _by_game,
    "index": _by_rank,
    "bandit": _by_rank,
    "baseline": _by_rank,
}
"""How each kind chooses: (keys, method, task, settings, trainer, dense) -> choice."""


def _rounds(subject: Subject, settings, method: Method, keep, trainer) -> Rounds:
    """To the size asked for; with --max-drop to one player a family."""
    players = subject.task.players
    count = sum(keep) if isinstance(keep, tuple) else keep or len(players.families)
    note = f"bias {subject.bias:.3f}" if method.scorer == "biased_banzhaf" else ""
    bar = trainer.progress.add_task(f"{settings.method}, {method.selection}", note=note)

    def progress(done: int, total: int) -> None:
        trainer.progress.update(bar, completed=done, total=total)

    checkpoint = trainer.folder.checkpoints / f"{method.kind}.npz"
    return Rounds(count, count, checkpoint, progress, settings.size.max_drop)


def _read(
    trace: SelectionTrace, max_drop: float | None
) -> tuple[np.ndarray, np.ndarray, str]:
    """What players were ranked by, which stay, and what the rank is."""
    mask = np.asarray(trace.mask)
    if mask.all():
        raise InputError(
            f"the first round already costs more than --max-drop {max_drop:g}: allow "
            "more, or give --keep"
        )
    way = "entered before" if trace.method == "building" else "outlasted"
    return order_of(trace), mask, f"{way} so many players"


def least_certain_bias(key: jax.Array, task: Task, params: Any) -> float:
    """d = 1 - t*, where the predicted probabilities vary most between coalitions."""
    split = task.dataset.validation
    output = "probabilities" if task.metric_name == "accuracy" else "outputs"
    inputs = jnp.asarray(split.inputs[:UNSURE_ON])
    bands = mcue(key, task.players, params, inputs, output=output)
    return float(np.clip(bands.bias, 0.05, 0.95))
