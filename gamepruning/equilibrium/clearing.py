"""Clear the market: the lowest price at which demand fits the budget."""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from gamepruning.equilibrium.budget import Seats
from gamepruning.types import brief_repr


class Clearing(NamedTuple):
    """Who takes part at the price at which demand fits the budget.

    Attributes:
      demand: best responses, bool [N].
      price: in units of the benefit for one unit of size. It is negative, a subsidy,
        where the budget leaves room for players that do harm.
    """

    demand: Bool[Array, " N"]
    price: Float[Array, ""]

    __repr__ = brief_repr


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
    one does not fit any more its family is full, and the others continue; in a family
    whose players differ in size (layers, residual branches) it alone stays out. The
    best `min_units` of each family are always in, or where those do not fit, the best
    that leave room for the smallest.

    Args:
      benefits: b_i, float [N].
      costs: marginal sizes c_i, float [N], > 0.
      size: bool [N] -> the size of the network; see `size_of`.
      seats: the budget.
      family_of: the family of each player, int [N].
      min_units: see above.
      additive: True if the size is the number of players, which is quicker.

    Returns:
      A `Clearing`. Cost: one sort and, unless additive, evaluations of `size`: log2 N
      of them, one for each family, and one for each player that comes in after the
      first was refused. Where sizes differ within a family, one more for each player,
      and another where the best `min_units` do not fit.

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
    chex.assert_shape([benefits, costs], family_of.shape)
    density = benefits / jnp.maximum(costs, 1e-12)
    density = jnp.where(jnp.isnan(density), -jnp.inf, density)
    place = _rank_within(density, family_of)
    fits_family = place < seats.limits[family_of]
    first = place < min_units
    fits = lambda mask: size(mask) <= seats.size  # noqa: E731
    if not additive:
        least = seats.least
        if least is None:
            least = _rank_within(-costs, family_of) < min_units
        first = jax.lax.cond(
            fits(first),
            lambda: first,
            lambda: _best_that_fit(least, (density, costs), fits, family_of),
        )
    order = jnp.lexsort((-density, ~fits_family, ~first))
    rank = jnp.zeros_like(order).at[order].set(jnp.arange(len(order)))

    def best(count: Array) -> Array:
        return (rank < count) & fits_family | first

    if additive:
        demand = best(seats.size)
    else:
        demand = best(_largest(lambda count: fits(best(count)), len(order)))
        is_even = _are_even(costs, family_of)[family_of]
        demand = _fill_families(demand, fits, rank, fits_family, is_even, family_of)
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


def _fill_families(
    mask: Array, fits, rank, fits_family, is_even, family_of: np.ndarray
) -> Array:
    """Let more players in, the best first, until nobody fits any more.

    Where one of a family of equal sizes does not fit, none of them does.
    """
    numbers, families = jnp.arange(len(rank)), jnp.asarray(family_of)

    def is_open(state):
        mask, refused = state
        return ~mask & fits_family & ~refused

    def admit(state):
        mask, refused = state
        player = jnp.where(is_open(state), rank, len(rank)).argmin()
        wider = mask.at[player].set(True)
        good = fits(wider)
        alike = (families == families[player]) & is_even | (numbers == player)
        return jnp.where(good, wider, mask), refused | alike & ~good

    start = mask, jnp.zeros(len(rank), bool)
    return jax.lax.while_loop(lambda state: is_open(state).any(), admit, start)[0]


def _best_that_fit(
    least: ArrayLike, merits: tuple[Array, Array], fits, family_of: np.ndarray
) -> Array:
    """As many of each family as in `least`, the best first, while all of them fit.

    Each player in turn, by what it earns for its size, takes the place of the largest
    who is in without having had a turn. `merits` are those earnings and the sizes.
    """
    (density, costs), families = merits, jnp.asarray(family_of)
    order = jnp.argsort(-density)

    def take_turn(k, state):
        mask, settled = state
        player = order[k]
        others = mask & ~settled & (families == families[player])
        largest = jnp.where(others, costs, -jnp.inf).argmax()
        leaves = jnp.where(mask[player], player, largest)
        swapped = mask.at[leaves].set(False).at[player].set(True)
        good = others.any() & fits(swapped)
        return jnp.where(good, swapped, mask), settled.at[player].set(good)

    start = jnp.asarray(least), jnp.zeros(len(density), bool)
    return jax.lax.fori_loop(0, len(order), take_turn, start)[0]


def _are_even(costs: Array, family_of: np.ndarray) -> Bool[Array, " F"]:
    """True for families whose players are of one size, but for rounding."""
    low, high = (
        reduce(costs, family_of, int(family_of.max()) + 1)
        for reduce in (jax.ops.segment_min, jax.ops.segment_max)
    )
    return high - low <= 1e-4 * high


def _rank_within(values: Array, family_of: np.ndarray) -> Array:
    """The place of each value in its family, 0 for the largest."""
    order = jnp.lexsort((-values, family_of))
    starts = np.searchsorted(family_of, family_of)  # families lie in a row
    rank = jnp.zeros_like(order).at[order].set(jnp.arange(len(order)))
    return rank - starts
