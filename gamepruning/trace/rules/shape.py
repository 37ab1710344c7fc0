"""Label rules of the primitives that work entry by entry, reduce or move axes."""

import numpy as np

from gamepruning.trace.labels import Analysis, Labels, explain_node
from gamepruning.trace.rules.registry import label_rule

ELEMENTWISE = """
abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e
bessel_j1 bitcast_convert_type cbrt ceil clamp clz complex conj convert_element_type
copy copy_p cos cosh digamma div eq eq_to erf erf_inv erfc exp exp2 expm1 floor ge gt
igamma igamma_grad_a igammac imag integer_pow is_finite le le_to lgamma log log1p
logistic lt lt_to max min mul name ne neg nextafter not one_minus_square or polygamma
population_count pow random_gamma_grad real reduce_precision
regularized_incomplete_beta rem round rsqrt select_n sharding_constraint shift_left
shift_right_arithmetic shift_right_logical sign sin sinh sqrt square stop_gradient sub
tan tanh xor zeta
""".split()

# Random numbers are made at full size and cut down: the same bits survive pruning.
SOURCES = """
random_bits random_fold_in random_gamma random_seed random_split random_unwrap
random_wrap rng_bit_generator rng_uniform threefry2x32
""".split()


@label_rule(*ELEMENTWISE)
def elementwise(analysis: Analysis, node, *labels: Labels) -> list[Labels]:
    """All operands share their axes; axes of one entry broadcast."""
    if any(len(analysis.shape(v)) != max(map(len, labels)) for v in node.outs):
        return opaque(analysis, node, *labels)  # a bitcast to another width
    outs = []
    for value in node.outs:
        shape = analysis.shape(value)
        out: list = [None] * len(shape)
        for operand, operand_labels in zip(node.ins, labels, strict=True):
            sizes = analysis.shape(operand)
            for dim, label in enumerate(operand_labels):
                if not _is_one(sizes[dim]):
                    out[dim] = analysis.unify(out[dim], label)
        outs.append(tuple(out))
    return outs


def _is_one(size) -> bool:
    return isinstance(size, int) and size == 1


@label_rule("optimization_barrier", "device_put")
def each_alone(analysis: Analysis, node, *labels: Labels) -> list[Labels]:
    """Every operand passes as it is."""
    return list(labels)


def label_unknown(analysis: Analysis, node, *labels: Labels) -> list[Labels]:
    """A primitive without a rule keeps whole all that it touches."""
    varies = any(analysis.is_varying(operand) for operand in node.ins)
    if all(analysis.is_frozen(label) for label in labels) and not varies:
        return source(analysis, node, *labels)
    return opaque(analysis, node, *labels)


def opaque(analysis: Analysis, node, *labels: Labels) -> list[Labels]:
    """Freeze operands and results; on record when something could have left."""
    reason = f"it meets {explain_node(node)}, which has no rule"
    if not all(analysis.is_frozen(label) for label in labels):
        analysis.opaque.add(node.name)
    for label in labels:
        analysis.freeze(label, reason)
    return [(reason,) * len(analysis.shape(value)) for value in node.outs]


@label_rule(*SOURCES)
def source(analysis: Analysis, node, *labels: Labels) -> list[Labels]:
    """Computed at full size from what is never cut, then cut to what it meets."""
    for label in labels:
        analysis.freeze(label, f"it is read by {explain_node(node)}")
    return [tuple(map(analysis.fresh, analysis.shape(value))) for value in node.outs]


@label_rule("iota")
def iota(analysis: Analysis, node, *labels: Labels) -> list[Labels]:
    """A table of numbers."""
    return [tuple(map(analysis.fresh, analysis.shape(node.outs[0])))]


