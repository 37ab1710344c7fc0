"""One trace of a model at one set of shapes, labelled and with its units found."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.trace import rules  # noqa: F401  (fills the tables of rules)
from gamepruning.trace.labels import Analysis
from gamepruning.trace.program import Program, trace
from gamepruning.trace.units import Atom, find_atoms
from gamepruning.trees.arrays import is_array
from gamepruning.trees.paths import path_name
from gamepruning.types import InputError

_NEEDS_A_VALUE = ("concrete", "static", "Tracer", "traced")


class Call(NamedTuple):
    """The array leaves of (params, *inputs), and how to put them back.

    Attributes:
      leaves: the arrays: those of params, those of the inputs, then the late ones.
      treedef: the structure of (params, *inputs).
      slots: for each leaf the position of its array; None if it is part of the model.
      static: the leaves that are part of the model, in their order.
      num_params: how many arrays the params have, late ones apart.
      num_late: how many arrays came where an earlier call had a number.
      numbers: the leaves that are or were Python's numbers and are traced as arrays.
    """

    leaves: list
    treedef: Any
    slots: tuple[int | None, ...]
    static: tuple
    num_params: int
    num_late: int
    numbers: tuple[int, ...]

    def rebuild(self, arrays: Sequence) -> tuple:
        """(params, *inputs) with these arrays in the place of the array leaves."""
        return jax.tree_util.tree_unflatten(self.treedef, self._fill(arrays))

    def _fill(self, arrays: Sequence) -> list:
        static = iter(self.static)
        return [next(static) if k is None else arrays[k] for k in self.slots]

    def param_leaves(self) -> list:
        """The leaves of params, arrays and others."""
        return self._fill(self.leaves)[: self.treedef.children()[0].num_leaves]

    def describe(self, leaf: int) -> str:
        """What a leaf is to the user."""
        places = self.treedef.unflatten(range(self.treedef.num_leaves))
        (argument, *keys), _ = jax.tree_util.tree_flatten_with_path(places)[0][leaf]
        if argument.idx:
            return f"input {argument.idx - 1}"
        return f"parameter {path_name(tuple(keys))!r}"


def _is_number(leaf) -> bool:
    return isinstance(leaf, (bool, int, float, complex))


def flatten_call(params, inputs: Sequence, like: Call | None = None) -> Call:
    """Split the arguments of a model into arrays and the rest.

    A number among the inputs is an array; among the params it is part of the model, as
    long as it is the number of the call before: jit makes arrays of them.

    Args:
      params: the parameters.
      inputs: the inputs.
      like: the call before, with params of the same paths.
    """
    given, treedef = jax.tree_util.tree_flatten((params, *inputs))
    num = len(jax.tree_util.tree_leaves(params))
    before = [None] * num if like is None else like.param_leaves()
    leaves = [
        _as_array(leaf, _is_number(leaf) and (k >= num or _is_other(leaf, before[k])))
        for k, leaf in enumerate(given)
    ]
    arrays = [k for k, leaf in enumerate(leaves) if is_array(leaf)]
    late = [k for k in arrays if k < num and _is_number(before[k])]
    order = [k for k in arrays if k not in late] + late
    position = {k: number for number, k in enumerate(order)}
    return Call(
        leaves=[leaves[k] for k in order],
        treedef=treedef,
        slots=tuple(map(position.get, range(len(leaves)))),
        static=tuple(leaf for leaf in leaves if not is_array(leaf)),
        num_params=sum(k < num for k in order) - len(late),
        num_late=len(late),
        numbers=tuple(k for k in arrays if k in late or _is_number(given[k])),
    )


def _as_array(leaf, is_traced_number: bool):
    """NumPy arrays in JAX's precision; numbers that are traced as arrays."""
    numeric = isinstance(leaf, (np.ndarray, np.generic)) and leaf.dtype.kind in "biufc"
    return jnp.asarray(leaf) if numeric or is_traced_number else leaf


def _is_other(number, before) -> bool:
    """True where the call before had an array or another number."""
    if not _is_number(before):
        return is_array(before)
    return type(number) is not type(before) or number != before


def check_params(params, like: Call) -> None:
    """Raise InputError unless `params` have the paths and shapes of an earlier call."""
    check_paths(params, like)
    pairs = zip(like.param_leaves(), jax.tree_util.tree_leaves(params), strict=True)
    for number, (expected, given) in enumerate(pairs):
        if _shape(expected) != _shape(given):
            path = _paths(like.treedef.children()[0])[number]
            raise InputError(
                f"parameter {path} has {_having(_shape(given))}, expected "
                f"{_having(_shape(expected))} as in the params that find_players saw"
            )


def check_paths(params, like: Call) -> None:
    """Raise InputError unless `params` have the paths of an earlier call."""
    structure, before = jax.tree_util.tree_structure(params), like.treedef.children()[0]
    if structure == before or _paths(structure) == _paths(before):
        return
    found, paths = _paths(structure), _paths(before)
    missing = [f"{path!r} is missing" for path in paths if path not in found]
    extra = [f"{path!r} is new" for path in found if path not in paths]
    differences = [*missing[:1], *extra[:1]] or ["their order is another"]
    raise InputError(
        f"these are not the params that find_players saw: {', '.join(differences)}"
    )


def _shape(leaf) -> tuple | None:
    return tuple(np.shape(leaf)) if is_array(leaf) or _is_number(leaf) else None


def _having(shape: tuple | None) -> str:
    return "no shape" if shape is None else f"shape {shape}"


