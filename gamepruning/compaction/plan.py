"""What was decided, as JSON that outlives the program: a plan.

A plan says who stays, which indices of which parameters that means, of which model, and
why. It is applied to any checkpoint of the same model.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gamepruning.compaction import plan_format as form
from gamepruning.compaction.slicing import select_inputs, slice_opt_state, slice_tree
from gamepruning.files.atomic import new_file
from gamepruning.players.naming import layer_name
from gamepruning.players.players import Players
from gamepruning.trees.paths import (
    InputAxes,
    Kept,
    Shapes,
    check_indices,
    check_kept,
    named_shapes,
    path_name,
    same_rows,
)
from gamepruning.types import InputError, brief_repr


class KeptFamily(NamedTuple):
    """The players of one family that stay.

    Attributes:
      name: the family.
      total: how many players it had.
      indices: which of them stay, increasing, in [0, total).
    """

    name: str
    total: int
    indices: np.ndarray

    __repr__ = brief_repr


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """Who stays, and what that means for the parameters of one model.

    Attributes:
      model: {path: shape} of all parameters before anything left.
      kept: {(path, axis): indices that stay}; axes that are not named stay whole.
      input_kept: {input position: {axis: indices that stay}}: which features to feed;
        "1/k" stands for array `k` of input 1, a tree.
      families: the players, family by family, in their order.
      why: anything that JSON can hold: method, settings, scores.
    """

    model: Shapes
    kept: Kept
    input_kept: InputAxes
    families: tuple[KeptFamily, ...]
    why: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        check_kept(self.model, self.kept)
        for name, total, indices in self.families:
            check_indices(f"family {name!r}", indices, total)
        object.__setattr__(self, "why", form.as_json("why", self.why))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.to_dict() == other.to_dict()

    def __repr__(self) -> str:
        return (
            f"Plan({self.num_kept} of {self.num_players} players stay, "
            f"{len({path for path, _ in self.kept})} of {len(self.model)} "
            "parameters get smaller)"
        )

    @property
    def num_players(self) -> int:
        return sum(family.total for family in self.families)

    @property
    def num_kept(self) -> int:
        return sum(len(family.indices) for family in self.families)

    def apply(self, params: Any) -> Any:
        """Slice a checkpoint of the same model.

        Args:
          params: parameters with the paths and shapes that the plan was made for.

        Returns:
          The small parameters.

        Raises:
          InputError: if this is another model; it names the first difference.
        """
        self._check_model(params)
        return slice_tree(self._without_weights(params), self.kept)

    def _without_weights(self, params: Any) -> Any:
        """Single weights that left at zero: their families are whole parameters."""
        by_name = {f.name: f for f in self.families}
        gone: dict[str, KeptFamily] = {}
        for name, shape in self.model.items():
            family = by_name.get(name) or by_name.get(layer_name(name))
            if family is None or len(shape) < 2 or prod(shape) != family.total:
                continue
            if len(family.indices) < family.total:
                gone[name] = family

        def zeroed(path: Any, leaf: Any) -> Any:
            family = gone.get(path_name(path))
            if family is None:
                return leaf
            stays = np.zeros(family.total, bool)
            stays[family.indices] = True
            where = np.where if isinstance(leaf, np.ndarray) else jnp.where
            return where(stays.reshape(leaf.shape), leaf, 0).astype(leaf.dtype)

        return jax.tree_util.tree_map_with_path(zeroed, params) if gone else params

    def apply_opt_state(self, opt_state: Any, params: Any) -> Any:
        """Slice the state of an optimizer of the same model.

        Args:
          opt_state: the state.
          params: the parameters before slicing, or their shapes.

        Returns:
          The state for `apply(params)`.

        Raises:
          InputError: if this is another model, or no slice of the state is exact.
        """
        self._check_model(params)
        return slice_opt_state(opt_state, params, self.kept)

    def select_inputs(self, *inputs: Any) -> tuple:
        """What to feed the small model: the inputs without the features that left.

        Args:
          *inputs: inputs of the full model.

        Returns:
          The inputs of the small model.

        Raises:
          InputError: these are not the inputs of the model.
        """
        return select_inputs(inputs, self.input_kept)

    def _check_model(self, params: Any) -> None:
        difference = _first_difference(self.model, named_shapes(params))
        if difference:
            raise InputError(f"this is a plan for another model: {difference}")

    def mask(self, players: Players | None = None) -> np.ndarray:
        """Who stays, bool [N].

        Args:
          players: the players of another trace of the model, in whose order to answer;
            without it, the order of the players that the plan was made from.

        Raises:
          InputError: if no mask of these players means this plan.
        """
        mask = np.concatenate([_mask_of(family) for family in self.families] or [[]])
        mask = mask.astype(bool)
        if players is None or self._is_of(players, mask):
            return mask
        return players.mask_from_kept(self.kept, self.input_kept)

    def _is_of(self, players: Players, mask: np.ndarray) -> bool:
        """True if the players are those of the plan: same families, same meaning."""
        if [(f.name, f.total) for f in self.families] != [
            (f.name, f.stop - f.start) for f in players.families
        ]:
            return False
        kept = players.kept_indices(mask)
        return kept.keys() == self.kept.keys() and all(
            same_rows(kept[key], self.kept[key]) for key in kept
        )

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON-able data; indices as text such as "0-3,7"."""
        return {
            "format": form.FORMAT,
            "version": form.version_of(self.kept),
            "families": [
                {
                    "name": name,
                    "kept": len(indices),
                    "total": total,
                    "indices": form.format_indices(indices),
                }
                for name, total, indices in self.families
            ],
            "parameters": {
                path: self._parameter(path, shape) for path, shape in self.model.items()
            },
            "inputs": {
                str(key): form.format_axes(axes)
                for key, axes in self.input_kept.items()
            },
            "why": self.why,
        }

    def _parameter(self, path: str, shape: tuple[int, ...]) -> dict[str, Any]:
        axes = {axis: i for (name, axis), i in self.kept.items() if name == path}
        kept = {"kept": form.format_axes(axes)} if axes else {}
        return {"shape": list(shape), **kept}

    @classmethod
    def from_dict(cls, data: Any) -> "Plan":
        """The inverse of `to_dict`.

        Raises:
          InputError: if the data are not a plan of this version, whole and consistent.
        """
        form.parse_header(data)
        model, kept = form.parse_parameters(data["parameters"])
        return cls(
            model=model,
            kept=kept,
            input_kept=form.parse_inputs(data["inputs"]),
            families=tuple(KeptFamily(*form.parse_family(f)) for f in data["families"]),
            why=data["why"],
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan as JSON, whole or not at all."""
        with new_file(path) as temporary:
            temporary.write_text(form.to_text(self.to_dict()), encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Plan":
        """Read a plan that `save` wrote.

        Raises:
          InputError: if there is no such file, or it is not a whole plan.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"no plan at {path}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not a plan: not JSON ({error})") from error
        try:
            return cls.from_dict(data)
        except InputError as error:
            raise InputError(f"{path} is not a plan: {error}") from error


