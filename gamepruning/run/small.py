"""The traced program at the sizes that a mask leaves, as a function of its own."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gamepruning.run.interpret import Compact
from gamepruning.trace.model import check_paths, flatten_call
from gamepruning.trace.rules.rebind import take
from gamepruning.trace.units import kept_entries


def compact_apply(players: Any, mask: np.ndarray) -> Callable:
    """`apply(small_params, *small_inputs)`, interpreting the trace at smaller sizes.

    For other input shapes (another batch size) the model is traced again, at the
    original parameter shapes.
    """
    kept = players.kept_indices(mask)
    input_kept = players.input_kept(mask)

    def apply(params, *inputs):
        check_paths(params, players._example)
        call = flatten_call(params, inputs, players._example)
        traced, columns = players._trace(_full_call(players, call, kept, input_kept))
        outs = Compact(traced.analysis, columns, mask).run(
            traced.program.graph, call.leaves
        )
        return jax.tree_util.tree_unflatten(traced.program.out_tree, outs)

    return apply


def _full_call(players, call, kept, input_kept):
    """The call at the original sizes, as shapes."""
    example = players._example
    leaves = []
    for number, leaf in enumerate(call.leaves):
        shape = list(np.shape(leaf))
        if number < call.num_params:
            path, full = players.paths[number], example.leaves[number].shape
            expected = [
                len(kept[path, d]) if (path, d) in kept else n
                for d, n in enumerate(full)
            ]
            if shape != expected:
                raise ValueError(
                    f"parameter {path} has shape {tuple(shape)}, expected "
                    f"{tuple(expected)} as after this compaction"
                )
            shape = list(full)
        else:
            axes = input_kept.get(number - call.num_params, {})
            for axis, rows in axes.items():
                if shape[axis] != len(rows):
                    raise ValueError(
                        f"input {number - call.num_params} has {shape[axis]} entries "
                        f"on axis {axis}, expected the {len(rows)} that stay "
                        "(input_kept)"
                    )
                shape[axis] = example.leaves[number].shape[axis]
        weak = bool(getattr(leaf, "weak_type", False))
        leaves.append(jax.ShapeDtypeStruct(tuple(shape), leaf.dtype, weak_type=weak))
    return call._replace(leaves=leaves)


def slice_outputs(players: Any, outputs: Any, mask: np.ndarray) -> Any:
    """Outputs that are shaped like parameters, cut down to what stays."""
    traced, columns = players._base
    leaves, treedef = jax.tree_util.tree_flatten(outputs)
    for number, leaf in enumerate(traced.out_leaves):
        if leaf is not None:
            for axis, label in enumerate(traced.leaf_labels[leaf]):
                kept = kept_entries(columns(label), mask)
                if kept is not None:
                    leaves[number] = take(leaves[number], kept, axis)
    return jax.tree_util.tree_unflatten(treedef, leaves)
