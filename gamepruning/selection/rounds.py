"""One round of an iterated selection: score, decide, search, and value."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gamepruning.coalitions.games import coalition_values, processes_of
from gamepruning.coalitions.restrict import restrict
from gamepruning.selection.floors import Floors
from gamepruning.selection.greedy import local_search
from gamepruning.selection.settings import (
    GameScorer,
    IterationOptions,
    Pace,
    Progress,
)
from gamepruning.selection.trace import Round, SelectionTrace
from gamepruning.types import InputError, Scores, ValueFn


@dataclasses.dataclass(frozen=True)
class RoundRules:
    """What all rounds of a selection share.

    Attributes:
      value_fn: coalitions, bool [S, N] -> values [S].
      key: round k uses `fold_in(key, k)`.
      pace: how far the selection goes, and in what steps.
      make_scorer: `Progress` -> the scorer of a round.
      budget: keywords for the scorer.
      floors: how few players of each family may be in.
      options: how much is searched, among others.
    """

    value_fn: ValueFn
    key: jax.Array
    pace: Pace
    make_scorer: Callable[[Progress], GameScorer]
    budget: dict[str, int]
    floors: Floors
    options: IterationOptions


def play_round(rules: RoundRules, trace: SelectionTrace) -> Round:
    """Score the free players, decide on some, search, and value what is left.

    Args:
      rules: what all rounds share.
      trace: the rounds so far.

    Raises:
      InputError: the scores are not one finite number for each free player.
    """
    number, kept = len(trace.rounds), trace.mask.copy()
    building = trace.method == "building"
    free = np.flatnonzero(kept != building)
    scores = _score(rules, kept, number, building)
    processes = processes_of(rules.value_fn)
    if processes is not None:  # who leaves is decided by one of them
        scores = processes.first(scores)
    decided = _decide(rules, kept, free, np.asarray(scores.value), building)
    kept[decided] = building
    exchanges, cost = (), 0
    if rules.options.swaps:
        found = local_search(
            rules.value_fn,
            kept,
            max_exchanges=rules.options.swaps,
            at_once=rules.options.swaps_at_once,
            may_exchange=rules.floors.may_exchange,
        )
        kept, exchanges, cost = found.mask, found.exchanges, found.num_evaluations
    value = float(coalition_values(rules.value_fn, kept[None])[0])
    cost += scores.num_evaluations + 1
    return Round(number, free, scores, decided, exchanges, kept, value, cost)


def _score(rules: RoundRules, kept: np.ndarray, number: int, building: bool) -> Scores:
    """Scores of the game of the free players, float [M]."""
    game = restrict(
        rules.value_fn,
        len(kept),
        always_in=kept if building else None,
        always_out=None if building else ~kept,
    )
    num_free = int((kept != building).sum())
    fixed = int(kept.sum()) if building else 0
    progress = Progress(number, kept.copy(), num_free, fixed, rules.pace.n)
    scorer = rules.make_scorer(progress)
    own = jax.random.fold_in(rules.key, number)
    return _checked(scorer(own, game, num_free, **rules.budget), num_free, number)


def _decide(
    rules: RoundRules,
    kept: np.ndarray,
    free: np.ndarray,
    value: np.ndarray,
    building: bool,
) -> np.ndarray:
    """The players that leave or come, in that order, int [D]."""
    count = rules.pace.count(int(kept.sum()))
    order = np.argsort(-value, kind="stable")
    if building:
        return rules.floors.choose_in(kept, free[order], count)
    return rules.floors.choose_out(kept, free[order[::-1]], count)


def _checked(scores: Any, num_free: int, number: int) -> Scores:
    """The scores as NumPy arrays, one finite number for each free player."""
    if not isinstance(scores, Scores):
        raise InputError(
            f"expected the scorer to return gp.Scores, got {type(scores).__name__}"
        )
    value = np.asarray(scores.value, float)
    stderr = np.broadcast_to(np.asarray(scores.stderr, float), value.shape)
    if value.shape != (num_free,):
        raise InputError(
            f"expected the scorer to return {num_free} scores in round {number}, one "
            f"for each free player, got shape {value.shape}"
        )
    if not np.isfinite(value).all():
        bad = int(np.flatnonzero(~np.isfinite(value))[0])
        raise InputError(
            f"the scorer returned {value[bad]} for player {bad} of the {num_free} in "
            f"round {number}: give it more evaluations, or look for NaN in the values"
        )
    return Scores(value, stderr, int(scores.num_evaluations))
