"""Single weights as players: equation 1 of arXiv 2512.22106 at its finest.

Arrays cannot lose single entries, so a weight that leaves becomes zero; a unit of which
no weight is read any more then leaves for good.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Bool, Float

from gamepruning.players.exclusion import read_elsewhere
from gamepruning.players.naming import layer_name
from gamepruning.players.players import Players, Which
from gamepruning.players.unit_players import UnitPlayers
from gamepruning.run.activations import Moments
from gamepruning.run.hoist import Hoisted, SplitModel, split_before_all
from gamepruning.run.kept import InputKept, Kept
from gamepruning.trace.model import TracedModel
from gamepruning.trace.units import AxisSlice, Family, Numbers
from gamepruning.trees.arrays import split_arrays
from gamepruning.trees.paths import InputKey
from gamepruning.trees.trainable import widen
from gamepruning.types import Apply, InputError, Outputs, Params

Piece = tuple[AxisSlice, np.ndarray]  # a slice, and a unit's indices along its axis


class WeightPlayers(Players):
    """Each entry of each weight matrix or kernel is a player.

    Families are the parameters; a family's slice holds no index lists, since player
    `start + k` is entry k of the parameter in row-major order.

    Args:
      model: the traced model.
      frozen_leaves: arrays of params, by number, that do not play.

    Raises:
      InputError: the model reads no weight matrix or kernel.
    """

    def __init__(self, model: TracedModel, frozen_leaves: Mapping[int, str]):
        self._leaves = [
            number
            for number in range(model.example.num_params)
            if number not in frozen_leaves and _is_weight(model, number)
        ]
        if not self._leaves:
            raise InputError(
                "nothing to prune: the model reads no weight matrix or kernel"
            )
        self.granularity = "weight"
        self.families = _make_families(model, self._leaves)
        self.frozen = ()
        self.model = model.with_players(Numbers(), self.families[-1].stop)
        self._units = _find_units(model)

    @property
    def names(self) -> tuple[str, ...]:
        """`Dense_0[17]`: the entry in row-major order."""
        return tuple(f"{f.name}[{k}]" for f in self.families for k in range(f.size))

    # -- evaluation ----------------------------------------------------------------

    def gated(self, params: Params, gates: ArrayLike, *inputs) -> Outputs:
        """The model's outputs when weight i is scaled by gate s_i."""
        self.model.call(params, *inputs)
        return self.apply(self.participate(params, gates), *inputs)

    def participate(self, params: Params, gates: ArrayLike) -> Params:
        """Each weight times its gate (equation 3)."""
        return self._scaled(params, self.model.gates(gates))

    def exclude(self, params: Params, mask: ArrayLike) -> Params:
        """The weights that are not in `mask` set to zero."""
        return self._scaled(params, self.mask(mask))

    def _scaled(self, params: Params, gates: jax.Array | np.ndarray) -> Params:
        self.model.check_params(params)
        leaves, treedef = jax.tree_util.tree_flatten(params)
        for family, position in zip(self.families, self._positions(), strict=True):
            leaf = leaves[position]
            own = gates[family.start : family.stop].reshape(leaf.shape)
            if own.dtype == bool:  # what leaves may be nan
                leaves[position] = jnp.where(own, leaf, 0).astype(leaf.dtype)
            else:
                leaves[position] = leaf * own.astype(leaf.dtype)
        return jax.tree_util.tree_unflatten(treedef, leaves)

    def _positions(self) -> list[int]:
        """For each family the number of its leaf in the flattened params."""
        positions = self.model.example.leaf_positions
        return [positions[number] for number in self._leaves]

    def sum_owned(self, tree: Params) -> Float[jax.Array, " N"]:
        """The entries of the weights, one after the other."""
        self.model.check_params(tree)
        leaves = jax.tree_util.tree_leaves(tree)
        return jnp.concatenate(
            [widen(leaves[k]).reshape(-1) for k in self._positions()]
        )

    def activation_moments(self, params: Params, *inputs) -> Moments:
        """Weights have no activation.

        Raises:
          InputError: always.
        """
        raise InputError(
            'single weights have no activation: use granularity="unit" for scores that '
            "read activations"
        )

    def hoist(self, params: Params, *inputs, varying: Which = None) -> Hoisted:
        """Nothing can be computed before the weights are known."""
        _, rebuild = split_arrays(params)
        return Hoisted(
            lambda params, gates, *inputs: (split_arrays(params)[0], inputs),
            lambda passed, gates: self.gated(rebuild(passed[0]), gates, *passed[1]),
        )

    def split(
        self,
        params: Params,
        inputs: Sequence,
        varying: Bool[np.ndarray, " N"],
        *,
        gate_smaller: bool = False,
        changed: Sequence[int] = (),
        piece: int = 0,
    ) -> SplitModel:
        """Everything depends on the weights; the residuals are the arguments."""
        call = self.model.call(params, *inputs)
        return split_before_all(self.model, call, self.gated, changed)

    # -- compaction ----------------------------------------------------------------

    def unit_mask(self, mask: ArrayLike) -> Bool[np.ndarray, " U"] | None:
        """The units that something still reads; None if no unit can leave."""
        mask = self.mask(mask)
        if self._units is None:
            return None
        alive = {
            self.paths[number]: mask[family.start : family.stop]
            .reshape(self.model.example.arrays[number].shape)
            .copy()
            for family, number in zip(self.families, self._leaves, strict=True)
        }
        return _read_units(self._units, alive, self._read_elsewhere)

    @functools.cached_property
    def _read_elsewhere(self) -> set[int]:
        """The units that act without a weight that reads them."""
        return set() if self._units is None else read_elsewhere(self._units)

    def prepare(self, params: Params, mask: ArrayLike) -> Params:
        """Parameters with the weights that left at zero."""
        return self.exclude(params, mask)

    def kept_indices(self, mask: ArrayLike) -> Kept:
        """The axes that shrink because whole units are read no more."""
        stays = self.unit_mask(mask)
        if self._units is None or stays is None:
            return {}
        return self._units.kept_indices(stays)

    def input_kept(self, mask: ArrayLike) -> InputKept:
        """All inputs stay."""
        self.mask(mask)
        return {}

    def compact_apply(self, mask: ArrayLike) -> Apply:
        """The model without the units that are read no more."""
        stays = self.unit_mask(mask)
        if self._units is None or stays is None or stays.all():
            return self.apply
        return self._units.compact_apply(stays)

    def slice_outputs(self, outputs: Outputs, mask: ArrayLike) -> Outputs:
        """No output is shaped like parameters."""
        return outputs

    def mask_from_kept(
        self,
        kept: Mapping[tuple[str, int], Any],
        input_kept: Mapping[InputKey, Mapping[int, ArrayLike]] | None = None,
    ) -> Bool[np.ndarray, " N"]:
        """Single weights are not axes.

        Raises:
          InputError: always; a plan keeps the mask of single weights itself.
        """
        raise InputError("the mask of single weights cannot be read off kept indices")


