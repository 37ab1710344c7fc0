"""Label rules of gathers, scatters and dynamic slices.

An axis that is read or written whole passes; one that is indexed stays whole.
"""

from gamepruning.trace.labels import Analysis, Labels, explain_node
from gamepruning.trace.rules.registry import label_rule


def window_dims(size: int, numbers_excluded) -> list[int]:
    """The operand axes that the window of a gather or scatter runs over, in order."""
    return [dim for dim in range(size) if dim not in numbers_excluded]


@label_rule("gather")
def gather(analysis: Analysis, node, operand: Labels, indices: Labels) -> list[Labels]:
    """Rows are picked by index; axes taken whole pass."""
    numbers = node.params["dimension_numbers"]
    sizes, shape = node.params["slice_sizes"], analysis.shape(node.ins[0])
    batching = tuple(numbers.operand_batching_dims)
    reason = f"entries are picked by index ({explain_node(node)})"
    out: list = [None] * len(analysis.shape(node.outs[0]))
    windowed = window_dims(len(shape), (*numbers.collapsed_slice_dims, *batching))
    for target, dim in zip(numbers.offset_dims, windowed, strict=True):
        if sizes[dim] == shape[dim]:
            out[target] = operand[dim]
        else:
            analysis.freeze([operand[dim]], reason)
            out[target] = None if sizes[dim] == 1 else reason
    analysis.freeze([operand[d] for d in numbers.collapsed_slice_dims], reason)
    for dim, at in zip(batching, numbers.start_indices_batching_dims, strict=True):
        analysis.unify(operand[dim], indices[at])
    rest = [k for k in range(len(out)) if k not in numbers.offset_dims]
    for target, label in zip(rest, indices[:-1], strict=True):
        out[target] = label
    analysis.freeze(indices[-1:], reason)
    return [tuple(out)]


SCATTERS = """
scatter scatter-add scatter-mul scatter-min scatter-max scatter_add scatter_mul
scatter_min scatter_max scatter-sub scatter_sub
""".split()


ADDING = ("scatter-add", "scatter_add", "scatter-sub", "scatter_sub")


@label_rule(*SCATTERS)
def scatter(
    analysis: Analysis, node, operand: Labels, indices, updates
) -> list[Labels]:
    """Rows are written by index; axes written whole pass."""
    numbers = node.params["dimension_numbers"]
    shape, update_shape = analysis.shape(node.ins[0]), analysis.shape(node.ins[2])
    batching = tuple(numbers.operand_batching_dims)
    reason = f"entries are written by index ({explain_node(node)})"
    windowed = window_dims(len(shape), (*numbers.inserted_window_dims, *batching))
    for at, dim in zip(numbers.update_window_dims, windowed, strict=True):
        if update_shape[at] == shape[dim]:
            analysis.unify(operand[dim], updates[at])
        else:
            analysis.freeze([operand[dim], updates[at]], reason)
    analysis.freeze([operand[d] for d in numbers.inserted_window_dims], reason)
    for dim, at in zip(batching, numbers.scatter_indices_batching_dims, strict=True):
        analysis.unify(operand[dim], indices[at])
    rest = [k for k in range(len(updates)) if k not in numbers.update_window_dims]
    for at, label in zip(rest, indices[:-1], strict=True):
        analysis.unify(updates[at], label)
        if node.name in ADDING:  # rows that meet are added up: a contraction
            analysis.site(node, 2, at)
        else:
            analysis.freeze([updates[at]], reason)
    analysis.freeze(indices[-1:], reason)
    return [operand]


@label_rule("dynamic_slice")
def dynamic_slice(analysis: Analysis, node, operand: Labels, *starts) -> list[Labels]:
    """Axes sliced whole pass."""
    reason = f"entries are picked by index ({explain_node(node)})"
    out, shape = [], analysis.shape(node.ins[0])
    for label, size, whole in zip(
        operand, node.params["slice_sizes"], shape, strict=True
    ):
        if size == whole:
            out.append(label)
        else:
            analysis.freeze([label], reason)
            out.append(None if isinstance(size, int) and size == 1 else reason)
    return [tuple(out)]


@label_rule("dynamic_update_slice")
def dynamic_update_slice(analysis: Analysis, node, operand, update, *starts):
    """Axes updated whole pass."""
    reason = f"entries are written by index ({explain_node(node)})"
    shape, update_shape = analysis.shape(node.ins[0]), analysis.shape(node.ins[1])
    out = []
    for dim, label in enumerate(operand):
        if shape[dim] == update_shape[dim]:
            out.append(analysis.unify(label, update[dim]))
        else:
            analysis.freeze([label, update[dim]], reason)
            out.append(label)
    return [tuple(out)]
