"""What a game found: means, their standard errors, and whether arms are apart."""

from typing import Literal, NamedTuple

import numpy as np
from scipy.special import stdtrit

from gamepruning.bandits.game import BanditState
from gamepruning.bandits.policy import Policy
from gamepruning.types import InputError, Scores

CONFIDENCE = 0.95  # that all arms are on their side of the cut, when a game stops
Status = Literal["budget", "separated"]


class BanditResult(NamedTuple):
    """What a game found.

    Attributes:
      scores: mean loss change without each player (plus `caution` standard errors),
        and its standard error: higher means keep; -inf for a player that is out.
      mean: the mean loss change of each arm without `caution`, float [K]; its standard
        error is `scores.stderr`.
      pulls: how often each arm was pulled, int [K].
      rewards: the mean reward of each arm, float [K].
      preference: how safe to remove each arm seems to the policy itself, float [K].
      arms: who was pulled, in order, int [T].
      changes: the loss changes, float [T].
      status: "budget" if all pulls were spent, "separated" if those to remove were
        told apart before.
    """

    scores: Scores
    mean: np.ndarray
    pulls: np.ndarray
    rewards: np.ndarray
    preference: np.ndarray
    arms: np.ndarray
    changes: np.ndarray
    status: Status

    def __repr__(self) -> str:
        is_open = np.isfinite(self.scores.value)
        value = np.where(is_open, self.scores.value, np.inf)
        safest = int(value.argmin())
        return (
            f"BanditResult({self.status!r} after {len(self.arms)} pulls of "
            f"{is_open.sum()} arms; safest to remove: {safest}, "
            f"{value[safest]:.3g} +- {self.scores.stderr[safest]:.2g})"
        )


def make_result(
    state: BanditState, policy: Policy, num_batches: int, status: Status, caution: float
) -> BanditResult:
    """Read the result of a game off its last state.

    Args:
      state: the last state.
      policy: who played.
      num_batches: mini-batches of the arms, M.
      status: why the game ended.
      caution: standard errors to add to the mean loss changes.

    Raises:
      InputError: a loss change is not finite.
    """
    is_open = np.asarray(state.policy.is_open)
    mean, stderr = _estimates(state, num_batches)
    pulled = np.asarray(state.arms)
    used = pulled >= 0
    changes = np.asarray(state.changes)[used]
    if not np.isfinite(changes).all():
        bad = int(np.flatnonzero(~np.isfinite(changes))[0])
        raise InputError(
            f"the loss change of player {pulled[used][bad]} is {changes[bad]}: look "
            "for NaN in the inputs, or a label outside the classes"
        )
    counts = np.asarray(state.policy.counts).astype(int)
    value = np.where(is_open, mean + caution * stderr, -np.inf)
    return BanditResult(
        Scores(value, np.where(is_open, stderr, 0.0), int(counts.sum())),
        np.where(is_open, mean, -np.inf),
        counts,
        np.asarray(state.policy.totals) / np.maximum(counts, 1),
        np.asarray(policy.preference(state.policy)),
        pulled[used],
        changes,
        status,
    )


def are_separated(state: BanditState, num_batches: int, count: int) -> bool:
    """Return True if the `count` arms of the lowest means are apart from the others.

    The intervals of all arms together (Student's t, Bonferroni) leave a gap there.
    """
    is_open = np.asarray(state.policy.is_open)
    mean, stderr = (x[is_open] for x in _estimates(state, num_batches))
    freedom = np.asarray(state.policy.counts)[is_open] - 1
    if freedom.min() < 1:
        return False
    level = (1 - CONFIDENCE) / (2 * len(mean))
    radius = -stderr * stdtrit(freedom, level)
    order = np.argsort(mean, kind="stable")
    low, high = order[:count], order[count:]
    return bool((mean + radius)[low].max() < (mean - radius)[high].min())


def _estimates(state: BanditState, num_batches: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean loss change of each arm, and its standard error."""
    counts = np.maximum(np.asarray(state.policy.counts, float), 1)
    sums, squares = np.asarray(state.sums, float), np.asarray(state.squares, float)
    mean = np.asarray(state.shift, float) + sums / counts
    repeated = counts > 1
    spare = np.maximum(squares - sums**2 / counts, 0) / np.maximum(counts - 1, 1)
    is_drawn = num_batches > 1
    unknown = np.mean(mean**2) if is_drawn else 0.0
    pooled = spare[repeated].mean() if repeated.any() else unknown
    variance = np.where(repeated, spare, pooled)
    if not is_drawn:  # pulls of an arm are equal, or its value function is noisy
        return mean, np.sqrt(variance / counts)
    # Whole walks through the mini-batches are exact; the rest are drawn from M.
    rest = counts % num_batches
    return mean, np.sqrt(variance * rest * (1 - rest / num_batches)) / counts
