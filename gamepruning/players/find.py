"""`find_players`: who could leave a model."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

import jax
import numpy as np

from gamepruning.options import make_options
from gamepruning.players.branch_players import BranchPlayers
from gamepruning.players.layer_players import LayerPlayers
from gamepruning.players.naming import group_units, split_keep
from gamepruning.players.players import Players
from gamepruning.players.unit_players import UnitPlayers
from gamepruning.players.weight_players import WeightPlayers
from gamepruning.trace.call import CallSpec, as_struct, split_call
from gamepruning.trace.labelled import TraceOptions
from gamepruning.trace.model import TracedModel
from gamepruning.trees.arrays import shapes_of
from gamepruning.trees.examples import as_inputs
from gamepruning.trees.paths import array_paths, input_key
from gamepruning.types import Apply, InputError, Params


class FindKeywords(TypedDict, total=False):
    """The rarer keywords of `find_players`; see there."""

    outputs_like: Callable[..., Any] | None
    reductions: str
    layers: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class FindOptions:
    """The rarer settings of `find_players`; see there.

    Raises:
      InputError: a choice that there is not.
    """

    outputs_like: Callable[..., Any] | None = None
    reductions: str = "freeze"
    layers: str = "together"

    def __post_init__(self):
        _check_choice("reductions", self.reductions, ("freeze", "gate", "width"))
        _check_choice("layers", self.layers, ("together", "each"))


def find_players(
    apply: Apply,
    params: Params,
    *inputs: Any,
    granularity: str = "unit",
    input_axes: Mapping[int, Any] | None = None,
    keep: str | Sequence[str] = (),
    **how: Unpack[FindKeywords],
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
        "layer" (all units of a family are one player), "branch" (a residual branch:
        what an addition adds to a value that it was computed from; in scanned layers,
        one in each layer) or "weight" (each entry of each weight matrix or kernel).
      input_axes: for the position of an input, the axis (or axes) whose entries are
        players too, such as `{0: 1}` for the features of a [B, F] array; an axis that
        cannot lose an entry is in `frozen`, with the reason. For an input that is a
        tree, such as a cache, the axes of all its arrays, or a tree of axes (or of its
        leading part) with None where there are none: `{1: {"k": (2, 3), "pos": None}}`.
      outputs_like: says which outputs are shaped like parameters, or inputs, and shrink
        with them: a function from `params`, or from `params` and the inputs, to a tree
        like the outputs, with None at an ordinary output and the leaf at an output of
        its shape. Examples: for `apply(params, x) -> (logits, new_stats)`,
        `lambda params: (None, params["batch_stats"])`; for
        `apply(params, x, cache) -> (logits, new_cache)`,
        `lambda params, x, cache: (None, cache)`.
      keep: families whose players stay (by name, as `Players` prints it: a layer's name
        is that of its units), branches by name, or parameters that stay whole, with all
        axes (by path or leading part of it, with or without `params/`). A family comes
        first.
      reductions: "freeze" (an axis that is summed or averaged over stays whole) or
        "gate" (it is gated where it is summed; a mean still divides by the full
        number of entries) or "width" (it is gated, and a mean divides by the number
        of entries that stay, so that norms are those of a module of the smaller width:
        another function than that of the full model with zeros, and `compact` says
        so). Both let a maximum of absolute values be gated, too, such as the scale of
        fake quantisation.
        Whatever it says, a softmax is taken over those that stay, and `top_k` and
        `argmax` (or `argmin`) find nobody that left, as a router of experts needs it.
      layers: of layers that `jax.lax.scan` runs over stacked parameters: "together"
        (unit k of all layers is one player) or "each" (each layer has its own). With
        "each", a unit that leaves its layer, such as an entry of the residual stream,
        still is one player; `explain()` says why. Scans inside of a layer belong to it.

    Returns:
      The players.

    Raises:
      InputError: there is nothing to prune, or an argument does not fit the model. What
        `apply` itself raises on these params and inputs is raised, with their shapes.
      TypeError: an unknown keyword.

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
      >>> players
      Players(8: w1 8)
      >>> players.families[0]
      Family('w1', 0:8, touches b1, w1, w2)
      >>> gp.find_players(
      ...     apply, params, shape((2, 4), jnp.float32), granularity="weight"
      ... )
      Players(56 weights: w1 32, w2 24)
    """
    found = make_options(FindOptions, how, find_players)
    _check_choice("granularity", granularity, ("unit", "layer", "weight", "branch"))
    check_apply(apply)
    inputs = as_inputs(inputs)
    call = _shapes_of_params(split_call(params, inputs))
    paths = array_paths(params)
    if granularity == "weight":
        names, frozen_leaves = split_keep(keep, paths, ())
        if names:
            raise InputError(
                f"keep names {names[0]!r}, which starts no parameter's path"
            )
        return WeightPlayers(TracedModel.of(apply, call, TraceOptions()), frozen_leaves)
    if granularity == "branch":
        if input_axes or found.outputs_like is not None:
            raise InputError(
                'granularity="branch" takes neither input_axes nor outputs_like: '
                "branches leave, and inputs and outputs stay as they are"
            )
        return BranchPlayers(TracedModel.of(apply, call, TraceOptions()), keep)
    options = TraceOptions(
        input_axes=_axes_by_array(input_axes, call),
        outputs_like=found.outputs_like,
        reductions=found.reductions,
    )
    model = TracedModel.of(apply, call, options)
    families = {}
    if keep:
        families = group_units(model.base.units, model.usage, model.array_names)
    names, frozen_leaves = split_keep(keep, paths, families)
    if frozen_leaves:
        options = dataclasses.replace(options, frozen_leaves=frozen_leaves)
        model = TracedModel.of(apply, call, options)
    players = UnitPlayers(model, names, granularity)
    lives_in_layers = any(stack.own.any() for stack in players.model.base.stacks)
    if found.layers == "each" and lives_in_layers:
        return LayerPlayers(players)
    return players


