"""`find_players`: who could leave a model, and what the model does without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gamepruning.players import naming
from gamepruning.run.interpret import Gated, entry_gates
from gamepruning.trace.model import (
    Call,
    Traced,
    call_key,
    check_params,
    flatten_call,
    trace_model,
)
from gamepruning.trace.units import (
    AxisSlice,
    Columns,
    Family,
    Frozen,
    frozen_axes,
    kept_entries,
)
from gamepruning.trace.usage import Roles
from gamepruning.trees.masks import as_mask
from gamepruning.types import InputError

OWN_ROLES = ("out", "bias")
Kept = dict[tuple[str, int], np.ndarray]


def find_players(
    apply: Callable,
    params: Any,
    *inputs: Any,
    granularity: str = "unit",
    input_axes: Mapping[int, int | Sequence[int]] | None = None,
    outputs_like: Callable | None = None,
    keep: Sequence[str] = (),
    reductions: str = "freeze",
) -> Players:
    """Find the structural units of a model by tracing it.

    The model is traced once with `jax.make_jaxpr`; every axis of every intermediate is
    labelled, so that what has to leave together is one player. What is not understood
    stays whole, with the reason on record in `Players.frozen`. Cost: about a second
    for a ResNet-18; no evaluation of the model.

    Args:
      apply: any pure function `apply(params, *inputs) -> outputs`.
      params: a pytree of arrays or `jax.ShapeDtypeStruct`s. Leaves that are not arrays
        are taken as part of the model; a number may later come as an array, as jit
        makes it.
      *inputs: example inputs, or their shapes. Another batch size works later.
      granularity: "unit" (neuron, filter, head, head dimension, embedding column),
        "layer" (all units of a family are one player) or "weight" (each entry of each
        weight matrix or kernel).
      input_axes: for the position of an input, the axis (or axes) whose entries are
        players too, such as `{0: 1}` for the features of a [B, F] array; an axis that
        cannot lose an entry is in `frozen`, with the reason.
      outputs_like: says which outputs are shaped like parameters and shrink with them:
        a function from `params` to a tree like the outputs, with None at an ordinary
        output and the leaf of `params` at an output of its shape. Example, for
        `apply(params, x) -> (logits, new_stats)`:
        `lambda params: (None, params["batch_stats"])`.
      keep: families (by name) or parameters (by path or leading part of it) that stay.
      reductions: "freeze" (an axis that is summed or averaged over stays whole) or
        "gate" (it is gated where it is summed; a mean still divides by the full
        number of entries).

    Returns:
      The players.

    Raises:
      InputError: there is nothing to prune, or an argument does not fit the model.

    Example:
      >>> import jax, jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jax.nn.relu(x @ params["w1"] + params["b1"]) @ params["w2"]
      >>> shape = jax.ShapeDtypeStruct
      >>> params = {
      ...     "w1": shape((4, 8), jnp.float32),
      ...     "b1": shape((8,), jnp.float32),
      ...     "w2": shape((8, 3), jnp.float32),
      ... }
      >>> players = gp.find_players(apply, params, shape((2, 4), jnp.float32))
      >>> players.num_players, [family.name for family in players.families]
      (8, ['w1'])
    """
    _check_choice("reductions", reductions, ("freeze", "gate"))
    _check_choice("granularity", granularity, ("unit", "layer", "weight"))
    if granularity == "weight":
        from gamepruning.players.weight_players import find_weight_players

        return find_weight_players(apply, params, *inputs, keep=keep)
    call = flatten_call(params, inputs)
    paths = naming.leaf_paths(params)
    axes = _input_axes(input_axes, inputs)
    named, frozen_leaves = split_keep(keep, paths)
    options: dict[str, Any] = {
        "input_axes": axes,
        "outputs_like": outputs_like,
        "reductions": reductions,
        "frozen_leaves": frozen_leaves,
    }
    traced = trace_model(apply, call, **options)
    return Players(apply, call, traced, options, paths, named, granularity)


class Hoisted(NamedTuple):
    """A model in two parts: what the varying gates do not reach, and the rest.

    Attributes:
      prefix: prefix(params, gates, *inputs) -> residuals.
      suffix: suffix(residuals, gates) -> outputs. Only the gates of varying players
        may differ from those that `prefix` saw.
    """

    prefix: Callable
    suffix: Callable


class Players:
    """The players of one model.

    Attributes:
      num_players: N.
      families: the players by kind; each is a slice of [0, N).
      family_of: the family number of each player, int [N].
      names: a name for each player.
      frozen: the entries of parameter axes that stay, and why.
      opaque: names of primitives that are not understood and froze what they met.
    """

    def __init__(
        self,
        apply: Callable,
        call: Call,
        traced: Traced,
        options: dict,
        paths: list[str],
        keep: Sequence[str],
        granularity: str,
    ):
        self.apply = apply
        self.granularity = granularity
        self.paths = tuple(paths)
        self._example = call
        self._options = options
        self._roles = Roles(traced.analysis, call.num_params)
        self._place_names = naming.place_names(paths, len(call.leaves))
        groups = naming.group_units(traced.units, self._roles, self._place_names)
        unknown = [k for k in keep if k not in groups]
        if unknown:
            raise InputError(
                f"keep names {unknown[0]!r}, which is neither a family nor the start "
                f"of a parameter's path: families are {', '.join(groups)}"
            )
        self._kept_families = tuple(keep)
        groups = {name: units for name, units in groups.items() if name not in keep}
        self._number_of: dict[tuple, int] = {}
        self.families = self._number(groups, granularity)
        self.num_players = self.families[-1].stop if self.families else 0
        if not self.num_players:
            raise InputError(_nothing_to_prune(traced, paths))
        self.family_of = np.repeat(
            np.arange(len(self.families)), [f.size for f in self.families]
        )
        numbers = self._atom_numbers(traced)
        labels = [*traced.leaf_labels, *traced.input_labels]
        self.frozen: tuple[Frozen, ...] = frozen_axes(
            traced.analysis, labels, self._place_names, numbers
        )
        self.opaque = tuple(sorted(traced.analysis.opaque))
        self._base = (traced, Columns(traced.analysis, numbers))
        self._cache = {call_key(call): self._base}
        self.names = naming.player_names(self.families, groups, granularity)

    # -- construction ------------------------------------------------------------------

    def _number(self, groups: dict, granularity: str) -> tuple[Family, ...]:
        families, start = [], 0
        for name, units in groups.items():
            for offset, unit in enumerate(units):
                number = start if granularity == "layer" else start + offset
                self._number_of[unit.signature()] = number
            members = [units] if granularity == "layer" else [[u] for u in units]
            slices = self._slices(members)
            families.append(Family(name, start, start + len(members), slices))
            start += len(members)
        if granularity == "layer" and families:
            merged = tuple(s for family in families for s in family.slices)
            return (Family("layers", 0, start, merged),)
        return tuple(families)

    def _slices(self, members: list) -> tuple[AxisSlice, ...]:
        slices = []
        for place in sorted(members[0][0].touches):
            path, axis = self._place_names[place[0]], place[1]
            index = tuple(
                np.unique(np.concatenate([u.touches[place] for u in units]))
                for units in members
            )
            role = self._role(place)
            slices.append(AxisSlice(path, axis, role, index))
        return tuple(slices)

    def _role(self, place) -> str:
        inputs = place[0] >= self._example.num_params
        return "input" if inputs else self._roles.of(place)

    def _atom_numbers(self, traced: Traced) -> dict[int, int]:
        return {
            unit.atom: self._number_of[unit.signature()]
            for unit in traced.units
            if unit.signature() in self._number_of
        }

    def _trace(self, call: Call) -> tuple[Traced, Columns]:
        """The trace for these shapes; traced anew for a new batch size."""
        key = call_key(call)
        if key in self._cache:
            return self._cache[key]
        traced = trace_model(self.apply, call, **self._options)
        numbers = self._atom_numbers(traced)
        if len(set(numbers.values())) != self.num_players:
            raise ValueError(
                f"at these input shapes the model has {len(set(numbers.values()))} of "
                f"its {self.num_players} players: its structure depends on the shape "
                "of its inputs; call find_players again with these inputs"
            )
        found = (traced, Columns(traced.analysis, numbers))
        constants = traced.program.constants.values()
        if not any(isinstance(c, jax.core.Tracer) for c in constants):
            self._cache[key] = found
        return found

    def _call(self, params, inputs) -> Call:
        self._check_params(params)
        return flatten_call(params, inputs, self._example)

    def _check_params(self, params) -> None:
        check_params(params, self._example)

    # -- evaluation --------------------------------------------------------------------

    def gated(self, params: Any, gates: ArrayLike, *inputs: Any) -> Any:
        """The model's outputs when player i takes part with gate s_i.

        Each gate multiplies the player's activation where it is summed over. With
        gates in {0, 1} this is exactly the model without the players at 0, whatever
        the activation functions. Differentiable in `params` and `gates`; jit it, or
        vmap it over gates (weights stay shared).

        Args:
          params: as given to `find_players` (same shapes).
          gates: float [N] in [0, 1], or bool [N] (True = in).
          *inputs: inputs; any batch size.

        Returns:
          The outputs of `apply`.
        """
        call = self._call(params, inputs)
        traced, columns = self._trace(call)
        gates = self._gates(gates)
        outs = Gated(traced.analysis, columns, gates).run(
            traced.program.graph, call.leaves
        )
        return jax.tree_util.tree_unflatten(traced.program.out_tree, outs)

    def _gates(self, gates: ArrayLike) -> jax.Array:
        gates = jnp.asarray(gates)
        if gates.shape != (self.num_players,):
            raise InputError(
                f"gates have shape {gates.shape}, expected ({self.num_players},): one "
                "for each player (use jax.vmap for several coalitions)"
            )
        return gates if gates.dtype == bool else gates.astype(_float_of(gates.dtype))

    def mask(self, mask: ArrayLike) -> np.ndarray:
        """`mask` as bool [N], checked.

        Raises:
          InputError: it has the wrong length, is not boolean, or is traced.
        """
        return as_mask(mask, self.num_players)

    def participate(self, params: Any, gates: ArrayLike) -> Any:
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
        self._check_params(params)
        gates = self._gates(gates)
        leaves, treedef = jax.tree_util.tree_flatten(params)
        for position, axis, columns in self._owned():
            leaf = leaves[position]
            scale = entry_gates(gates, columns).astype(leaf.dtype)
            leaves[position] = leaf * _along(scale, axis, np.ndim(leaf))
        return jax.tree_util.tree_unflatten(treedef, leaves)

    def sum_owned(self, tree: Any) -> jax.Array:
        """For each player the sum over its own parameters of the entries of a tree.

        `sum_owned(tree_map(jnp.square, params))` is |theta_i|^2; with
        `tree_map(jnp.multiply, grads, params)` it is <grad_i, theta_i>.

        Args:
          tree: like `params`.

        Returns:
          float [N]; 0 for a player without parameters of its own (an input feature).

        Raises:
          InputError: the tree's paths and shapes are not those of the parameters.
        """
        self._check_params(tree)
        leaves = jax.tree_util.tree_leaves(tree)
        dtype = jnp.result_type(*(x for x in leaves if hasattr(x, "dtype")))
        total = jnp.zeros(self.num_players + 1, _float_of(dtype))
        for position, axis, columns in self._owned():
            leaf = leaves[position]
            others = tuple(k for k in range(np.ndim(leaf)) if k != axis)
            entries = jnp.sum(leaf, axis=others).astype(total.dtype)
            first, size = int(columns[0, 0]), len(columns)
            if columns.shape[1] == 1 and np.array_equal(
                columns[:, 0], np.arange(first, first + size)
            ):
                total = total.at[first : first + size].add(entries)
            else:
                spread = jnp.broadcast_to(entries[:, None], columns.shape)
                total = total.at[columns].add(spread)
        return total[1:]

    def _owned(self) -> list[tuple[int, int, np.ndarray]]:
        """(leaf position in the full params tree, axis, columns) of own parameters."""
        traced, columns = self._base
        found = []
        for leaf, labels in enumerate(traced.leaf_labels):
            for axis, label in enumerate(labels):
                if self._roles.of((leaf, axis)) in OWN_ROLES:
                    cols = columns(label)
                    if cols is not None:
                        found.append((self._positions()[leaf], axis, cols))
        return found

    def _positions(self) -> list[int]:
        return [k for k, n in enumerate(self._example.slots) if n is not None]

    def exclude(self, params: Any, mask: ArrayLike) -> Any:
        """Parameters of the same shapes that compute the model without some players.

        The weights that read the players are set to zero; where two activations meet
        (queries and keys), the weights that produce one of them are. Of the players'
        other parameters, what is not finite is set to zero, for 0 times NaN is NaN.

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
        from gamepruning.players.exclusion import exclude

        self._check_params(params)
        return exclude(self, params, self.mask(mask))

    def activation_moments(
        self, params: Any, *inputs: Any
    ) -> tuple[jax.Array, jax.Array]:
        """Mean and variance of each player's activation, where it is first read.

        Over examples, positions and, for heads, head dimensions.

        Args:
          params: the parameters.
          *inputs: inputs.

        Returns:
          mean [N], variance [N]; NaN for a player that is only read inside a while
          loop or a branch.
        """
        from gamepruning.run.activations import activation_moments

        return activation_moments(self, params, inputs)

    def hoist(self, params: Any, *inputs: Any, varying: Any = None) -> Hoisted:
        """Split the model where the first varying gate enters.

        Args:
          params: the parameters, or their shapes.
          *inputs: inputs, or their shapes; the two parts serve these shapes only.
          varying: bool [N], or names of families; None for all players.

        Returns:
          prefix and suffix; `suffix(prefix(params, gates, *inputs), gates)` equals
          `gated(params, gates, *inputs)`.
        """
        from gamepruning.run.hoist import hoist

        return Hoisted(*hoist(self, params, inputs, self.select(varying)))

    def select(self, which: Any = None) -> np.ndarray:
        """bool [N]: the players of families given by name, or a mask, or all."""
        if which is None:
            return np.ones(self.num_players, bool)
        if isinstance(which, str):
            which = [which]
        if isinstance(which, (list, tuple)) and all(isinstance(w, str) for w in which):
            chosen = np.zeros(self.num_players, bool)
            for name in which:
                family = self.family(name)
                chosen[family.start : family.stop] = True
            return chosen
        mask: Any = which
        return self.mask(mask)

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

    # -- masks and parameters ----------------------------------------------------------

    def kept_indices(self, mask: ArrayLike) -> Kept:
        """What stays of each parameter axis under a mask.

        Args:
          mask: bool [N], True = kept.

        Returns:
          {(parameter path, axis): kept indices}, only axes that lose entries.
        """
        mask = self.mask(mask)
        traced, columns = self._base
        return {
            (path, axis): kept
            for path, labels in zip(self.paths, traced.leaf_labels, strict=True)
            for axis, label in enumerate(labels)
            if (kept := kept_entries(columns(label), mask)) is not None
        }

    def input_kept(self, mask: ArrayLike) -> dict[int, dict[int, np.ndarray]]:
        """What to feed: {input position: {axis: kept indices}}, if something left."""
        mask = self.mask(mask)
        traced, columns = self._base
        found: dict[int, dict[int, np.ndarray]] = {}
        for leaf, labels in enumerate(traced.input_labels):
            for axis, label in enumerate(labels):
                kept = kept_entries(columns(label), mask)
                if kept is not None:
                    found.setdefault(leaf, {})[axis] = kept
        return found

    def mask_from_kept(
        self,
        kept: Mapping[tuple[str, int], ArrayLike],
        input_kept: Mapping[int, Mapping[int, ArrayLike]] | None = None,
    ) -> np.ndarray:
        """The mask [N] that leaves these indices; the inverse of `kept_indices`.

        Of a merged axis an entry leaves with any of several players. One all of whose
        entries have left with others counts as gone: the network is the same.

        Raises:
          InputError: the indices do not fit this model.
        """
        places = {
            (self._place_names.index(path), axis): np.asarray(rows)
            for (path, axis), rows in kept.items()
            if path in self.paths
        }
        first_input = self._example.num_params
        for leaf, axes in (input_kept or {}).items():
            for axis, rows in axes.items():
                places[first_input + leaf, axis] = np.asarray(rows)
        stays = np.ones(self.num_players, bool)
        for signature, number in self._number_of.items():
            if all(
                place in places and not np.isin(rows, places[place]).any()
                for place, rows in signature
            ):
                stays[number] = False
        again = self.kept_indices(stays)
        for key in again.keys() | kept.keys():
            if key not in again or not np.array_equal(again[key], kept.get(key, ())):
                raise InputError(
                    f"these kept indices are a plan for another model: axis {key[1]} "
                    f"of {key[0]!r} cannot shrink like that here"
                )
        return stays

    def compact_apply(self, mask: ArrayLike) -> Callable:
        """The model's function at the sizes that a mask leaves; see `gp.compact`."""
        from gamepruning.run.small import compact_apply

        return compact_apply(self, self.mask(mask))

    def slice_outputs(self, outputs: Any, mask: ArrayLike) -> Any:
        """Outputs of `gated`, those shaped like parameters cut to what stays."""
        from gamepruning.run.small import slice_outputs

        return slice_outputs(self, outputs, self.mask(mask))

    def example_inputs(self) -> tuple:
        """The inputs (or their shapes) that `find_players` saw."""
        return self._example.rebuild(self._example.leaves)[1:]

    def prepare(self, params: Any, mask: ArrayLike) -> Any:
        """Parameters as they are before their axes are cut; weights that left are 0."""
        return params

    # -- telling -----------------------------------------------------------------------

    def explain(self) -> str:
        """A table of the families, what each touches, and what stays and why."""
        from gamepruning.players.explain import explain

        return explain(self)

    def to_dict(self) -> dict:
        """Families, frozen axes and opaque primitives as JSON-able data."""
        from gamepruning.players.explain import to_dict

        return to_dict(self)

    def __repr__(self) -> str:
        kinds = ", ".join(f"{f.name} {f.size}" for f in self.families)
        return f"Players({self.num_players}: {kinds})"


