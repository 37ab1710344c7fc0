"""What the players of a family cost each other by being alike (eq. 10, third term)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

OWN_ROLES = ("out", "bias")  # the roles of the parameters that are a player's own


def competition(players, params, gates: ArrayLike) -> Float[jax.Array, " N"]:
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

    Returns:
      float [N]; 0 for a player that is alone in its family.

    Raises:
      ValueError: the members of a family own different numbers of parameters.

    References:
      Shah and Khan, Pruning as a Game, arXiv 2512.22106, eq. 10.
    """
    gates = jnp.asarray(gates)
    leaves = {
        jax.tree_util.keystr(path, simple=True, separator="/"): jnp.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    return jnp.concatenate(
        [
            _within(family, leaves, gates[family.start : family.stop])
            for family in players.families
        ]
        or [jnp.zeros_like(gates)]
    )


def _within(family, leaves: dict[str, Array], gates: Array) -> Array:
    pull = jnp.zeros_like(gates)
    if family.size == 1:
        return pull
    for owned in family.slices:
        if owned.role in OWN_ROLES:
            rows = _rows(family.name, owned, leaves[owned.path]).astype(gates.dtype)
            pull += rows @ (gates @ rows) - gates * jnp.square(rows).sum(axis=1)
    return pull


def _rows(family_name: str, owned, leaf: Array) -> Array:
    """The entries of `leaf` that each player owns, one row a player."""
    lengths = {len(index) for index in owned.index}
    if len(lengths) > 1:
        raise ValueError(
            f"competition needs the players of family {family_name!r} to own equally "
            f"many entries of {owned.path!r} along axis {owned.axis}, got "
            f"{sorted(lengths)}: set eta=0, or leave the family out with keep="
        )
    index = np.stack([np.asarray(index) for index in owned.index])
    rows = jnp.take(jnp.moveaxis(leaf, owned.axis, 0), index, axis=0)
    return rows.reshape(len(index), -1)
