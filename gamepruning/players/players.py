"""`Players`: what the players of a model can do, of whatever kind they are."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Int

from gamepruning.players.explain import ExplainedRow, Told, explain, to_dict
from gamepruning.run.activations import Moments, activation_moments
from gamepruning.run.by_layer import gated_run
from gamepruning.run.hoist import Hoisted, SplitModel, split
from gamepruning.run.kept import InputKept, Kept
from gamepruning.trace.model import TracedModel
from gamepruning.trace.units import AxisSlice, Family, Frozen
from gamepruning.trees.masks import as_mask
from gamepruning.trees.paths import InputKey
from gamepruning.types import Apply, InputError, Outputs, Params

Which = ArrayLike | str | Sequence[str] | None  # a mask, names of families, or all


class Players(ABC):
    """The players of one model.

    A base for every kind of players: structural units and layers (`UnitPlayers`),
    single weights (`WeightPlayers`). `find_players` makes them.

    Attributes:
      model: the traced model; `num_players` N, `apply` and `paths` are its own.
      granularity: "unit", "layer", "branch" or "weight".
      families: the players by kind; each is a slice of [0, N).
      family_of: the family number of each player, int [N].
      names: a name for each player.
      frozen: the entries of parameter axes that stay, and why.
      opaque: names of primitives that are not understood and froze what they met.
    """

    model: TracedModel
    granularity: str
    families: tuple[Family, ...]
    frozen: tuple[Frozen, ...]

    # -- who there is --------------------------------------------------------------

    @property
    def num_players(self) -> int:
        """N."""
        return self.model.num_players

    @property
    def apply(self) -> Apply:
        """The model: apply(params, *inputs) -> outputs."""
        return self.model.apply

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the arrays of params, "/" between keys."""
        return self.model.paths

    @property
    def opaque(self) -> tuple[str, ...]:
        """Names of primitives that are not understood and froze what they met."""
        return tuple(sorted(self.model.base.analysis.opaque))

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """A name for each player."""

    @functools.cached_property
    def family_of(self) -> Int[np.ndarray, " N"]:
        """The family number of each player."""
        sizes = [family.size for family in self.families]
        return np.repeat(np.arange(len(sizes)), sizes)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What the players of each family are: "heads", "head dimensions", "units".

        Also "head groups" (a head of keys and values with all its queries), "queries
        of a group", "rotary pairs", "input entries" and "one whole axis" (one player
        that owns a whole axis of a parameter); else the granularity.
        """
        plural = "branches" if self.granularity == "branch" else f"{self.granularity}s"
        return (plural,) * len(self.families)

    def family(self, name: str) -> Family:
        """The family of this name.

        Raises:
          InputError: there is none.
        """
        for family in self.families:
            if family.name == name:
                return family
        names = ", ".join(family.name for family in self.families)
        raise InputError(f"no family {name!r}: there are {names}")

    def mask(self, mask: ArrayLike) -> Bool[np.ndarray, " N"]:
        """`mask` as bool [N], checked.

        Raises:
          InputError: it has the wrong length, is not boolean, or is traced.
        """
        return as_mask(mask, self.num_players)

    def select(self, which: Which = None) -> Bool[np.ndarray, " N"]:
        """The players of families given by name, or a mask, or all.

        Raises:
          InputError: there is no such family, or the mask does not fit.
        """
        if which is None:
            return np.ones(self.num_players, bool)
        names = [which] if isinstance(which, str) else which
        if isinstance(names, (list, tuple)) and all(isinstance(w, str) for w in names):
            chosen = np.zeros(self.num_players, bool)
            for name in names:
                family = self.family(name)
                chosen[family.start : family.stop] = True
            return chosen
        return self.mask(names)  # type: ignore[arg-type]

    def example_inputs(self) -> tuple:
        """The inputs (or their shapes) that `find_players` saw."""
        example = self.model.example
        return example.rebuild(example.arrays)[1:]

    # -- evaluation ----------------------------------------------------------------

    def gated(self, params: Params, gates: ArrayLike, *inputs) -> Outputs:
        """The model's outputs when player i takes part with gate s_i.

        Each gate multiplies the player's activation where it is summed over. With
        gates in {0, 1} this is exactly the model without the players at 0, whatever
        the activation functions: a softmax or a search takes them for minus infinity.
        Differentiable in `params` and `gates`; jit it, or vmap it over gates (weights
        stay shared).

        Args:
          params: as given to `find_players` (same shapes).
          gates: float [N] in [0, 1], or bool [N] (True = in).
          *inputs: inputs; any batch size.

        Returns:
          The outputs of `apply`.

        Raises:
          InputError: the gates, or the parameters, are not those of this model.
        """
        call = self.model.call(params, *inputs)
        trace = self.model.trace(call)
        run = gated_run(self.model, trace, self.model.gates(gates))
        outs = run.run(trace.program.graph, call.arrays)
        return jax.tree_util.tree_unflatten(trace.program.out_tree, outs)

    @abstractmethod
    def participate(self, params: Params, gates: ArrayLike) -> Params:
        """Scale each player's own parameters: theta_i -> s_i theta_i.

        Equation 3 of arXiv 2512.22106. A player's own parameters are its incoming
        weights and the bias added right after them. Unlike `gated`, a player at 0
        still emits act(0).

        Args:
          params: the parameters.
          gates: float [N].

        Returns:
          Parameters of the same shapes.

        Raises:
          InputError: these are not the parameters of this model.
        """

    @abstractmethod
    def exclude(self, params: Params, mask: ArrayLike) -> Params:
        """Parameters of the same shapes that compute the model without some players.

        Args:
          params: the parameters.
          mask: bool [N], True = kept.

        Returns:
          Parameters for the original `apply`.

        Raises:
          InputError: these are not the parameters of this model.
          ValueError: zeroing parameters cannot be proved to remove the players; use
            `gated` or `compact`, which always can.
        """

    @abstractmethod
    def sum_owned(self, tree: Params) -> Float[jax.Array, " N"]:
        """For each player the sum over its own parameters of the entries of a tree.

        `sum_owned(tree_map(jnp.square, params))` is |theta_i|^2; with
        `tree_map(jnp.multiply, grads, params)` it is <grad_i, theta_i>. It adds up in
        float32 at least; square int8 and float16 after a cast, or they overflow.

        Args:
          tree: like `params`.

        Returns:
          float [N]; 0 for a player without parameters of its own (an input feature).

        Raises:
          InputError: the tree's paths and shapes are not those of the parameters.
        """

    def activation_moments(self, params: Params, *inputs) -> Moments:
        """Mean and variance of each player's activation, where it is first read.

        Over examples, positions and, for heads, head dimensions.

        Args:
          params: the parameters.
          *inputs: inputs.

        Returns:
          mean [N], variance [N]; NaN for a player that is only read inside a while
          loop or a branch.

        Raises:
          InputError: the players have no activations.
        """
        return activation_moments(self.model, params, inputs)

    def hoist(self, params: Params, *inputs, varying: Which = None) -> Hoisted:
        """Split the model where the first varying gate enters.

        Args:
          params: the parameters, or their shapes.
          *inputs: inputs, or their shapes; the two parts serve these shapes only.
          varying: bool [N], or names of families; None for all players.

        Returns:
          prefix and suffix; `suffix(prefix(params, gates, *inputs), gates)` equals
          `gated(params, gates, *inputs)`.
        """
        found = split(self.model, params, inputs, self.select(varying))
        return Hoisted(found.prefix, found.suffix)

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
        """Like `hoist`, and what is known of the residuals; see `run.hoist.split`."""
        return split(
            self.model,
            params,
            inputs,
            varying,
            gate_smaller=gate_smaller,
            changed=changed,
            piece=piece,
        )

    # -- compaction ----------------------------------------------------------------

    @abstractmethod
    def kept_indices(self, mask: ArrayLike) -> Kept:
        """What stays of each parameter axis under a mask.

        Args:
          mask: bool [N], True = kept.

        Returns:
          {(parameter path, axis): kept indices}, only axes that lose entries.
        """

    @abstractmethod
    def input_kept(self, mask: ArrayLike) -> InputKept:
        """What to feed: {input position: {axis: kept indices}}, if something left."""

    @abstractmethod
    def mask_from_kept(
        self,
        kept: Mapping[tuple[str, int], Any],
        input_kept: Mapping[InputKey, Mapping[int, ArrayLike]] | None = None,
    ) -> Bool[np.ndarray, " N"]:
        """The mask that leaves these indices; the inverse of `kept_indices`.

        Raises:
          InputError: the indices do not fit this model.
        """

    @abstractmethod
    def prepare(self, params: Params, mask: ArrayLike) -> Params:
        """Parameters as they are before their axes are cut; weights that left are 0."""

    @abstractmethod
    def compact_apply(self, mask: ArrayLike) -> Apply:
        """The model's function at the sizes that a mask leaves; see `gp.compact`."""

    @abstractmethod
    def slice_outputs(self, outputs: Outputs, mask: ArrayLike) -> Outputs:
        """Outputs of `gated`, those shaped like parameters cut to what stays."""

    def remarks(self, mask: ArrayLike) -> tuple[str, ...]:
        """What to know of the model that a mask leaves, one line each."""
        return ()

    # -- telling -------------------------------------------------------------------

    def explain(self) -> str:
        """A table of the families, what each touches, and what stays and why."""
        rows = [
            ExplainedRow(family.name, kind, str(family.size), family.slices)
            for family, kind in zip(self.families, self.kinds, strict=True)
        ]
        return self._explained(rows)

    def _explained(
        self,
        rows: Sequence[ExplainedRow],
        notes: Sequence[str] = (),
        first: str = "family",
    ) -> str:
        return explain(
            Told(
                rows=rows,
                slices=self._touched(),
                num_players=self.num_players,
                shapes=self.model.shapes,
                frozen=self.frozen,
                opaque=self.opaque,
                notes=notes,
                first=first,
            )
        )

    def _touched(self) -> list[AxisSlice]:
        """All that players touch."""
        return [piece for family in self.families for piece in family.slices]

    def to_dict(self) -> dict:
        """Families, frozen axes and opaque primitives as JSON-able data."""
        told = to_dict(self.families, self.kinds, self.frozen, self.opaque)
        return {
            "num_players": self.num_players,
            "granularity": self.granularity,
            **told,
        }

    def __repr__(self) -> str:
        shown = [f"{family.name} {family.size}" for family in self.families[:8]]
        if len(self.families) > 8:
            shown.append(f"and {len(self.families) - 8} more families")
        plural = "es" if self.granularity == "branch" else "s"
        kind = "" if self.granularity == "unit" else f" {self.granularity}{plural}"
        return f"Players({self.num_players}{kind}: {', '.join(shown)})"
