"""(Layer, unit) players: the units of scanned layers, told apart by layer."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import ArrayLike, Bool, Float

from gamepruning.players.exclusion import exclude_by_layer
from gamepruning.players.explain import ExplainedRow
from gamepruning.players.naming import in_layer, layers_of
from gamepruning.players.players import Players
from gamepruning.players.unit_players import UnitPlayers
from gamepruning.run.kept import InputKept, Kept
from gamepruning.run.layer_axes import (
    kept_by_layer,
    mask_from_kept_by_layer,
    participate_by_layer,
    sum_owned_by_layer,
)
from gamepruning.run.same_program import are_same, small_program
from gamepruning.trace.stacks import LayerNumbers, Stack
from gamepruning.trace.units import AxisSlice, Family
from gamepruning.trees.paths import InputKey
from gamepruning.types import Apply, InputError, Outputs, Params


class LayerPlayers(Players):
    """The units of a model; those that live within a scanned layer, layer by layer.

    A unit that the residual stream, a shared array or an output carries out of its
    layer stays one player in all layers.

    Args:
      tied: the players whose unit k is the same one in all layers.

    Attributes:
      tied: the same.
    """

    def __init__(self, tied: UnitPlayers):
        self.tied = tied
        self.granularity = tied.granularity
        self._blocks = list(_blocks_of(tied))
        self.families, numbers, names = _lay_out(tied, self._blocks)
        if tied.granularity == "layer":
            slices = tied.families[0].slices
            self.families = (Family("layers", 0, len(numbers.unit_of), slices),)
        self._layer_names = names
        self.model = tied.model.with_layers(numbers)
        self.frozen = tied.frozen

    @property
    def names(self) -> tuple[str, ...]:
        """`layers[3]/up[17]` for units; the family's name for layers."""
        return self._names

    @cached_property
    def _names(self) -> tuple[str, ...]:
        if self.granularity == "layer":
            return self._layer_names
        return tuple(f"{f.name}[{k}]" for f in self.families for k in range(f.size))

    @property
    def _numbers(self) -> LayerNumbers:
        assert self.model.layers is not None
        return self.model.layers

    def participate(self, params: Params, gates: ArrayLike) -> Params:
        """Scale each player's own parameters: theta_i -> s_i theta_i (equation 3)."""
        return participate_by_layer(self.model, params, gates)

    def sum_owned(self, tree: Params) -> Float[jax.Array, " N"]:
        """For each player the sum over its own parameters of the entries of a tree."""
        return sum_owned_by_layer(self.model, tree)

    def exclude(self, params: Params, mask: ArrayLike) -> Params:
        """Parameters of the same shapes that compute the model without some players.

        See `UnitPlayers.exclude`: what is proved of the body holds in every layer.
        """
        self.model.check_params(params)
        return exclude_by_layer(self, self.tied, params, self.mask(mask))

    # -- compaction ----------------------------------------------------------------

    def pad(self, mask: ArrayLike) -> Bool[np.ndarray, " N"]:
        """The mask with as many units in each layer as the layer with most has.

        To cut layers to the widest of them, with zeros where a layer has fewer:
        `compact(players, players.exclude(params, mask), players.pad(mask))`.

        Args:
          mask: bool [N], True = kept.

        Returns:
          The mask, with those who left first, in their order, back in.
        """
        stays = self.mask(mask).copy()
        for rows in self.stacked_families():
            counts = [int(stays[f.start : f.stop].sum()) for f in rows]
            for family, count in zip(rows, counts, strict=True):
                own = stays[family.start : family.stop]
                own[np.flatnonzero(~own)[: max(counts) - count]] = True
        return stays

    def stacked_families(self) -> list[list[Family]]:
        """The families that layers of one stack have in common, layer by layer."""
        if self.granularity == "layer":
            return []
        by_start = {family.start: family for family in self.families}
        numbers = self._numbers
        return [
            [by_start[int(numbers.at(k)[b.start])] for k in range(b.stack.length)]
            for b in self._blocks
            if b.stack is not None
        ]

    def kept_indices(self, mask: ArrayLike) -> Kept:
        """What stays of each parameter axis; `LayerRows` where layers keep others.

        Raises:
          InputError: the layers of a stack keep different numbers of entries.
        """
        return kept_by_layer(self.model, self.mask(mask))

    def input_kept(self, mask: ArrayLike) -> InputKept:
        """What to feed: {input position: {axis: kept indices}}, if something left."""
        return self.tied.input_kept(self.mask(mask)[self._numbers.at(0)])

    def mask_from_kept(
        self,
        kept: Mapping[tuple[str, int], Any],
        input_kept: Mapping[InputKey, Mapping[int, ArrayLike]] | None = None,
    ) -> Bool[np.ndarray, " N"]:
        """The mask [N] that leaves these indices; see `UnitPlayers.mask_from_kept`."""
        return mask_from_kept_by_layer(self.model, kept, input_kept or {})

    def prepare(self, params: Params, mask: ArrayLike) -> Params:
        """The parameters as they are: what leaves is cut with the axes."""
        return params

    def compact_apply(self, mask: ArrayLike) -> Apply:
        """The model's function at the sizes that a mask leaves; see `gp.compact`.

        Each layer, alone, would make the same program at its sizes, so one scan runs
        them all.

        Raises:
          InputError: the layers keep different numbers of entries, or would make
            different programs.
        """
        mask = self.mask(mask)
        self.kept_indices(mask)
        numbers = self._numbers
        each = (mask[numbers.at(turn)] for turn in range(numbers.num_turns))
        first, *others = {units.tobytes(): units for units in each}.values()
        program = small_program(self.tied.model, first) if others else None
        for units in others:
            if not are_same(program, small_program(self.tied.model, units)):
                raise InputError(
                    "the layers of a stack keep equally many units, but not of the "
                    "same parts of an axis that the model takes apart, so that one "
                    "loop cannot run them: keep the same units in all layers "
                    "(layers='together'), or as many of each part"
                )
        return self.tied.compact_apply(first)

    def slice_outputs(self, outputs: Outputs, mask: ArrayLike) -> Outputs:
        """Outputs of `gated`, those shaped like parameters cut to what stays."""
        return self.tied.slice_outputs(outputs, self.mask(mask)[self._numbers.at(0)])

    # -- telling -------------------------------------------------------------------

    @property
    def _block_kinds(self) -> tuple[str, ...]:
        tied = self.tied.kinds
        return tied if len(tied) == len(self._blocks) else tied * len(self._blocks)

    def _touched(self) -> list[AxisSlice]:
        """All that players touch, in all layers at once."""
        return self.tied._touched()

    @property
    def kinds(self) -> tuple[str, ...]:
        """What the players of each family are; see `Players.kinds`."""
        if self.granularity != "unit":
            return super().kinds
        found = {
            block.name_in(turn): kind
            for block, kind in zip(self._blocks, self._block_kinds, strict=True)
            for turn in block.turns
        }
        return tuple(found[family.name] for family in self.families)

    def explain(self) -> str:
        """A table of the families, what each touches, and what stays and why."""
        rows = [
            ExplainedRow(block.row_name, kind, block.row_count, block.slices)
            for block, kind in zip(self._blocks, self._block_kinds, strict=True)
        ]
        notes = [
            f"{block.name} is one player in all layers for each unit: {reason}"
            for block in self._blocks
            for reason in _reasons(self.tied.model.base.stacks, block)
        ]
        return self._explained(rows, notes)


