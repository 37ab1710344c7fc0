"""What the players that read the input look at: their incoming weights as images."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from gamepruning.players.players import Players
from gamepruning.trees.paths import named_leaves

_INPUT = re.compile(r"it meets axis \d+ of input 0")  # why a parameter's axis stays
_LEAST = 4  # pixels of a side


def receptive_fields(
    players: Players,
    params: Any,
    mask: Bool[np.ndarray, " N"],
    input_shape: Sequence[int],
) -> Float[np.ndarray, "K H W"] | None:
    """Incoming weights of those who stay in the first dense family.

    Args:
      players: of the network.
      params: its weights.
      mask: True for the players that stay.
      input_shape: of one example, (H, W, 1) for images of one channel.

    Returns:
      The weights of each of the K players over the pixels, or None where inputs are no
      images of one channel or no family reads them whole.
    """
    shape = tuple(input_shape)
    if len(shape) != 3 or shape[2] != 1 or min(shape[:2]) < _LEAST:
        return None
    leaves, whole = named_leaves(params), (0, shape[0] * shape[1])
    reads_input = {
        frozen.path
        for frozen in players.frozen
        if (frozen.axis, frozen.count) == whole and _INPUT.fullmatch(frozen.reason)
    }
    for family in players.families:
        for part in family.slices:
            leaf = leaves[part.path]
            if part.role == "out" and part.path in reads_input and leaf.ndim == 2:
                stays = np.flatnonzero(mask[family.start : family.stop])
                return np.asarray(leaf)[:, stays].T.reshape(-1, *shape[:2])
    return None
