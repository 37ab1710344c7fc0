"""Remove players by zeroing parameters, where that is proved to be the same."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from gamepruning.players.players import Players
from gamepruning.run.gated import shortens_means
from gamepruning.run.layer_axes import entries_of
from gamepruning.trace.labels import Site
from gamepruning.trace.primitives import CUSTOM_CALLS
from gamepruning.trace.program import Graph, Node
from gamepruning.trace.rules import contraction_of
from gamepruning.trace.units import kept_entries
from gamepruning.trace.usage import Place
from gamepruning.trace.zeros import ZeroAnalysis
from gamepruning.types import InputError, Params

Leaving = tuple[Site, set[int]]  # a site, and the players that leave there


def exclude(players: Players, params: Params, mask: Bool[np.ndarray, " N"]) -> Params:
    """`UnitPlayers.exclude` of checked arguments."""
    if mask.all():
        return params
    places = proved_places(players, mask)
    trace = players.model.base
    leaves, treedef = jax.tree_util.tree_flatten(params)
    positions = players.model.example.leaf_positions
    for leaf, labels in enumerate(trace.param_labels):
        position = positions[leaf]
        for axis, label in enumerate(labels):
            kept = kept_entries(trace.columns(label), mask)
            if kept is not None:
                array, shape = leaves[position], [1] * len(labels)
                shape[axis] = -1
                stays = np.isin(np.arange(array.shape[axis]), kept).reshape(shape)
                leaves[position] = without(array, stays, (leaf, axis) in places)
    return jax.tree_util.tree_unflatten(treedef, leaves)


def exclude_by_layer(
    players: Players, tied: Players, params: Params, mask: Bool[np.ndarray, " N"]
) -> Params:
    """The same of (layer, unit) players.

    What is proved of a body holds at every turn, whoever leaves there.

    Args:
      players: the players.
      tied: those who are one in all layers, as the traces see them.
      params: the parameters.
      mask: True = kept.
    """
    model = players.model
    if mask.all() or model.layers is None:
        return params
    places = proved_places(tied, model.layers.all_of(mask))
    leaves, treedef = jax.tree_util.tree_flatten(params)
    for entries in entries_of(model):
        stays = entries.stay(mask)
        if not stays.all():
            position = model.example.leaf_positions[entries.leaf]
            array = leaves[position]
            stays = entries.spread(stays, array.ndim)
            zeroed = (entries.leaf, entries.axis) in places
            leaves[position] = without(array, stays, zeroed)
    return jax.tree_util.tree_unflatten(treedef, leaves)


def proved_places(players: Players, mask: Bool[np.ndarray, " N"]) -> set[Place]:
    """Where zeros remove the players that are not in a mask.

    Raises:
      InputError: that cannot be proved.
    """
    if shortens_means(players.model, mask):
        raise InputError(
            "zeroing parameters cannot remove players under norms that divide by what "
            'stays (reductions="width"): use gated (at full size) or compact (smaller) '
            "instead"
        )
    places, uncovered = zeroed_places(players, mask)
    if uncovered:
        names = sorted({players.families[players.family_of[k]].name for k in uncovered})
        raise InputError(
            "zeroing parameters cannot be proved to remove players of "
            f"{', '.join(names)}: what they compute is summed over where no weight "
            "reads it; use gated (at full size) or compact (smaller) instead"
        )
    return places


def without(array: Any, stays: np.ndarray, zeroed: bool) -> Any:
    """What does not stay set to zero: all of it, or only what is not finite."""
    if not zeroed and not jnp.issubdtype(array.dtype, jnp.inexact):
        return array
    xp = np if isinstance(array, np.ndarray) else jnp
    stays = stays if zeroed else stays | xp.isfinite(array)
    return xp.where(stays, array, xp.zeros((), array.dtype))


def zeroed_places(
    players: Players, mask: Bool[np.ndarray, " N"]
) -> tuple[set[Place], set[int]]:
    """Where to zero parameters, and the players for which that is not enough.

    First the weights that read the players; for what no weight reads, the weights and
    biases that produce it. The proof is about exactly these places.
    """
    sites = _leaving(players, mask)
    places = {place for site, _ in sites for place in _readers(players, site)}
    if uncovered := _uncovered(players, sites, places):
        places |= _producers(players, _who(uncovered))
        uncovered = _uncovered(players, sites, places)
    return places, _who(uncovered)


def read_elsewhere(players: Players) -> set[int]:
    """The players that something else than a product with weights reads."""
    sites = _leaving(players, np.zeros(players.num_players, bool))
    places = {place for site, _ in sites for place in _readers(players, site)}
    return _who(_uncovered(players, sites, places))


def _leaving(players: Players, mask: np.ndarray) -> list[Leaving]:
    """Where players leave, on the way to the outputs."""
    trace = players.model.base
    gone = np.concatenate([[False], ~mask])
    sites, forward = [], _forward_nodes(trace.program.graph)
    for site in trace.analysis.sites:
        if site.node not in forward:
            continue
        label = trace.analysis.label(site.node.ins[site.operand])[site.dim]
        found = trace.columns(label)
        if found is not None and gone[found].any():
            who = set((np.unique(found[gone[found]]) - 1).tolist())
            sites.append((site, who))
    return sites


def _forward_nodes(graph: Graph) -> set[Node]:
    """The nodes that outputs are made of: all but rules of derivation."""
    found: set[Node] = set()
    for node in graph.nodes:
        found.add(node)
        for sub in node.subs[:1] if node.name in CUSTOM_CALLS else node.subs:
            found |= _forward_nodes(sub)
    return found


def _uncovered(
    players: Players, sites: Sequence[Leaving], places: set[Place]
) -> list[Leaving]:
    """Where zeros at these places do not remove what leaves."""
    model = players.model
    zeros = ZeroAnalysis(model.base.analysis, model.example.num_params, places)
    return [(site, who) for site, who in sites if not zeros.covers(site)]


def _who(sites: Iterable[Leaving]) -> set[int]:
    return {player for _, who in sites for player in who}


def _readers(players: Players, site: Site) -> set[Place]:
    """The parameter axes that are summed over at a site."""
    contraction = contraction_of(site.node)
    partner = contraction and contraction.partner(site.operand, site.dim)
    places: set[Place] = set()
    for operand, dim in ((site.operand, site.dim), *([partner] if partner else ())):
        origin = players.model.usage.origin(site.node.ins[operand])
        if origin is not None:
            places |= origin[dim]
    return places


def _producers(players: Players, who: set[int]) -> set[Place]:
    """The parameter axes that produce these players."""
    numbers = {players.family_of[k] for k in who}
    arrays = {path: number for number, path in enumerate(players.paths)}
    return {
        (arrays[piece.path], piece.axis)
        for number in numbers
        for piece in players.families[number].slices
        if piece.role in ("out", "bias") and piece.path in arrays
    }
