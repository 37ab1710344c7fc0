"""Single weights as players: equation 1 of arXiv 2512.22106 at its finest.

Arrays cannot lose single entries, so a weight that leaves becomes zero; a unit of which
no weight is read any more then leaves for good.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gamepruning.players import naming
from gamepruning.players.players import Hoisted, Kept, Players, split_keep
from gamepruning.trace.model import flatten_call, trace_model
from gamepruning.trace.units import AxisSlice, Family
from gamepruning.trace.usage import Roles
from gamepruning.types import InputError


def find_weight_players(
    apply: Callable, params: Any, *inputs: Any, keep: Sequence[str] = ()
) -> "WeightPlayers":
    """`find_players` with granularity "weight"."""
    call = flatten_call(params, inputs)
    paths = naming.leaf_paths(params)
    names, frozen_leaves = split_keep(keep, paths)
    if names:
        raise InputError(f"keep names {names[0]!r}, which starts no parameter's path")
    options: dict[str, Any] = {
        "input_axes": {},
        "outputs_like": None,
        "reductions": "freeze",
        "frozen_leaves": {},
    }
    traced = trace_model(apply, call, **options)
    roles = Roles(traced.analysis, call.num_params)
    leaves = [
        number
        for number, leaf in enumerate(call.leaves[: call.num_params])
        if number not in frozen_leaves
        and len(leaf.shape) > 1
        and jnp.issubdtype(leaf.dtype, jnp.inexact)
        and any(
            roles.has((number, d), "in") or roles.has((number, d), "out")
            for d in range(len(leaf.shape))
        )
    ]
    if not leaves:
        raise InputError("nothing to prune: the model reads no weight matrix or kernel")
    return WeightPlayers(apply, call, traced, options, paths, leaves)


class WeightPlayers(Players):
    """Each entry of each weight matrix or kernel is a player.

    Families are the parameters; a family's slice holds no index lists, since player
    `start + k` is entry k of the parameter in row-major order.
    """

    def __init__(self, apply, call, traced, options, paths, leaves: list[int]):
        self.apply = apply
        self.granularity = "weight"
        self.paths = tuple(paths)
        self._example = call
        self._leaves = leaves
        self._units = _unit_players(apply, call, traced, options, paths)
        families, start = [], 0
        for number in leaves:
            size = int(np.prod(call.leaves[number].shape))
            piece = AxisSlice(paths[number], -1, "weight", ())
            name = naming.layer_name(paths[number])
            if [naming.layer_name(paths[k]) for k in leaves].count(name) > 1:
                name = paths[number]
            families.append(Family(name, start, start + size, (piece,)))
            start += size
        self.families = tuple(families)
        self.num_players = start
        self.family_of = np.repeat(
            np.arange(len(families)), [family.size for family in families]
        )
        self.frozen = ()
        self.opaque = tuple(sorted(traced.analysis.opaque))

    @property
    def names(self) -> tuple[str, ...]:
        """`Dense_0[17]`: the entry in row-major order."""
        return tuple(f"{f.name}[{k}]" for f in self.families for k in range(f.size))

    def _scaled(self, params: Any, gates) -> Any:
        self._check_params(params)
        leaves, treedef = jax.tree_util.tree_flatten(params)
        positions = self._positions()
        for family, number in zip(self.families, self._leaves, strict=True):
            leaf = leaves[positions[number]]
            own = gates[family.start : family.stop].reshape(leaf.shape)
            if own.dtype == bool:  # what leaves may be nan
                leaves[positions[number]] = jnp.where(own, leaf, 0).astype(leaf.dtype)
            else:
                leaves[positions[number]] = leaf * own.astype(leaf.dtype)
        return jax.tree_util.tree_unflatten(treedef, leaves)

    def gated(self, params: Any, gates: ArrayLike, *inputs: Any) -> Any:
        """The model's outputs when weight i is scaled by gate s_i."""
        self._call(params, inputs)
        return self.apply(self.participate(params, gates), *inputs)

    def participate(self, params: Any, gates: ArrayLike) -> Any:
        """Each weight times its gate (equation 3)."""
        return self._scaled(params, self._gates(gates))

    def exclude(self, params: Any, mask: ArrayLike) -> Any:
        """The weights that are not in `mask` set to zero."""
        return self._scaled(params, self.mask(mask))

    def sum_owned(self, tree: Any) -> jax.Array:
        """The entries of the weights, one after the other."""
        self._check_params(tree)
        leaves, positions = jax.tree_util.tree_leaves(tree), self._positions()
        return jnp.concatenate([leaves[positions[k]].reshape(-1) for k in self._leaves])

    def activation_moments(self, params: Any, *inputs: Any):
        """Weights have no activation.

        Raises:
          InputError: always.
        """
        raise InputError(
            'single weights have no activation: use granularity="unit" for scores that '
            "read activations"
        )

    def hoist(self, params: Any, *inputs: Any, varying: Any = None) -> Hoisted:
        """Nothing can be computed before the weights are known."""
        return Hoisted(
            lambda params, gates, *inputs: (params, inputs),
            lambda residuals, gates: self.gated(residuals[0], gates, *residuals[1]),
        )

    # -- compaction --------------------------------------------------------------------

    def unit_mask(self, mask: ArrayLike) -> np.ndarray | None:
        """The units that something still reads, bool; None if no unit can leave."""
        units = self._units
        if units is None:
            return None
        alive = self._weight_masks(self.mask(mask))
        stays = np.ones(units.num_players, bool)
        while True:
            dead = [
                k for k in np.flatnonzero(stays).tolist() if self._is_unread(k, alive)
            ]
            if not dead:
                return stays
            stays[dead] = False
            for unit in dead:
                for piece, index in self._pieces(unit):
                    if piece.path in alive:
                        np.moveaxis(alive[piece.path], piece.axis, 0)[index] = False

    def _weight_masks(self, mask: np.ndarray) -> dict[str, np.ndarray]:
        return {
            self.paths[number]: mask[family.start : family.stop]
            .reshape(self._example.leaves[number].shape)
            .copy()
            for family, number in zip(self.families, self._leaves, strict=True)
        }

    def _pieces(self, unit: int):
        assert self._units is not None
        family = self._units.families[self._units.family_of[unit]]
        return [(piece, piece.index[unit - family.start]) for piece in family.slices]

    def _is_unread(self, unit: int, alive: dict[str, np.ndarray]) -> bool:
        assert self._units is not None
        pieces, roles = self._pieces(unit), self._units._roles
        numbers = [self.paths.index(piece.path) for piece, _ in pieces]
        readers = [
            (number, piece, index)
            for number, (piece, index) in zip(numbers, pieces, strict=True)
            if roles.has((number, piece.axis), "in")
        ]
        known = {"in", "out", "bias", "scale", "shift"}
        return (
            bool(readers)
            and all(piece.role in known for piece, _ in pieces)
            and all(
                number not in roles.bent
                and piece.path in alive
                and not np.moveaxis(alive[piece.path], piece.axis, 0)[index].any()
                for number, piece, index in readers
            )
        )

    def prepare(self, params: Any, mask: ArrayLike) -> Any:
        """Parameters with the weights that left at zero."""
        return self.exclude(params, mask)

    def kept_indices(self, mask: ArrayLike) -> Kept:
        """The axes that shrink because whole units are read no more."""
        stays = self.unit_mask(mask)
        return {} if stays is None else self._units.kept_indices(stays)  # type: ignore[union-attr]

    def input_kept(self, mask: ArrayLike) -> dict:
        """All inputs stay."""
        self.mask(mask)
        return {}

    def compact_apply(self, mask: ArrayLike) -> Callable:
        """The model without the units that are read no more."""
        stays = self.unit_mask(mask)
        if stays is None or stays.all():
            return self.apply
        return self._units.compact_apply(stays)  # type: ignore[union-attr]

    def slice_outputs(self, outputs: Any, mask: ArrayLike) -> Any:
        """No output is shaped like parameters."""
        return outputs

    def mask_from_kept(self, kept, input_kept=None) -> np.ndarray:
        """Single weights are not axes.

        Raises:
          InputError: always; a plan keeps the mask of single weights itself.
        """
        raise InputError("the mask of single weights cannot be read off kept indices")


def _unit_players(apply, call, traced, options, paths) -> Players | None:
    try:
        return Players(apply, call, traced, options, paths, (), "unit")
    except InputError:
        return None
