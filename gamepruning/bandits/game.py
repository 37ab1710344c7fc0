"""The rules of the safe-removal game, as pure functions."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from gamepruning.bandits.arms import RemovalArms
from gamepruning.bandits.policies import PolicyLike, as_policy
from gamepruning.bandits.policy import Policy, PolicyState
from gamepruning.trees.keys import as_threefry
from gamepruning.types import KeyLike

BLOCKS = 50  # that a game is played in, between reports of progress
FEWEST_TURNS, MOST_TURNS = 16, 256  # that random numbers are drawn for together
MOST_DRAWS = 2**18


class BanditState(NamedTuple):
    """A bandit game under way; K arms, T pulls.

    Attributes:
      policy: the policy's state.
      shift: the first loss change of each arm, float [K].
      sums: of loss change - shift, float [K].
      squares: of (loss change - shift)^2, float [K].
      spread: the loss change at which a reward is 1/2 +- 0.23; a scalar.
      offset: the mini-batch that each arm starts with, int [K].
      key: random key.
      arms: who was pulled, in order, int [T]; -1 where nobody was yet.
      changes: the loss changes, float [T].
    """

    policy: PolicyState
    shift: Float[Array, " K"]
    sums: Float[Array, " K"]
    squares: Float[Array, " K"]
    spread: Float[Array, ""]
    offset: Int[Array, " K"]
    key: Array
    arms: Int[Array, " T"]
    changes: Float[Array, " T"]

    def __repr__(self) -> str:
        return f"BanditState({len(self.shift)} arms, {len(self.arms)} pulls at most)"


class Plays(NamedTuple):
    """A game as pure functions of `RemovalArms.data`; for jit, vmap and loops.

    Attributes:
      init: (data, key, is_open, horizon=None) -> `BanditState` after the first pull of
        every open arm; horizon is the number of pulls that policies expect, at most
        what the game was made for, and that if None.
      advance: (data, state, start, stop) -> `BanditState` after those turns, of
        `pulls_at_once` pulls each.
    """

    init: Callable[..., BanditState]
    advance: Callable[..., BanditState]

    def __repr__(self) -> str:
        return "Plays(init(data, key, is_open), advance(data, state, start, stop))"


def make_plays(
    policy: PolicyLike, arms: RemovalArms, *, num_pulls: int, pulls_at_once: int = 1
) -> Plays:
    """Make a game of pure functions, for many seeds by `vmap` or a loop of one's own.

    Args:
      policy: such as `gp.ucb1()`.
      arms: `gp.removal_arms`; `arms.data` is an argument of the functions.
      num_pulls: budget, at least one pull an arm.
      pulls_at_once: pulls between two looks at the results.

    Returns:
      `Plays`.

    Example: five seeds side by side.
      >>> import jax, jax.numpy as jnp, gamepruning as gp
      >>> from gamepruning.bandits import count_turns, make_plays, ucb1
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.array([[3.0, 1.0]]), "out": jnp.ones((2, 1))}
      >>> x, y = jnp.ones((4, 1)), jnp.full(4, 4.0)
      >>> players = gp.find_players(apply, params, x)
      >>> arms = gp.removal_arms(players, params, gp.squared_error, x, y)
      >>> plays = make_plays(ucb1(), arms, num_pulls=10)
      >>> def whole(key):
      ...     state = plays.init(arms.data, key, jnp.ones(2, bool))
      ...     return plays.advance(arms.data, state, 0, count_turns(10, 2))
      >>> jax.vmap(whole)(jax.random.split(jax.random.key(0), 5)).arms.shape
      (5, 12)
    """
    rules = _Rules(as_policy(policy), arms, num_pulls, pulls_at_once)
    return Plays(rules.init, rules.advance)


def count_turns(num_pulls: int, num_arms: int, pulls_at_once: int = 1) -> int:
    """Count the turns that a budget allows after one pull of each of `num_arms`.

    Example:
      >>> count_turns(100, 40, 8)
      8
    """
    return math.ceil((num_pulls - num_arms) / pulls_at_once)


def safe_reward(change: Array, spread: Array) -> Array:
    """1 / (1 + exp(loss change / spread)): 1/2 where nothing changes, in [0, 1]."""
    return jax.nn.sigmoid(-change / jnp.maximum(spread, 1e-30))


@dataclasses.dataclass(frozen=True, eq=False)
class _Rules:
    """The compiled game of `make_plays`."""

    policy: Policy
    arms: RemovalArms
    num_pulls: int
    pulls_at_once: int

    def init(
        self, data: Any, key: KeyLike, is_open: Array, horizon: Any = None
    ) -> BanditState:
        num_arms, num_batches = self.arms.num_arms, self.arms.num_batches
        start_key, key = jax.random.split(as_threefry(key))
        offset = jax.random.randint(start_key, (num_arms,), 0, num_batches)
        # Compiled once for all policies.
        pull_all = self.arms.compile_once(
            ("first", num_batches),
            lambda: functools.partial(_pull_all, self.arms),
            is_shared=True,
        )
        first = pull_all(data, offset, is_open)
        expected = self.num_pulls if horizon is None else horizon
        return self._begin(first, offset, key, is_open, expected)

    def advance(
        self, data: Any, state: BanditState, start: Any, stop: Any
    ) -> BanditState:
        carry = (data, state, jnp.asarray(start), jnp.asarray(stop))
        return lax.while_loop(lambda c: c[2] < c[3], self._some_turns, carry)[1]

    @functools.cached_property
    def _begin(self) -> Callable[..., BanditState]:
        rules = (self.policy, self.num_pulls, self.pulls_at_once)
        return jax.jit(functools.partial(begin, *rules))

    @property
    def _turns_at_once(self) -> int:
        """Turns that random numbers are drawn for together."""
        num_arms, at_once = self.arms.num_arms, self.pulls_at_once
        block = math.ceil(count_turns(self.num_pulls, num_arms, at_once) / BLOCKS)
        turns = min(max(block, FEWEST_TURNS), MOST_TURNS)
        return max(1, min(turns, MOST_DRAWS // (num_arms * at_once)))

    def _some_turns(self, carry: tuple) -> tuple:
        """As many turns as numbers are drawn for together."""
        data, state, start, stop = carry
        numbers = start + jnp.arange(self._turns_at_once)
        drawn = jax.vmap(self._draw, (None, 0))(state.key, numbers)

        def body(number: Array, state: BanditState) -> BanditState:
            own = jax.tree.map(lambda leaf: leaf[number - start], drawn)
            return self._turn(data, state, number, own)

        end = jnp.minimum(start + self._turns_at_once, stop)
        return data, lax.fori_loop(start, end, body, state), end, stop

    def _draw(self, key: Array, number: Array) -> Any:
        own = jax.random.fold_in(key, number)
        return self.policy.draw(own, self.arms.num_arms, self.pulls_at_once)

    def _turn(
        self, data: Any, state: BanditState, number: Array, drawn: Any
    ) -> BanditState:
        chosen = self.policy.choose(state.policy, drawn, self.pulls_at_once)
        batch = _next_batches(state, chosen, self.arms.num_batches)
        if self.pulls_at_once == 1:
            changes = self.arms.pull(data, chosen[0], batch[0])[None]
        else:
            changes = self.arms.pull_many(data, chosen, batch)
        return learn(self.policy, state, number, chosen, changes)


def _pull_all(arms: RemovalArms, data: Any, offset: Array, is_open: Array) -> Array:
    """The loss change of every open arm on its first mini-batch, float [K]."""
    return arms.of_open(lambda arm: arms.pull(data, arm, offset[arm]), data, is_open)


def begin(
    policy: Policy,
    most_pulls: int,
    at_once: int,
    first: Array,
    offset: Array,
    key: Array,
    is_open: Array,
    horizon: Any,
) -> BanditState:
    """Make the state after one pull of every open arm.

    Args:
      policy: the policy.
      most_pulls: for which the record has room.
      at_once: pulls in a turn.
      first: the first loss change of each arm, float [K].
      offset: the mini-batch of that pull, int [K].
      key: random key of the turns to come.
      is_open: which arms may be pulled, bool [K].
      horizon: the number of pulls that the policy expects.
    """
    chex.assert_rank(first, 1)
    chex.assert_equal_shape([first, offset, is_open])
    num_arms = len(first)
    length = num_arms + count_turns(most_pulls, 0, at_once) * at_once
    first = jnp.where(is_open, first, 0.0)
    sizes = jnp.where(is_open & (first != 0), jnp.abs(first), jnp.nan)
    spread = jnp.nan_to_num(jnp.nanmedian(sizes), nan=1.0)
    own = policy.init(num_arms, horizon, is_open)
    own = _count_first(own, safe_reward(first, spread), is_open)
    zeros = jnp.zeros_like(first)
    arms = jnp.full(length, -1, jnp.int32)
    arms = arms.at[:num_arms].set(jnp.where(is_open, jnp.arange(num_arms), -1))
    changes = jnp.zeros(length, first.dtype).at[:num_arms].set(first)
    return BanditState(own, first, zeros, zeros, spread, offset, key, arms, changes)


def _count_first(state: PolicyState, rewards: Array, is_open: Array) -> PolicyState:
    """Count the first pulls; weights stay, for no policy chose these pulls."""
    return state._replace(
        counts=is_open.astype(state.counts.dtype),
        totals=jnp.where(is_open, rewards, 0.0).astype(state.totals.dtype),
    )


def _next_batches(state: BanditState, chosen: Array, num_batches: int) -> Array:
    """The mini-batches that the chosen arms have not seen for longest.

    An arm that was chosen twice in one turn sees two of them.
    """
    seen = state.policy.counts[chosen].astype(int)
    if len(chosen) > 1:
        seen += jnp.tril(chosen[:, None] == chosen[None], -1).sum(axis=1)
    return (state.offset[chosen] + seen) % num_batches


def learn(
    policy: Policy, state: BanditState, number: Any, chosen: Array, changes: Array
) -> BanditState:
    """Record turn `number` and update the policy.

    Args:
      policy: the policy.
      state: before the turn.
      number: of the turn, from 0.
      chosen: the arms that were pulled, int [P].
      changes: their loss changes, float [P].
    """
    chex.assert_equal_shape([chosen, changes])
    apart = changes - state.shift[chosen]
    place = len(state.shift) + number * len(chosen)
    rewards = safe_reward(changes, state.spread)
    chosen_32 = chosen.astype(state.arms.dtype)
    return state._replace(
        policy=policy.update(state.policy, chosen, rewards),
        sums=state.sums.at[chosen].add(apart),
        squares=state.squares.at[chosen].add(jnp.square(apart)),
        arms=lax.dynamic_update_slice(state.arms, chosen_32, (place,)),
        changes=lax.dynamic_update_slice(state.changes, changes, (place,)),
    )
