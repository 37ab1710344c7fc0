"""Estimators that first learn the game, and then estimate what is not learned."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from gamepruning.coalitions.estimators import proxies, ridge, sampling
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
from gamepruning.coalitions.estimators.leverage import leverage
from gamepruning.coalitions.estimators.regression import paired_regression, regression
from gamepruning.coalitions.estimators.reuse import sample_reuse
from gamepruning.coalitions.semivalues import Semivalue
from gamepruning.types import ValueFn

FOLDS = 4
_LEAST = 4 * FOLDS  # samples
_OPERATIONS_A_FIT, _OPERATIONS_AN_ENTRY = 2e9, 5e3  # of 1e10 a second, measured


def proxy() -> Estimator:
    """Regression of what boosted trees leave over, weighed by what they explain.

    The coalitions are those of leverage, paired_regression or regression. For each
    quarter of them trees are fitted to the others. Their game g has known indices, so
    h = g - sum_i phi_i(g) z_i is a game whose indices are all 0: v - c h has those of
    v, and varies less where the trees are right. c is found by least squares, near 0
    where they are not. Then the regression goes on with v - c h; errors and intervals
    are its own. Bias: that of the regression, of order 1/m, since no tree has seen the
    coalitions that it corrects. Cost: the evaluations of the regression, and four fits
    (see `fit_trees`); memory of order m N. Up to 4096 players.

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
    return _learning(_reuse_of, (proxies.fit_trees,), misfit=_too_many)


_LEARNERS: tuple[proxies.Learner, ...] = (proxies.fit_trees,)


class _Base(NamedTuple):
    """The estimator that goes on with what is not learned.

    Attributes:
      estimator: the `Estimator`; its state has "values", one row a sample.
      draw: (problem, start, stop) -> its coalitions, drawn again.
      members: values of a sample: 2 where the complement is valued, too.
      weight: (sizes, N) -> weights of the rows of the regression in which proxies are
        weighed; None where they are subtracted as they are.
    """

    estimator: Estimator
    draw: Callable[[Problem, int, int], Bool[np.ndarray, "S N"]]
    members: int
    weight: Callable[[np.ndarray, int], np.ndarray] | None


class _Learned(NamedTuple):
    """A game near what players do not add by themselves; all its indices are alike.

    Attributes:
      values: its values at the samples, float [m, q].
      rise: minus its indices: 0 for Shapley values and Banzhaf indices.
    """

    values: Float[np.ndarray, "m q"]
    rise: float


def _learning(
    base_of: Callable[[Semivalue], _Base],
    learners: tuple[proxies.Learner, ...],
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
        base, values = base_of(problem.semivalue), np.array(state["values"], float)
        if not values.size or not np.ptp(values):
            return base.estimator.finish(problem, state)
        known = values.reshape(len(values), -1)[:, : base.members]
        learned = _learned(base, learners, problem, known)
        known -= learned.values
        found = base.estimator.finish(problem, {**state, "values": values})
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
        work=_work,
        learns=True,
    )


def _learned(
    base: _Base,
    learners: tuple[proxies.Learner, ...],
    problem: Problem,
    values: Float[np.ndarray, "m q"],
) -> _Learned:
    """What the learners find, each sample valued by what has not seen it."""
    num, members = values.shape
    parts = sampling.blocks(num, problem.num_players)
    masks = np.concatenate([base.draw(problem, *part) for part in parts])
    both = np.concatenate([masks, ~masks]) if members == 2 else masks
    fold = np.tile(np.arange(num) % FOLDS, members)
    known = [
        _out_of_fold(problem.semivalue, learner, both, values.T.ravel(), fold)
        for learner in learners
    ]
    found = np.stack([one.values for one in known], axis=-1)
    found = found.reshape(members, num, -1).swapaxes(0, 1)
    shares = np.ones(len(learners))
    if base.weight is not None:
        weight = base.weight(masks.sum(axis=1), problem.num_players)
        shares = _shares(masks, values, found, weight)
    rises = np.array([one.rise for one in known])
    return _Learned(found @ shares, float(rises @ shares))


