"""Six bandit policies, and uniform pulls: pure `init`, `select`, `update`.

A selection is a draw of random numbers, which does not look at the state, and a choice:
a game draws for many turns at once, which is several times as fast as turn by turn.

Rewards lie in [0, 1]. All policies share one state, so that seeds are a `vmap` away;
the same settings give the same policy, so that nothing is compiled twice. K is the
number of arms, T the number of pulls.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from gamepruning.types import InputError


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
    """

    name: str
    init: Callable[..., PolicyState]
    draw: Callable[[Array, int, int], Any]
    choose: Callable[[PolicyState, Any, int], Int[Array, " P"]]
    update: Callable[[PolicyState, Any, Any], PolicyState]
    preference: Callable[[PolicyState], Float[Array, " K"]]

    def select_many(self, state: PolicyState, key: Array, num: int) -> Array:
        """`num` arms to pull side by side, int [num]."""
        return self.choose(state, self.draw(key, len(state.counts), num), num)

    def select(self, state: PolicyState, key: Array) -> Array:
        """The next arm, an integer."""
        return self.select_many(state, key, 1)[0]


@functools.cache
def epsilon_greedy(epsilon: float = 0.1, *, decay: bool = False) -> Policy:
    """The arm of the best mean reward, but with probability epsilon any arm.

    Args:
      epsilon: the share of uniform pulls, in [0, 1].
      decay: pull n is uniform with probability min(1, epsilon K / n) instead; epsilon
        is then c / d^2 of the paper, with c > 5 and d the gap of the best arm, and may
        be above 1.

    Returns:
      The `Policy`. Regret: linear in T, at least epsilon T times the mean gap; with
      decay, O(log T) for a large enough epsilon.

    Raises:
      InputError: epsilon is below 0, or above 1 without decay.

    References:
      Sutton and Barto, Reinforcement Learning (1998), section 2.2. Auer, Cesa-Bianchi
      and Fischer, Machine Learning 47 (2002), theorem 3 (decay).
    """
    if not 0 <= epsilon <= (1e9 if decay else 1):
        raise InputError(
            f"expected epsilon in [0, 1], or above it with decay, got {epsilon}"
        )

    def draw(key: Array, num_arms: int) -> tuple[Array, Array]:
        explore_key, noise_key = jax.random.split(key)
        noise = jax.random.uniform(noise_key, (num_arms,))
        return jax.random.uniform(explore_key), noise

    def index(state: PolicyState, drawn: tuple[Array, Array]) -> Array:
        coin, noise = drawn
        share = state.rate
        if decay:
            pulls = jnp.maximum(state.counts.sum(), 1)
            share = jnp.minimum(1.0, share * state.is_open.sum() / pulls)
        return jnp.where(coin < share, noise, means(state))

    return _by_index("epsilon_greedy", draw, index, rate=epsilon)


@functools.cache
def softmax(temperature: float = 0.1) -> Policy:
    """An arm with probability proportional to exp(mean reward / temperature).

    Args:
      temperature: tau > 0; small ones are greedy.

    Returns:
      The `Policy`. Regret: linear in T for a fixed temperature, since every arm keeps
      a positive probability.

    Raises:
      InputError: the temperature is not positive.

    References:
      Luce, Individual Choice Behavior (1959). Sutton and Barto (1998), section 2.3.
    """
    if not 0 < temperature < math.inf:
        raise InputError(f"expected a temperature above 0, got {temperature}")

    def index(state: PolicyState, noise: Array) -> Array:
        return means(state) / state.rate + noise

    return _by_index("softmax", _one_each(jax.random.gumbel), index, rate=temperature)


@functools.cache
def ucb1(width: float = 2.0) -> Policy:
    """The arm of the largest mean + sqrt(width ln t / n), after one pull of each.

    Args:
      width: 2 is UCB1; a smaller one explores less.

    Returns:
      The `Policy`. Regret: at most sum over i of 8 ln T / gap_i, plus a constant, for
      the width of 2.

    Raises:
      InputError: the width is negative.

    References:
      Auer, Cesa-Bianchi and Fischer, Machine Learning 47 (2002), figure 1, theorem 1.
    """
    if not 0 <= width < math.inf:
        raise InputError(f"expected a width of at least 0, got {width}")

    def index(state: PolicyState, drawn: None) -> Array:
        del drawn
        counts = jnp.maximum(state.counts, 1)
        log_t = jnp.log(jnp.maximum(state.counts.sum(), 1))
        bound = means(state) + jnp.sqrt(state.rate * log_t / counts)
        return jnp.where(state.counts > 0, bound, jnp.inf)

    return _by_index("ucb1", lambda key, num_arms: None, index, rate=width)


