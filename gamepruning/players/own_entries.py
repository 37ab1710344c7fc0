"""How many entries of the parameters each player owns, and with how many others."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from gamepruning.players.branch_players import BranchPlayers
from gamepruning.players.players import Players
from gamepruning.players.weight_players import WeightPlayers
from gamepruning.run.layer_axes import owned_entries
from gamepruning.types import brief_repr


class OwnEntries(NamedTuple):
    """What the players own.

    Attributes:
      counts: entries of each player's own parameters, int [N].
      owners: the most players that own one of its entries together, itself among them,
        or an upper bound of that; int [N], at least 1.
    """

    counts: Int[np.ndarray, " N"]
    owners: Int[np.ndarray, " N"]

    __repr__ = brief_repr


def own_entries(players: Players) -> OwnEntries:
    """How many entries of the parameters each player owns; from shapes alone.

    Args:
      players: the `Players` of the network.

    Returns:
      `OwnEntries`; counts are `players.sum_owned` of ones. Kept with the players.

    Example: two heads of four dimensions, which own the entries of q together.
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     q = jnp.tanh(jnp.einsum("bd,dhk->bhk", x, params["q"]))
      ...     return jnp.einsum("bhk,hko->bo", q, params["o"])
      >>> params = {"q": jnp.ones((3, 2, 4)), "o": jnp.ones((2, 4, 1))}
      >>> players = gp.find_players(apply, params, jnp.ones((1, 3)))
      >>> own_entries(players).counts.tolist(), own_entries(players).owners.tolist()
      ([12, 12, 6, 6, 6, 6], [2, 2, 2, 2, 2, 2])
    """
    return players.model.programs.get("own entries", lambda: _count(players))


def _count(players: Players) -> OwnEntries:
    if isinstance(players, WeightPlayers):
        return OwnEntries(*np.ones((2, players.num_players), int))
    if isinstance(players, BranchPlayers):
        return _of_branches(players)
    count = np.zeros(players.num_players + 1, int)  # 0: entries that nobody owns
    together, members = Counter(), {}
    for leaf, times, columns in _axes(players):
        np.add.at(count, columns, times)
        together[leaf] += int((columns > 0).sum(axis=-1).max(initial=0))
        members.setdefault(leaf, []).append(np.unique(columns))
    owners = np.ones_like(count)
    for leaf, most in together.items():
        own = np.concatenate(members[leaf])
        owners[own] = np.maximum(owners[own], most)
    return OwnEntries(count[1:], owners[1:])


def _axes(players: Players) -> Iterator[tuple[int, int, np.ndarray]]:
    """Each owned axis: its parameter, entries across the axis, and who owns it."""
    model = players.model
    leaves = jax.tree.leaves(model.example.rebuild(model.example.arrays)[0])
    found = model.owned_axes() if model.layers is None else owned_entries(model)
    for own in found:
        shape, columns = np.shape(leaves[own.leaf]), own.columns
        yield own.leaf, int(np.prod(shape)) // columns[..., 0].size, columns


def _of_branches(players: BranchPlayers) -> OwnEntries:
    arrays, numbers = players.model.example.arrays, players.numbers
    count, owned = np.zeros(players.num_players, int), []
    for player in range(players.num_players):
        layer = max(int(numbers.layer_of[player]), 0)
        for own in players.shares[int(numbers.unit_of[player])].owned:
            shape = list(arrays[own.leaf].shape)
            place = None if own.layers is None else int(own.layers.turns[layer])
            if own.layers is not None:
                shape[own.layers.axis] = 1
            count[player] += int(np.prod(shape))
            owned.append((player, own.leaf, place))
    each = Counter((leaf, place) for _, leaf, place in owned)
    every = Counter(leaf for _, leaf, _ in owned)
    owners = np.ones_like(count)
    for player, leaf, place in owned:
        most = every[leaf] if place is None else each[leaf, place] + each[leaf, None]
        owners[player] = max(owners[player], most)
    return OwnEntries(count, owners)
