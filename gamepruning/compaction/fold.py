"""Fold what dead players still emit into the next bias.

A player whose incoming weights are zero is dead, but not silent: it emits act(bias),
or a batch norm's shift, whatever the input. Where that is proved to be the same for
all inputs and reaches a bias (or a batch-norm mean) unchanged, it is added there, and
the player can leave without a trace.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.compaction.verify import is_open, sample_inputs
from gamepruning.run.gated import Gated, shortens_means
from gamepruning.trace.primitives import ADDITIONS, MAXIMA, RESHAPES
from gamepruning.trace.program import Lit, Node, apply_as_is, bind
from gamepruning.trace.zeros import ANY, ZeroAnalysis
from gamepruning.types import InputError

_MOVE = RESHAPES | {"convert_element_type", "copy"}


def fold_constants(players: Any, params: Any, mask: np.ndarray) -> Any:
    """Parameters whose biases make up for what the dead players emit.

    Args:
      players: the players, of granularity "unit".
      params: parameters in which the incoming weights of the players that are not in
        `mask` are zero, as after `players.participate(params, mask)`.
      mask: bool [N], True = kept.

    Returns:
      Parameters of the same shapes; with these, dropping the players at the places
      where they are summed over leaves the outputs as they are.

    Raises:
      InputError: a player is not dead, what it emits depends on the input or on the
        position, or no bias follows that could take it up.
    """
    if players.granularity != "unit":
        raise InputError(f"fold works on units, not on {players.granularity} players")
    if players.model.layers is not None:
        raise InputError(
            "fold works on units that are one in all scanned layers: find_players "
            "with layers='together', or compact without fold"
        )
    if shortens_means(players.model, mask):
        raise InputError(
            'fold keeps the function of the full model, and with reductions="width" '
            "norms divide by what stays: compact without fold"
        )
    zeroed = _check_dead(players, params, mask)
    model = players.model
    proof = ZeroAnalysis(model.base.analysis, model.example.num_params, zeroed)
    record = _record(players, params, mask)
    deltas: dict[int, Any] = {}
    for node, operand, dim, gone, args, outs in record.found:
        who = f"{node.name} in {node.where}" if node.where else node.name
        if proof.of(node.ins[operand])[dim] == ANY:
            raise InputError(
                f"what removed players pass to {who} depends on the input; they cannot "
                "be folded into a bias"
            )
        constant = _only(args[operand], dim, gone)
        if not np.any(constant):
            continue
        if node.name in MAXIMA:
            raise InputError(
                f"removed players take part in a maximum ({who}), where what they emit "
                "cannot be folded into a bias: compact without fold"
            )
        args = [*args]
        args[operand] = jnp.asarray(constant)
        added = np.asarray(bind(node.primitive, node.params, args)[0])
        leaf, sign, delta = _find_bias(players, node, added, who)
        deltas[leaf] = deltas.get(leaf, 0) + sign * delta
        del outs
    leaves, treedef = jax.tree_util.tree_flatten(params)
    positions = players.model.example.leaf_positions
    for leaf, delta in deltas.items():
        old = leaves[positions[leaf]]
        new = jnp.asarray(old) + jnp.asarray(delta).reshape(old.shape)
        leaves[positions[leaf]] = new.astype(old.dtype)
    return jax.tree_util.tree_unflatten(treedef, leaves)


def _check_dead(players, params, mask: np.ndarray) -> set[tuple[int, int]]:
    """The places of incoming weights, all zero for the removed players."""
    leaves = jax.tree_util.tree_leaves(params)
    positions = players.model.example.leaf_positions
    numbers = {path: leaf for leaf, path in enumerate(players.paths)}
    places = set()
    for family in players.families:
        gone = np.flatnonzero(~mask[family.start : family.stop])
        for piece in family.slices if len(gone) else ():
            if piece.role != "out":
                continue
            leaf = numbers[piece.path]
            places.add((leaf, piece.axis))
            array = np.asarray(leaves[positions[leaf]])
            for player in gone:
                if np.take(array, piece.index[player], axis=piece.axis).any():
                    raise InputError(
                        f"player {player} of {family.name} is not dead: its weights in "
                        f"{piece.path} are not zero; zero them (players.participate) "
                        "or compact without fold"
                    )
    return places


class _Record(Gated):
    """A plain run that notes what passes where removed players are summed over."""

    in_the_open = True

    def __init__(self, analysis, columns, mask: np.ndarray):
        super().__init__(analysis, columns, None)
        self._gone = np.concatenate([[False], ~mask])
        self.found: list[tuple] = []

    def step(self, node: Node, args: list) -> list:
        """Apply the node; note the operands at sites."""
        outs = apply_as_is(node, args)
        for operand, dim, columns in self.sites.get(node, ()):
            gone = self._gone[columns].any(axis=1)
            if gone.any():
                self.found.append((node, operand, dim, gone, list(args), outs))
        if self._gates_inside(node) and self._leaves_inside(node):
            raise InputError(
                f"removed players are summed over inside a {node.name}; what they emit "
                "cannot be folded there"
            )
        return outs

    def _leaves_inside(self, node: Node) -> bool:
        return any(
            any(self._gone[c].any() for _, _, c in self.sites.get(inner, ()))
            or self._leaves_inside(inner)
            for graph in node.subs
            for inner in graph.nodes
        )


def _record(players, params, mask: np.ndarray) -> _Record:
    example = players.example_inputs()
    if any(map(is_open, jax.tree_util.tree_leaves(example))):
        raise InputError(
            "fold follows the program at the sizes that find_players saw, and one of "
            "them is a symbol: call find_players with inputs of fixed shapes"
        )
    call = players.model.call(params, *sample_inputs(example))
    trace = players.model.trace(call)
    record = _Record(trace.analysis, trace.columns, mask)
    record.run(trace.program.graph, call.arrays)
    return record


def _only(array, dim: int, gone: np.ndarray) -> np.ndarray:
    """An operand with zeros where players stay."""
    shape = [1] * np.ndim(array)
    shape[dim] = -1
    return np.where(gone.reshape(shape), np.asarray(array), 0)


def _find_bias(players, node: Node, added: np.ndarray, who: str):
    """(leaf, sign, change) of the bias that the sum meets next."""
    trace = players.model.base
    nodes, graph = trace.program.graph.nodes, trace.program.graph
    value = node.outs[0]
    while True:
        readers = [n for n in nodes if value in n.ins]
        if len(readers) != 1 or value in graph.outputs:
            break
        (reader,) = readers
        if reader.name in _MOVE:
            added = np.asarray(apply_as_is(reader, [jnp.asarray(added)])[0])
        elif reader.name in ADDITIONS or (
            reader.name == "sub" and reader.ins[0] == value
        ):
            other = reader.ins[1] if reader.ins[0] == value else reader.ins[0]
            leaf = _leaf_of(players, other)
            if leaf is not None:
                change = _fit(trace.program.shape(other), added, who)
                size = int(np.prod(players.model.example.arrays[leaf].shape))
                if change.size == size:
                    return leaf, (-1 if reader.name == "sub" else 1), change
            added = np.broadcast_to(added, trace.program.shape(reader.outs[0]))
        else:
            break
        value = reader.outs[0]
    raise InputError(
        f"no bias follows {who} that could take up what removed players emit: keep "
        "those players, or give the layer a bias"
    )


def _leaf_of(players, operand) -> int | None:
    """The parameter that an operand is a view of, if nothing else reads it."""
    view = None if isinstance(operand, Lit) else players.model.usage.view(operand)
    leaves = {leaf for places in view or () for leaf, _ in places}
    if len(leaves) != 1:
        return None
    (leaf,) = leaves
    graph = players.model.base.program.graph
    value = graph.inputs[leaf]
    reads = sum(node.ins.count(value) for node in graph.nodes)
    return leaf if reads == 1 and value not in graph.outputs else None


def _fit(shape: tuple, added: np.ndarray, who: str) -> np.ndarray:
    """`added` in the shape of a broadcast operand; it must be the same elsewhere."""
    axes = tuple(
        k for k, (n, m) in enumerate(zip(shape, added.shape, strict=True)) if n == 1 < m
    )
    low, high = added.min(axis=axes), added.max(axis=axes)
    scale = max(float(np.abs(added).max()), 1e-30)
    if np.any(high - low > 1e-5 * scale):
        raise InputError(
            f"what removed players pass to {who} differs from place to place (padding "
            "does that), so no bias can take it up: keep those players"
        )
    return added.mean(axis=axes)