def make_plan(
    players: Players,
    params: Any,
    mask: ArrayLike,
    *,
    why: Mapping[str, Any] | None = None,
) -> Plan:
    """Write down what a mask means for the parameters of a model.

    Args:
      players: what `find_players` found, N players.
      params: the parameters before anything leaves.
      mask: who stays, bool [N].
      why: anything that JSON can hold: method, settings, scores.

    Returns:
      The plan.

    Raises:
      InputError: if the mask is not bool [N], or `why` is not JSON-able.
    """
    mask = players.mask(mask)
    return Plan(
        model=named_shapes(params),
        kept=players.kept_indices(mask),
        input_kept=players.input_kept(mask),
        families=tuple(
            KeptFamily(f.name, f.stop - f.start, np.flatnonzero(mask[f.start : f.stop]))
            for f in players.families
        ),
        why=why or {},
    )


def _mask_of(family: KeptFamily) -> np.ndarray:
    return np.isin(np.arange(family.total), family.indices)


def _first_difference(expected: Mapping, actual: Mapping) -> str:
    for path, shape in expected.items():
        if path not in actual:
            return f"it has a parameter {path!r} of shape {shape}, these have none"
        if actual[path] != shape:
            return f"{path!r} has shape {shape} there, {actual[path]} here"
    extra = [path for path in actual if path not in expected]
    return f"it has no parameter {extra[0]!r}, these have" if extra else ""
