"""Gates that stay below one become part of the weights, exactly."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.compaction.compact import CompactModel
from gamepruning.compaction.verify import relative_error
from gamepruning.players import Players, find_players
from gamepruning.run.batches import predict
from gamepruning.trees.paths import named_leaves
from gamepruning.types import Apply

TOLERANCE = 1e-4  # relative to the largest output, in float32


def _same(value: Any) -> Any:
    return value


class Absorbed(NamedTuple):
    """A network that computes with all gates at one what the gated one computed.

    By default there were no gates, and nothing changes. Otherwise `how` says where the
    gates went: the weights that read a player are scaled ("readers"), its own weights
    are ("own", eq. 3), or they stay as parameters beside the others ("gates").
    """

    apply: Callable[..., Any]  # (params, inputs) -> outputs
    params: Any
    players: Players  # those of the gated network, in an order of its own
    mask: np.ndarray  # True for players that stay, bool [N]
    wrap: Callable[[Any], Any] = _same  # params without gates -> these, gates at one
    convert: Callable[[np.ndarray], np.ndarray] = _same  # mask of the first players
    how: str = "none"


@functools.lru_cache(maxsize=4)
def gated_network(players: Players) -> Callable[..., Any]:
    """The network with gates, ((params, gates), inputs) -> outputs.

    The same function for the same players, so that it is compiled once.
    """
    return lambda joint, inputs: players.gated(*joint, inputs)


@functools.partial(jax.jit, static_argnums=0)
def run_gated(players: Players, params: Any, gates: jax.Array, inputs: Any) -> Any:
    """The outputs with gates, compiled once for all calls of the same shapes."""
    return players.gated(params, gates, inputs)


def absorb_gates(
    apply: Apply,
    players: Players,
    params: Any,
    gates: jax.Array,
    mask: np.ndarray,
    inputs: jax.Array,
) -> Absorbed:
    """Put the gates of those who stay into the weights.

    The weights that read a player are multiplied by its gate. Where that is not the
    same function on `inputs`, its own weights are tried; where that is not either, the
    gates become parameters of the network. Gates are float [N], the mask is bool [N].
    See Shah and Khan, arXiv 2512.22106, eq. 3 and line 9 of Algorithm 1.
    """
    left = jnp.where(jnp.asarray(mask), gates, 0.0)
    open_gates = jnp.asarray(mask, gates.dtype)
    target = run_gated(players, params, left, inputs)
    for how, scale in (("readers", scale_readers), ("own", type(players).participate)):
        scaled = scale(players, params, gates)
        found = run_gated(players, scaled, open_gates, inputs)
        if relative_error(target, found) <= TOLERANCE:
            return Absorbed(apply, scaled, players, mask, how=how)
    return _carry(apply, players, params, gates, mask, inputs)


def scale_readers(players: Players, params: Any, gates: jax.Array) -> Any:
    """Multiply the weights that read player i by s_i, on the host."""
    on_host, scaled = np.asarray(gates), named_leaves(params)
    for family in players.families:
        for part in family.slices:
            if part.role == "in":
                leaf = np.array(scaled[part.path])
                read, axis = part.entry(leaf)
                counts = [len(index) for index in part.index]
                own = np.repeat(on_host[family.start : family.stop], counts)
                factor = np.ones(read.shape[axis], leaf.dtype)
                np.multiply.at(
                    factor, np.concatenate(part.index), own.astype(leaf.dtype)
                )
                others = [k for k in range(read.ndim) if k != axis]
                read *= np.expand_dims(factor, others)  # a view of the leaf
                scaled[part.path] = jnp.asarray(leaf)
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


class GatedChoice(Protocol):
    """A full network, who stays, and the gates at which it was chosen."""

    @property
    def params(self) -> Any: ...
    @property
    def mask(self) -> np.ndarray: ...
    @property
    def gates(self) -> jax.Array | None: ...


def removal_error(
    players: Players, chosen: GatedChoice, small: CompactModel, inputs: jax.Array
) -> float:
    """How far a small network is from the one it was cut from, with its gates, too.

    Args:
      players: of the full network.
      chosen: its params without the gates, the mask, and the gates or None.
      small: what `compact` made, the gates in its weights.
      inputs: examples, [B, ...].

    Returns:
      The larger relative difference: from the full network with players masked, and
      from that with the gates of those who stay.
    """
    found = float(small.report.max_error)
    if chosen.gates is None:
        return found
    gates = jnp.where(jnp.asarray(chosen.mask), chosen.gates, 0.0)
    expected = run_gated(players, chosen.params, gates, inputs)
    actual = predict(small.apply, small.params, inputs)
    return max(found, relative_error(expected, actual))
