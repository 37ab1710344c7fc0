"""`find_players`: the players whose removal a configuration can express."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gamepruning.huggingface.architecture import Architecture, Dim, size_of
from gamepruning.huggingface.checkpoint import Checkpoint, architecture_of
from gamepruning.huggingface.numbering import split_name
from gamepruning.players import Players, find_players as find_all
from gamepruning.players.unit_players import UnitPlayers
from gamepruning.trace.units import AxisSlice, Family
from gamepruning.types import InputError


def find_players(
    checkpoint: Checkpoint, *inputs: Any, kinds: str | Sequence[str] | None = None
) -> Players:
    """The players of a checkpoint whose removal a configuration can express.

    `gp.find_players(checkpoint.apply, checkpoint.params, *inputs)` finds more: the
    dimensions of heads, which can leave the small model, but no folder that is loaded
    elsewhere.

    Args:
      checkpoint: the model.
      *inputs: example inputs, or their shapes.
      kinds: some of those that `kinds` tells, such as "neurons"; None for all.

    Returns:
      The players; families are named by layer and kind, "model.layers.0.neurons".

    Raises:
      InputError: there is no such kind.
    """
    players = find_all(checkpoint.apply, checkpoint.params, *inputs)
    architecture = architecture_of(checkpoint.config, checkpoint.params)
    found = kinds_of(players, checkpoint)
    wanted = {kind for kind in found.values() if _is_free(architecture, kind)}
    if kinds is not None:
        named = {kinds} if isinstance(kinds, str) else set(kinds)
        if unknown := sorted(named - wanted):
            raise InputError(
                f"no players of kind {unknown[0]!r} that a configuration can express: "
                f"there are {', '.join(sorted(wanted))}"
            )
        wanted = named
    keep = [name for name, kind in found.items() if kind not in wanted]
    return UnitPlayers(players.model, keep, "unit", _names(players, architecture))


def kinds_of(players: Players, checkpoint: Checkpoint) -> dict[str, str]:
    """What the players of each family are.

    Args:
      players: those of the checkpoint.
      checkpoint: the model.

    Returns:
      {family: kind}: "neurons", "groups" (a key and value head with all its queries),
      "queries" (one of the queries of each group), "head" (dimensions of heads).
    """
    architecture = architecture_of(checkpoint.config, checkpoint.params)
    return {family.name: _kind(family, architecture) for family in players.families}


def _names(players: Players, architecture: Architecture) -> dict[str, str]:
    """Names of families that say what they are, where that is a name for one alone."""
    found = {}
    for family in players.families:
        paths = [piece.path for piece in family.slices]
        layers = {split_name(path, architecture.stem)[0] for path in paths}
        if len(layers) == 1 and layers != {None}:
            kind = _kind(family, architecture)
            found[family.name] = f"{architecture.stem}{layers.pop()}.{kind}"
    new = list(found.values())
    return {old: name for old, name in found.items() if new.count(name) == 1}


def _kind(family: Family, architecture: Architecture) -> str:
    tensors = architecture.tensors()
    for piece in family.slices:
        if piece.path in tensors:
            return _factor(piece, tensors[piece.path][piece.axis], architecture)
    return "unknown"


def _factor(piece: AxisSlice, dim: Dim, architecture: Architecture) -> str:
    """The factor of a merged axis along which the players lie."""
    sizes = [size_of((part,), architecture.sizes) for part in dim]
    for k, part in enumerate(dim):
        at = [np.unique(np.unravel_index(index, sizes)[k]) for index in piece.index]
        is_apart = len({int(one[0]) for one in at}) == len(at)
        if isinstance(part, str) and is_apart and all(len(one) == 1 for one in at):
            return part
    return str(dim[-1])  # both halves of a rotary pair


def _is_free(architecture: Architecture, kind: str) -> bool:
    """Return True if fewer of a kind, in all layers, can be written down."""
    if kind not in architecture.widths:
        return False
    sizes = architecture.sizes
    smaller = ({**sizes, kind: n} for n in range(1, sizes[kind]))
    return any(not architecture.problem(fewer) for fewer in smaller)
