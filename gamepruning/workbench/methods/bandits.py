"""Who stays, by bandits: `gamepruning prune --method ucb1` and its like."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.bandits import POLICIES, RemovalArms, play_bandit, removal_arms
from gamepruning.coalitions.values import value_function
from gamepruning.selection import SelectionTrace, safe_removal
from gamepruning.types import InputError, Scores
from gamepruning.workbench.methods.equilibrium import (
    Choice,
    check_keep,
    compares_all,
    measure_of,
    rank_of,
    select,
)
from gamepruning.workbench.methods.gates import without_gates
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training.stages import Trainer
from gamepruning.workbench.training.task import Task

PULL_ROWS = 10_000  # training examples that pulls draw mini-batches from, at most
PULL_BATCH = 64
STEP = 0.1  # of those who are in, removed in a round
VALUE_ROWS = 2000
# Standard errors: the lowest means of few pulls are those of noisy players.
CAUTION = 2.0
Show = Callable[[int, int], None]


def choose_by_bandit(
    key: jax.Array, task: Task, settings: PruneSettings, dense: Any, trainer: Trainer
) -> Choice:
    """Let a bandit find out who is safe to remove from the trained network.

    Pulls use mini-batches of training data. Where all players are compared with each
    other a tenth of them leaves in each round, and the rest is played for anew.

    Args:
      key: random key.
      task: data, network, players.
      settings: resolved settings.
      dense: the trained weights.
      trainer: shows progress, and knows the folder.

    Returns:
      The choice.

    Raises:
      InputError: the requested size or the budget does not fit the network, or not
        even the first round stays within --max-drop.

    References:
      arXiv 2606.07615.
    """
    arms_key, play_key = jax.random.split(key)
    arms = make_arms(arms_key, task, dense)
    shown = trainer.progress.add_task(f"{settings.method}, {how(settings)}", note="")

    def progress(done: int, total: int) -> None:
        trainer.progress.update(shown, completed=done, total=total)

    if how(settings) == "pruning":
        trace = remove_in_rounds(
            play_key,
            settings.method,
            task,
            dense,
            arms,
            _smallest(task, settings),
            pulls=settings.scoring.pulls,
            max_drop=settings.size.max_drop,
            checkpoint=trainer.folder.checkpoints / "bandit.npz",
            progress=progress,
        )
        value, mask, measure = rank_of(trace), np.asarray(trace.mask), measure_of(trace)
        if mask.all():
            raise InputError(
                f"the first round already costs more than --max-drop "
                f"{settings.size.max_drop:g}: allow more, or give --keep"
            )
    else:
        scores = score_by_bandit(
            play_key, settings.method, arms, settings.scoring.pulls, progress=progress
        )
        value, mask = np.asarray(scores.value), select(task.players, scores, settings)
        measure = f"loss change without it, + {CAUTION:g} s.e."
    full = without_gates(task.network.apply, task.players, dense, mask)
    nobody = (0,) * len(task.players.families)
    return Choice(mask, value, full, None, dense, nobody, None, measure)


def how(settings: PruneSettings) -> str:
    """Round by round ("pruning"), or all at once ("top_n").

    Example:
      >>> how(PruneSettings.of(method="ucb1", keep="0.1"))
      'pruning'
    """
    if settings.selection != "auto":
        return settings.selection
    if settings.size.max_drop is not None or compares_all(settings):
        return "pruning"
    return "top_n"


def check_bandit(task: Task, settings: PruneSettings) -> None:
    """Whether size and budget fit the network; asked before anything is trained.

    Raises:
      InputError: they do not.
    """
    if settings.size.max_drop is None:
        check_keep(task.players, settings)
    if settings.scoring.pulls is not None:
        check_pulls(settings.scoring.pulls, task.players.num_players)


def check_pulls(pulls: int, num_players: int) -> None:
    """Whether there is a pull for each player.

    Raises:
      InputError: there is not.
    """
    if pulls < num_players:
        raise InputError(
            f"--pulls {pulls} is fewer than the {num_players} players, each of whom is "
            "pulled once"
        )


def make_arms(key: jax.Array, task: Task, params: Any) -> RemovalArms:
    """The arms of a trained network, on training examples."""
    split = task.dataset.train
    return removal_arms(
        task.players,
        params,
        task.loss,
        jnp.asarray(split.inputs[:PULL_ROWS]),
        jnp.asarray(split.labels[:PULL_ROWS]),
        batch_size=PULL_BATCH,
        key=key,
    )


def score_by_bandit(
    key: jax.Array, name: str, arms: RemovalArms, pulls: int | None, *, progress: Show
) -> Scores:
    """One game for all players."""
    policy, given = POLICIES[name](), {"num_pulls": pulls, "caution": CAUTION}
    return play_bandit(key, policy, arms, progress=progress, **given)


def remove_in_rounds(
    key: jax.Array,
    name: str,
    task: Task,
    params: Any,
    arms: RemovalArms,
    n: int,
    *,
    pulls: int | None,
    max_drop: float | None = None,
    checkpoint: Path,
    progress: Show,
) -> SelectionTrace:
    """A game in each round, until n are left or the validation metric has dropped."""
    split, total = task.dataset.validation, task.players.num_players
    value_fn = value_function(
        task.players,
        params,
        task.metric,
        jnp.asarray(split.inputs[:VALUE_ROWS]),
        jnp.asarray(split.labels[:VALUE_ROWS]),
    )
    trace = safe_removal(
        key,
        POLICIES[name](),
        arms,
        value_fn,
        n,
        step=STEP,
        num_pulls=pulls,
        caution=CAUTION,
        max_drop=max_drop,
        players=task.players,
        checkpoint=checkpoint,
        callback=lambda round: progress(total - int(round.kept.sum()), total - n),
    )
    progress(total - n, total - n)
    return trace


def _smallest(task: Task, settings: PruneSettings) -> int:
    """How few may be left."""
    if settings.size.max_drop is not None:
        return max(len(task.players.families), 1)
    keep = check_keep(task.players, settings)
    return keep if isinstance(keep, int) else sum(keep)
