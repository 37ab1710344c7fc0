"""One way from a method's name to the players that stay in a run."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.compaction.gates import Absorbed
from gamepruning.errors import InputError
from gamepruning.selection import SelectionTrace
from gamepruning.types import Scores
from gamepruning.uncertainty.mcue import mcue
from gamepruning.workbench.methods import sizes
from gamepruning.workbench.methods.equilibrium import play_equilibrium
from gamepruning.workbench.methods.rank import CAUTION, RANKERS, check_scoring
from gamepruning.workbench.methods.registry import Method, find_method
from gamepruning.workbench.methods.subject import Choice, Rounds, Subject, counting_bar
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training.optimizers import make_game_step
from gamepruning.workbench.training.stages import Trainer
from gamepruning.workbench.training.task import Prepared, Task

UNSURE_ON = 500  # validation examples on which the bias is looked for
HALF = 0.5  # the bias of the Banzhaf value


def choose(
    made: Prepared, settings: PruneSettings, trainer: Trainer, dense: Any
) -> Choice:
    """Choose the players that stay, by the method of the settings.

    Rounds are written down, and an interrupted run resumes from the last one. The
    equilibrium game starts from the weights of the task, and sees the batches that the
    dense network saw; all others rank the players of the trained weights `dense`. It is
    an InputError if size or budget do not fit the network, or if even the first round
    exceeds --max-drop.
    """
    method = selected_method(settings)
    if method.kind == "equilibrium":
        return play_equilibrium(made, settings, trainer)
    return _choose_by_rank(made, method, settings, trainer, dense)


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


def check_choice(made: Prepared, settings: PruneSettings) -> None:
    """Raise `InputError` if size or budget do not fit, before anything is trained."""
    players, size = made.task.players, settings.size
    method = selected_method(settings)
    if method.kind == "equilibrium":
        sizes.check_round_to(players, size)
        # raises if --keep cannot be met
        make_game_step(made.task, settings, made.training)
        return
    if size.max_drop is None:
        sizes.check_keep(players, size)
        if method.is_iterated and not _is_one_number(settings):
            raise InputError(
                f"--method {settings.method} compares all players with each other: "
                "give --keep one number, and leave --round-to out"
            )
    elif size.max_drop >= 1 and made.task.dataset.task == "classification":
        raise InputError(
            f"expected --max-drop below 1, since {made.task.metric_name} is a fraction "
            f"of 1, got {size.max_drop:g}: type --max-drop {size.max_drop / 100:g} for "
            f"{size.max_drop:g} percentage points"
        )
    bias = HALF if settings.bias is None else settings.bias
    check_scoring(method, settings.scoring, bias, players.num_players)


def _choose_by_rank(
    made: Prepared, method: Method, settings: PruneSettings, trainer: Trainer, dense
) -> Choice:
    """Rank the players of the trained network; the best stay."""
    task, size, players = made.task, settings.size, made.task.players
    key = made.keys.choose
    bias = HALF if settings.bias is None else settings.bias
    if method.kind == "index":
        key, bands_key = jax.random.split(key)
        if method.scorer == "biased_banzhaf" and settings.bias is None:
            bias = least_certain_bias(bands_key, task, dense)
    if method.selection == "family":
        size = dataclasses.replace(size, scope="family")
    keep = len(players.families)  # with --max-drop rounds go on to one a family
    if size.max_drop is None:
        keep = sizes.check_keep(players, size)
    count = sum(keep) if isinstance(keep, tuple) else keep
    note = f"bias {bias:.3f}" if method.scorer == "biased_banzhaf" else ""
    label = f"choose by {settings.method}, {method.selection}"
    rounds = Rounds(
        smallest=count,
        largest=count,
        checkpoint=trainer.folder.checkpoints / f"{method.kind}.npz",
        progress=counting_bar(trainer.progress, label, note),
        max_drop=size.max_drop,
    )
    subject = Subject(task, dense, settings.scoring, bias)
    source = RANKERS[method.kind](key, method, subject, rounds)
    if isinstance(source, SelectionTrace):
        value, mask, scores = _read(source, size.max_drop)
        measure = "score when last scored"
    else:
        value, scores, measure = np.asarray(source.value), source, "score"
        mask = sizes.take(players, source, keep, size)
    if method.kind == "bandit":
        means = np.asarray(scores.value) - CAUTION * np.asarray(scores.stderr)
        scores, measure = scores._replace(value=means), "mean loss change without it"
    full = Absorbed(task.network.apply, dense, players, mask)
    nobody = (0,) * len(players.families)
    return Choice(mask, value, full, dense, nobody, means=scores, measure=measure)


def _read(
    trace: SelectionTrace, max_drop: float | None
) -> tuple[np.ndarray, np.ndarray, Scores]:
    """The rank of the players, which stay, and the scores that decided on them."""
    mask = np.asarray(trace.mask)
    if mask.all():
        raise InputError(
            f"the first round already costs more than --max-drop {max_drop:g}: allow "
            "more, or give --keep"
        )
    return trace.rank, mask, trace.last_scores


def least_certain_bias(key: jax.Array, task: Task, params: Any) -> float:
    """d = 1 - t*, where the predicted probabilities vary most between coalitions."""
    output = "outputs" if task.dataset.task == "regression" else "probabilities"
    inputs = jnp.asarray(task.dataset.validation.inputs[:UNSURE_ON])
    bands = mcue(key, task.players, params, inputs, output=output)
    return float(np.clip(bands.bias, 0.05, 0.95))
