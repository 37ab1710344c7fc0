"""pyDVL's maximum sample reuse and shapiq's permutations, followed as they run.

Both get the same `TorchGame`, many coalitions at a time: shapiq asks so by itself;
pyDVL asks for one value at a time, so its evaluation strategy is told the values of a
whole batch before.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.stats import spearmanr

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pydvl.utils.status import Status
    from pydvl.valuation.dataset import Dataset
    from pydvl.valuation.methods.banzhaf import MSRBanzhafValuation
    from pydvl.valuation.samplers.msr import MSREvaluationStrategy, MSRSampler
    from pydvl.valuation.stopping import StoppingCriterion
    from pydvl.valuation.utility.base import UtilityBase
    from shapiq.approximator import PermutationSamplingSV

BATCH = 64


class Step(NamedTuple):
    """How near an estimate is after some work."""

    num_evaluations: int
    seconds: float
    spearman: float


def rank_correlation(value: np.ndarray, reference: np.ndarray) -> float:
    """Spearman's; 0 while a value is missing."""
    if not np.isfinite(value).all() or np.ptp(value) == 0:
        return 0.0
    return float(spearmanr(value, reference).statistic)


# -- pyDVL -----------------------------------------------------------------------------


class Players(Dataset):
    """pyDVL values data points; here point i stands for player i."""

    def __init__(self, num_players: int):
        points = np.arange(num_players)
        super().__init__(points.reshape(-1, 1), points)


class GameUtility(UtilityBase):
    """A game as pyDVL wants it: one coalition at a time, but known beforehand."""

    def __init__(self, game):
        self.game = game
        self.known: dict[bytes, float] = {}

    def learn(self, batch: list) -> None:
        masks = masks_of([sample.subset for sample in batch], self.game.num_players)
        values = self.game(masks)
        keys = (mask.tobytes() for mask in masks)
        self.known = dict(zip(keys, map(float, values), strict=True))

    def __call__(self, sample) -> float:
        (mask,) = masks_of([sample.subset], self.game.num_players)
        return self.known[mask.tobytes()]


class BatchedStrategy(MSREvaluationStrategy):
    """pyDVL's, with the values of a batch from one call of the game."""

    def process(self, batch, is_interrupted):
        self.utility.learn(batch)
        return super().process(batch, is_interrupted)


class BatchedSampler(MSRSampler):
    """pyDVL's, with that strategy."""

    def make_strategy(self, utility, coefficient=None):
        return BatchedStrategy(utility, coefficient)


class Follow(StoppingCriterion):
    """Writes down every batch; stops when the time is up."""

    def __init__(self, reference: np.ndarray, seconds: float, game):
        super().__init__(modify_result=False)
        self.reference, self.limit, self.game = reference, seconds, game
        self.first, self.start = game.num_evaluations, time.perf_counter()
        self.steps: list[Step] = []

    def _check(self, result) -> Status:
        spent = time.perf_counter() - self.start
        done = self.game.num_evaluations - self.first
        self._converged = np.full(result.values.shape, False)
        rank = rank_correlation(result.values, self.reference)
        self.steps.append(Step(done, spent, rank))
        return Status.Converged if spent >= self.limit else Status.Pending

    def completion(self) -> float:
        return 0.0


def pydvl_steps(
    game, reference: np.ndarray, *, seed: int, seconds: float, batch: int = BATCH
) -> tuple[list[Step], np.ndarray]:
    """pyDVL as it is, until the time is up.

    Returns:
      A step for every batch, and the values at the end.
    """
    follow = Follow(reference, seconds, game)
    valuation = MSRBanzhafValuation(
        GameUtility(game), follow, batch_size=batch, seed=seed, show_warnings=False
    )
    valuation.sampler = BatchedSampler(batch_size=batch, seed=seed)
    follow.start = time.perf_counter()
    valuation.fit(Players(game.num_players))
    return follow.steps, valuation.result.values


def masks_of(subsets: list, num_players: int) -> np.ndarray:
    masks = np.zeros((len(subsets), num_players), bool)
    for mask, subset in zip(masks, subsets, strict=True):
        mask[subset] = True
    return masks


def reuse_steps(
    game,
    reference: np.ndarray,
    *,
    seed: int,
    done: Callable[[Step], bool],
    batch: int = BATCH,
) -> Iterator[tuple[Step, np.ndarray]]:
    """The same coalitions and the same estimate, as four numpy sums.

    This is what pyDVL would do if its bookkeeping cost nothing.

    Yields:
      A step for every batch, and its values.
    """
    num = game.num_players
    samples = MSRSampler(batch_size=batch, seed=seed).generate(np.arange(num))
    sums, counts = np.zeros((2, num)), np.zeros((2, num))
    total, start = 0, time.perf_counter()
    while True:
        masks = masks_of([next(samples).subset for _ in range(batch)], num)
        values = game(masks)
        for row, where in enumerate((masks, ~masks)):
            sums[row] += values @ where
            counts[row] += where.sum(axis=0)
        means = sums / np.maximum(counts, 1)
        total += batch
        spent = time.perf_counter() - start
        value = np.where(counts.min(axis=0) > 0, means[0] - means[1], np.nan)
        step = Step(total, spent, rank_correlation(value, reference))
        yield step, value
        if done(step):
            return


# -- shapiq ----------------------------------------------------------------------------


def shapiq_steps(
    game, reference: np.ndarray, *, seed: int, done: Callable[[Step], bool]
) -> list[Step]:
    """shapiq's permutation sampling, in pieces of its own batch of 5 permutations.

    Every piece is a call of `approximate` with another random state; the mean over the
    pieces is what one long call gives, but for two evaluations a piece.
    """
    num = game.num_players
    budget = 2 + 5 * (num - 1)
    total, spent, steps = np.zeros(num), 0.0, []
    while not steps or not done(steps[-1]):
        start = time.perf_counter()
        sampler = PermutationSamplingSV(n=num, random_state=1000 * seed + len(steps))
        found = sampler.approximate(budget, game, batch_size=5)
        total += found.get_n_order_values(1)
        spent += time.perf_counter() - start
        rank = rank_correlation(total, reference)
        steps.append(Step((len(steps) + 1) * budget, spent, rank))
    return steps
