"""A budget that is met: the price of participation rises until demand fits it.

Each player faces a price for what it adds to the size of the network,

    U_i(s_i) = alpha s_i b_i - price c_i s_i                                (8-10)

with c_i its marginal size (one player, its parameters, or its multiply-adds) in the
place of gamma. Its best response is to take part where alpha b_i > price c_i, so that
demand falls as the price rises, and there is a lowest price at which those who want to
take part fit a budget: the market clears. That price minimises the dual of the
budgeted problem at the current benefits, and is found exactly, by sorting, where a
plain dual ascent would overshoot and empty the network. The budget falls from the whole
network to what was asked for; the gates climb or descend towards the best responses
(eq. 14) at a fixed rate; the weights learn all the while.

b_i is what taking part earns a player, against staying out, to second order at the
current gates:

    b_i = L(s_i = 0) - L(s_i = 1) = -g_i + h_i (s_i - 1/2),   g_i = dL/ds_i

Its curvature h_i is taken as the Fisher information of the gate, from the variance of
g_i between batches of size B: h_i = B Var(g_i) + E(g_i)^2. It costs nothing beyond the
gradient. A player that takes part gains half of h_i, one that stays out loses it, so
that nobody comes and goes on noise.

References: Shah and Khan, Pruning as a Game, arXiv 2512.22106, eq. 8-17; the second-
order benefit after LeCun, Denker and Solla, Optimal Brain Damage, 1990; the falling
budget after Zhu and Gupta, To Prune, or Not to Prune, arXiv 1710.01878.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PyTree

from gamepruning.equilibrium.step import make_gradient, move_both
from gamepruning.players import Players, Size, size_of
from gamepruning.trees.trainable import take_trainable
from gamepruning.types import InputError

Unit = Literal["players", "params", "macs"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """How large the network may be in the end.

    Attributes:
      keep: a fraction of the whole in (0, 1), a number in the unit, or a number of
        players for each family.
      unit: what is counted: "players", "params" or "macs".
      min_units: players that each family keeps at least.

    Raises:
      InputError: the numbers make no sense.

    Example:
      >>> Budget(keep=0.1, unit="params")
      Budget(keep=0.1, unit='params', min_units=1)
    """

    keep: float | int | tuple[int, ...]
    unit: Unit = "players"
    min_units: int = 1

    def __post_init__(self):
        if self.unit not in get_args(Unit):
            raise InputError(
                f"expected a budget of {', '.join(get_args(Unit))}, got {self.unit!r}"
            )
        if self.min_units < 1:
            raise InputError(f"expected min_units >= 1, got {self.min_units}")
        if isinstance(self.keep, tuple):
            if self.unit != "players" or not all(k >= 1 for k in self.keep):
                raise InputError(
                    f"expected at least one player a family, got {self.keep} "
                    f"{self.unit}"
                )
        elif not 0 < self.keep < math.inf or (
            self.keep > 1 and self.keep != int(self.keep)
        ):
            raise InputError(
                f"expected a fraction in (0, 1) or a whole number, got {self.keep}"
            )


class Clearing(NamedTuple):
    """Who takes part at the price at which demand fits the budget.

    Attributes:
      demand: best responses, bool [N].
      price: in units of the benefit for one unit of size. It is negative, a subsidy,
        where the budget leaves room for players that do harm.
    """

    demand: Bool[Array, " N"]
    price: Float[Array, ""]


class Seats(NamedTuple):
    """How many players of each family may take part, and how much in all.

    Attributes:
      limits: most players of each family, float [F].
      size: the largest size.
    """

    limits: Float[Array, " F"]
    size: Float[Array, ""]


def clear_market(
    benefits: ArrayLike,
    costs: ArrayLike,
    size: Callable[[Array], Array],
    seats: Seats,
    family_of: np.ndarray,
    *,
    min_units: int = 1,
    additive: bool = False,
) -> Clearing:
    """The lowest price at which those who want to take part fit the budget.

    Players come in the order of what they earn for each unit of size. Where the next
    one does not fit any more its family is full, and the others may go on. The best
    `min_units` of each family are always in; the players of a family are taken to be
    of one size.

    Args:
      benefits: b_i, float [N].
      costs: marginal sizes c_i, float [N], > 0.
      size: bool [N] -> the size of the network; see `size_of`.
      seats: the budget.
      family_of: the family of each player, int [N].
      min_units: see above.
      additive: whether the size is the number of players, which is quicker.

    Returns:
      A `Clearing`. Cost: one sort and, unless additive, evaluations of `size`: log2 N
      of them, one for each family, and one for each player that comes in after the
      first was refused.

    Example: four players of one unit each, of whom two fit.
      >>> import jax.numpy as jnp, numpy as np
      >>> seats = Seats(limits=jnp.array([4.0]), size=jnp.array(2.0))
      >>> family_of = np.zeros(4, int)
      >>> benefits = jnp.array([0.5, 0.1, 0.4, 0.2])
      >>> cleared = clear_market(benefits, jnp.ones(4), jnp.sum, seats, family_of)
      >>> cleared.demand.tolist(), round(float(cleared.price), 3)
      ([True, False, True, False], 0.2)
    """
    benefits, costs = jnp.asarray(benefits), jnp.asarray(costs)
    density = benefits / jnp.maximum(costs, 1e-12)
    density = jnp.where(jnp.isnan(density), -jnp.inf, density)
    place = _rank_within(density, family_of)
    fits_family = place < seats.limits[family_of]
    first = place < min_units
    order = jnp.lexsort((-density, ~fits_family, ~first))
    rank = jnp.zeros_like(order).at[order].set(jnp.arange(len(order)))

    def best(count: Array) -> Array:
        return (rank < count) & fits_family | first

    if additive:
        demand = best(seats.size)
    else:
        fits = lambda mask: size(mask) <= seats.size  # noqa: E731
        demand = best(_largest(lambda count: fits(best(count)), len(order)))
        demand = _fill(demand, fits, rank, fits_family, family_of)
    refused = jnp.where(demand, -jnp.inf, density)
    return Clearing(demand, jnp.where(demand.all(), 0.0, refused.max()))


def _largest(holds: Callable[[Array], Array], most: int) -> Array:
    """The largest count in [0, most] at which `holds`, as it does for all smaller."""

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high + 1) // 2
        good = holds(middle)
        return jnp.where(good, middle, low), jnp.where(good, high, middle - 1)

    bounds = jnp.zeros((), jnp.int32), jnp.full((), most, jnp.int32)
    return jax.lax.fori_loop(0, most.bit_length(), halve, bounds)[0]


def _fill(mask: Array, fits, rank, fits_family, family_of: np.ndarray) -> Array:
    """Let more players in, the best first, until every family is full."""

    def is_open(state):
        mask, full = state
        return ~mask & fits_family & ~full[family_of]

    def admit(state):
        mask, full = state
        player = jnp.where(is_open(state), rank, len(rank)).argmin()
        wider = mask.at[player].set(True)
        good = fits(wider)
        full = full.at[jnp.asarray(family_of)[player]].set(~good)
        return jnp.where(good, wider, mask), full

    start = mask, jnp.zeros(int(family_of.max()) + 1, bool)
    return jax.lax.while_loop(lambda state: is_open(state).any(), admit, start)[0]


def _rank_within(values: Array, family_of: np.ndarray) -> Array:
    """The place of each value in its family, 0 for the largest."""
    order = jnp.lexsort((-values, family_of))
    starts = np.searchsorted(family_of, family_of)  # families lie in a row
    rank = jnp.zeros_like(order).at[order].set(jnp.arange(len(order)))
    return rank - starts


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


class MarketInfo(NamedTuple):
    """What a step tells.

    Attributes:
      loss: of the gated network on the batch, before the update.
      mean_participation: mean gate after the update.
      num_active: players with a gate above 0 after the update.
      price: at the last clearing.
      budget: the size that was allowed then, in the budget's unit.
      size: of the network of those who take part.
    """

    loss: Float[Array, ""]
    mean_participation: Float[Array, ""]
    num_active: Int[Array, ""]
    price: Float[Array, ""]
    budget: Float[Array, ""]
    size: Float[Array, ""]


class MarketStep(NamedTuple):
    """A pair of pure functions.

    Attributes:
      init: params -> state, with every gate at one.
      step: (state, batch) -> (state, info), for `jax.jit` and `jax.lax.scan`.
    """

    init: Callable[..., MarketState]
    step: Callable[[MarketState, Any], tuple[MarketState, MarketInfo]]


def make_market_step(
    players: Players,
    loss_fn: Callable[..., Array],
    tx: optax.GradientTransformation,
    budget: Budget,
    *,
    num_steps: int,
    start: float = 0.1,
    end: float = 0.8,
    every: int = 20,
    decay: float = 0.98,
    benefit_fn: Callable[[PyTree, Array], Array] | None = None,
    merge_fn: Callable[[PyTree, Any], PyTree] | None = None,
) -> MarketStep:
    """Make a training step that ends within a budget (see the top of this module).

    The budget falls geometrically from the whole network, at `start`, to what was asked
    for, at `end` of the steps. Every `every` steps until then the market is cleared;
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
      InputError: the budget cannot be met by these players, or numbers make no sense.

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
    _check_schedule(num_steps, start, end, every, decay)
    size = size_of(players, budget.unit)
    last = max(int(num_steps * end) // every * every, every)  # clearing
    schedule = _seats(players, size, budget, num_steps * start, last)
    family_of = np.asarray(players.family_of)
    additive = budget.unit == "players"

    def init(params, gates=None) -> MarketState:
        num_players = players.num_players
        if gates is None:
            gates = jnp.ones(num_players, jnp.float32)
        opt_state = tx.init({"params": take_trainable(params), "gates": gates})
        zeros = jnp.zeros(num_players, jnp.float32)
        return MarketState(
            params,
            gates,
            opt_state,
            jnp.ones(num_players, bool),
            jnp.zeros(()),
            zeros,
            zeros,
            jnp.zeros((), jnp.int32),
        )

    differentiate = make_gradient(players, loss_fn)

    def clear(state: MarketState, num_examples: int) -> Clearing:
        benefits = _benefits(state, decay, num_examples)
        if benefit_fn is not None:
            benefits = jnp.asarray(benefit_fn(state.params, benefits), jnp.float32)
        costs = size.marginal(state.demand)
        return clear_market(
            benefits,
            costs,
            size,
            schedule(state.steps),
            family_of,
            min_units=budget.min_units,
            additive=additive,
        )

    def step(state: MarketState, batch) -> tuple[MarketState, MarketInfo]:
        (loss, outputs), grads = differentiate(state.params, state.gates, batch)
        slopes = grads["gates"].astype(jnp.float32)
        state = state._replace(
            mean=decay * state.mean + (1 - decay) * slopes,
            square=decay * state.square + (1 - decay) * jnp.square(slopes),
            steps=state.steps + 1,
        )
        is_due = (state.steps % every == 0) & (state.steps <= last)
        num_examples = jax.tree.leaves(batch[-1])[0].shape[0]
        demand, price = jax.lax.cond(
            is_due,
            lambda: clear(state, num_examples),
            lambda: Clearing(state.demand, state.price),
        )
        ascent = jnp.where(demand, 1.0, -1.0)
        params, gates, opt_state = move_both(tx, state, grads["params"], ascent)
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
            schedule(state.steps).size,
            size(gates > 0),
        )
        return state, info

    return MarketStep(init, step)


