"""Rebind rules: apply a primitive to smaller arrays.

A primitive without a rule here is applied with its own parameters, which is right
for all whose parameters hold no sizes.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

from gamepruning.trace.program import bind
from gamepruning.trace.rules.index import SCATTERS
from gamepruning.trace.rules.registry import rebind_rule


def take(array, indices, axis: int):
    """Entries along an axis, as a slice where they are in a row."""
    if len(indices) and np.array_equal(
        indices, np.arange(indices[0], indices[0] + len(indices))
    ):
        return lax.slice_in_dim(array, int(indices[0]), int(indices[-1]) + 1, axis=axis)
    return jnp.take(array, indices, axis=axis)


@rebind_rule("broadcast_in_dim")
def broadcast_in_dim(sizes, node, operand, *rest):
    """The target shape shrinks."""
    params = {**node.params, "shape": sizes.out(0)}
    return bind(node.primitive, params, (operand, *rest))


@rebind_rule("reshape")
def reshape(sizes, node, operand, *rest):
    """The target shape shrinks."""
    return [jnp.reshape(operand, sizes.out(0))]


@rebind_rule("slice")
def slice_(sizes, node, operand):
    """Slice bounds are counted in kept entries."""
    ndim = operand.ndim
    strides = node.params["strides"] or (1,) * ndim
    starts, limits = node.params["start_indices"], node.params["limit_indices"]
    for dim in range(ndim):
        kept = sizes.kept_in(0, dim)
        if kept is None:
            operand = lax.slice_in_dim(
                operand, starts[dim], limits[dim], strides[dim], axis=dim
            )
        else:
            wanted = np.arange(starts[dim], limits[dim], strides[dim])
            operand = take(operand, np.flatnonzero(np.isin(kept, wanted)), dim)
    return [operand]


@rebind_rule("split")
def split(sizes, node, operand):
    """Pieces hold the kept entries of their own."""
    axis = node.params["axis"]
    pieces = tuple(sizes.out(k)[axis] for k in range(len(node.outs)))
    return bind(node.primitive, {**node.params, "sizes": pieces}, (operand,))


@rebind_rule("pad")
def pad(sizes, node, operand, value):
    """As much padding as is kept of it."""
    config = []
    for dim, (low, high, interior) in enumerate(node.params["padding_config"]):
        kept_in, kept_out = sizes.kept_in(0, dim), sizes.kept_out(0, dim)
        if kept_in is not None or kept_out is not None:
            size = sizes.shape_in(0)[dim]
            kept_in = np.arange(size) if kept_in is None else kept_in
            kept_out = np.arange(low + size + high) if kept_out is None else kept_out
            low, high = (
                int((kept_out < low).sum())
                if low > 0
                else -int((kept_in < -low).sum()),
                int((kept_out >= low + size).sum())
                if high > 0
                else -int((kept_in >= size + high).sum()),
            )
        config.append((low, high, interior))
    return [lax.pad(operand, value, config)]


@rebind_rule("conv_general_dilated")
def convolution(sizes, node, lhs, rhs):
    """Groups are counted anew; a convolution over nothing is zero."""
    spec, out = node.params["dimension_numbers"], sizes.out(0)
    if 0 in lhs.shape or 0 in rhs.shape or 0 in out:
        dtype = node.params["preferred_element_type"] or lhs.dtype
        return [jnp.zeros(out, dtype)]
    params = dict(node.params)
    if params["feature_group_count"] > 1:
        groups = lhs.shape[spec.lhs_spec[1]] // rhs.shape[spec.rhs_spec[1]]
        params["feature_group_count"] = groups
    if params["batch_group_count"] > 1:
        groups = lhs.shape[spec.lhs_spec[0]] // out[spec.out_spec[0]]
        params["batch_group_count"] = groups
    return bind(node.primitive, params, (lhs, rhs))


@rebind_rule("gather", "dynamic_slice")
def gather(sizes, node, operand, *rest):
    """Axes taken whole are taken whole again."""
    before = sizes.shape_in(0)
    slice_sizes = tuple(
        now if size == whole else size
        for size, whole, now in zip(
            node.params["slice_sizes"], before, operand.shape, strict=True
        )
    )
    params = {**node.params, "slice_sizes": slice_sizes}
    return bind(node.primitive, params, (operand, *rest))


@rebind_rule(*SCATTERS)
def scatter(sizes, node, operand, indices, updates):
    """Dimension numbers hold no sizes."""
    return bind(node.primitive, node.params, (operand, indices, updates))


@rebind_rule("tile")
def tile(sizes, node, operand):
    """An axis of one entry is repeated as often as is kept."""
    out = sizes.out(0)
    reps = tuple(
        now if whole == 1 else count
        for whole, count, now in zip(
            sizes.shape_in(0), node.params["reps"], out, strict=True
        )
    )
    return [jnp.tile(operand, reps)]