@label_rule("broadcast_in_dim")
def broadcast_in_dim(analysis: Analysis, node, *labels: Labels) -> list[Labels]:
    """Axes that exist pass, new ones are fresh."""
    shape = analysis.shape(node.outs[0])
    out = [analysis.fresh(size) for size in shape]
    sizes = analysis.shape(node.ins[0])
    for dim, label in enumerate(labels[0]):
        target = node.params["broadcast_dimensions"][dim]
        if sizes[dim] == shape[target]:
            out[target] = label
    return [tuple(out)]


@label_rule("transpose")
def transpose(analysis: Analysis, node, labels: Labels) -> list[Labels]:
    """Axes in another order."""
    return [tuple(labels[dim] for dim in node.params["permutation"])]


@label_rule("squeeze")
def squeeze(analysis: Analysis, node, labels: Labels) -> list[Labels]:
    """Axes of one entry go."""
    dropped = node.params["dimensions"]
    return [tuple(x for dim, x in enumerate(labels) if dim not in dropped)]


@label_rule("rev")
def rev(analysis: Analysis, node, labels: Labels) -> list[Labels]:
    """Axes read backwards."""
    out = list(labels)
    for dim in node.params["dimensions"]:
        label = out[dim]
        if isinstance(label, np.ndarray):
            out[dim] = label[::-1]
    return [tuple(out)]


@label_rule("unstack")
def unstack(analysis: Analysis, node, labels: Labels) -> list[Labels]:
    """One axis is taken apart, so it stays whole."""
    axis = node.params["axis"]
    analysis.freeze([labels[axis]], f"it is taken apart by {explain_node(node)}")
    rest = labels[:axis] + labels[axis + 1 :]
    return [rest for _ in node.outs]


@label_rule("reshape")
def reshape(analysis: Analysis, node, labels: Labels, *_) -> list[Labels]:
    """Pair blocks of axes; merge and split within each block."""
    before, after = analysis.shape(node.ins[0]), analysis.shape(node.outs[0])
    out: list = [None] * len(after)
    for ins, outs in reshape_blocks(before, after):
        sizes = [after[k] for k in outs]
        if len(ins) == 1 and len(outs) == 1:
            out[outs[0]] = labels[ins[0]]
        elif not all(isinstance(before[k], int) for k in ins):
            reason = "it is reshaped with an axis of symbolic length"
            analysis.freeze([labels[k] for k in ins], reason)
            for k in outs:
                out[k] = reason
        else:
            merged = analysis.atoms.merge(
                [labels[k] for k in ins], [before[k] for k in ins]
            )
            for k, label in zip(outs, analysis.atoms.split(merged, sizes), strict=True):
                out[k] = label
    return [tuple(out)]


def reshape_blocks(before, after) -> list[tuple[list[int], list[int]]]:
    """Groups of axes (longer than one entry) with equal numbers of entries."""
    ins = [k for k, size in enumerate(before) if not _is_one(size)]
    outs = [k for k, size in enumerate(after) if not _is_one(size)]
    head, tail = [], []
    while (
        ins
        and outs
        and before[ins[0]] is not None
        and _same(before, after, ins, outs, 0)
    ):
        head.append(([ins.pop(0)], [outs.pop(0)]))
    while ins and outs and _same(before, after, ins, outs, -1):
        tail.append(([ins.pop()], [outs.pop()]))
    if not all(isinstance(before[k], int) for k in ins):
        return [*head, *([(ins, outs)] if ins or outs else []), *tail]
    return [*head, *_numeric_blocks(before, after, ins, outs), *tail]


def _same(before, after, ins, outs, end) -> bool:
    one, two = before[ins[end]], after[outs[end]]
    return type(one) is type(two) and bool(one == two)


def _numeric_blocks(before, after, ins, outs):
    blocks, ins, outs = [], list(ins), list(outs)
    while ins or outs:
        block = ([ins.pop(0)] if ins else [], [outs.pop(0)] if outs else [])
        one = int(np.prod([before[k] for k in block[0]]))
        two = int(np.prod([after[k] for k in block[1]]))
        while one != two:
            if one < two:
                block[0].append(ins.pop(0))
                one *= before[block[0][-1]]
            else:
                block[1].append(outs.pop(0))
                two *= after[block[1][-1]]
        blocks.append(block)
    return blocks


