"""Masks and gates of players: True or 1 means kept."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Bool, Shaped

from gamepruning.types import InputError, Scores


def as_mask(
    mask: ArrayLike | Sequence, num_players: int | None = None, *, name: str = "mask"
) -> Bool[np.ndarray, " N"]:
    """One coalition as bool [N], checked.

    Args:
      mask: bool [N], True = kept.
      num_players: N; None for any number.
      name: what the mask is to the user, for the error.

    Raises:
      InputError: it has another shape or dtype, or is traced.

    Example:
      >>> as_mask([True, False], 2).tolist()
      [True, False]
    """
    if isinstance(mask, jax.core.Tracer):
        raise InputError(
            f"the {name} is traced (by jit, vmap or grad), but who stays has to be "
            "known before: call this outside of it, or use players.gated, whose gates "
            "may be traced"
        )
    if isinstance(mask, Scores):
        raise InputError(
            f"expected a {name}, bool [N], got Scores: gp.top_n(scores, n) keeps the "
            "best n"
        )
    array = np.asarray(mask)
    size = "N" if num_players is None else num_players
    if array.ndim != 1 or num_players not in (None, len(array)):
        raise InputError(
            f"{name} has shape {array.shape}, expected ({size},): one entry for each "
            "player, True = kept"
        )
    if array.dtype != bool:
        raise InputError(
            f"{name} has dtype {array.dtype}, expected bool (True = kept): compare "
            "gates with a threshold first"
        )
    return array


def as_masks(
    masks: ArrayLike | Sequence, num_players: int | None = None, *, name: str = "masks"
) -> Bool[np.ndarray, "S N"]:
    """Several coalitions as bool [S, N], checked.

    Args:
      masks: bool [S, N], True = in.
      num_players: N; None for any number.
      name: what the masks are to the user, for the error.

    Raises:
      InputError: they have another shape or dtype, or are traced.

    Example:
      >>> as_masks([[True, False], [True, True]], 2).shape
      (2, 2)
    """
    if isinstance(masks, jax.core.Tracer):
        raise InputError(
            f"the {name} are traced (by jit, vmap or grad), but who is in has to be "
            "known before: call this outside of it, or use players.gated, whose gates "
            "may be traced"
        )
    array = np.asarray(masks)
    size = "N" if num_players is None else num_players
    fits = array.ndim == 2 and num_players in (None, array.shape[1])
    if not fits or array.dtype != bool:
        raise InputError(
            f"expected {name} bool [S, {size}], one row for each coalition, True = in; "
            f"got {array.dtype} {list(array.shape)}"
        )
    return array


def as_gates(gates: ArrayLike, num_players: int) -> Shaped[jax.Array, " N"]:
    """One gate for each player, checked; integers become floats.

    Args:
      gates: float [N] in [0, 1], or bool [N] (True = in); may be traced.
      num_players: N.

    Raises:
      InputError: there is not one gate for each player.

    Example:
      >>> as_gates(np.array([0, 1]), 2).tolist()
      [0.0, 1.0]
    """
    array = jnp.asarray(gates)
    if array.shape != (num_players,):
        raise InputError(
            f"gates have shape {array.shape}, expected ({num_players},): one for each "
            "player (use jax.vmap for several coalitions)"
        )
    return array if array.dtype == bool else array.astype(float_of(array.dtype))


def float_of(dtype: Any) -> Any:
    """The dtype itself if it is a float, JAX's default float otherwise."""
    return dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)
