"""Structural units as players: neurons, filters, heads; or whole layers of them."""

import functools
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike, Bool, Float

from gamepruning.players import naming
from gamepruning.players.exclusion import exclude
from gamepruning.players.explain import ExplainedRow
from gamepruning.players.kinds import kinds_of
from gamepruning.players.nothing import nothing_to_prune
from gamepruning.players.players import Players
from gamepruning.run import kept as axes
from gamepruning.run.kept import InputKept, Kept
from gamepruning.run.owned import participate, sum_owned
from gamepruning.run.small import compact_apply, slice_outputs
from gamepruning.trace.model import TracedModel
from gamepruning.trace.units import AxisSlice, Family, Numbers, UnitGroup, frozen_axes
from gamepruning.trees.paths import InputKey
from gamepruning.types import Apply, InputError, Outputs, Params


class UnitPlayers(Players):
    """The structural units of a model, each a player, or each family one player.

    Args:
      model: the traced model, whose units play under no numbers yet.
      keep: names of families that do not play.
      granularity: "unit" or "layer".
      names: other names for families, by theirs.

    Raises:
      InputError: there is no such family, or nobody is left to play.
    """

    def __init__(
        self,
        model: TracedModel,
        keep: Sequence[str],
        granularity: str,
        names: Mapping[str, str] | None = None,
    ):
        groups = naming.group_units(model.base.units, model.usage, model.array_names)
        unknown = [name for name in keep if name not in groups]
        if unknown:
            raise InputError(
                f"keep names {unknown[0]!r}, which is neither a family nor the start "
                f"of a parameter's path: families are {', '.join(groups)}"
            )
        if groups and not set(groups) - set(keep):
            raise InputError(f"nothing to prune: keep names all of {', '.join(groups)}")
        named = {name: name for name in groups} | dict(names or {})
        kept = {name: groups[name].atoms for name in keep}
        groups = {named[name]: us for name, us in groups.items() if name not in keep}
        if not groups:
            raise InputError(nothing_to_prune(model))
        merged = granularity == "layer"
        self.granularity = granularity
        self.families = _make_families(model, groups, merged)
        numbers = _number_units(groups, merged)
        self.model = model.with_players(numbers, self.families[-1].stop)
        base = self.model.base
        labels = [*base.param_labels, *base.input_labels]
        self.frozen = frozen_axes(
            base.analysis, labels, self.model.array_names, base.number_of, kept
        )
        self._groups = tuple(groups)

    @property
    def names(self) -> tuple[str, ...]:
        """`Dense_0[17]` for units; the family's name for layers."""
        return self._names

    @functools.cached_property
    def _names(self) -> tuple[str, ...]:
        return naming.player_names(self.families, self._groups, self.granularity)

    # -- evaluation ----------------------------------------------------------------

    def participate(self, params: Params, gates: ArrayLike) -> Params:
        """Scale each player's own parameters: theta_i -> s_i theta_i (equation 3)."""
        return participate(self.model, params, gates)

    def sum_owned(self, tree: Params) -> Float[jax.Array, " N"]:
        """For each player the sum over its own parameters of the entries of a tree."""
        return sum_owned(self.model, tree)

    def exclude(self, params: Params, mask: ArrayLike) -> Params:
        """Parameters of the same shapes that compute the model without some players.

        The weights that read the players are set to zero; where two activations meet
        (queries and keys), the weights that produce one of them are. Of the players'
        other parameters, what is not finite is set to zero, for 0 times NaN is NaN.
        Arguments and errors: see `Players.exclude`.
        """
        self.model.check_params(params)
        return exclude(self, params, self.mask(mask))

    # -- compaction ----------------------------------------------------------------

    def kept_indices(self, mask: ArrayLike) -> Kept:
        """What stays of each parameter axis under a mask."""
        return axes.kept_indices(self.model, self.mask(mask))

    def input_kept(self, mask: ArrayLike) -> InputKept:
        """What to feed: {input position: {axis: kept indices}}, if something left."""
        return axes.input_kept(self.model, self.mask(mask))

    def mask_from_kept(
        self,
        kept: Mapping[tuple[str, int], Any],
        input_kept: Mapping[InputKey, Mapping[int, ArrayLike]] | None = None,
    ) -> Bool[np.ndarray, " N"]:
        """The mask [N] that leaves these indices; the inverse of `kept_indices`.

        Of a merged axis an entry leaves with any of several players. One all of whose
        entries have left with others counts as gone. The network is the same, unless
        that player also holds entries that no parameter does, such as the padding of
        an axis that is split in two afterwards. A plan names the players, so its mask
        for these players is exact there, too.

        Raises:
          InputError: the indices do not fit this model.
        """
        return axes.mask_from_kept(self.model, kept, input_kept or {})

    def prepare(self, params: Params, mask: ArrayLike) -> Params:
        """The parameters as they are: what leaves is cut with the axes."""
        return params

    def compact_apply(self, mask: ArrayLike) -> Apply:
        """The model's function at the sizes that a mask leaves; see `gp.compact`."""
        return compact_apply(self.model, self.mask(mask))

    def slice_outputs(self, outputs: Outputs, mask: ArrayLike) -> Outputs:
        """Outputs of `gated`, those shaped like parameters cut to what stays."""
        return slice_outputs(self.model, outputs, self.mask(mask))

    # -- telling -------------------------------------------------------------------

    @property
    def kinds(self) -> tuple[str, ...]:
        """What the players of each family are; see `Players.kinds`."""
        return self._kinds if self.granularity == "unit" else super().kinds

    @cached_property
    def _kinds(self) -> tuple[str, ...]:
        return kinds_of(self.model, self.families)

    def _explained(
        self,
        rows: Sequence[ExplainedRow],
        notes: Sequence[str] = (),
        first: str = "family",
    ) -> str:
        scanned = [
            f"unit k of all {stack.length} scanned layers is one player: "
            'find_players(..., layers="each") makes a player of each (layer, unit)'
            for stack in self.model.base.stacks
            if stack.own.any()
        ]
        return super()._explained(rows, [*notes, *scanned], first)


# -- families ------------------------------------------------------------------------


def _number_units(groups: naming.Groups, merged: bool) -> Numbers:
    """The player of each unit: its own number, or that of its group if `merged`."""
    members, start = [], 0
    for number, units in enumerate(groups.values()):
        own = np.full(len(units), number) if merged else start + np.arange(len(units))
        members.append((units, own))
        start += len(units)
    return Numbers(members)


def _make_families(
    model: TracedModel, groups: naming.Groups, merged: bool
) -> tuple[Family, ...]:
    """A family of each group; if `merged`, one family whose players are the groups."""
    families, start = [], 0
    for name, units in groups.items():
        stop = start + (1 if merged else len(units))
        families.append(Family(name, start, stop, _make_slices(model, units, merged)))
        start = stop
    if merged:
        slices = tuple(piece for family in families for piece in family.slices)
        return (Family("layers", 0, start, slices),)
    return tuple(families)


def _make_slices(
    model: TracedModel, units: UnitGroup, merged: bool
) -> tuple[AxisSlice, ...]:
    """The parameter axes that the units touch, by unit or, if `merged`, together."""
    num_params = model.example.num_params
    slices = []
    for place, rows in zip(units.places, units.entries, strict=True):
        array, axis = place
        role = model.usage.role(place) if array < num_params else "input"
        index = (np.unique(rows.flat),) if merged else rows
        slices.append(AxisSlice(model.array_names[array], axis, role, index))
    return tuple(slices)