def _paths(treedef) -> list[str]:
    places = treedef.unflatten(range(treedef.num_leaves))
    flat, _ = jax.tree_util.tree_flatten_with_path(places)
    return [path_name(path) for path, _ in flat]


def call_key(call: Call) -> tuple:
    """What a trace depends on: structure, shapes, dtypes, what is part of the model."""
    arrays = tuple((tuple(np.shape(a)), a.dtype, _weak(a)) for a in call.leaves)
    x64 = jnp.result_type(float) == jnp.float64
    return call.treedef, call.slots, arrays, tuple(map(_Static, call.static)), x64


class _Static:
    """A leaf that is part of the model: equal if equal in value and type."""

    def __init__(self, leaf: Any):
        self._leaf = leaf

    def __hash__(self) -> int:
        return hash(type(self._leaf))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Static):
            return False
        one, two = self._leaf, other._leaf
        return one is two or (type(one) is type(two) and bool(one == two))


def _weak(array) -> bool:
    return bool(getattr(array, "weak_type", False))


def as_struct(array) -> jax.ShapeDtypeStruct:
    """The shape and dtype of an array."""
    return jax.ShapeDtypeStruct(np.shape(array), array.dtype, weak_type=_weak(array))


class Traced(NamedTuple):
    """A labelled program and the units in it."""

    program: Program
    analysis: Analysis
    units: list[Atom]
    leaf_labels: list[tuple]
    input_labels: list[tuple]
    out_leaves: tuple[int | None, ...]


def trace_model(
    apply: Callable,
    call: Call,
    *,
    input_axes: Mapping[int, tuple[int, ...]],
    outputs_like: Callable | None,
    reductions: str,
    frozen_leaves: Mapping[int, str],
) -> Traced:
    """Trace a model and label it.

    Args:
      apply: apply(params, *inputs) -> outputs.
      call: its arguments, arrays or shapes.
      input_axes: for an input leaf, the axes whose entries are players too.
      outputs_like: params -> outputs tree of None or params leaves.
      reductions: "freeze" or "gate".
      frozen_leaves: params leaves to leave alone, with the reason.
    """

    def flat(*arrays):
        params, *inputs = call.rebuild(arrays)
        return apply(params, *inputs)

    program = _trace(flat, call)
    analysis = Analysis(program, reductions)
    labels = [
        tuple(analysis.fresh(size) for size in program.shape(value))
        for value in program.graph.inputs[: call.num_params]
    ]
    for leaf, reason in frozen_leaves.items():
        labels[leaf] = analysis.frozen(labels[leaf], reason)
    late = [()] * call.num_late
    last_input = len(program.graph.inputs) - call.num_late
    input_values = program.graph.inputs[call.num_params : last_input]
    analysis.mark_inputs(input_values)
    input_labels = [
        _input_labels(analysis, k, program.shape(value), input_axes.get(k, ()))
        for k, value in enumerate(input_values)
    ]
    outs = analysis.run(program.graph, [*labels, *input_labels, *late])
    out_leaves = _out_leaves(program, call, outputs_like)
    for out, leaf in zip(outs, out_leaves, strict=True):
        if leaf is None:
            analysis.freeze(out, "it is an output of the model")
        else:
            analysis.unify_all(out, labels[leaf])
    playing = [
        input_labels[k] if k in input_axes else () for k in range(len(input_values))
    ]
    units = find_atoms(analysis, [*labels, *playing])
    return Traced(program, analysis, units, labels, input_labels, out_leaves)


def _trace(fn: Callable, call: Call) -> Program:
    try:
        return trace(fn, *map(as_struct, call.leaves))
    except (TypeError, IndexError) as error:
        text = str(error)
        if not call.numbers or not any(word in text for word in _NEEDS_A_VALUE):
            raise
        names = ", ".join(map(call.describe, call.numbers))
        raise InputError(
            f"{names}: numbers are traced like arrays here, but the model seems to "
            f"need a value beforehand ({text.splitlines()[0]}); bind what is not an "
            "array, by functools.partial(apply, flag=True) or "
            "lambda params, x: apply(params, x, True)"
        ) from error


def _input_labels(analysis: Analysis, number: int, shape, axes) -> tuple:
    axes = {axis % len(shape) for axis in axes}
    return tuple(
        analysis.fresh(size)
        if dim in axes
        else None
        if isinstance(size, int) and size == 1
        else f"it meets axis {dim} of input {number}"
        for dim, size in enumerate(shape)
    )


def _out_leaves(program: Program, call: Call, outputs_like) -> tuple[int | None, ...]:
    """For each output leaf the number of the params leaf that it is shaped like."""
    count = len(program.graph.outputs)
    if outputs_like is None:
        return (None,) * count
    arrays: list[Any] = [None] * len(call.leaves)
    arrays[: call.num_params] = [_Leaf(k) for k in range(call.num_params)]
    params = call.rebuild(arrays)[0]
    like = jax.tree_util.tree_leaves(
        outputs_like(params), is_leaf=lambda x: x is None or isinstance(x, _Leaf)
    )
    if len(like) != count:
        raise ValueError(
            f"outputs_like gave {len(like)} leaves for {count} outputs: return a tree "
            "like the outputs, with None or a leaf of params at each place"
        )
    return tuple(x.number if isinstance(x, _Leaf) else None for x in like)


class _Leaf:
    """Stands for a leaf of params."""

    def __init__(self, number: int):
        self.number = number