@functools.cache
def thompson(scale: float = 1.0) -> Policy:
    """The arm of the largest draw from N(sum of rewards / (n + 1), scale^2 / (n + 1)).

    Args:
      scale: the standard deviation of one reward, > 0; 1 covers any in [0, 1].

    Returns:
      The `Policy`. Regret: O(sqrt(T K ln K)) for the scale of 1.

    Raises:
      InputError: the scale is not positive.

    References:
      Thompson, Biometrika 25 (1933). Agrawal and Goyal, Further optimal regret bounds
      for Thompson sampling (2013), algorithm 2.
    """
    if not 0 < scale < math.inf:
        raise InputError(f"expected a scale above 0, got {scale}")

    def index(state: PolicyState, noise: Array) -> Array:
        center = state.totals / (state.counts + 1)
        return center + noise * state.rate / jnp.sqrt(state.counts + 1)

    return _by_index("thompson", _one_each(jax.random.normal), index, rate=scale)


@functools.cache
def thompson_beta() -> Policy:
    """The arm of the largest draw from Beta(1 + sum of rewards, 1 + sum of 1 - reward).

    Returns:
      The `Policy`. Regret: O(log T) for rewards that are 0 or 1; fractional ones are
      counted as they are, a common practice without that proof.

    References:
      Thompson, Biometrika 25 (1933). Agrawal and Goyal, Analysis of Thompson sampling
      for the multi-armed bandit problem (2012).
    """

    def index(state: PolicyState, key: Array) -> Array:
        failures = jnp.maximum(state.counts - state.totals, 0)
        return jax.random.beta(key, 1 + state.totals, 1 + failures)

    return _by_index("thompson_beta", lambda key, num_arms: key, index)


@functools.cache
def hedge(learning_rate: float | None = None) -> Policy:
    """Multiplicative weights: an arm with probability p ~ w, and w *= exp(-eta loss).

    Hedge sees the loss of every arm; a pull shows that of one. It gets the unbiased
    estimate (1 - reward) / p for the arm that was pulled, and 0 for the others.

    Args:
      learning_rate: eta > 0; sqrt(2 ln K / (T K)) if None.

    Returns:
      The `Policy`. Regret: at most sqrt(2 T K ln K) in expectation, whatever the
      rewards.

    Raises:
      InputError: the learning rate is not positive.

    References:
      Freund and Schapire, JCSS 55 (1997), Hedge(beta). Bubeck and Cesa-Bianchi, Regret
      analysis of stochastic and nonstochastic multi-armed bandit problems (2012),
      theorem 3.1.
    """
    _check_rate(learning_rate)

    def rate(num_open: Array, num_pulls: ArrayLike) -> ArrayLike:
        best = jnp.sqrt(2 * jnp.log(num_open) / (num_pulls * num_open))
        return best if learning_rate is None else learning_rate

    def gain(state: PolicyState, arm: Array, reward: Array) -> Array:
        return -state.rate * (1 - reward) / jnp.exp(log_probs(state)[arm])

    def log_probs(state: PolicyState) -> Array:
        return jax.nn.log_softmax(jnp.where(state.is_open, state.log_weights, -jnp.inf))

    return _by_probability("hedge", log_probs, gain, rate)


@functools.cache
def exp3(mixing: float | None = None) -> Policy:
    """p = (1 - gamma) w / sum(w) + gamma / K, and w *= exp(gamma reward / (p K)).

    Args:
      mixing: gamma in (0, 1], the share of uniform pulls;
        min(1, sqrt(K ln K / ((e - 1) T))) if None.

    Returns:
      The `Policy`. Regret: at most 2.63 sqrt(T K ln K) in expectation, whatever the
      rewards.

    Raises:
      InputError: gamma is outside (0, 1].

    References:
      Auer, Cesa-Bianchi, Freund and Schapire, The nonstochastic multiarmed bandit
      problem, SIAM J. Comput. 32 (2002), figure 1, corollary 3.2.
    """
    if mixing is not None and not 0 < mixing <= 1:
        raise InputError(f"expected mixing in (0, 1], got {mixing}")

    def rate(num_open: Array, num_pulls: ArrayLike) -> ArrayLike:
        best = num_open * jnp.log(num_open) / ((math.e - 1) * num_pulls)
        return jnp.minimum(1.0, jnp.sqrt(best)) if mixing is None else mixing

    def log_probs(state: PolicyState) -> Array:
        weights = jax.nn.softmax(jnp.where(state.is_open, state.log_weights, -jnp.inf))
        mixed = (1 - state.rate) * weights + state.rate / state.is_open.sum()
        return jnp.where(state.is_open, jnp.log(jnp.maximum(mixed, 1e-38)), -jnp.inf)

    def gain(state: PolicyState, arm: Array, reward: Array) -> Array:
        inverse = jnp.exp(-log_probs(state)[arm])
        return state.rate * reward * inverse / state.is_open.sum()

    return _by_probability("exp3", log_probs, gain, rate)


