"""One trace of a model at one set of shapes, labelled and with its units found."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.players import rules  # noqa: F401  (fills the tables of rules)
from gamepruning.players.analyse import Analysis
from gamepruning.players.ir import Program, trace
from gamepruning.players.structure import Atom, find_atoms


class Call(NamedTuple):
    """The array leaves of (params, *inputs), and how to put them back."""

    leaves: list
    treedef: Any
    is_array: tuple[bool, ...]
    static: tuple
    num_params: int

    def rebuild(self, arrays: Sequence) -> tuple:
        """(params, *inputs) with these arrays in the place of the array leaves."""
        found, static = iter(arrays), iter(self.static)
        leaves = [next(found) if ok else next(static) for ok in self.is_array]
        return jax.tree_util.tree_unflatten(self.treedef, leaves)


def is_array(leaf) -> bool:
    """True for arrays and shapes of arrays; other leaves are part of the model."""
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def flatten_call(params, inputs: Sequence) -> Call:
    """Split the arguments of a model into arrays and the rest."""
    leaves, treedef = jax.tree_util.tree_flatten((params, *inputs))
    num = len(jax.tree_util.tree_leaves(params))
    leaves = [_as_array(leaf, k >= num) for k, leaf in enumerate(leaves)]
    ok = tuple(map(is_array, leaves))
    arrays = [leaf for leaf, array in zip(leaves, ok, strict=True) if array]
    static = tuple(leaf for leaf, array in zip(leaves, ok, strict=True) if not array)
    return Call(arrays, treedef, ok, static, sum(ok[:num]))


def _as_array(leaf, is_input: bool):
    """NumPy arrays in JAX's precision; numbers among the inputs as arrays."""
    scalar = is_input and isinstance(leaf, (bool, int, float, complex))
    number = isinstance(leaf, (np.ndarray, np.generic)) and leaf.dtype.kind in "biufc"
    return jnp.asarray(leaf) if scalar or number else leaf


def shape_key(arrays: Sequence) -> tuple:
    """What a trace depends on: shapes and dtypes."""
    return tuple((tuple(np.shape(a)), a.dtype, _weak(a)) for a in arrays)


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

    program = trace(flat, *map(as_struct, call.leaves))
    analysis = Analysis(program, reductions)
    labels = [
        tuple(analysis.fresh(size) for size in program.shape(value))
        for value in program.graph.inputs[: call.num_params]
    ]
    for leaf, reason in frozen_leaves.items():
        labels[leaf] = analysis.frozen(labels[leaf], reason)
    input_values = program.graph.inputs[call.num_params :]
    analysis.mark_inputs(input_values)
    input_labels = [
        _input_labels(analysis, k, program.shape(value), input_axes.get(k, ()))
        for k, value in enumerate(input_values)
    ]
    outs = analysis.run(program.graph, [*labels, *input_labels])
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