@label_rule("concatenate")
def concatenate(analysis: Analysis, node, *labels: Labels) -> list[Labels]:
    """Labels are joined end to end along one axis."""
    axis = node.params["dimension"]
    sizes = [analysis.shape(operand)[axis] for operand in node.ins]
    pieces = [label[axis] for label in labels]
    out = labels[0]
    for label in labels[1:]:
        out = analysis.unify_all(
            out[:axis] + (None,) + out[axis + 1 :],
            label[:axis] + (None,) + label[axis + 1 :],
        )
    if all(isinstance(size, int) for size in sizes):
        joined = _join(analysis, pieces, sizes)
    else:
        joined = "it is joined with an axis of symbolic length"
        analysis.freeze(pieces, joined)
    return [out[:axis] + (joined,) + out[axis + 1 :]]


def _join(analysis: Analysis, pieces, sizes):
    if len(pieces) == 1:
        return pieces[0]
    if all(analysis.atoms.is_frozen(piece) for piece in pieces):
        return analysis.atoms.reason_of(pieces) or "it joins single entries"
    arrays = [analysis.array(p, n) for p, n in zip(pieces, sizes, strict=True)]
    return np.concatenate(arrays)


@label_rule("stack")
def stack(analysis: Analysis, node, *labels: Labels) -> list[Labels]:
    """Arrays of one shape along a new axis."""
    out = labels[0]
    for label in labels[1:]:
        out = analysis.unify_all(out, label)
    axis = node.params["axis"]
    new = analysis.fresh(len(labels))
    analysis.freeze([new], f"it is made by {explain_node(node)}")
    return [out[:axis] + (new,) + out[axis:]]


@label_rule("tile")
def tile(analysis: Analysis, node, labels: Labels) -> list[Labels]:
    """Labels are repeated with the array."""
    shape = analysis.shape(node.ins[0])
    reps = node.params.get("reps", node.params.get("dims"))
    lead = len(analysis.shape(node.outs[0])) - len(shape)
    out: list = [None] * lead
    for dim, size in enumerate(analysis.shape(node.outs[0])[:lead]):
        out[dim] = analysis.fresh(size)
    for label, size, count in zip(labels, shape, reps[lead:], strict=True):
        if isinstance(label, np.ndarray):
            out.append(np.tile(label, count))
        else:  # one entry repeated is a broadcast
            out.append(analysis.fresh(count) if _is_one(size) else label)
    return [tuple(out)]


@label_rule("pad")
def pad(analysis: Analysis, node, labels: Labels, value_labels: Labels):
    """Padding entries are fresh; a negative width cuts; interiors stay."""
    out, shape = [], analysis.shape(node.ins[0])
    config = node.params["padding_config"]
    for label, size, (low, high, interior) in zip(labels, shape, config, strict=True):
        if (low, high, interior) == (0, 0, 0):
            out.append(label)
        elif isinstance(label, np.ndarray) and interior == 0:
            out.append(_padded(analysis, label, low, high))
        else:
            reason = f"it is spread by {explain_node(node)}"
            if label is None and isinstance(size, int) and interior == 0:
                label = analysis.array(None, size)
                out.append(_padded(analysis, label, low, high))
            else:
                analysis.freeze([label], reason)
                out.append(label if isinstance(label, str) else reason)
    result = analysis.shape(node.outs[0])
    return [tuple(None if _is_one(n) else x for n, x in zip(result, out, strict=True))]


def _padded(analysis: Analysis, label: np.ndarray, low, high):
    low, high = int(low), int(high)
    label = label[max(-low, 0) : len(label) - max(-high, 0)]
    before, after = analysis.atoms.new(max(low, 0)), analysis.atoms.new(max(high, 0))
    joined = np.concatenate([before, label, after])
    if len(joined) == 1:
        analysis.freeze([joined], "it is cut down to one entry")
    return joined