class _Block(NamedTuple):
    """A family of the body, or one player where whole families play.

    Attributes:
      name: its name.
      start: its first unit.
      stop: one more than its last.
      slices: the parameter axes that it touches.
      stack: the stack whose layers it lives in; None if it is one in all layers.
      home: what the stack is called.
    """

    name: str
    start: int
    stop: int
    slices: Sequence[AxisSlice]
    stack: Stack | None
    home: str

    @property
    def row_name(self) -> str:
        """`layers[0-11]/up`."""
        if self.stack is None:
            return self.name
        return in_layer(self.name, self.home, f"0-{self.stack.length - 1}")

    @property
    def row_count(self) -> str:
        """`12 x 96`."""
        size = self.stop - self.start
        return str(size) if self.stack is None else f"{self.stack.length} x {size}"

    @property
    def turns(self) -> range:
        """The layers that have players of their own; one if all share them."""
        return range(1 if self.stack is None else self.stack.length)

    def name_in(self, turn: int) -> str:
        """`layers[3]/up`."""
        if self.stack is None:
            return self.name
        return in_layer(self.name, self.home, str(turn))

    def slices_in(self, turn: int, numbers: Mapping[str, int]) -> tuple[AxisSlice, ...]:
        """The slices of the layer that a turn reads."""
        assert self.stack is not None
        found = []
        for piece in self.slices:
            layers = self.stack.leaves[numbers[piece.path]]
            layer = layers.axis, int(layers.turns[turn])
            found.append(
                AxisSlice(piece.path, piece.axis, piece.role, piece.index, layer)
            )
        return tuple(found)


