"""Estimators that first learn the game, and then estimate what is not learned."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gamepruning.coalitions.estimators import pairs, ridge, sampling
from gamepruning.coalitions.estimators.base import (
    Estimate,
    Estimator,
    OwnWork,
    Problem,
    SampleCost,
    State,
    only_banzhaf,
    only_shapley,
)
from gamepruning.coalitions.estimators.centred_reuse import centred_reuse, reused
from gamepruning.coalitions.estimators.leverage import BY_SIZE, SIZED_FORMAT, leverage
from gamepruning.coalitions.estimators.proxies import (
    Learner,
    SeenCoalitions,
    fit_trees,
    one_thread,
    tree_operations,
)
from gamepruning.coalitions.estimators.regression import (
    ALIKE,
    alike,
    equations,
    paired_regression,
    regression,
    single_rows,
)
from gamepruning.coalitions.estimators.reuse import sample_reuse
from gamepruning.coalitions.estimators.sums import fit_sum, sum_operations
from gamepruning.coalitions.estimators.terms import fit_terms, term_operations
from gamepruning.coalitions.semivalues import Semivalue
from gamepruning.types import ValueFn

FOLDS = 4
_LEAST = 4 * FOLDS  # samples
_NEARLY_ALL = 1e-3  # of the squares: no more is learned where less is left
_ALL_WITHIN = 3.9e10  # operations, of 1e10 a second; the regression has the rest


def proxy() -> Estimator:
    """Regression of what is left of the game once it is learned.

    Three learners: a function of a weighted sum (`fit_sum`), terms in which a few have
    to agree (`fit_terms`), and boosted trees (`fit_trees`); the first two only while
    all fits take less than 4 seconds. The coalitions are those of leverage,
    paired_regression or regression. For each quarter of them each learner is fitted to
    the others. Its game g has known indices, so h = g - sum_i phi_i(g) z_i is a game
    whose indices are all 0: v - sum_k c_k h_k has those of v, and varies less where the
    learners are right. The c are found by least squares, near 0 where they are not.
    Then the regression goes on with what is left; errors and intervals are its own.

    Shapley values and Banzhaf indices of bias 1/2 begin with pairs of complements.
    Where nine of ten of the first N + 20 have the same sum, as in votes, complements
    tell nothing new: two coalitions are drawn instead of each further pair. The
    regression holds for both, whatever the game.

    Bias: that of the regression, of order 1/m, since no learner has seen the coalitions
    that it corrects. Cost: the evaluations of the regression, and four fits of each
    learner; memory of order m N. Up to 4096 players.

    References:
      Witter, Liu and Musco, Regression-adjusted Monte Carlo estimators for Shapley and
      probabilistic values, arXiv 2506.11849. ProxySHAP, arXiv 2605.22738.
    """
    return _learning(
        _regression_of, _LEARNERS, misfit=_regression_misfit, preference=-1
    )


def proxy_reuse() -> Estimator:
    """Boosted trees, and maximum sample reuse for what they leave over: unbiased.

    phi(v) = phi(g) + phi(v - g): the first exactly, from the leaves of trees fitted to
    three quarters of the coalitions, the second by sample reuse on the others, and so
    for each quarter. Coalitions are those of centred_reuse (Shapley, Beta) or of
    sample_reuse (Banzhaf). No tree has seen what it is corrected by, so its faults do
    not bias the sum. Cost: 1 evaluation a sample, and four fits; memory of order m N.
    Up to 4096 players.

    References:
      Witter, Liu and Musco, arXiv 2506.11849, algorithm 1.
    """
    return _learning(_reuse_of, (_TREES,), misfit=_too_many)


_TREES = Learner(fit_trees, tree_operations)
_LEARNERS = (
    Learner(fit_sum, sum_operations),
    Learner(fit_terms, term_operations),
    _TREES,
)


class _Base(NamedTuple):
    """The estimator that goes on with what is not learned.

    Attributes:
      estimator: the `Estimator`; its state has "values", one row a sample.
      rows: (problem, state) -> its coalitions, drawn again.
      equations: (problem, state, rows) -> the equations of its regression, in which
        proxies are weighed; None where they are subtracted as they are.
      weight: (problem, state, rows) -> the weights of the equations.
      is_odd: True if it is about differences of complements.
    """

    estimator: Estimator
    rows: Callable[[Problem, State], Iterator[pairs.ValuedCoalitions]]
    equations: (
        Callable[[Problem, State, pairs.ValuedCoalitions], ridge.Equations] | None
    ) = None
    weight: Callable[[Problem, State, pairs.ValuedCoalitions], np.ndarray] = alike
    is_odd: bool = False


class _Learned(NamedTuple):
    """A game near what players do not add by themselves; all its indices are alike.

    Attributes:
      values: its values at the coalitions, float [R]; half differences where
        complements matter.
      rise: minus its indices: 0 for Shapley values and Banzhaf indices.
    """

    values: Float[np.ndarray, " R"]
    rise: float


def _learning(
    base_of: Callable[[Semivalue], _Base],
    learners: tuple[Learner, ...],
    *,
    misfit: Callable[[Semivalue], str | None],
    preference: int | None = None,
) -> Estimator:
    def cost(semivalue: Semivalue) -> SampleCost:
        found = base_of(semivalue).estimator.cost(semivalue)
        return found._replace(least=max(found.least, _LEAST)) if found.each else found

    def init(problem: Problem, value_fn: ValueFn, num_samples: int) -> State:
        base = base_of(problem.semivalue).estimator
        return base.init(problem, value_fn, num_samples)

    def update(
        problem: Problem, value_fn: ValueFn, state: State, start: int, stop: int
    ) -> State:
        base = base_of(problem.semivalue).estimator
        return base.update(problem, value_fn, state, start, stop)

    def finish(problem: Problem, state: State) -> Estimate:
        base, values = base_of(problem.semivalue), state["values"]
        if not values.size or not np.ptp(values):
            return base.estimator.finish(problem, state)
        rows = list(base.rows(problem, state))
        learned = _learned(base, learners, problem, state, rows)
        state = {**state, "values": _without(values, learned.values, rows)}
        found = base.estimator.finish(problem, state)
        return found._replace(
            value=found.value - learned.rise, halves=found.halves - learned.rise
        )

    return Estimator(
        misfit=misfit,
        cost=cost,
        init=init,
        update=update,
        finish=finish,
        preference=preference,
        work=_work_of(learners),
        learns=True,
        format=SIZED_FORMAT,
    )


def _without(
    values: np.ndarray,
    learned: Float[np.ndarray, " R"],
    rows: list[pairs.ValuedCoalitions],
) -> np.ndarray:
    """The values of the samples less what is learned."""
    left, at = np.array(values, float), 0
    table = left.reshape(len(left), -1)
    for one in rows:
        own = learned[at : at + len(one.values)]
        table[one.numbers, one.column] -= own
        if not one.is_single:
            table[one.numbers, 1] += own
        at += len(own)
    return left


def _learned(
    base: _Base,
    learners: tuple[Learner, ...],
    problem: Problem,
    state: State,
    rows: list[pairs.ValuedCoalitions],
) -> _Learned:
    """What the learners find, each sample valued by what has not seen it."""
    seen = _seen(base, problem, state, rows)
    fold = [np.arange(one.numbers.start, one.numbers.stop) % FOLDS for one in rows]
    fold = np.concatenate(fold)
    num_evaluations = sum(len(one.masks) * (2 - one.is_single) for one in rows)
    if base.equations is None:
        [learner] = learners
        return _out_of_fold(problem.semivalue, learner, seen, fold)
    known, found, shares = [], np.zeros((len(fold), 0)), np.zeros(0)
    own = [base.equations(problem, state, one) for one in rows]
    for learner in _within(learners, problem.num_players, num_evaluations):
        known.append(_out_of_fold(problem.semivalue, learner, seen, fold))
        found = np.stack([one.values for one in known], axis=1)
        shares, left = _shares(own, seen.weight[:, None] * found)
        if left <= _NEARLY_ALL:
            break
    rises = np.array([one.rise for one in known])
    return _Learned(found @ shares, float(rises @ shares))


def _within(
    learners: tuple[Learner, ...], num_players: int, num_evaluations: int
) -> tuple[Learner, ...]:
    """The last one, and those of the others, in turn, that keep all within a limit."""
    found = learners[-1:]
    for one in learners[:-1]:
        more = (*found[:-1], one, *found[-1:])
        if _operations(more, num_players, num_evaluations) <= _ALL_WITHIN:
            found = more
    return found


def _operations(
    learners: tuple[Learner, ...], num_players: int, num_evaluations: int
) -> float:
    """Of all fits to all but one of the folds."""
    rows = num_evaluations * (FOLDS - 1) // FOLDS
    return FOLDS * sum(one.operations(num_players, rows) for one in learners)


def _seen(
    base: _Base, problem: Problem, state: State, rows: list[pairs.ValuedCoalitions]
) -> SeenCoalitions:
    masks = np.concatenate([one.masks for one in rows])
    values, twins = np.concatenate([one.values for one in rows]), None
    centre, weight = float(values.mean()), np.ones(len(values))
    if base.is_odd:
        centre = pairs.centre(problem, state)
        weight = np.concatenate([base.weight(problem, state, one) for one in rows])
        both = []
        for one in rows:
            if one.is_single:
                both.append(np.stack([one.values, np.full(len(one.values), np.nan)]))
            else:
                both.append(state["values"][one.numbers, :2].T)
        values, twins = np.concatenate(both, axis=1)
    return SeenCoalitions(masks, values, weight, twins, centre)


def _out_of_fold(
    semivalue: Semivalue, learner: Learner, seen: SeenCoalitions, fold: np.ndarray
) -> _Learned:
    """g less what its players add, for g fitted to the other folds.

    Where nobody and everybody are known by themselves, it is 0 for both of them; for
    Banzhaf indices it is 0 in the mean. Of complements half the difference counts.
    """
    n, found, rise = semivalue.num_players, np.empty(len(fold)), 0.0
    for number in range(FOLDS):
        own = fold == number
        with one_thread():  # by rounding, other terms might be the best
            known = learner.fit(semivalue, seen.where(~own))
        masks = seen.masks[own]
        slopes = known.indices
        if semivalue.bias is None:
            level, whole = known.values(np.array([[False], [True]]).repeat(n, axis=1))
            more = (whole - level - slopes.sum()) / n
            slopes, rise = slopes + more, rise + more * own.mean()
        else:
            level = known.mean - semivalue.bias * slopes.sum()
        if seen.twins is None:
            found[own] = known.values(masks) - masks @ slopes - level
        else:
            odd = (known.values(masks) - known.values(~masks)) / 2
            found[own] = odd - (masks - 0.5) @ slopes
    return _Learned(found, rise)


def _shares(
    equations: list[ridge.Equations], learned: Float[np.ndarray, "R k"]
) -> tuple[Float[np.ndarray, " k"], float]:
    """How much of each proxy to take: least squares, with all players in the fit.

    Returns:
      The shares, and which part of what the players leave is still left.
    """
    x = np.concatenate([np.column_stack([one.x, one.t]) for one in equations])
    y = np.concatenate([one.y for one in equations])
    both = np.column_stack([learned, y])
    gram = x.T @ x
    penalty = ridge.fading(len(x) / x.shape[1])
    gram += max(penalty, 1e-9) * np.trace(gram) / len(gram) * np.eye(len(gram))
    both -= x @ np.linalg.solve(gram, x.T @ both)
    shares, *_ = np.linalg.lstsq(both[:, :-1], both[:, -1], rcond=1e-6)
    left = both[:, -1] - both[:, :-1] @ shares
    return shares, float(left @ left / max(both[:, -1] @ both[:, -1], 1e-300))


def _regression_of(semivalue: Semivalue) -> _Base:
    if semivalue.name == "shapley":
        return _of_pairs(leverage(), BY_SIZE)
    if semivalue.bias == 0.5:
        return _of_pairs(paired_regression(), ALIKE)
    return _Base(regression(), single_rows, equations)


def _of_pairs(estimator: Estimator, kind: pairs.Pairing) -> _Base:
    return _Base(estimator, kind.rows, kind.equations, kind.weight, is_odd=True)


def _reuse_of(semivalue: Semivalue) -> _Base:
    if semivalue.bias is None:
        return _Base(centred_reuse(), _reused_rows)
    return _Base(sample_reuse(), single_rows)


def _reused_rows(problem: Problem, state: State) -> Iterator[pairs.ValuedCoalitions]:
    values = state["values"][:, 0]
    for start, stop in sampling.blocks(len(values), problem.num_players):
        yield pairs.ValuedCoalitions(
            reused(problem, start, stop), values[start:stop], start
        )


def _too_many(semivalue: Semivalue) -> str | None:
    if semivalue.num_players <= sampling.WIDE:
        return None
    return f"trees are for up to {sampling.WIDE} players"


def _regression_misfit(semivalue: Semivalue) -> str | None:
    if only_shapley(semivalue) and only_banzhaf(semivalue):
        return "it estimates Shapley values and Banzhaf indices only"
    return _too_many(semivalue)


def _work_of(learners: tuple[Learner, ...]) -> Callable[[int, int], OwnWork]:
    """Fits for each fold, what their rows take, and a regression."""

    def work(num_players: int, num_evaluations: int) -> OwnWork:
        asked = num_players, num_evaluations
        own = _operations(_within(learners, *asked), *asked)
        after = ridge.work(num_evaluations, num_players)
        memory = 40.0 * num_players * num_evaluations + after.memory
        return OwnWork(own + after.operations, memory)

    return work
