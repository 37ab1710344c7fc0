"""What each player would best do, given the others: eq. 11-15.

With the marginal benefits b held at the current gates, the utility of player i is a
parabola of its own participation,

    U_i(x) = slope_i x - curvature_i x^2
    slope_i = alpha b_i - gamma - eta sum_{j != i} s_j <theta_i, theta_j>
    curvature_i = beta |theta_i|^2

so that its best response, its gain from it, and whether it should stay out whatever the
others do have closed forms. They hold for the linearised game; where b depends on the
gates, as in any network, an equilibrium is where the linearisation at the gates agrees
with them: exactly where projected ascent comes to rest.

Reference: Shah and Khan, Pruning as a Game, arXiv 2512.22106, sections 4.3-5.3.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, PyTree

from gamepruning.equilibrium.competition import competition, owned_rows
from gamepruning.equilibrium.config import UtilityConfig
from gamepruning.equilibrium.utility import (
    check_gates,
    marginal_benefit,
    player_scales,
    squared_norms,
)
from gamepruning.players import Players
from gamepruning.types import brief_repr

CHUNK = 256  # players whose inner products with all others are held at once


class OwnTerms(NamedTuple):
    """The parabola that each player faces: U_i(x) = slope_i x - curvature_i x^2.

    Attributes:
      slope: the gain of a first bit of participation, float [N].
      curvature: beta |theta_i|^2, float [N], >= 0.
    """

    slope: Float[Array, "*N"]
    curvature: Float[Array, "*N"]

    __repr__ = brief_repr

    def utility(self, participation: ArrayLike) -> Float[Array, " N"]:
        """What each player gets for its own `participation`, float [N]."""
        own = jnp.asarray(participation)
        return self.slope * own - self.curvature * jnp.square(own)


def own_terms(
    players: Players,
    params: PyTree,
    grads: PyTree,
    gates: ArrayLike,
    config: UtilityConfig,
) -> OwnTerms:
    """The parabola that each player faces while the others stay at `gates`.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      grads: the gradient of the loss; see `marginal_benefit`.
      gates: participation s, float [N] in [0, 1].
      config: the weights of the terms.

    Returns:
      `OwnTerms`; `OwnTerms.utility(gates)` is `utility(...)`.

    References:
      Shah and Khan, arXiv 2512.22106, eq. 8-10.
    """
    gates = check_gates(players, gates)
    benefit = marginal_benefit(players, params, grads, gates, config)
    slope = config.number("alpha") * benefit - config.number("gamma")
    if config.has("eta"):
        scale = player_scales(players, params, config.norm)
        slope -= (
            config.number("eta") * scale * competition(players, params, scale * gates)
        )
    return OwnTerms(
        slope, config.number("beta") * squared_norms(players, params, config.norm)
    )


def best_response(
    players: Players,
    params: PyTree,
    grads: PyTree,
    gates: ArrayLike,
    config: UtilityConfig,
) -> Float[Array, " N"]:
    """The participation that is best for each player while the others stay (eq. 14).

    (alpha b_i - gamma - eta sum_{j != i} s_j <theta_i, theta_j>) / (2 beta |theta_i|^2)
    cut to [0, 1]. A player to whom every participation is worth the same stays where it
    is.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      grads: the gradient of the loss; see `marginal_benefit`.
      gates: participation s, float [N] in [0, 1].
      config: the weights of the terms.

    Returns:
      float [N] in [0, 1].

    Example: b = (0.5, 0.2) against a linear cost of 0.3, and |theta|^2 = (25, 1).
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.array([[3.0, 1.0], [4.0, 0.0]]), "out": jnp.ones((2, 1))}
      >>> players = gp.find_players(apply, params, jnp.ones((1, 2)))
      >>> grads = {"params": params, "gates": jnp.array([-0.5, -0.2])}
      >>> config = gp.UtilityConfig(beta=0.008, gamma=0.3)
      >>> print(
      ...     gp.equilibrium.best_response(
      ...         players, params, grads, jnp.ones(2), config
      ...     ).round(4)
      ... )
      [0.5 0. ]

    References:
      Shah and Khan, arXiv 2512.22106, eq. 13-15.
    """
    return respond(own_terms(players, params, grads, gates, config), gates)


def respond(terms: OwnTerms, gates: ArrayLike) -> Float[Array, "*N"]:
    """The best responses to given parabolas; `gates` where one is flat."""
    slope, curvature = terms
    curved = curvature > 0
    top = slope / jnp.where(curved, 2 * curvature, 1.0)
    edge = jnp.where(slope > 0, 1.0, jnp.where(slope < 0, 0.0, jnp.asarray(gates)))
    return jnp.where(curved, jnp.clip(top, 0.0, 1.0), edge)


def nash_gap(
    players: Players,
    params: PyTree,
    grads: PyTree,
    gates: ArrayLike,
    config: UtilityConfig,
) -> Float[Array, ""]:
    """What the player with the most to gain would gain by changing alone.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      grads: the gradient of the loss at `gates`; see `marginal_benefit`.
      gates: participation s, float [N] in [0, 1].
      config: the weights of the terms.

    Returns:
      max_i U_i(best response) - U_i(s_i) >= 0, in units of the utility; exactly 0 at an
      equilibrium (eq. 11).

    References:
      Shah and Khan, arXiv 2512.22106, eq. 11.
    """
    return gap(own_terms(players, params, grads, gates, config), gates)


def gap(terms: OwnTerms, gates: ArrayLike) -> Float[Array, ""]:
    """`nash_gap` of given parabolas, without the rounding of a difference of values."""
    best, own = respond(terms, gates), jnp.asarray(gates)
    gains = (best - own) * (terms.slope - terms.curvature * (best + own))
    return gains.max(initial=0.0)


def dominated_players(
    players: Players,
    params: PyTree,
    grads: PyTree,
    gates: ArrayLike,
    config: UtilityConfig,
) -> Bool[Array, " N"]:
    """Find the players whose participation never pays (eq. 12).

    The benefit is that at `gates`. Competition can also be a reward, from players whose
    parameters point the other way; all of these are assumed to take part. Cost: the
    inner products within each family, in pieces.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      grads: the gradient of the loss at `gates`; see `marginal_benefit`.
      gates: participation s at which the benefit is taken, float [N] in [0, 1].
      config: the weights of the terms.

    Returns:
      bool [N], True = taking part is dominated by staying out.

    References:
      Shah and Khan, arXiv 2512.22106, eq. 12 and 15.
    """
    benefit = marginal_benefit(players, params, grads, gates, config)
    best_case = config.number("alpha") * benefit - config.number("gamma")
    if config.has("eta"):
        rewards = [
            _rewards(rows) for rows in _scaled_rows(players, params, config.norm)
        ]
        best_case += config.number("eta") * jnp.concatenate(rewards)
    curvature = config.number("beta") * squared_norms(players, params, config.norm)
    return (best_case < 0) | ((best_case == 0) & (curvature > 0))


def _scaled_rows(players, params, norm) -> list[Array]:
    scale = player_scales(players, params, norm)
    scales = jnp.broadcast_to(scale, (players.num_players,))
    return [
        rows * scales[family.start : family.stop, None]
        for family, rows in zip(
            players.families, owned_rows(players, params), strict=True
        )
    ]


def _rewards(rows: Array) -> Array:
    """For each row, the sum of -<row, other> over the others it is negative with."""

    def one(pair):
        row, number = pair
        products = (rows @ row).at[number].set(0.0)
        return -jnp.minimum(products, 0.0).sum()

    numbers = jnp.arange(len(rows))
    return jax.lax.map(one, (rows, numbers), batch_size=min(CHUNK, len(rows)))


def condition_numbers(
    players: Players, params: PyTree, gates: ArrayLike
) -> dict[str, float]:
    """How far each family's effective weights are from singular (section 9.3).

    The matrix has a row s_i theta_i for each player that takes part; its condition
    number is the largest singular value over the smallest.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      gates: participation s, float [N] in [0, 1].

    Returns:
      {family: condition number}; inf where the rows depend on each other (as they must
      where players outnumber their parameters), nan where nobody takes part.

    References:
      Shah and Khan, arXiv 2512.22106, section 9.3.
    """
    gates = np.asarray(check_gates(players, gates))
    found = {}
    rows_of = owned_rows(players, params)
    for family, rows in zip(players.families, rows_of, strict=True):
        own = gates[family.start : family.stop]
        effective = own[own > 0, None] * np.asarray(rows)[own > 0]
        found[family.name] = _condition_number(effective)
    return found


def _condition_number(matrix: np.ndarray) -> float:
    if not matrix.size:
        return float("nan")
    if len(matrix) > matrix.shape[1]:
        return float("inf")
    values = np.linalg.svd(matrix, compute_uv=False)
    tiny = values[0] * max(matrix.shape) * np.finfo(values.dtype).eps
    return float(values[0] / values[-1]) if values[-1] > tiny else float("inf")
