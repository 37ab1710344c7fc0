"""The traced program at the sizes that a mask leaves, as a function of its own."""

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import jax
import numpy as np
from jaxtyping import Bool

from gamepruning.run.kept import InputKept, Kept, input_kept, kept_indices
from gamepruning.run.shrunk import Shrunk
from gamepruning.trace.call import (
    CallSpec,
    as_struct,
    check_paths,
    input_error,
    split_call,
)
from gamepruning.trace.model import TracedModel
from gamepruning.trace.program import Program, take
from gamepruning.trace.units import kept_entries
from gamepruning.trees.paths import InputKey
from gamepruning.types import Apply, InputError, Outputs, Params


def compact_apply(model: TracedModel, mask: Bool[np.ndarray, " N"]) -> Apply:
    """`apply(small_params, *small_inputs)`, interpreting the trace at smaller sizes.

    For other input shapes (another batch size) the model is traced again, at the
    original parameter shapes. What the model closes over is cut once for each trace,
    and kept as long as this function.
    """
    cut: WeakKeyDictionary[Program, dict[int, Any]] = WeakKeyDictionary()
    kept, inputs_kept = kept_indices(model, mask), input_kept(model, mask)

    def apply(params: Params, *inputs) -> Outputs:
        check_paths(params, model.example)
        call = split_call(params, inputs, model.example)
        trace = model.trace(full_call(model, call, kept, inputs_kept))
        known = cut.setdefault(trace.program, {})
        shrunk = Shrunk(trace.analysis, trace.columns, mask, known)
        outs = shrunk.run(trace.program.graph, call.arrays)
        return jax.tree_util.tree_unflatten(trace.program.out_tree, outs)

    apply.__name__ = getattr(model.apply, "__name__", "apply")  # profilers show it
    return apply


def full_call(
    model: TracedModel, call: CallSpec, kept: Kept, inputs_kept: InputKept
) -> CallSpec:
    """The call at the original sizes, as shapes.

    Raises:
      InputError: the parameters are not those that these indices leave.
    """
    if len(call.input_range) > len(model.example.input_range):
        raise input_error(model.example, call, "too many arrays")
    structs = list(map(as_struct, call.arrays))
    for k in range(call.num_params):
        full = model.example.arrays[k].shape
        _check_small(model.paths[k], structs[k].shape, full, kept)
        structs[k] = as_struct(structs[k], full)
    for key, k in zip(model.example.input_keys, call.input_range, strict=False):
        full = model.example.arrays[k].shape
        shape = _full_input(key, structs[k].shape, full, inputs_kept.get(key, {}))
        structs[k] = as_struct(structs[k], shape)
    return call.with_arrays(structs)


def _check_small(path: str, shape: Sequence, full: Sequence, kept: Kept) -> None:
    """Raise ValueError unless a parameter has the shape that is left of `full`."""
    expected = tuple(
        len(kept[path, axis]) if (path, axis) in kept else size
        for axis, size in enumerate(full)
    )
    if tuple(shape) != expected:
        raise InputError(
            f"parameter {path} has shape {tuple(shape)}, expected {expected} as after "
            "this compaction"
        )


def _full_input(
    key: InputKey, shape: Sequence, full: Sequence, axes: Mapping[int, np.ndarray]
) -> tuple:
    """The shape of an input before entries left."""
    before = list(shape)
    for axis, rows in axes.items():
        if len(shape) != len(full):
            raise InputError(
                f"input {key} has shape {tuple(shape)}, expected {len(full)} axes: one "
                "example is a batch of one, x[None]"
            )
        if shape[axis] != len(rows):
            raise InputError(
                f"input {key} has {shape[axis]} entries on axis {axis}, expected "
                f"the {len(rows)} that stay (input_kept)"
            )
        before[axis] = full[axis]
    return tuple(before)


def slice_outputs(
    model: TracedModel, outputs: Outputs, mask: Bool[np.ndarray, " N"]
) -> Outputs:
    """Outputs that are shaped like parameters or inputs, cut to what stays."""
    trace = model.base
    labels = [*trace.param_labels, *trace.input_labels]
    leaves, treedef = jax.tree_util.tree_flatten(outputs)
    for number, leaf in enumerate(trace.out_leaves):
        if leaf is not None:
            for axis, label in enumerate(labels[leaf]):
                kept = kept_entries(trace.columns(label), mask)
                if kept is not None:
                    leaves[number] = take(leaves[number], kept, axis)
    return jax.tree_util.tree_unflatten(treedef, leaves)