@label_rule("slice")
def slice_(analysis: Analysis, node, labels: Labels) -> list[Labels]:
    """Labels are sliced with the array."""
    shape = analysis.shape(node.outs[0])
    strides = node.params["strides"] or (1,) * len(shape)
    bounds = zip(
        node.params["start_indices"], node.params["limit_indices"], strides, strict=True
    )
    out = []
    for label, size, (start, limit, stride) in zip(labels, shape, bounds, strict=True):
        if isinstance(label, np.ndarray):
            label = label[start:limit:stride]
            if size == 1:
                analysis.freeze([label], f"it is picked by {explain_node(node)}")
                label = None
        out.append(None if _is_one(size) else label)
    return [tuple(out)]


@label_rule("split")
def split(analysis: Analysis, node, labels: Labels) -> list[Labels]:
    """One axis is cut into pieces."""
    axis, start, outs = node.params["axis"], 0, []
    for size in node.params["sizes"]:
        piece = labels[axis]
        if isinstance(piece, np.ndarray):
            piece = piece[start : start + size]
            if size == 1:
                analysis.freeze([piece], f"it is picked by {explain_node(node)}")
        piece = None if size == 1 else piece
        outs.append(labels[:axis] + (piece,) + labels[axis + 1 :])
        start += size
    return outs


REDUCTIONS = """
argmax argmin reduce_and reduce_max reduce_min reduce_or reduce_prod reduce_sum
reduce_xor
""".split()


@label_rule(*REDUCTIONS)
def reduce(analysis: Analysis, node, labels: Labels) -> list[Labels]:
    """A reduced axis stays whole, or is gated where it is summed, if asked."""
    for dim in node.params["axes"]:
        if node.name == "reduce_sum" and analysis.reductions == "gate":
            analysis.site(node, 0, dim)
        else:
            analysis.freeze([labels[dim]], f"it is reduced by {explain_node(node)}")
    axes = set(node.params["axes"])
    return [tuple(x for dim, x in enumerate(labels) if dim not in axes)]


@label_rule("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")
def cumulate(analysis: Analysis, node, labels: Labels) -> list[Labels]:
    """The order along the axis matters, so it stays whole."""
    axis = node.params["axis"]
    analysis.freeze([labels[axis]], f"it is accumulated by {explain_node(node)}")
    return [labels]


@label_rule("sort")
def sort(analysis: Analysis, node, *labels: Labels) -> list[Labels]:
    """The sorted axis stays whole; the operands share the others."""
    out = labels[0]
    for label in labels[1:]:
        out = analysis.unify_all(out, label)
    axis = node.params["dimension"]
    for label in labels:
        analysis.freeze([label[axis]], f"it is sorted by {explain_node(node)}")
    return [out for _ in node.outs]


@label_rule("top_k")
def top_k(analysis: Analysis, node, labels: Labels) -> list[Labels]:
    """The axis searched stays whole."""
    axis = node.params.get("axis", len(labels) - 1) % len(labels)
    reason = f"it is searched by {explain_node(node)}"
    analysis.freeze([labels[axis]], reason)
    picked = None if node.params["k"] == 1 else reason
    return [labels[:axis] + (picked,) + labels[axis + 1 :] for _ in node.outs]


@label_rule("fft")
def fft(analysis: Analysis, node, labels: Labels) -> list[Labels]:
    """The transformed axes are the last, and opaque; the others pass."""
    first = len(labels) - len(node.params["fft_lengths"])
    reason = f"it is transformed by {explain_node(node)}"
    if not analysis.is_frozen(labels[first:]):
        analysis.opaque.add(node.name)
    analysis.freeze(labels[first:], reason)
    sizes = analysis.shape(node.outs[0])[first:]
    return [labels[:first] + tuple(None if _is_one(n) else reason for n in sizes)]
