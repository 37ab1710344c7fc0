"""Label rules of what sums over axes: products, convolutions, windows."""

from gamepruning.trace.labels import Analysis, Labels, explain_node
from gamepruning.trace.rules.registry import label_rule


@label_rule("dot_general")
def dot_general(analysis: Analysis, node, lhs: Labels, rhs: Labels) -> list[Labels]:
    """Contracted axes pair up and are gated; batch axes pair up and pass."""
    (lhs_sum, rhs_sum), (lhs_batch, rhs_batch) = node.params["dimension_numbers"]
    operand = _gated_operand(analysis, node)
    for one, two in zip(lhs_sum, rhs_sum, strict=True):
        analysis.unify(lhs[one], rhs[two])
        analysis.site(node, operand, (one, two)[operand])
    batch = tuple(
        analysis.unify(lhs[one], rhs[two])
        for one, two in zip(lhs_batch, rhs_batch, strict=True)
    )
    free = _rest(lhs, lhs_sum, lhs_batch) + _rest(rhs, rhs_sum, rhs_batch)
    return [batch + free]


@label_rule("ragged_dot_general")
def ragged_dot_general(
    analysis: Analysis, node, lhs: Labels, rhs: Labels, group_sizes: Labels
) -> list[Labels]:
    """A product for each group of rows; what is cut into groups stays whole."""
    numbers = node.params["ragged_dot_dimension_numbers"]
    (lhs_sum, rhs_sum), batch = dot_numbers(node)
    (ragged,) = numbers.lhs_ragged_dimensions
    groups = numbers.rhs_group_dimensions
    reason = f"it is cut into groups by {explain_node(node)}"
    analysis.freeze([lhs[ragged], *(rhs[dim] for dim in groups), *group_sizes], reason)
    operand = _gated_operand(analysis, node)
    for one, two in zip(lhs_sum, rhs_sum, strict=True):
        analysis.unify(lhs[one], rhs[two])
        if one != ragged:
            analysis.site(node, operand, (one, two)[operand])
    shared = tuple(analysis.unify(lhs[i], rhs[j]) for i, j in zip(*batch, strict=True))
    free = _rest(lhs, lhs_sum, batch[0]) + _rest(rhs, rhs_sum, batch[1], groups)
    lead = (reason,) if ragged in lhs_sum else ()
    out = (*lead, *shared, *free)
    sizes = analysis.shape(node.outs[0])
    return [tuple(None if n == 1 else x for n, x in zip(sizes, out, strict=True))]


def dot_numbers(node) -> tuple:
    """The contracted and the batch axes of a product, of both operands."""
    if node.name == "ragged_dot_general":
        return node.params["ragged_dot_dimension_numbers"].dot_dimension_numbers
    return node.params["dimension_numbers"]


def _gated_operand(analysis: Analysis, node) -> int:
    """Gate the activation, not the weights: one set of weights serves all masks."""
    lhs, rhs = (analysis.is_varying(operand) for operand in node.ins[:2])
    return 1 if rhs and not lhs else 0


def _rest(labels: Labels, *used) -> Labels:
    taken = {dim for dims in used for dim in dims}
    return tuple(label for dim, label in enumerate(labels) if dim not in taken)


@label_rule("conv_general_dilated")
def convolution(analysis: Analysis, node, lhs: Labels, rhs: Labels) -> list[Labels]:
    """Channels are contracted within groups; space stays whole."""
    spec = node.params["dimension_numbers"]
    groups = node.params["feature_group_count"]
    batch_groups = node.params["batch_group_count"]
    spatial = [lhs[d] for d in spec.lhs_spec[2:]] + [rhs[d] for d in spec.rhs_spec[2:]]
    reason = f"it is slid over by {explain_node(node)}"
    analysis.freeze(spatial, reason)
    batch, channels = lhs[spec.lhs_spec[0]], lhs[spec.lhs_spec[1]]
    out_channels, in_channels = rhs[spec.rhs_spec[0]], rhs[spec.rhs_spec[1]]
    sizes = analysis.shape(node.ins[0]), analysis.shape(node.ins[1])
    num_out = sizes[1][spec.rhs_spec[0]]
    if groups > 1:
        num_in = sizes[0][spec.lhs_spec[1]]
        group, inner = analysis.atoms.split(channels, [groups, num_in // groups])
        group_out, _ = analysis.atoms.split(out_channels, [groups, num_out // groups])
        analysis.unify(group, group_out)
        analysis.unify(inner, in_channels)
        if num_in // groups > 1:  # a group of one channel sums over nothing
            analysis.site(node, 0, spec.lhs_spec[1])
    else:
        analysis.unify(channels, in_channels)
        operand = _gated_operand(analysis, node)
        dim = (spec.lhs_spec[1], spec.rhs_spec[1])[operand]
        analysis.site(node, operand, dim)
    if batch_groups > 1:
        batch = _group_batch(analysis, sizes, spec, batch, out_channels, batch_groups)
    out: list = [None if label is None else reason for label in lhs]
    for dim, size in enumerate(analysis.shape(node.outs[0])):
        out[dim] = None if isinstance(size, int) and size == 1 else reason
    out[spec.out_spec[0]], out[spec.out_spec[1]] = batch, out_channels
    return [tuple(out)]


def _group_batch(analysis: Analysis, sizes, spec, batch, out_channels, groups):
    """The gradient of a grouped convolution: batch groups meet output channels."""
    num_batch, num_out = sizes[0][spec.lhs_spec[0]], sizes[1][spec.rhs_spec[0]]
    if not isinstance(num_batch, int):
        reason = "it is grouped with an axis of symbolic length"
        analysis.freeze([out_channels], reason)
        return reason
    group, rest = analysis.atoms.split(batch, [groups, num_batch // groups])
    group_out, _ = analysis.atoms.split(out_channels, [groups, num_out // groups])
    analysis.unify(group, group_out)
    return rest


@label_rule(
    "reduce_window_max",
    "reduce_window_min",
    "reduce_window_sum",
    "reduce_window",
)
def reduce_window(analysis: Analysis, node, *labels: Labels) -> list[Labels]:
    """Axes that the window does not cover pass."""
    shape = analysis.shape(node.outs[0])
    out = tuple(_windowed(analysis, node, labels[0], dim) for dim in range(len(shape)))
    return [out for _ in node.outs]


def _windowed(analysis: Analysis, node, labels: Labels, dim: int):
    ones = (1,) * len(labels)
    window = (
        node.params["window_dimensions"][dim],
        node.params["window_strides"][dim],
        tuple(node.params["padding"][dim]),
        (node.params.get("base_dilation") or ones)[dim],
        (node.params.get("window_dilation") or ones)[dim],
    )
    if window == (1, 1, (0, 0), 1, 1):
        return labels[dim]
    reason = f"it is slid over by {explain_node(node)}"
    analysis.freeze([labels[dim]], reason)
    return reason


@label_rule("select_and_scatter_add")
def select_and_scatter_add(analysis: Analysis, node, source, operand) -> list[Labels]:
    """The gradient of max pooling."""
    out = tuple(_windowed(analysis, node, operand, d) for d in range(len(operand)))
    for dim, label in enumerate(source):
        analysis.unify(label, out[dim])
    return [out]


@label_rule("select_and_gather_add")
def select_and_gather_add(analysis: Analysis, node, tangents, operand) -> list[Labels]:
    """The forward derivative of max pooling."""
    analysis.unify_all(tangents, operand)
    return [tuple(_windowed(analysis, node, operand, d) for d in range(len(operand)))]