def _along(vector, axis: int, ndim: int):
    return jnp.expand_dims(vector, [k for k in range(ndim) if k != axis])


def _float_of(dtype):
    return dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InputError(f"{name}={value!r}: expected one of {', '.join(choices)}")


def split_keep(keep, paths) -> tuple[list[str], dict[int, str]]:
    """Family names, and leaves frozen by path."""
    if isinstance(keep, str):
        keep = [keep]
    names, leaves = [], {}
    for entry in keep:
        hits = [
            k for k, p in enumerate(paths) if p == entry or p.startswith(entry + "/")
        ]
        leaves.update(dict.fromkeys(hits, f"kept on request ({entry})"))
        if not hits:
            names.append(entry)
    return names, leaves


def _input_axes(input_axes, inputs) -> dict[int, tuple[int, ...]]:
    """Axes by number of the input's array leaf."""
    found = {}
    for position, axes in (input_axes or {}).items():
        if not 0 <= position < len(inputs):
            raise InputError(
                f"input_axes names input {position}; there are {len(inputs)} inputs"
            )
        leaves = [len(jax.tree_util.tree_leaves(x)) for x in inputs]
        if leaves[position] != 1:
            raise InputError(
                f"input {position} is a tree of {leaves[position]} arrays; only an "
                "input that is one array can have players"
            )
        ndim = len(jax.tree_util.tree_leaves(inputs[position])[0].shape)
        axes = (axes,) if isinstance(axes, int) else tuple(axes)
        if any(not -ndim <= axis < ndim for axis in axes):
            raise InputError(
                f"input_axes names axis {axes} of input {position}, which has {ndim}"
            )
        found[sum(leaves[:position])] = tuple(axis % ndim for axis in axes)
    return found


def _nothing_to_prune(traced: Traced, paths) -> str:
    text = "nothing to prune: no parameter axis can lose an entry; "
    if traced.analysis.opaque:
        names = ", ".join(sorted(traced.analysis.opaque))
        text += f"not understood, so left whole: {names} (see register_rule); "
    for row in frozen_axes(traced.analysis, traced.leaf_labels, paths, {}):
        return text + (
            f"for example axis {row.axis} of {row.path!r} stays because {row.reason}"
        )
    return "nothing to prune: the model has no parameters"
