"""Players ranked by power indices: one estimate, or round by round."""

import functools
from collections.abc import Callable

import jax

from gamepruning.coalitions.estimators.select import choose_method
from gamepruning.coalitions.indices import banzhaf_values, shapley_values
from gamepruning.coalitions.semivalues import banzhaf, shapley
from gamepruning.errors import InputError
from gamepruning.selection import (
    SelectionTrace,
    greedy_scores,
    iterated_building,
    iterated_pruning,
)
from gamepruning.types import Scores
from gamepruning.workbench.methods.registry import Method
from gamepruning.workbench.methods.subject import Rounds, Subject

LAWS = ("shapley", "banzhaf", "biased_banzhaf")  # greedy and new scorers have none
PER_PLAYER, PER_PLAYER_IN_ROUNDS = 10, 2  # evaluations of an estimate


def rank_by_index(
    key: jax.Array, method: Method, subject: Subject, rounds: Rounds
) -> Scores | SelectionTrace:
    """Scores of one estimate, or the trace of building or pruning.

    Cost: 10 evaluations per player; in rounds 2 for each player that is left, and those
    of the swaps.

    References:
      Diaz-Ortiz et al., arXiv 2311.10468.
    """
    if method.is_iterated:
        return _iterate(key, method, subject, rounds)
    game = subject.game
    scorer = _make_scorer(method, subject, PER_PLAYER * game.num_players)
    return scorer(key, game, game.num_players, progress=rounds.progress)


def _make_scorer(method: Method, subject: Subject, usual: int) -> Callable[..., Scores]:
    """(key, value_fn, num_players) -> `Scores`, with the usual budget or that asked."""
    if method.scorer == "greedy":
        base = "empty" if method.selection == "building" else "full"
        return functools.partial(greedy_scores, base=base)
    budget = subject.scoring.evaluations or usual
    if callable(method.scorer):
        return functools.partial(method.scorer, num_evaluations=budget)
    if method.scorer == "shapley":
        return functools.partial(shapley_values, num_evaluations=budget)
    bias = _bias(method, subject.bias)
    return functools.partial(banzhaf_values, bias=bias, num_evaluations=budget)


def _bias(method: Method, bias: float) -> float:
    return bias if method.scorer == "biased_banzhaf" else 0.5


def _iterate(
    key: jax.Array, method: Method, subject: Subject, rounds: Rounds
) -> SelectionTrace:
    """Build up to the largest size, or prune down to the smallest."""
    total, scoring = subject.game.num_players, subject.scoring
    building = method.selection == "building"
    n = rounds.largest if building else rounds.smallest
    decisions = n if building else total - n

    def make(now):
        count = int(now.kept.sum())
        rounds.progress(count if building else total - count, decisions)
        return _make_scorer(method, subject, PER_PLAYER_IN_ROUNDS * now.num_free)

    trace = (iterated_building if building else iterated_pruning)(
        key,
        subject.game,
        n,
        step=scoring.step,
        swaps=scoring.swaps,
        swaps_at_once=max(scoring.swaps // 2, 1),
        make_scorer=make,
        players=subject.task.players,
        checkpoint=rounds.checkpoint,
    )
    rounds.progress(decisions, decisions)
    return trace


def check_evaluations(
    method: Method, evaluations: int | None, bias: float, num_players: int
) -> None:
    """Raise `InputError` if the budget is too small for every estimator."""
    if evaluations is None or method.scorer not in LAWS:
        return
    law = shapley(num_players)
    if method.scorer != "shapley":
        law = banzhaf(num_players, _bias(method, bias))
    try:
        choose_method(law, num_players, evaluations, False)
    except InputError as error:
        raise InputError(f"--evaluations {evaluations}: {error}") from None
