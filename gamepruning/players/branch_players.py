"""Residual branches as players: depth."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Bool, Float

from gamepruning.players.explain import ExplainedRow
from gamepruning.players.naming import in_layer, layer_name, layers_of, split_keep
from gamepruning.players.players import Players
from gamepruning.run.activations import Moments
from gamepruning.run.branches import (
    Own,
    Share,
    apply_without,
    kept_without,
    rest_of,
    shares_of,
    watch_branches,
)
from gamepruning.run.kept import InputKept, Kept, check_same
from gamepruning.run.owned import factor_type, without_gaps
from gamepruning.trace.branches import Branch, leaves_read
from gamepruning.trace.model import TracedModel
from gamepruning.trace.primitives import (
    KEEPS_ZERO,
    PRODUCTS,
    RESHAPES,
    ZERO_IF_ALL,
    ZERO_IF_ANY,
)
from gamepruning.trace.program import Lit, Node
from gamepruning.trace.rules.control import scan_parts
from gamepruning.trace.stacks import LayerNumbers
from gamepruning.trace.units import AxisSlice, Family, Frozen
from gamepruning.trees.paths import InputKey
from gamepruning.trees.trainable import is_numeric, widen
from gamepruning.types import Apply, InputError, Outputs, Params

NOTHING = (
    "nothing to prune: no residual branch, an addition of a value and of what a matrix "
    "product, convolution or loop makes of it, is in the program or in a scanned layer"
)


class BranchPlayers(Players):
    """Each residual branch is a player; those of scanned layers, layer by layer.

    There is one family, "branches". A gate multiplies what a branch adds to the stream.
    A player's own parameters are those that nobody but its branch reads. A branch
    within another leaves with it; both count what is inside.

    Args:
      model: the traced model.
      keep: branches by name (of a scanned layer: without its number), or paths of
        parameters, that stay.

    Raises:
      InputError: there is no residual branch, or no such name.
    """

    def __init__(self, model: TracedModel, keep: str | Sequence[str] = ()):
        self.granularity = "branch"
        found = model.base.branches
        if not found:
            raise InputError(NOTHING)
        everyone = model.with_branches(range(len(found)), number_layers(found))
        shares = shares_of(everyone)
        names = _unit_names(everyone, found, shares)
        chosen = _chosen(everyone, found, names, keep)
        self._branches = [found[k] for k in chosen]
        self.shares = [shares[k] for k in chosen]
        self._owned = [share.owned for share in self.shares]
        self._unit_names = [names[k] for k in chosen]
        numbers = number_layers(self._branches)
        self.model = model.with_branches(chosen, numbers)
        self._names = self._player_names()
        slices = tuple(self._slices())
        self.families = (Family("branches", 0, self.num_players, slices),)
        self.frozen = tuple(self._frozen())

    @property
    def names(self) -> tuple[str, ...]:
        """`layers[3]/mlp`: what its parameters have in common, or its last one."""
        return self._names

    @property
    def numbers(self) -> LayerNumbers:
        """Which player a branch of the program is in each layer."""
        assert self.model.layers is not None
        return self.model.layers

    @property
    def loops(self) -> frozenset[Node]:
        """The loops with branches in their bodies."""
        return frozenset(b.loop for b in self._branches if b.loop is not None)

    def _player_names(self) -> tuple[str, ...]:
        names = [""] * self.num_players
        for player in range(self.num_players):
            unit, layer = self._place(player)
            name = self._unit_names[unit]
            if self._branches[unit].is_layered:
                name = in_layer(name, self._homes[unit], str(layer))
            names[player] = name
        return tuple(names)

    @cached_property
    def _homes(self) -> list[str]:
        """What the stacked parameters of each branch's loop have in common."""
        paths: dict[Node | None, list[str]] = {}
        for branch, owned in zip(self._branches, self._owned, strict=True):
            here = paths.setdefault(branch.loop, [])
            here += [self.paths[own.leaf] for own in owned if own.layers is not None]
        return [_common(paths[branch.loop]) for branch in self._branches]

    def _place(self, player: int) -> tuple[int, int]:
        """The branch of the program that a player is, and its layer."""
        numbers = self.numbers
        return int(numbers.unit_of[player]), max(int(numbers.layer_of[player]), 0)

    def _slices(self) -> Iterator[AxisSlice]:
        for unit, branch in enumerate(self._branches):
            for layer in range(branch.length):
                for own in self._owned[unit]:
                    place = None
                    if own.layers is not None:
                        place = own.layers.axis, int(own.layers.turns[layer])
                    path = self.paths[own.leaf]
                    yield AxisSlice(path, -1, "weight", (), place)

    def _frozen(self) -> Iterator[Frozen]:
        """The parameters that no branch owns, and why."""
        owned = {own.leaf for row in self._owned for own in row}
        reads = [_leaves(self.model, b, b.reads) for b in self._branches]
        beside = [_leaves(self.model, b, b.shortcut) for b in self._branches]
        for leaf, path in enumerate(self.paths):
            shape = self.model.example.arrays[leaf].shape
            if leaf in owned or not shape:
                continue
            reason = "it is outside of the residual branches"
            if any(leaf in row for row in beside):
                name = self._unit_names[[leaf in row for row in beside].index(True)]
                reason = f"it is the shortcut beside {name}, which is not a branch"
            elif any(leaf in row for row in reads):
                name = self._unit_names[[leaf in row for row in reads].index(True)]
                reason = f"it is not {name} alone that reads it"
            yield Frozen(path, 0, shape[0], reason)

    # -- evaluation ----------------------------------------------------------------

    def participate(self, params: Params, gates: ArrayLike) -> Params:
        """Scale each branch's own parameters, all of them: theta_i -> s_i theta_i."""
        gates = self.model.gates(gates)
        return self._scaled(params, gates)

    def exclude(self, params: Params, mask: ArrayLike) -> Params:
        """Parameters of the same shapes: own parameters of who left are zero.

        Raises:
          InputError: these are not the parameters of this model.
          InputError: a branch that left is not 0 when its own parameters are.
        """
        stays = self.mask(mask)
        for unit in np.unique(self.numbers.unit_of[~stays]).tolist():
            zeros = {
                self.model.base.program.graph.inputs[own.leaf]
                for own in self._owned[unit]
            }
            if not self._is_zero(unit, zeros):
                raise InputError(
                    f"{self._unit_names[unit]} cannot be proved to add 0 when its own "
                    "parameters are 0: use gated or compact"
                )
        return self._scaled(params, jnp.asarray(stays))

    def _scaled(self, params: Params, gates: jax.Array) -> Params:
        self.model.check_params(params)
        leaves, treedef = jax.tree_util.tree_flatten(params)
        places = self.model.example.leaf_positions
        for player, own in self._each_own():
            leaf, index = leaves[places[own.leaf]], own.at(self._place(player)[1])
            part, gate = leaf[index], gates[player]
            if gate.dtype == bool:
                part = jnp.where(gate, part, jnp.zeros_like(part))
            else:
                part = part * gate.astype(factor_type(gates, leaf))
            leaf = jnp.asarray(leaf, part.dtype)
            leaves[places[own.leaf]] = leaf.at[index].set(part)
        return jax.tree_util.tree_unflatten(treedef, leaves)

    def _each_own(self) -> Iterator[tuple[int, Own]]:
        for player in range(self.num_players):
            for own in self._owned[self._place(player)[0]]:
                yield player, own

    def _is_zero(self, unit: int, zeros: set[int]) -> bool:
        """True if what a branch adds is 0 where these parameters are."""
        branch, graph = self._branches[unit], self.model.base.program.graph
        zeros = zeros.copy()
        _spread(graph.nodes, zeros)
        if branch.loop is not None:
            (body,) = branch.loop.subs
            carry = scan_parts(branch.loop, body.inputs).carry
            pairs = zip(branch.loop.ins, body.inputs, strict=True)
            zeros |= {v for x, v in _plain(pairs) if x in zeros and v not in carry}
            _spread(body.nodes, zeros)
        ends = [branch.end, *(node.ins[k] for node, k in branch.sites)]
        return zeros.issuperset(ends)

    def sum_owned(self, tree: Params) -> Float[jax.Array, " N"]:
        """For each branch the sum over its own parameters of the entries of a tree."""
        tree = without_gaps(self.model, tree)
        self.model.check_params(tree)
        leaves = jax.tree_util.tree_leaves(tree)
        places = self.model.example.leaf_positions
        dtype = jnp.result_type(jnp.float32, *filter(is_numeric, leaves))
        total = [jnp.zeros((), dtype)] * self.num_players
        for player, own in self._each_own():
            part = leaves[places[own.leaf]][own.at(self._place(player)[1])]
            total[player] += widen(part).sum().astype(dtype)
        return jnp.stack(total)

    def activation_moments(self, params: Params, *inputs) -> Moments:
        """Mean and variance of the entries of what each branch adds to the stream."""
        found: list[Any] = [(jnp.nan, jnp.nan)] * self.num_players

        def see(player: int, stream: Any, end: Any) -> None:
            end = widen(end)
            found[player] = end.mean(), end.var()

        watch_branches(self.model, params, inputs, see)
        mean, variance = (jnp.stack([pair[k] for pair in found]) for k in (0, 1))
        return mean, variance

    def influence(self, params: Params, *inputs) -> Float[jax.Array, " N"]:
        """1 - the mean cosine of the stream before and behind each branch.

        Args:
          params: the parameters.
          *inputs: inputs.

        Returns:
          float [N], from 0 to 2.
        """
        found: list[Any] = [jnp.nan] * self.num_players

        def see(player: int, stream: Any, end: Any) -> None:
            before = widen(stream)
            after = before + widen(end)
            energy = jnp.square(before).sum(-1) * jnp.square(after).sum(-1)
            cosine = (before * after).sum(-1) / jnp.sqrt(jnp.where(energy, energy, 1))
            found[player] = 1 - cosine.mean()

        watch_branches(self.model, params, inputs, see)
        return jnp.stack(found)

    # -- compaction ----------------------------------------------------------------

    def kept_indices(self, mask: ArrayLike) -> Kept:
        """What stays of each parameter axis.

        Nothing stays of axis 0 of a parameter that is read no more; an axis of layers
        loses those in which it is read no more.
        """
        return kept_without(self.model, self.mask(mask))

    def input_kept(self, mask: ArrayLike) -> InputKept:
        """All inputs stay."""
        self.mask(mask)
        return {}

    def mask_from_kept(
        self,
        kept: Mapping[tuple[str, int], Any],
        input_kept: Mapping[InputKey, Mapping[int, ArrayLike]] | None = None,
    ) -> Bool[np.ndarray, " N"]:
        """The mask [N] that leaves these indices.

        Who has no parameters of its own is in.

        Raises:
          InputError: the indices do not fit this model.
        """
        stays = np.ones(self.num_players, bool)
        for player in range(self.num_players):
            unit, layer = self._place(player)
            gone = [self._is_gone(own, layer, kept) for own in self._owned[unit]]
            stays[player] = not gone or not all(gone)
        check_same(kept, self.kept_indices(stays))
        return stays

    def _is_gone(self, own: Own, layer: int, kept: Mapping) -> bool:
        path = self.paths[own.leaf]
        if (path, 0) in kept and not len(kept[path, 0]):
            return True
        way = own.layers
        if way is None or (path, way.axis) not in kept:
            return not self.model.example.arrays[own.leaf].ndim
        return int(way.turns[layer]) not in np.asarray(kept[path, way.axis])

    def prepare(self, params: Params, mask: ArrayLike) -> Params:
        """The parameters as they are: what leaves is cut with the axes."""
        return params

    def compact_apply(self, mask: ArrayLike) -> Apply:
        """The model without what only the branches that left compute.

        Layers of a loop that do the same run in one loop, one after the other; those
        that do nothing are left out.
        """
        return apply_without(self.model, self.mask(mask))

    def slice_outputs(self, outputs: Outputs, mask: ArrayLike) -> Outputs:
        """No output is shaped like parameters."""
        return outputs

    def remarks(self, mask: ArrayLike) -> tuple[str, ...]:
        """Where a loop over layers is run in several parts."""
        rest = rest_of(self.model, self.model.base, self.mask(mask))
        found = []
        for loop, left in rest.loops.items():
            turns = sum(len(segment.turns) for segment in left.segments)
            if len(left.segments) > 1:
                home = self._homes[[b.loop for b in self._branches].index(loop)]
                found.append(
                    f"the layers of {home or 'a loop'} have lost different branches: "
                    f"{turns} of {loop.params['length']} are left and run in "
                    f"{len(left.segments)} loops, and their stacked parameters are of "
                    "unequal lengths"
                )
        return tuple(found)

    # -- telling -------------------------------------------------------------------

    def explain(self) -> str:
        """A table of the branches, what each owns, and what stays and why."""
        rows = []
        for unit, branch in enumerate(self._branches):
            name, count = self._unit_names[unit], "1"
            if branch.is_layered:
                name = in_layer(name, self._homes[unit], f"0-{branch.length - 1}")
                count = str(branch.length)
            slices = [
                AxisSlice(self.paths[own.leaf], -1, "own", ())
                for own in self._owned[unit]
            ]
            rows.append(ExplainedRow(name, "branch", count, slices))
        notes = [
            f"{name} is beside a shortcut, which stays"
            for name, branch in zip(self._unit_names, self._branches, strict=True)
            if branch.shortcut is not None
        ]
        return self._explained(rows, notes, "branch")


