"""Gates that stay below one become part of the weights, exactly."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.players import Players, find_players
from gamepruning.trees.paths import named_leaves

TOLERANCE = 1e-4  # relative to the largest output, in float32


class Absorbed(NamedTuple):
    """A network that computes with all gates at one what the gated one computed.

    Attributes:
      apply: (params, inputs) -> outputs.
      params: its parameters.
      players: its players; they are those of the gated network, in an order of its own.
      mask: those that stay, bool [N].
      wrap: params of the network without gates -> params of this one, gates at one.
      convert: mask of the first players -> mask of these.
      how: "readers": the weights that read a player are scaled; "own": its own weights
        are (eq. 3); "gates": the gates stay, as parameters beside the others.
    """

    apply: Callable[..., Any]
    params: Any
    players: Players
    mask: np.ndarray
    wrap: Callable[[Any], Any]
    convert: Callable[[np.ndarray], np.ndarray]
    how: str


def without_gates(
    apply: Callable, players: Players, params: Any, mask: np.ndarray
) -> Absorbed:
    """The same for a network that never had gates: nothing changes."""
    return Absorbed(apply, params, players, mask, _same, _same, "none")


@functools.partial(jax.jit, static_argnums=0)
def run_gated(players: Players, params: Any, gates: jax.Array, inputs: Any) -> Any:
    """The outputs with gates, compiled once for all calls of the same shapes."""
    return players.gated(params, gates, inputs)


def absorb_gates(
    apply: Callable,
    players: Players,
    params: Any,
    gates: jax.Array,
    mask: np.ndarray,
    inputs: jax.Array,
) -> Absorbed:
    """Put the gates of those who stay into the weights.

    The weights that read a player are multiplied by its gate. Where that is not the
    same function on `inputs`, its own weights are tried; where that is not either, the
    gates become parameters of the network.

    Args:
      gates: participation, float [N].
      mask: players that stay, bool [N].
      inputs: examples to check the result on.

    References:
      Shah and Khan, arXiv 2512.22106, eq. 3 and line 9 of Algorithm 1.
    """
    left = jnp.where(jnp.asarray(mask), gates, 0.0)
    open_gates = jnp.asarray(mask, gates.dtype)
    target = run_gated(players, params, left, inputs)
    ways = {
        "readers": lambda: scale_readers(players, params, gates),
        "own": lambda: players.participate(params, gates),
    }
    for how, way in ways.items():
        scaled = way()
        if _is_close(run_gated(players, scaled, open_gates, inputs), target):
            return Absorbed(apply, scaled, players, mask, _same, _same, how)
    return _carry(apply, players, params, gates, mask, inputs)


def scale_readers(players: Players, params: Any, gates: jax.Array) -> Any:
    """Multiply the weights that read player i by s_i."""
    scaled = named_leaves(params)
    for family in players.families:
        for part in family.slices:
            if part.role == "in":
                leaf = scaled[part.path]
                rows = np.concatenate(part.index)
                counts = [len(index) for index in part.index]
                own = jnp.repeat(gates[family.start : family.stop], np.array(counts))
                factor = jnp.ones(leaf.shape[part.axis], leaf.dtype)
                factor = factor.at[rows].multiply(own.astype(leaf.dtype))
                others = [k for k in range(leaf.ndim) if k != part.axis]
                scaled[part.path] = leaf * jnp.expand_dims(factor, others)
    return jax.tree.unflatten(jax.tree.structure(params), list(scaled.values()))


def _carry(apply, players, params, gates, mask, inputs) -> Absorbed:
    def gated(joint, x):
        return players.gated(joint["params"], joint["gates"], x)

    def wrap(params):
        return {"params": params, "gates": jnp.ones_like(gates)}

    joint = {"params": params, "gates": gates}
    new = find_players(gated, joint, inputs)

    def convert(mask):
        kept = {
            (f"params/{path}", axis): rows
            for (path, axis), rows in players.kept_indices(mask).items()
        }
        if not mask.all():
            kept["gates", 0] = np.flatnonzero(mask)
        return new.mask_from_kept(kept)

    return Absorbed(gated, joint, new, convert(mask), wrap, convert, "gates")


def _same(value: Any) -> Any:
    return value


def _is_close(one: jax.Array, two: jax.Array) -> bool:
    largest = float(jnp.abs(two).max())
    return float(jnp.abs(one - two).max()) <= TOLERANCE * max(largest, 1e-6)
