"""The same game on a value function, whose pulls are calls from Python."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gamepruning.bandits.game import BanditState, begin, learn
from gamepruning.bandits.policy import Policy
from gamepruning.types import InputError, ValueFn

_PIECE_BYTES = 2**26


class HostArms:
    """A value function as arms: the value of everybody minus that without a player.

    Args:
      value_fn: coalitions, bool [S, N] -> values [S].
      num_arms: N, where the value function does not say.

    Raises:
      InputError: `value_fn` is not callable, or N is not known, below 1, or another
        one than the value function says.
    """

    num_batches = 1
    data = None

    def __init__(self, value_fn: ValueFn, num_arms: int | None):
        known = getattr(value_fn, "num_players", None)
        num = known if num_arms is None else num_arms
        if not callable(value_fn) or num is None:
            raise InputError(
                "expected gp.removal_arms, or a value function and num_arms=, the "
                f"number of its players; got {type(value_fn).__name__}"
            )
        if num != int(num) or num < 1 or known not in (None, num):
            says = "" if known is None else f", and the value function has {known}"
            raise InputError(f"expected num_arms, a number of players, got {num}{says}")
        self.num_arms = int(num)
        self.is_open = np.ones(self.num_arms, bool)
        self._value_fn = value_fn

    def pull(self, chosen: np.ndarray) -> np.ndarray:
        """The loss of value without each of the chosen players, float [P].

        Everybody comes last. More coalitions than 64 MB are asked for in pieces.
        """
        size, total = max(1, _PIECE_BYTES // self.num_arms), len(chosen) + 1
        parts = [
            self._values(chosen[start : start + size], min(size, total - start))
            for start in range(0, total, size)
        ]
        values = np.concatenate(parts)
        return values[-1] - values[:-1]

    def _values(self, chosen: np.ndarray, num: int) -> np.ndarray:
        """Values without each of the chosen players, and of everybody up to `num`."""
        masks = np.ones((num, self.num_arms), bool)
        masks[np.arange(len(chosen)), chosen] = False
        values = np.asarray(self._value_fn(masks), float)
        if values.shape != (len(masks),):
            raise InputError(
                f"expected {len(masks)} values of {len(masks)} coalitions, shape "
                f"({len(masks)},), got {values.shape}"
            )
        return values


class HostPlays:
    """The `init` and `advance` of `Plays`, with pulls that are Python calls."""

    def __init__(self, policy: Policy, arms: HostArms, num_pulls: int, at_once: int):
        self.policy, self.arms, self.num_pulls = policy, arms, num_pulls
        self.at_once = at_once
        self.select = jax.jit(functools.partial(policy.select_many, num=at_once))
        self.learn = jax.jit(functools.partial(learn, policy))

    def init(self, data: Any, key: Array, is_open: Array, horizon: int) -> BanditState:
        """The state after one pull of every arm."""
        num = self.arms.num_arms
        first = jnp.asarray(self.arms.pull(np.arange(num)))
        offset = jnp.zeros(num, int)
        rules = (self.policy, self.num_pulls, self.at_once)
        return begin(*rules, first, offset, key, is_open, horizon)

    def advance(
        self, data: Any, state: BanditState, start: int, stop: int
    ) -> BanditState:
        """The state after the turns from start to stop."""
        for number in range(start, stop):
            chosen = self.select(state.policy, jax.random.fold_in(state.key, number))
            changes = jnp.asarray(self.arms.pull(np.asarray(chosen)))
            state = self.learn(state, number, chosen, changes)
        return state