@functools.cache
def uniform() -> Policy:
    """Any arm, each as likely: the reference that a policy has to beat.

    Returns:
      The `Policy`. Regret: T times the mean gap.
    """

    def index(state: PolicyState, noise: Array) -> Array:
        del state
        return noise

    return _by_index("uniform", _one_each(jax.random.uniform), index)


POLICIES: dict[str, Callable[[], Policy]] = {
    "epsilon_greedy": epsilon_greedy,
    "softmax": softmax,
    "ucb1": ucb1,
    "thompson": thompson,
    "thompson_beta": thompson_beta,
    "hedge": hedge,
    "exp3": exp3,
    "uniform": uniform,
}


def means(state: PolicyState) -> Float[Array, " K"]:
    """The mean reward of each arm, 0 for one that was never pulled."""
    return state.totals / jnp.maximum(state.counts, 1)


# -- what policies share -----------------------------------------------------------


Rate = Callable[[Array, ArrayLike], ArrayLike]  # of open arms and the horizon


def _init(rate: Rate) -> Callable[..., PolicyState]:
    def init(num_arms: int, num_pulls: Any, is_open: Any = None) -> PolicyState:
        is_traced = isinstance(num_pulls, jax.Array)
        if num_arms < 1 or (not is_traced and num_pulls < 1):
            raise InputError(
                f"expected at least one arm and one pull, got {num_arms} arms and "
                f"{num_pulls} pulls"
            )
        zeros = jnp.zeros(num_arms, float)
        opened = jnp.ones(num_arms, bool) if is_open is None else jnp.asarray(is_open)
        value = jnp.asarray(rate(opened.sum(), num_pulls), float)
        return PolicyState(zeros, zeros, zeros, value, opened)

    return init


def _count(state: PolicyState, arm: Array, reward: Array) -> PolicyState:
    return state._replace(
        counts=state.counts.at[arm].add(1),
        totals=state.totals.at[arm].add(jnp.asarray(reward, state.totals.dtype)),
    )


def _one_each(sample: Callable) -> Callable[[Array, int], Array]:
    """Draws of `sample`, one for each arm."""
    return lambda key, num_arms: sample(key, (num_arms,))


def _by_index(
    name: str,
    draw: Callable[[Array, int], Any],
    index: Callable[[PolicyState, Any], Array],
    rate: float = 0.0,
) -> Policy:
    """A policy that pulls the arms of the largest index, however many at once."""

    def choose(state, drawn, num):
        among_open = jnp.where(state.is_open, index(state, drawn), -jnp.inf)
        if num == 1:
            return jnp.argmax(among_open)[None]
        return jax.lax.top_k(among_open, num)[1]

    def draw_once(key, num_arms, num):
        del num
        return draw(key, num_arms)

    return Policy(name, _init(lambda *_: rate), draw_once, choose, _count, means)


def _by_probability(
    name: str, log_probs: Callable, gain: Callable, rate: Rate
) -> Policy:
    """A policy that draws from probabilities and moves log-weights by `gain`."""

    def draw(key, num_arms, num):
        return jax.random.gumbel(key, (num, num_arms))

    def choose(state, drawn, num):
        del num
        return jnp.argmax(log_probs(state)[None] + drawn, axis=1)

    def update(state, arm, reward):
        moved = state.log_weights.at[arm].add(gain(state, arm, reward))
        return _count(state, arm, reward)._replace(log_weights=moved - moved.max())

    return Policy(
        name, _init(rate), draw, choose, update, lambda state: state.log_weights
    )


def _check_rate(learning_rate: float | None) -> None:
    if learning_rate is not None and not 0 < learning_rate < math.inf:
        raise InputError(f"expected a learning rate above 0, got {learning_rate}")