def _shapes_of_params(call: CallSpec) -> CallSpec:
    """The call without the values of its params: players would keep them in memory."""
    number = call.num_params
    return call.with_arrays(
        [*map(as_struct, call.arrays[:number]), *call.arrays[number:]]
    )


def check_apply(apply: Any) -> None:
    """Refuse modules, and arguments in another order.

    Raises:
      InputError: `apply` is not a function of params and inputs.
    """
    kinds = [kind.__module__ for kind in type(apply).__mro__]
    adapter = ""
    if any(kind.startswith("flax.nnx") for kind in kinds):
        adapter = ": apply, params = gp.from_nnx(module)"
    elif any(kind.startswith("flax.linen") for kind in kinds):
        adapter = ": apply, params = gp.from_linen(module, variables)"
    elif any(kind.startswith("equinox") for kind in kinds):
        adapter = (
            ": lambda params, x: jax.vmap(params)(x), say, with the module as params"
        )
    if adapter or not callable(apply):
        raise InputError(
            "expected apply first, a function (params, *inputs) -> outputs, got "
            f"{type(apply).__name__}{adapter}"
        )


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InputError(f"{name}={value!r}: expected one of {', '.join(choices)}")


def _axes_by_array(input_axes: Any, call: CallSpec) -> dict[int, tuple[int, ...]]:
    """Axes by number of the input's array leaf."""
    if input_axes is None:
        return {}
    if not isinstance(input_axes, Mapping):
        raise InputError(
            "expected input_axes as the axis, or axes, for the position of an input, "
            f"such as {{0: 1}}, got {input_axes!r:.60}"
        )
    _, *inputs = call.rebuild(call.arrays)
    for position in input_axes:
        if position not in range(len(inputs)):
            raise InputError(
                f"input_axes names input {position}; there are {len(inputs)} inputs"
            )
    every = {k: _spread(k, input_axes.get(k), x) for k, x in enumerate(inputs)}
    flat = jax.tree_util.tree_leaves_with_path(every, is_leaf=_are_axes)
    axes_of = {input_key(path): axes for path, axes in flat}
    found = {}
    for number, (key, k) in enumerate(
        zip(call.input_keys, call.input_range, strict=True)
    ):
        axes, ndim = axes_of[key], len(call.arrays[k].shape)
        axes = () if axes is None else (axes,) if _is_axis(axes) else axes
        if any(not -ndim <= axis < ndim for axis in axes):
            raise InputError(
                f"input_axes names axis {tuple(axes)} of input {key}, which has {ndim}"
            )
        if axes:
            found[number] = tuple(int(axis) % ndim for axis in axes)
    return found


def _spread(position: int, axes: Any, given: Any) -> Any:
    """The axes of each leaf of an input, from those of a leading part of its tree."""
    try:
        spread = jax.tree.broadcast(axes, given, is_leaf=_are_axes)
        leaves = jax.tree.leaves(spread, is_leaf=_are_axes)
        if all(map(_are_axes, leaves)):
            return spread
    except ValueError:
        pass
    raise InputError(
        f"input_axes[{position}]={axes!r:.60}: expected an axis, a tuple of axes, or a "
        f"tree of them (None: no axis) like input {position}, {shapes_of([given])}"
    )


def _are_axes(axes: Any) -> bool:
    if isinstance(axes, tuple | list):
        return all(map(_is_axis, axes))
    return axes is None or _is_axis(axes)


def _is_axis(axis: Any) -> bool:
    return isinstance(axis, int | np.integer)