def _blocks_of(tied: UnitPlayers) -> Iterator[_Block]:
    whole = tied.granularity == "layer"
    for family in tied.families:
        starts = range(family.start, family.stop) if whole else [family.start]
        for start in starts:
            stop = start + 1 if whole else family.stop
            name = tied.names[start] if whole else family.name
            stack = _stack_of(tied.model.base.stacks, start, stop)
            home = (
                "" if stack is None else layers_of(tied.paths[k] for k in stack.leaves)
            )
            slices = () if whole else family.slices
            yield _Block(name, start, stop, slices, stack, home)


def _stack_of(stacks: Sequence[Stack], start: int, stop: int) -> Stack | None:
    """The stack all of these units live in, each within one layer."""
    for stack in stacks:
        if stack.own[start + 1 : stop + 1].all():
            return stack
    return None


def _reasons(stacks: Sequence[Stack], block: _Block) -> list[str]:
    """Why a block that a stack has is one in all layers."""
    units = range(block.start + 1, block.stop + 1)
    found = (
        stack.tied[unit] for stack in stacks for unit in units if unit in stack.tied
    )
    return sorted(set(found)) if block.stack is None else []


def _lay_out(
    tied: UnitPlayers, blocks: Sequence[_Block]
) -> tuple[tuple[Family, ...], LayerNumbers, tuple[str, ...]]:
    """Numbers for the players: the families of layer 0, those of layer 1, and so on."""
    first = np.zeros(tied.num_players, int)
    stride, length = np.zeros_like(first), np.ones_like(first)
    numbers = {path: leaf for leaf, path in enumerate(tied.paths)}
    families: list[Family] = []
    place, done = 0, []
    for block in blocks:
        here = slice(block.start, block.stop)
        if block.stack is None:
            first[here] = place + np.arange(block.stop - block.start)
            stop = place + block.stop - block.start
            families.append(Family(block.name, place, stop, tuple(block.slices)))
            place = stop
            continue
        if any(block.stack is stack for stack in done):
            continue
        done.append(block.stack)
        members = [b for b in blocks if b.stack is block.stack]
        width = sum(b.stop - b.start for b in members)
        for turn in range(block.stack.length):
            for member in members:
                size = member.stop - member.start
                if turn == 0:
                    own = slice(member.start, member.stop)
                    first[own] = place + np.arange(size)
                    stride[own], length[own] = width, block.stack.length
                name = member.name_in(turn)
                slices = member.slices_in(turn, numbers)
                families.append(Family(name, place, place + size, slices))
                place += size
    names = tuple(family.name for family in families)
    return tuple(families), LayerNumbers.of(first, stride, length), names
