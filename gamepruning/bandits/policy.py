"""What a bandit policy is, and two ways to make one.

A selection is a draw of random numbers, which does not look at the state, and a choice:
a game draws for many turns at once, which is several times as fast as turn by turn.

Rewards lie in [0, 1]. All policies share one state, so that seeds are a `vmap` away;
the same settings give the same policy, so that nothing is compiled twice. K is the
number of arms, T the number of pulls.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec

import chex
import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from gamepruning.trees.keys import as_key
from gamepruning.types import InputError, KeyLike, brief_repr

Rate = Callable[[Array, ArrayLike], ArrayLike]  # (open arms, horizon) -> rate
Settings = ParamSpec("Settings")


def remembered(make: "Callable[Settings, Policy]") -> "Callable[Settings, Policy]":
    """The same policy for the same settings, so that nothing is compiled twice."""
    cached = functools.cache(make)

    @functools.wraps(make)
    def policy(*args: Settings.args, **kwargs: Settings.kwargs) -> Policy:
        return cached(*args, **kwargs)

    return policy


class PolicyState(NamedTuple):
    """What a policy remembers.

    Attributes:
      counts: pulls of each arm, float [K].
      totals: the sum of each arm's rewards, float [K].
      log_weights: of the multiplicative policies, float [K]; 0 for the others.
      rate: their learning rate, or the share of uniform pulls; a scalar.
      is_open: which arms may be pulled, bool [K].
    """

    counts: Float[Array, " K"]
    totals: Float[Array, " K"]
    log_weights: Float[Array, " K"]
    rate: Float[Array, ""]
    is_open: Bool[Array, " K"]

    __repr__ = brief_repr


class Policy(NamedTuple):
    """A rule that says which arm to pull next, as pure functions.

    Attributes:
      name: as on the command line.
      init: (num_arms, num_pulls, is_open=None) -> `PolicyState`; num_pulls is the
        horizon that learning rates are made for, with the number of open arms as K.
      draw: (key, num_arms, num) -> the random numbers of a turn, a pytree.
      choose: (state, drawn, num) -> int [num] arms to pull side by side: the `num`
        best ones of one look, each once; those that draw from probabilities draw
        independently, because the update divides by them.
      update: (state, arm, reward) -> state; of one pull, or of [P] that were chosen
        together.
      preference: state -> float [K], how safe each arm seems to the policy itself.

    Example:
      >>> from gamepruning.bandits import ucb1
      >>> ucb1()
      Policy('ucb1')
    """

    name: str
    init: Callable[..., PolicyState]
    draw: Callable[[Array, int, int], Any]
    choose: Callable[[PolicyState, Any, int], Int[Array, " P"]]
    update: Callable[[PolicyState, Any, Any], PolicyState]
    preference: Callable[[PolicyState], Float[Array, " K"]]

    def select_many(self, state: PolicyState, key: KeyLike, num: int) -> Array:
        """`num` arms to pull side by side, int [num]."""
        return self.choose(state, self.draw(as_key(key), len(state.counts), num), num)

    def select(self, state: PolicyState, key: KeyLike) -> Array:
        """The next arm, an integer."""
        return self.select_many(state, key, 1)[0]

    def __repr__(self) -> str:
        return f"Policy({self.name!r})"


def policy_by_index(
    name: str,
    draw: Callable[[Array, int], Any],
    index: Callable[[PolicyState, Any], Array],
    rate: float = 0.0,
) -> Policy:
    """A policy that pulls the arms of the largest index.

    Args:
      name: of the policy.
      draw: (key, num_arms) -> the random numbers of a turn.
      index: (state, drawn) -> float [K].
      rate: the constant that the state holds as its rate.
    """

    def choose(state: PolicyState, drawn: Any, num: int) -> Array:
        value = index(state, drawn)
        chex.assert_equal_shape([value, state.is_open])
        among_open = jnp.where(state.is_open, value, -jnp.inf)
        if num == 1:
            return jnp.argmax(among_open)[None]
        return jax.lax.top_k(among_open, num)[1]

    def draw_once(key: Array, num_arms: int, num: int) -> Any:
        del num  # one look, however many arms are pulled after it
        return draw(key, num_arms)

    return Policy(name, _make_init(lambda *_: rate), draw_once, choose, _counted, means)


def policy_by_probability(
    name: str,
    log_probs: Callable[[PolicyState], Array],
    gain: Callable[[PolicyState, Array, Array], Array],
    rate: Rate,
) -> Policy:
    """A policy that draws from probabilities and moves log-weights.

    Args:
      name: of the policy.
      log_probs: state -> log-probabilities, float [K]; -inf for closed arms.
      gain: (state, arm, reward) -> what is added to the arm's log-weight.
      rate: (open arms, horizon) -> the rate that the state holds.
    """

    def draw(key: Array, num_arms: int, num: int) -> Array:
        return jax.random.gumbel(key, (num, num_arms))

    def choose(state: PolicyState, drawn: Array, num: int) -> Array:
        chex.assert_shape(drawn, (num, *state.is_open.shape))
        return jnp.argmax(log_probs(state)[None] + drawn, axis=1)

    def update(state: PolicyState, arm: Any, reward: Any) -> PolicyState:
        _check_pull(state, arm, reward)
        moved = state.log_weights.at[arm].add(gain(state, arm, reward))
        return _count(state, arm, reward)._replace(log_weights=moved - moved.max())

    return Policy(
        name, _make_init(rate), draw, choose, update, lambda state: state.log_weights
    )


def means(state: PolicyState) -> Float[Array, " K"]:
    """The mean reward of each arm, 0 for one that was never pulled."""
    return state.totals / jnp.maximum(state.counts, 1)


def one_each(sample: Callable[..., Array]) -> Callable[[Array, int], Array]:
    """(key, num_arms) -> draws of `sample(key, shape)`, one for each arm."""
    return lambda key, num_arms: sample(key, (num_arms,))


def _make_init(rate: Rate) -> Callable[..., PolicyState]:
    def init(num_arms: int, num_pulls: Any, is_open: Any = None) -> PolicyState:
        is_traced = isinstance(num_pulls, jax.Array)
        if num_arms < 1 or (not is_traced and num_pulls < 1):
            raise InputError(
                f"expected at least one arm and one pull, got {num_arms} arms and "
                f"{num_pulls} pulls"
            )
        zeros = jnp.zeros(num_arms, float)
        opened = jnp.ones(num_arms, bool) if is_open is None else jnp.asarray(is_open)
        chex.assert_shape(opened, (num_arms,))
        value = jnp.asarray(rate(opened.sum(), num_pulls), float)
        return PolicyState(zeros, zeros, zeros, value, opened)

    return init


def _counted(state: PolicyState, arm: Any, reward: Any) -> PolicyState:
    _check_pull(state, arm, reward)
    return _count(state, arm, reward)


def _check_pull(state: PolicyState, arm: Any, reward: Any) -> None:
    """Check the arms and rewards of a pull, where they are known.

    Raises:
      InputError: no such arm, or a reward outside [0, 1].
    """
    if any(isinstance(x, jax.core.Tracer) for x in (arm, reward)):
        return
    arms, rewards, num = np.asarray(arm), np.asarray(reward), len(state.counts)
    if ((arms < 0) | (arms >= num)).any():
        raise InputError(
            f"expected arms in [0, {num}), got {arms.min()} to {arms.max()}"
        )
    outside = rewards[~((rewards >= 0) & (rewards <= 1))]
    if outside.size:
        raise InputError(
            f"expected rewards in [0, 1], got {float(outside.flat[0]):.4g}: scale "
            "them, as 1 / (1 + exp(change of the loss / its spread))"
        )


def _count(state: PolicyState, arm: Any, reward: Any) -> PolicyState:
    return state._replace(
        counts=state.counts.at[arm].add(1),
        totals=state.totals.at[arm].add(jnp.asarray(reward, state.totals.dtype)),
    )
