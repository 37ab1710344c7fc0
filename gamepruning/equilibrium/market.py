"""A budget that is met: the price of participation rises until demand fits it.

Each player faces a price for what it adds to the size of the network,

    U_i(s_i) = alpha s_i b_i - price c_i s_i                                (8-10)

with c_i its marginal size (one player, its parameters, or its multiply-adds) in the
place of gamma. Its best response is to take part where alpha b_i > price c_i, so that
demand falls as the price rises, and there is a lowest price at which those who want to
take part fit a budget: the market clears. That price minimises the dual of the
budgeted problem at the current benefits, and is found exactly, by sorting, where a
plain dual ascent would overshoot and empty the network. The budget falls from the whole
network to the target; the gates climb or descend towards the best responses
(eq. 14) at a fixed rate; the weights learn all the while.

b_i is what taking part earns a player, against staying out, to second order at the
current gates:

    b_i = L(s_i = 0) - L(s_i = 1) = -g_i + h_i (s_i - 1/2),   g_i = dL/ds_i

Its curvature h_i is taken as the Fisher information of the gate, from the variance of
g_i between batches of size B: h_i = B Var(g_i) + E(g_i)^2. It costs nothing beyond the
gradient. A player that takes part gains half of h_i, one that stays out loses it, so
that noise alone moves nobody.

References: Shah and Khan, Pruning as a Game, arXiv 2512.22106, eq. 8-17; the second-
order benefit after LeCun, Denker and Solla, Optimal Brain Damage, 1990; the falling
budget after Zhu and Gupta, To Prune, or Not to Prune, arXiv 1710.01878.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PyTree

from gamepruning.equilibrium.ascent import check_transform
from gamepruning.equilibrium.budget import (
    Budget,
    MarketKeywords,
    MarketSchedule,
    falling_budget,
)
from gamepruning.equilibrium.clearing import Clearing, clear_market
from gamepruning.equilibrium.step import (
    first_gates,
    make_gradient,
    move_both,
    placed_beside_params,
)
from gamepruning.options import make_options
from gamepruning.players import Players, size_of
from gamepruning.players.examples import check_players
from gamepruning.trees.examples import leading_length
from gamepruning.trees.placement import put_whole
from gamepruning.trees.trainable import take_trainable
from gamepruning.types import InputError, Loss, brief_repr


class MarketState(NamedTuple):
    """What the next step needs.

    Attributes:
      params: the weights theta, a pytree.
      gates: participation s, float32 [N] in [0, 1].
      opt_state: state of the joint transform.
      demand: best responses at the last clearing, bool [N].
      price: of that clearing.
      mean: running mean of dL/ds_i, float32 [N].
      square: running mean of its square.
      steps: how many were made.
    """

    params: PyTree
    gates: Float[Array, " N"]
    opt_state: Any
    demand: Bool[Array, " N"]
    price: Float[Array, ""]
    mean: Float[Array, " N"]
    square: Float[Array, " N"]
    steps: Int[Array, ""]

    def __repr__(self) -> str:
        return (
            f"MarketState(gates {list(self.gates.shape)}, steps={self.steps}, "
            f"price={self.price})"
        )


class MarketInfo(NamedTuple):
    """What a step tells.

    Attributes:
      loss: of the gated network on the batch, before the update.
      mean_participation: mean gate after the update.
      num_active: players with a gate above 0 after the update.
      price: at the last clearing.
      budget: the size that the schedule allows by now, in the budget's unit; those who
        take part fit what it allowed at the last clearing.
      size: of the network of those who take part.
    """

    loss: Float[Array, ""]
    mean_participation: Float[Array, ""]
    num_active: Int[Array, ""]
    price: Float[Array, ""]
    budget: Float[Array, ""]
    size: Float[Array, ""]

    __repr__ = brief_repr


class MarketStep(NamedTuple):
    """A pair of pure functions.

    Attributes:
      init: params -> state, with every gate at one.
      step: (state, batch) -> (state, info), for `jax.jit` and `jax.lax.scan`.
    """

    init: Callable[..., MarketState]
    step: Callable[[MarketState, Any], tuple[MarketState, MarketInfo]]

    def __repr__(self) -> str:
        return "MarketStep(init(params), step(state, batch))"


def make_market_step(
    players: Players,
    loss_fn: Loss,
    tx: optax.GradientTransformation,
    budget: Budget,
    *,
    benefit_fn: Callable[[PyTree, Array], Array] | None = None,
    merge_fn: Callable[[PyTree, Any], PyTree] | None = None,
    **schedule: Unpack[MarketKeywords],
) -> MarketStep:
    """Make a training step that ends within a budget (see the top of this module).

    The budget falls geometrically from the whole network, at `start`, to the
    target, at `end` of the steps. Every `every` steps until then the market is cleared;
    whoever has lost its seat loses its gate at the rate of `tx`, and may win it back.
    After `end` those who are in stay in; leave the rest of the steps, at least one
    over the gates' rate, for their gates to arrive.

    Args:
      players: the `Players` of the network.
      loss_fn: (outputs, labels) -> scalar, a mean over examples.
      tx: transform over {"params", "gates"}; see `joint_optimizer`. The gates are fed
        +1 where taking part is the best response, -1 elsewhere, so that
        `projected_gate_ascent(0.01)` takes 100 steps from one to zero.
      budget: what stays.
      num_steps: how many steps there will be.
      start: share of the steps before the budget begins to fall.
      end: share of the steps at which it has reached its end.
      every: steps between clearings.
      decay: of the running means of the gates' gradients.
      benefit_fn: (params, benefits) -> float [N], another ranking in the place of the
        benefits, such as weight magnitudes, under the same schedule.
      merge_fn: (params, outputs) -> params; see `make_equilibrium_step`.

    Returns:
      `MarketStep(init, step)`. A batch is a tuple (*inputs, labels).

    Raises:
      InputError: the budget cannot be met by these players, numbers make no sense,
        parameters are complex, or, by `init`, gates are not one float a player.
      TypeError: an unknown keyword, or no num_steps.

    Example: of two hidden units one is to stay.
      >>> import jax, jax.numpy as jnp, optax, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.array([[3.0, 1.0], [4.0, 0.0]]), "out": jnp.ones((2, 1))}
      >>> players = gp.find_players(apply, params, jnp.ones((1, 2)))
      >>> init, step = gp.make_market_step(
      ...     players,
      ...     gp.squared_error,
      ...     gp.joint_optimizer(optax.sgd(0.01), gp.projected_gate_ascent(0.05)),
      ...     gp.Budget(keep=1),
      ...     num_steps=100,
      ... )
      >>> batches = (jnp.ones((100, 1, 2)), jnp.full((100, 1), 8.0))
      >>> state, info = jax.lax.scan(step, init(params), batches)
      >>> state.gates.tolist()
      [1.0, 0.0]
    """
    plan = make_options(MarketSchedule, schedule, make_market_step)
    check_players(players)
    check_transform(tx)
    if not isinstance(budget, Budget):
        raise InputError(
            f"expected a budget such as gp.Budget(keep=0.1), got {budget!r:.60}"
        )
    size = size_of(players, budget.unit)
    budget_at = falling_budget(players, size, budget, plan.first, plan.last)
    differentiate = make_gradient(players, loss_fn)

    def init(params: PyTree, gates: ArrayLike | None = None) -> MarketState:
        return _start(tx, params, put_whole(first_gates(players, gates), params))

    def clear(state: MarketState, num_examples: int) -> Clearing:
        benefits = _benefits(state, plan.decay, num_examples)
        if benefit_fn is not None:
            benefits = jnp.asarray(benefit_fn(state.params, benefits), jnp.float32)
        demand, price = clear_market(
            benefits,
            size.marginal(state.demand),
            size,
            budget_at(state.steps),
            np.asarray(players.family_of),
            min_units=budget.min_units,
            additive=budget.unit == "players",
        )
        return Clearing(demand, price.astype(state.price.dtype))

    def step(state: MarketState, batch: tuple) -> tuple[MarketState, MarketInfo]:
        (loss, outputs), grads = differentiate(state.params, state.gates, batch)
        state = _observe(state, grads["gates"], plan.decay)
        num_examples = leading_length((batch[-1], *batch[:-1]))
        demand, price = jax.lax.cond(
            plan.is_due(state.steps),
            lambda: clear(state, num_examples),
            lambda: Clearing(state.demand, state.price),
        )
        ascent = jnp.where(demand, 1.0, -1.0)
        params, gates, opt_state = move_both(tx, state, grads["params"], ascent, loss)
        if merge_fn is not None:
            params = merge_fn(params, outputs)
        state = state._replace(
            params=params, gates=gates, opt_state=opt_state, demand=demand, price=price
        )
        info = MarketInfo(
            loss,
            gates.mean(),
            (gates > 0).sum(),
            price,
            budget_at(state.steps).size,
            size(gates > 0),
        )
        return state, info

    return MarketStep(init, step)


def _start(
    tx: optax.GradientTransformation, params: PyTree, gates: Array
) -> MarketState:
    state = MarketState(
        params,
        gates,
        tx.init({"params": take_trainable(params), "gates": gates}),
        demand=jnp.ones(gates.shape, bool),
        price=jnp.zeros((), jnp.float32),
        mean=jnp.zeros(gates.shape, jnp.float32),  # two arrays: both can be donated
        square=jnp.zeros(gates.shape, jnp.float32),
        steps=jnp.zeros((), jnp.int32),
    )
    return placed_beside_params(state)


def _observe(state: MarketState, slopes: Array, decay: float) -> MarketState:
    """The running means of the gates' gradients, one step on."""
    chex.assert_equal_shape([state.mean, slopes])
    slopes = slopes.astype(jnp.float32)
    return state._replace(
        mean=decay * state.mean + (1 - decay) * slopes,
        square=decay * state.square + (1 - decay) * jnp.square(slopes),
        steps=state.steps + 1,
    )


def _benefits(state: MarketState, decay: float, num_examples: int) -> Array:
    """What taking part earns against staying out, to second order."""
    weight = 1 - decay ** state.steps.astype(jnp.float32)
    mean, square = state.mean / weight, state.square / weight
    variance = jnp.maximum(square - jnp.square(mean), 0.0)
    curvature = num_examples * variance + jnp.square(mean)
    return -mean + curvature * (state.gates - 0.5)