def _out_of_fold(
    semivalue: Semivalue,
    learner: proxies.Learner,
    masks: Bool[np.ndarray, "S N"],
    values: Float[np.ndarray, " S"],
    fold: np.ndarray,
) -> _Learned:
    """g less what its players add, for g fitted to the other folds.

    Where nobody and everybody are known by themselves, it is 0 for both of them; for
    Banzhaf indices it is 0 in the mean.
    """
    n, found, rise = semivalue.num_players, np.empty(len(values)), 0.0
    for number in range(FOLDS):
        own = fold == number
        known = learner(semivalue, masks[~own], values[~own])
        slopes = known.indices
        if semivalue.bias is None:
            level, whole = known.values(np.array([[False], [True]]).repeat(n, axis=1))
            more = (whole - level - slopes.sum()) / n
            slopes, rise = slopes + more, rise + more * own.mean()
        else:
            level = known.mean - semivalue.bias * slopes.sum()
        found[own] = known.values(masks[own]) - masks[own] @ slopes - level
    return _Learned(found, rise)


def _shares(
    masks: Bool[np.ndarray, "m N"],
    values: Float[np.ndarray, "m q"],
    learned: Float[np.ndarray, "m q k"],
    weight: Float[np.ndarray, " m"],
) -> Float[np.ndarray, " k"]:
    """How much of each proxy to take: least squares, with all players in the fit."""
    if values.shape[1] == 2:
        values = (values[:, :1] - values[:, 1:]) / 2
        learned = (learned[:, :1] - learned[:, 1:]) / 2
    x = weight[:, None] * np.column_stack(
        [masks - masks.mean(axis=0), np.ones(len(masks))]
    )
    both = weight[:, None] * np.column_stack([learned[:, 0], values[:, 0]])
    gram = x.T @ x
    penalty = ridge.fading(len(x) / x.shape[1])
    gram += max(penalty, 1e-9) * np.trace(gram) / len(gram) * np.eye(len(gram))
    both -= x @ np.linalg.solve(gram, x.T @ both)
    shares, *_ = np.linalg.lstsq(both[:, :-1], both[:, -1], rcond=1e-6)
    return shares


def _regression_of(semivalue: Semivalue) -> _Base:
    if semivalue.name == "shapley":
        return _Base(leverage(), _draw_sized, 2, _by_size)
    if semivalue.bias == 0.5:
        return _Base(paired_regression(), _draw, 2, _alike)
    return _Base(regression(), _draw, 1, _alike)


def _reuse_of(semivalue: Semivalue) -> _Base:
    if semivalue.bias is None:
        return _Base(centred_reuse(), reused, 1, None)
    return _Base(sample_reuse(), _draw, 1, None)


def _draw(problem: Problem, start: int, stop: int) -> np.ndarray:
    return sampling.coalitions(*problem, start, stop)


def _draw_sized(problem: Problem, start: int, stop: int) -> np.ndarray:
    return sampling.sized_coalitions(problem.key, problem.num_players, start, stop)


def _by_size(sizes: np.ndarray, n: int) -> np.ndarray:
    return np.sqrt(n / (sizes * (n - sizes)))


def _alike(sizes: np.ndarray, n: int) -> np.ndarray:
    del n
    return np.ones(len(sizes))


def _too_many(semivalue: Semivalue) -> str | None:
    if semivalue.num_players <= sampling.WIDE:
        return None
    return f"trees are for up to {sampling.WIDE} players"


def _regression_misfit(semivalue: Semivalue) -> str | None:
    if only_shapley(semivalue) and only_banzhaf(semivalue):
        return "it estimates Shapley values and Banzhaf indices only"
    return _too_many(semivalue)


def _work(num_players: int, num_evaluations: int) -> OwnWork:
    """Fits for each fold, what their rows take, and a regression."""
    entries = float(num_players) * num_evaluations
    own = FOLDS * (_OPERATIONS_A_FIT + _OPERATIONS_AN_ENTRY * entries)
    after = ridge.work(num_evaluations, num_players)
    return OwnWork(own + after.operations, 16 * entries + after.memory)