def _is_weight(model: TracedModel, number: int) -> bool:
    """True for the arrays that are read as, or produce, a sum over an axis."""
    leaf, usage = model.example.arrays[number], model.usage
    return (
        len(leaf.shape) > 1
        and jnp.issubdtype(leaf.dtype, jnp.inexact)
        and any(
            usage.has((number, axis), "in") or usage.has((number, axis), "out")
            for axis in range(len(leaf.shape))
        )
    )


def _make_families(model: TracedModel, leaves: Sequence[int]) -> tuple[Family, ...]:
    layers = [layer_name(model.paths[number]) for number in leaves]
    families, start = [], 0
    for number, layer in zip(leaves, layers, strict=True):
        path = model.paths[number]
        name = layer if layers.count(layer) == 1 else path
        stop = start + int(np.prod(model.example.arrays[number].shape))
        piece = AxisSlice(path, -1, "weight", ())
        families.append(Family(name, start, stop, (piece,)))
        start = stop
    return tuple(families)


# -- units that nothing reads --------------------------------------------------------


def _find_units(model: TracedModel) -> UnitPlayers | None:
    try:
        return UnitPlayers(model, (), "unit")
    except InputError:
        return None


def _read_units(
    units: UnitPlayers, alive: dict[str, np.ndarray], elsewhere: set[int]
) -> np.ndarray:
    """The units that a living weight reads; weights of dead units die with them.

    Args:
      units: the units.
      alive: for each weight array, by path, which entries are in; changed.
      elsewhere: who stays anyway.
    """
    stays = np.ones(units.num_players, bool)
    may_leave = np.array([k not in elsewhere for k in range(units.num_players)], bool)
    while True:
        asked = np.flatnonzero(stays & may_leave).tolist()
        dead = [k for k in asked if _is_unread(units, k, alive)]
        if not dead:
            return stays
        stays[dead] = False
        for unit in dead:
            for piece, index in _pieces(units, unit):
                if piece.path in alive:
                    np.moveaxis(alive[piece.path], piece.axis, 0)[index] = False


def _pieces(units: UnitPlayers, unit: int) -> Iterator[Piece]:
    family = units.families[units.family_of[unit]]
    return ((piece, piece.index[unit - family.start]) for piece in family.slices)


def _is_unread(units: UnitPlayers, unit: int, alive: dict[str, np.ndarray]) -> bool:
    """True if all that weights read of the unit is met by some that are out."""
    usage = units.model.usage
    number_of = {path: number for number, path in enumerate(units.paths)}
    pieces = list(_pieces(units, unit))
    readers = [
        (number_of[piece.path], piece, index)
        for piece, index in pieces
        if usage.has((number_of[piece.path], piece.axis), "in")
    ]
    known = {"in", "out", "bias", "scale", "shift"}
    return (
        bool(readers)
        and all(piece.role in known for piece, _ in pieces)
        and all(
            number not in usage.nonzero_at_zero
            and piece.path in alive
            and not np.moveaxis(alive[piece.path], piece.axis, 0)[index].any()
            for number, piece, index in readers
        )
    )