# -- numbers and names -----------------------------------------------------------------


def number_layers(branches: Sequence[Branch]) -> LayerNumbers:
    """Numbers for the players: in each loop those of layer 0, of layer 1, and so on."""
    first = np.zeros(len(branches), int)
    stride, length = np.zeros_like(first), np.ones_like(first)
    place = unit = 0
    while unit < len(branches):
        loop, turns = branches[unit].loop, branches[unit].length
        stop = unit + 1
        while turns > 1 and stop < len(branches) and branches[stop].loop is loop:
            stop += 1
        width = stop - unit
        first[unit:stop] = place + np.arange(width)
        stride[unit:stop], length[unit:stop] = width, turns
        place, unit = place + width * turns, stop
    return LayerNumbers.of(first, stride, length)


def _unit_names(
    model: TracedModel, branches: Sequence[Branch], shares: Sequence[Share]
) -> list[str]:
    """What a branch's weights have in common; where others have it, too, the last."""
    paths = []
    for branch, share in zip(branches, shares, strict=True):
        leaves = [own.leaf for own in share.owned]
        leaves = leaves or sorted(_leaves(model, branch, branch.reads))
        sizes = [model.example.arrays[leaf].size for leaf in leaves]
        pairs = zip(leaves, sizes, strict=True)
        large = sum(sizes) / 10  # weights rather than biases and scales
        paths.append([model.paths[leaf] for leaf, size in pairs if size >= large])
    names = [_common(rows) for rows in paths]
    homes = {name for name in names if any(_holds(name, other) for other in names)}
    homes |= {name for name in names if names.count(name) > 1} | {""}
    found: list[str] = []
    for name, rows in zip(names, paths, strict=True):
        if name in homes:
            name = layer_name(rows[-1]) if rows else "branch"
        unique, count = name, 2
        while unique in found:
            unique, count = f"{name}#{count}", count + 1
        found.append(unique)
    return found


