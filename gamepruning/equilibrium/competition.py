"""What the players of a family cost each other by being alike (eq. 10, third term)."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PyTree

from gamepruning.errors import InputError
from gamepruning.players import AxisSlice, Family, Players
from gamepruning.trees.paths import named_leaves

OWN_ROLES = ("out", "bias", "weight")  # of the parameters that are a player's own


def competition(
    players: Players,
    params: PyTree,
    gates: ArrayLike,
    *,
    norms: Float[ArrayLike, " N"] | None = None,
) -> Float[jax.Array, " N"]:
    """The pull of the others on each player: sum over j != i of s_j <theta_i, theta_j>.

    Players compete within their family, whose members own equally shaped parameters:
    between layers of different width the inner product has no meaning. No Gram matrix
    is formed; with the family's parameters as the rows of Theta the sum is
    <theta_i, Theta^T s> - s_i |theta_i|^2, so that its cost is that of reading the
    parameters twice.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      gates: participation of each player, float [N]. The result is linear in it.
      norms: |theta_i|^2, if they are at hand; see `squared_norms`.

    Returns:
      float [N]; 0 for a player that is alone in its family.

    Raises:
      InputError: the members of a family own different numbers of parameters, or
        parameters are complex.

    Example: theta_1 = (3, 4) and theta_2 = (1, 0), whose inner product is 3.
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.array([[3.0, 1.0], [4.0, 0.0]]), "out": jnp.ones((2, 1))}
      >>> players = gp.find_players(apply, params, jnp.ones((1, 2)))
      >>> competition(players, params, jnp.array([0.5, 1.0])).tolist()
      [3.0, 1.5]

    References:
      Shah and Khan, Pruning as a Game, arXiv 2512.22106, eq. 10.
    """
    leaves = named_leaves(params)
    check_real(leaves)
    _check_comparable(players)
    gates = jnp.asarray(gates)
    gates = gates.astype(jnp.promote_types(gates.dtype, jnp.float32))
    pulls = []
    for family in players.families:
        here = slice(family.start, family.stop)
        own = None if norms is None else jnp.asarray(norms)[here]
        pulls.append(_within(family, leaves, gates[here], own))
    return jnp.concatenate(pulls)


def owned_rows(players: Players, params: PyTree) -> list[Float[Array, "n d"]]:
    """Theta of each family: a row for each player, what it owns in a fixed order.

    Args:
      players: the `Players` of the network.
      params: its parameters.

    Returns:
      One float [n, d] a family; d is 0 where players own nothing (input features).

    Raises:
      InputError: the members of a family own different numbers of parameters, or
        parameters are complex.
    """
    leaves = named_leaves(params)
    check_real(leaves)
    _check_comparable(players)
    return [_rows(family, leaves) for family in players.families]


def check_real(leaves: Mapping[str, Any]) -> None:
    """Check that no parameter is complex: the game is one of real parameters.

    Args:
      leaves: arrays, or their shapes and types, by path.

    Raises:
      InputError: one is.
    """
    for path, leaf in leaves.items():
        if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            raise InputError(
                f"the equilibrium game needs real parameters, and {path!r} is "
                f"{leaf.dtype}: give its real and its imaginary part as two arrays"
            )


def _check_comparable(players: Players) -> None:
    if players.granularity == "branch":
        raise InputError(
            "competition needs players who own equally many parameters, which residual "
            "branches do not: set eta=0, and keep it a number that jit does not trace"
        )


def _rows(family: Family, leaves: dict[str, Any]) -> Array:
    pieces = [jnp.zeros((family.size, 0))]
    for owned in family.slices:
        if owned.role in OWN_ROLES:
            theta, axis = _by_player(family, owned, leaves[owned.path])
            theta = jnp.moveaxis(theta, axis, 0).reshape(family.size, -1)
            pieces.append(theta.astype(jnp.promote_types(theta.dtype, jnp.float32)))
    return jnp.concatenate(pieces, axis=1)


def _within(
    family: Family, leaves: dict[str, Any], gates: Array, norms: Array | None
) -> Array:
    pull = jnp.zeros_like(gates)
    if family.size == 1:
        return pull
    if norms is not None:
        pull -= gates * norms
    for owned in family.slices:
        if owned.role in OWN_ROLES:
            theta, axis = _by_player(family, owned, leaves[owned.path])
            theta = theta.astype(gates.dtype)
            pull += _pull(theta, axis, gates)
            rest = [k for k in range(theta.ndim) if k != axis]
            if norms is None:
                pull -= gates * jnp.square(theta).sum(axis=rest)
    return pull


def _pull(theta: Array, axis: int, gates: Array) -> Array:
    """Theta Theta^T s, [n], for the players of one axis.

    The axis stays where it is, and where it is the first or the last one both products
    are of a matrix and a vector: transposing would cost more than they do.
    """
    num = theta.shape[axis]
    if theta.size == num * np.prod(theta.shape[:axis]):
        theta = theta.reshape(-1, num)
        return (theta @ gates) @ theta
    if axis == 0:
        theta = theta.reshape(num, -1)
        return theta @ (gates @ theta)
    rest = [k for k in range(theta.ndim) if k != axis]
    total = jnp.tensordot(gates, theta, (0, axis))
    return jnp.tensordot(theta, total, (rest, list(range(total.ndim))))


def _by_player(family: Family, owned: AxisSlice, leaf: ArrayLike) -> tuple[Array, int]:
    """`leaf` with one entry a player along an axis, its own behind it; and the axis."""
    if owned.role == "weight":  # each entry is a player
        return jnp.reshape(leaf, -1), 0
    lengths = [len(index) for index in owned.index]
    if len(lengths) != family.size or len(set(lengths)) > 1:
        raise InputError(
            f"competition needs the {family.size} players of family {family.name!r} to "
            f"own equally many entries of {owned.path!r} along axis {owned.axis}, got "
            f"{lengths}: set eta=0, and keep it a number that jit does not trace, or "
            "leave the family out with keep="
        )
    part, axis = owned.entry(jnp.asarray(leaf))
    index = np.concatenate(owned.index)
    if not np.array_equal(index, np.arange(part.shape[axis])):
        part = jnp.take(part, index, axis=axis)
    before, after = part.shape[:axis], part.shape[axis + 1 :]
    return part.reshape(*before, family.size, lengths[0], *after), axis
