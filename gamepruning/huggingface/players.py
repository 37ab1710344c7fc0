"""`find_players`: the players whose removal a configuration can express."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gamepruning.huggingface.architecture import Architecture, Dims, size_of
from gamepruning.huggingface.checkpoint import Checkpoint, architecture_of
from gamepruning.huggingface.layers import check_tokens
from gamepruning.huggingface.numbering import split_name
from gamepruning.players import Players, find_players as find_all
from gamepruning.players.unit_players import UnitPlayers
from gamepruning.trace.units import Family
from gamepruning.types import InputError

STREAM = "hidden"


def find_players(
    checkpoint: Checkpoint, *inputs: Any, kinds: str | Sequence[str] | None = None
) -> Players:
    """The players of a checkpoint whose removal a configuration can express.

    `gp.find_players(checkpoint.apply, checkpoint.params, *inputs)` also finds the
    dimensions of heads. They can leave the small model in JAX; `save` refuses it.

    Args:
      checkpoint: the model.
      *inputs: example inputs, or their shapes.
      kinds: such as "neurons", see `kinds_of`; None for all whose number a
        configuration gives and whose removal leaves the rest of the function. "heads"
        of GPT-2 and BERT must be named: `save` can only fill them up with zeros. So
        must "hidden", the entries of the residual stream: norms then divide by what
        stays, as the smaller configuration says (`reductions="width"`).

    Returns:
      The players; families are named by layer and kind, "model.layers.0.neurons".

    Raises:
      InputError: there is no such kind, no input, a token that the model does not know,
        or no checkpoint.
    """
    if not isinstance(checkpoint, Checkpoint):
        raise InputError(
            "expected a checkpoint, as gp.huggingface.load(folder) returns, got a "
            f"{type(checkpoint).__name__}"
        )
    if not inputs:
        raise InputError(
            "expected example inputs: find_players(checkpoint, input_ids), or "
            "pixel_values of a ViT"
        )
    architecture = architecture_of(checkpoint.config, checkpoint.params)
    if isinstance(inputs[0], jax.Array | np.ndarray) and "vocab" in architecture.sizes:
        check_tokens(architecture.sizes, *inputs[:2])  # while the values are known
    asked = {kinds} if isinstance(kinds, str) else set(kinds or ())
    players = find_all(
        checkpoint.apply,
        checkpoint.params,
        *inputs,
        reductions="width" if STREAM in asked else "freeze",
    )
    found = kinds_of(players, checkpoint)
    known = [kind for kind in architecture.widths if kind in found.values()]
    wanted = {kind for kind in known if _is_free(architecture, kind)}
    if kinds is not None:
        wanted = asked
        if unknown := sorted(wanted - set(known)):
            raise InputError(
                f"no configuration can express fewer {unknown[0]!r}: expected kinds "
                f"among {', '.join(known)}"
            )
    keep = [name for name, kind in found.items() if kind not in wanted]
    return UnitPlayers(
        players.model, keep, "unit", _names(players, found, architecture)
    )


def kinds_of(players: Players, checkpoint: Checkpoint) -> dict[str, str]:
    """What the players of each family are.

    Args:
      players: those of the checkpoint.
      checkpoint: the model.

    Returns:
      {family: kind}: "neurons", "groups" (a key and value head with all its queries),
      "queries" (one of the queries of each group), "heads", "hidden" (entries of the
      residual stream), "head" (dimensions inside a head, of which no configuration can
      express fewer), or another size of the architecture. These are the words of
      `kinds=`; `players.kinds` has more general ones.
    """
    architecture = architecture_of(checkpoint.config, checkpoint.params)
    tensors = architecture.tensors()
    return {
        family.name: _kind(family, tensors, architecture) for family in players.families
    }


def _names(
    players: Players, kinds: Mapping[str, str], architecture: Architecture
) -> dict[str, str]:
    """Names of families that say what they are, where that is a name for one alone."""
    found = {}
    for family in players.families:
        paths = [piece.path for piece in family.slices]
        layers = {split_name(path, architecture.stem)[0] for path in paths}
        if len(layers) == 1 and layers != {None}:
            name = f"{architecture.stem}{layers.pop()}.{kinds[family.name]}"
            found[family.name] = name
    times = Counter(found.values())
    return {old: name for old, name in found.items() if times[name] == 1}


def _kind(
    family: Family, tensors: Mapping[str, Dims], architecture: Architecture
) -> str:
    """The factor of a merged axis along which the players of a family lie."""
    piece = next((piece for piece in family.slices if piece.path in tensors), None)
    if piece is None:
        return "unknown"
    dim = tensors[piece.path][piece.axis]
    sizes = [size_of((part,), architecture.sizes) for part in dim]
    first, last = (np.unravel_index(piece.index[k], sizes) for k in (0, -1))
    for k, part in enumerate(dim):
        one, two = set(first[k].tolist()), set(last[k].tolist())
        is_apart = one != two or family.size == 1
        if isinstance(part, str) and len(one) == len(two) == 1 and is_apart:
            return part
    return str(dim[-1])  # both halves of a rotary pair


def _is_free(architecture: Architecture, kind: str) -> bool:
    """Return True if fewer of a kind, in all layers, can be written down."""
    sizes = architecture.sizes
    smaller = ({**sizes, kind: n} for n in range(1, sizes[kind]))
    return any(not architecture.problem(fewer) for fewer in smaller)