def _common(paths: Sequence[str]) -> str:
    """`model.layers.0.mlp` of `model.layers.0.mlp.up.weight` and the like."""
    if len(set(paths)) == 1:
        return layer_name(paths[0])
    common = layers_of(paths)
    rows = [path[len(common) :].strip("/").split(".") for path in paths]
    if common or any("/" in row[0] for row in rows):
        return common
    return layers_of(["/".join(row) for row in rows]).replace("/", ".")


def _holds(name: str, other: str) -> bool:
    return other.startswith((f"{name}/", f"{name}."))


def _chosen(
    model: TracedModel,
    branches: Sequence[Branch],
    names: Sequence[str],
    keep: str | Sequence[str],
) -> list[int]:
    """The branches that play: not kept by name, and reading no parameter that stays."""
    kept, leaves = split_keep(keep, model.paths, names)
    unknown = [name for name in kept if name not in names]
    if unknown:
        raise InputError(
            f"keep names {unknown[0]!r}, which is neither a branch nor the start of a "
            f"parameter's path: branches are {', '.join(names)}"
        )
    chosen = [
        k
        for k, branch in enumerate(branches)
        if names[k] not in kept
        and _leaves(model, branch, branch.reads).isdisjoint(leaves)
    ]
    if not chosen:
        raise InputError(f"nothing to prune: keep names all of {', '.join(names)}")
    return chosen


def _leaves(
    model: TracedModel, branch: Branch, reads: frozenset[int] | None
) -> frozenset[int]:
    """The parameters behind what a branch, or its shortcut, reads."""
    num = model.example.num_params
    return leaves_read(model.base.program, branch, reads or frozenset(), num)


# -- zeros -----------------------------------------------------------------------------


def _plain(pairs: Iterable[tuple]) -> list[tuple]:
    return [(x, v) for x, v in pairs if not isinstance(x, Lit)]


def _spread(nodes: Sequence[Node], zeros: set[int]) -> None:
    """Add the values that are 0 where those in `zeros` are."""
    for node in nodes:
        here = [not isinstance(v, Lit) and v in zeros for v in node.ins]
        if node.name in PRODUCTS | ZERO_IF_ANY:
            is_zero = any(here)
        elif node.name in ZERO_IF_ALL:
            is_zero = all(here)
        else:
            is_zero = node.name in _SAME_ZEROS and here[0]
        if is_zero:
            zeros.update(node.outs)


_SAME_ZEROS = KEEPS_ZERO | RESHAPES | {"broadcast_in_dim", "rev", "slice", "transpose"}
