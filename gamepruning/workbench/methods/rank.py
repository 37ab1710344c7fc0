"""Who stays at every size, by any method: baselines, power indices, round by round."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gamepruning.baselines import BASELINES
from gamepruning.coalitions.estimators.select import choose_method
from gamepruning.coalitions.indices import banzhaf_values, shapley_values
from gamepruning.coalitions.measures import (
    calibrated_likelihood,
    negative_cross_entropy,
)
from gamepruning.coalitions.semivalues import banzhaf, shapley
from gamepruning.coalitions.values import ValueFunction, value_function
from gamepruning.metrics import squared_error
from gamepruning.selection import (
    SelectionTrace,
    greedy_scores,
    iterated_building,
    iterated_pruning,
)
from gamepruning.types import InputError, Scores
from gamepruning.workbench.methods.bandits import (
    check_pulls,
    make_arms,
    remove_in_rounds,
)
from gamepruning.workbench.methods.equilibrium import SCORED
from gamepruning.workbench.methods.registry import Method, find_method
from gamepruning.workbench.settings.curve import CurveSettings
from gamepruning.workbench.training.task import Task

PER_PLAYER, PER_PLAYER_IN_ROUNDS = 10, 2  # evaluations of an estimate
Show = Callable[[int, int], None]


class Chosen(NamedTuple):
    """Who stays at every size.

    Attributes:
      source: what `masks_at` takes: scores, or the trace of a selection.
      num_evaluations: coalitions that were evaluated, or pulls; 0 for baselines.
      seconds: wall-clock time it took.
    """

    source: Scores | SelectionTrace
    num_evaluations: int
    seconds: float


def choose(
    key: jax.Array,
    method: Method,
    task: Task,
    params: Any,
    settings: CurveSettings,
    *,
    checkpoint: Path,
    progress: Show,
    game: ValueFunction | None = None,
) -> Chosen:
    """Rank the players of a trained network by a method.

    Args:
      key: random key.
      method: how.
      task: data, network, players.
      params: the trained weights.
      settings: budget, step, bias, what coalitions are worth.
      checkpoint: where rounds are kept, to go on from.
      progress: (done, total) -> None.
      game: of the players, where it is at hand; made if not.

    Returns:
      Who stays at every size that the settings ask for.
    """
    start = time.perf_counter()
    if method.kind == "bandit":
        source = _by_bandit(key, method, task, params, settings, checkpoint, progress)
        pulls = source.num_evaluations - len(source.rounds)  # and a value a round
        return Chosen(source, pulls, time.perf_counter() - start)
    if method.kind == "index" and game is None:
        game = make_game(task, params, settings)
    if game is None:
        source = score_by_baseline(key, str(method.scorer), task, params)
        progress(1, 1)
    elif method.selection == "top_n":
        scorer = make_scorer(method, settings, game.num_players, PER_PLAYER)
        source = scorer(key, game, game.num_players, progress=progress)
    else:
        source = iterate(key, method, task, game, settings, checkpoint, progress)
    count = source.num_evaluations if method.kind == "index" else 0
    return Chosen(source, count, time.perf_counter() - start)


def _by_bandit(
    key, method: Method, task: Task, params, settings, checkpoint, progress
) -> SelectionTrace:
    arms_key, play_key = jax.random.split(key)
    arms = make_arms(arms_key, task, params)
    n = round(min(settings.sizes) * task.players.num_players)
    return remove_in_rounds(
        *(play_key, str(method.scorer), task, params, arms, n),
        pulls=settings.scoring.pulls,
        checkpoint=checkpoint,
        progress=progress,
    )


def check_budget(settings: CurveSettings, num_players: int) -> None:
    """Whether the budget is enough for every method; asked before anything is trained.

    Raises:
      InputError: it is not.
    """
    has_bandits = any(find_method(name).kind == "bandit" for name in settings.methods)
    if settings.scoring.pulls is not None and has_bandits:
        check_pulls(settings.scoring.pulls, num_players)
    laws = {
        "shapley": shapley(num_players),
        "banzhaf": banzhaf(num_players, 0.5),
        "biased_banzhaf": banzhaf(num_players, settings.bias),
    }
    for name in settings.methods:
        law = laws.get(str(find_method(name).scorer))
        if law is not None and settings.scoring.evaluations is not None:
            try:
                choose_method(law, num_players, settings.scoring.evaluations, False)
            except InputError as error:
                raise InputError(
                    f"--evaluations {settings.scoring.evaluations}: {error}"
                ) from None


def score_by_baseline(key: jax.Array, name: str, task: Task, params: Any) -> Scores:
    """A baseline's scores on training examples, as `gamepruning prune` takes them."""
    split = task.dataset.train
    return BASELINES[{"magnitude": "magnitude_l2"}.get(name, name)](
        key,
        task.players,
        params,
        task.loss,
        jnp.asarray(split.inputs[:SCORED]),
        jnp.asarray(split.labels[:SCORED]),
    )


def make_game(task: Task, params: Any, settings: CurveSettings) -> ValueFunction:
    """The game of the players on the first validation examples."""
    split = task.dataset.validation
    return value_function(
        task.players,
        params,
        _metric(task, settings.scoring.value),
        jnp.asarray(split.inputs[: settings.scoring.rows]),
        jnp.asarray(split.labels[: settings.scoring.rows]),
    )


def _metric(task: Task, value: str) -> Callable[..., Any]:
    if value == "metric":
        return task.metric
    if task.metric_name == "accuracy":
        is_calibrated = value == "calibrated"
        return calibrated_likelihood if is_calibrated else negative_cross_entropy
    if value == "calibrated":
        raise InputError("--value calibrated is for classes: take loss or metric")
    return lambda outputs, labels: -squared_error(outputs, labels)


def make_scorer(
    method: Method, settings: CurveSettings, num_players: int, per_player: int
) -> Callable[..., Scores]:
    """(key, value_fn, num_players) -> `Scores`, with its budget.

    Args:
      method: how.
      settings: budget and bias.
      num_players: that are scored.
      per_player: evaluations for each of them, if no budget was asked for.
    """
    if method.scorer == "greedy":
        base = "empty" if method.selection == "building" else "full"
        return functools.partial(greedy_scores, base=base)
    budget = {
        "num_evaluations": settings.scoring.evaluations or per_player * num_players
    }
    if method.scorer == "shapley":
        return functools.partial(shapley_values, **budget)
    bias = settings.bias if method.scorer == "biased_banzhaf" else 0.5
    return functools.partial(banzhaf_values, bias=bias, **budget)


def iterate(
    key: jax.Array,
    method: Method,
    task: Task,
    game: ValueFunction,
    settings: CurveSettings,
    checkpoint: Path,
    progress: Show,
) -> SelectionTrace:
    """Build up to the largest size, or prune down to the smallest."""
    total = game.num_players
    building = method.selection == "building"
    n = round((max if building else min)(settings.sizes) * total)
    decisions = n if building else total - n

    def make(now):
        count = int(now.kept.sum())
        progress(count if building else total - count, decisions)
        return make_scorer(method, settings, now.num_free, PER_PLAYER_IN_ROUNDS)

    trace = (iterated_building if building else iterated_pruning)(
        key,
        game,
        n,
        step=settings.scoring.step,
        swaps=settings.scoring.swaps,
        swaps_at_once=max(settings.scoring.swaps // 2, 1),
        make_scorer=make,
        players=task.players,
        checkpoint=checkpoint,
    )
    progress(decisions, decisions)
    return trace
