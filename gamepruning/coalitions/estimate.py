"""The engine behind all sampled indices: rounds, checkpoints, when to stop."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array

from gamepruning.coalitions.estimators import Estimate, Problem, stopping
from gamepruning.coalitions.estimators.base import State, ValueFn
from gamepruning.coalitions.estimators.budget import (
    Plan,
    check_arguments,
    make_plan,
    settings_of,
)
from gamepruning.coalitions.estimators.choose import choose_method
from gamepruning.coalitions.semivalues import Semivalue
from gamepruning.files import npz as files
from gamepruning.types import InputError, Scores

_PASSES = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class IndexEstimate:
    """An estimate, and how far to trust it.

    Attributes:
      scores: the `Scores`: value +- 1.96 stderr is a 95 % interval for each player.
      method: the estimator that was used.
      agreement: the rank correlation with the exact index to be expected, predicted
        from two halves of the samples.
      cut_overlap: which share of the `cut` lowest players is expected to be right; nan
        if no cut was named.
      status: "settled" (the target was reached) or "budget" (the evaluations were
        used up).
    """

    scores: Scores
    method: str
    agreement: float
    cut_overlap: float
    status: str


def estimate_indices(
    key: Array,
    value_fn: ValueFn,
    semivalue: Semivalue,
    *,
    num_evaluations: int,
    method: str = "auto",
    target_agreement: float | None = None,
    cut: int | None = None,
    checkpoint: str | Path | None = None,
    round_size: int = 1024,
    progress: Callable[[int, int], Any] | None = None,
) -> IndexEstimate:
    """Estimate a power index; stop early once the ranking is settled, if asked to.

    Sample j depends on the key and j only, so that a run that was killed and goes on
    from its checkpoint ends bit-equal to one that was not, and a larger budget goes on
    where a smaller one ended.

    Args:
      key: the random key.
      value_fn: coalitions bool [S, N] -> values [S]; its methods `prefixes` and
        `toggles` are used where it has them.
      semivalue: the power index, made by `shapley`, `banzhaf` or `beta_semivalue`.
      num_evaluations: the budget.
      method: a name in `ESTIMATORS`, or "auto" (see `choose_method`).
      target_agreement: stop before the budget is used up when the predicted rank
        correlation with the exact index (or, with `cut`, the predicted overlap of the
        lowest players) is at least this, at two checks in a row, and the spread of the
        scores exceeds what their standard errors explain.
      cut: how many of the lowest players are to be told from the rest.
      checkpoint: a `.npz` file, written after every round; gone on from if it exists.
      round_size: evaluations between checkpoints, about; the result does not depend
        on it.
      progress: called as progress(evaluations done, evaluations to do).

    Returns:
      `IndexEstimate`.

    Raises:
      InputError: a budget too small for the method, an unknown method or one that does
        not fit the index, values that are not finite or of the wrong shape, another
        number of players than the value function has, a checkpoint of other settings.

    Cost: at most `num_evaluations` evaluations; memory of 8 bytes an evaluation or
    less, and a few N x N matrices for regressions.

    Example:
      >>> import jax, numpy as np
      >>> from gamepruning.coalitions.semivalues import banzhaf
      >>> worth = np.arange(20.0)
      >>> game = lambda masks: np.sqrt(masks @ worth)
      >>> estimate = estimate_indices(
      ...     jax.random.key(0),
      ...     game,
      ...     banzhaf(20, 0.5),
      ...     num_evaluations=100_000,
      ...     target_agreement=0.95,
      ... )
      >>> estimate.status, estimate.scores.num_evaluations < 1000
      ('settled', True)
    """
    check_arguments(value_fn, semivalue, num_evaluations, target_agreement, cut)
    if round_size < 1:
        raise InputError(f"expected round_size >= 1, got {round_size}")
    path = None if checkpoint is None else Path(checkpoint)
    found = files.load(path) if path is not None and path.exists() else None
    if method == "auto" and found is not None:
        method = found[0].get("method", method)
    if method == "auto":
        incremental = bool(getattr(value_fn, "is_incremental", False))
        n = semivalue.num_players
        method = choose_method(semivalue, n, num_evaluations, incremental)
    plan = make_plan(
        method, semivalue, num_evaluations, round_size, target_agreement, cut
    )
    problem = Problem(key, semivalue)
    settings = settings_of(problem, plan)
    if found is None:
        progressed = _Progress(0, 0, False)
        state = plan.init(problem, value_fn)
    else:
        assert path is not None
        files.check_settings(path, found[0], settings)
        progressed, state = _go_on(path, found[1], plan)

    while progressed.done < plan.num_samples and not progressed.is_settled:
        start, stop = progressed.done, plan.next_stop(progressed.done)
        state = plan.estimator.update(problem, value_fn, state, start, stop)
        progressed = _checked(plan, problem, state, progressed._replace(done=stop))
        if path is not None:
            counts = {"progress": np.array(progressed, np.int64)}
            files.save(path, settings, {**state, **counts})
        if progress is not None:
            progress(plan.evaluations(stop), plan.evaluations(plan.num_samples))
    return _verdict(plan, problem, state, progressed)


class _Progress(NamedTuple):
    done: int  # samples
    passes: int  # checks in a row that found the ranking settled
    is_settled: bool


def _go_on(path: Path, arrays: State, plan: Plan) -> tuple[_Progress, State]:
    done, passes, is_settled = arrays.pop("progress").tolist()
    if done > plan.num_samples:
        raise InputError(
            f"checkpoint {path} holds {plan.evaluations(done)} evaluations already, "
            f"more than the budget of {plan.evaluations(plan.num_samples)}: ask for at "
            "least as many, or use another file"
        )
    return _Progress(done, passes, bool(is_settled)), arrays


def _checked(plan: Plan, problem: Problem, state: State, now: _Progress) -> _Progress:
    """Look at the ranking, where it is due."""
    if plan.target is None or not plan.is_check(now.done):
        return now
    found = plan.estimator.finish(problem, state)
    passes = now.passes + 1 if _looks_settled(found, plan) else 0
    return now._replace(passes=passes, is_settled=passes >= _PASSES)


def _looks_settled(found: Estimate, plan: Plan) -> bool:
    """Both predictions have to reach the target: from halves, and from errors.

    The errors alone would do for all rankings but those that a few large scores
    dominate; the halves alone can agree by luck where players are few.
    """
    assert plan.target is not None
    sure = stopping.reliability(found.value, found.stderr)
    if plan.cut is None:
        ranks = stopping.predicted_agreement(*found.halves)
        return min(ranks, sure) >= plan.target
    half_a, half_b = found.halves
    overlap = stopping.predicted_overlap(half_a, half_b, plan.cut)
    return overlap >= plan.target and sure >= min(plan.target, 0.8)


def _verdict(plan: Plan, problem: Problem, state: State, now: _Progress):
    found = plan.estimator.finish(problem, state)
    half_a, half_b = found.halves
    overlap = math.nan
    if plan.cut is not None:
        overlap = stopping.predicted_overlap(half_a, half_b, plan.cut)
    scores = Scores(found.value, found.stderr, plan.evaluations(now.done))
    return IndexEstimate(
        scores=scores,
        method=plan.method,
        agreement=stopping.predicted_agreement(*found.halves),
        cut_overlap=overlap,
        status="settled" if now.is_settled else "budget",
    )
