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
    one does not fit any more its family is full, and the others continue. The best
    `min_units` of each family are always in; the players of a family are taken to be
    of one size.

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
    chex.assert_shape([benefits, costs], family_of.shape)
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
        demand = _fill_families(demand, fits, rank, fits_family, family_of)
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
    mask: Array, fits, rank, fits_family, family_of: np.ndarray
) -> Array:
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