def _benefits(state: MarketState, decay: float, num_examples: int) -> Array:
    """What taking part earns against staying out, to second order."""
    weight = 1 - decay ** state.steps.astype(jnp.float32)
    mean, square = state.mean / weight, state.square / weight
    variance = jnp.maximum(square - jnp.square(mean), 0.0)
    curvature = num_examples * variance + jnp.square(mean)
    return -mean + curvature * (state.gates - 0.5)


def _check_schedule(num_steps, start, end, every, decay) -> None:
    if not 0 <= start < end <= 1:
        raise InputError(f"expected 0 <= start < end <= 1, got {start} and {end}")
    if not 1 <= every <= num_steps * end:
        raise InputError(
            f"expected every in [1, {num_steps * end:.0f}], the steps until the budget "
            f"has fallen, got {every}"
        )
    if not 0 <= decay < 1:
        raise InputError(f"expected decay in [0, 1), got {decay}")


def _seats(
    players: Players, size: Size, budget: Budget, first: float, last: float
) -> Callable[[Array], Seats]:
    """How the budget falls with the steps."""
    sizes = np.array([family.size for family in players.families], float)
    whole = float(size(np.ones(players.num_players)))
    smallest = float(size(_least(players, budget.min_units)))
    limits, target = sizes, budget.keep
    if isinstance(target, tuple):
        limits = np.array(target, float)
        if limits.shape != sizes.shape or (limits > sizes).any():
            names = ", ".join(f"{f.name} {f.size}" for f in players.families)
            raise InputError(
                f"expected one count a family, at most all of it ({names}), got "
                f"{'/'.join(map(str, target))}"
            )
        target = limits.sum()
    elif target < 1 and isinstance(target, float):
        target = target * whole
    target = np.round(target)
    if not smallest <= target <= whole:
        raise InputError(
            f"expected a budget between {smallest:,.0f} {budget.unit} "
            f"({budget.min_units} in each family) and {whole:,.0f} (everybody), got "
            f"{target:,.0f}"
        )

    def at(count: Array) -> Seats:
        fallen = jnp.clip((count - first) / max(last - first, 1.0), 0.0, 1.0)
        return Seats(_between(sizes, limits, fallen), _between(whole, target, fallen))

    return at


def _between(first: ArrayLike, last: ArrayLike, share: Array) -> Array:
    """From first to last, by equal factors; exact at both ends."""
    first, last = jnp.asarray(first, jnp.float32), jnp.asarray(last, jnp.float32)
    here = first * (last / first) ** share
    return jnp.where(share >= 1, last, jnp.round(here))


def _least(players: Players, min_units: int) -> np.ndarray:
    mask = np.zeros(players.num_players, bool)
    for family in players.families:
        mask[family.start : min(family.start + min_units, family.stop)] = True
    return mask
