"""What is provably zero, or the same for all inputs, at the indices that leave.

An abstract interpretation with one level for each axis of each value: at every index
of the axis that leaves, the value is ZERO, CONSTANT (it depends on parameters alone)
or ANY. It starts from the parameter axes that are set to zero.
"""

from collections.abc import Collection, Sequence

from gamepruning.trace.program import Graph, Lit, Node, scan_parts
from gamepruning.trace.rules.contract import dot_numbers
from gamepruning.trace.rules.index import SCATTERS, window_dims
from gamepruning.trace.rules.shape import reshape_blocks

ANY, CONSTANT, ZERO = 0, 1, 2
Levels = tuple[int, ...]

KEEP_ZERO = set(
    "abs neg sign sin tan tanh asin atan sinh asinh atanh sqrt cbrt expm1 log1p erf "
    "round floor ceil real imag conj convert_element_type copy copy_p stop_gradient "
    "reduce_precision square sharding_constraint name rev".split()
)
ZERO_IF_ALL = {"add", "add_any", "sub", "max", "min", "or", "xor", "complex"}
ZERO_IF_ANY = {"mul", "and"}
_PASS = {"optimization_barrier", "device_put"}


class ZeroAnalysis:
    """Levels of every value of a labelled program.

    Args:
      analysis: the labelled program.
      num_leaves: how many of the graph's inputs are parameters.
      zeroed: the (leaf, axis) places whose leaving entries are set to zero.
    """

    def __init__(self, analysis, num_leaves: int, zeroed: Collection[tuple[int, int]]):
        self._analysis = analysis
        self._program = analysis.program
        self.levels: dict[int, Levels] = {}
        graph = self._program.graph
        for number, value in enumerate(graph.inputs):
            ndim = len(self._program.shape(value))
            start = CONSTANT if number < num_leaves else ANY
            self.levels[value] = tuple(
                ZERO if (number, axis) in zeroed else start for axis in range(ndim)
            )
        self._fixed = set(graph.inputs[:num_leaves])
        self._run(graph)

    def covers(self, node: Node, operand: int, dim: int) -> bool:
        """True if what leaves adds exactly nothing to the sum over this axis."""
        if self.of(node.ins[operand])[dim] == ZERO:
            return True
        other = _partner(node, operand, dim)
        return other is not None and self.of(node.ins[other[0]])[other[1]] == ZERO

    def of(self, operand) -> Levels:
        """The levels of an operand's axes."""
        if not isinstance(operand, Lit) and operand in self.levels:
            return self.levels[operand]
        return (CONSTANT,) * len(self._program.shape(operand))

    def is_fixed(self, operand) -> bool:
        """True if the operand does not depend on the inputs."""
        if isinstance(operand, Lit) or operand in self._program.constants:
            return True
        return operand in self._fixed

    # -- the pass --------------------------------------------------------------------

    def _run(self, graph: Graph) -> list[Levels]:
        for node in graph.nodes:
            if node.subs and node.name in _BODIES:
                outs = _BODIES[node.name](self, node)
            else:
                if all(map(self.is_fixed, node.ins)):
                    self._fixed.update(node.outs)
                outs = self._node(node)
            for value, levels in zip(node.outs, outs, strict=True):
                self.levels[value] = levels
        return [self.of(out) for out in graph.outputs]

    def _node(self, node: Node) -> list[Levels]:
        name = node.name
        if name in _PASS:
            return [self.of(operand) for operand in node.ins]
        if name in _MOVES:
            return _MOVES[name](self, node)
        shape = self._program.shape(node.outs[0])
        ranks = {len(self._program.shape(operand)) for operand in node.ins} - {0}
        if ranks <= {len(shape)} and len(node.outs) == 1 and self._is_elementwise(node):
            return [tuple(self._entry(node, dim) for dim in range(len(shape)))]
        start = CONSTANT if all(map(self.is_fixed, node.ins)) else ANY
        return [(start,) * len(self._program.shape(value)) for value in node.outs]

    def _is_elementwise(self, node: Node) -> bool:
        from gamepruning.trace.rules.shape import ELEMENTWISE

        return node.name in ELEMENTWISE

    def _at(self, operand, dim: int, size) -> int:
        """The level of an operand of an elementwise operation along a result axis."""
        shape = self._program.shape(operand)
        if isinstance(operand, Lit) and not shape:
            return ZERO if operand.value == 0 else CONSTANT
        if shape and shape[dim] == size:
            return self.of(operand)[dim]
        return CONSTANT if self.is_fixed(operand) else ANY

    def _entry(self, node: Node, dim: int) -> int:
        size = self._program.shape(node.outs[0])[dim]
        levels = [self._at(operand, dim, size) for operand in node.ins]
        if node.name in ZERO_IF_ANY and ZERO in levels:
            return ZERO
        zero = node.name in KEEP_ZERO or node.name in ZERO_IF_ALL
        if (zero or node.name in ZERO_IF_ANY) and min(levels) == ZERO:
            return ZERO
        if node.name == "select_n" and min(levels[1:]) == ZERO:
            return ZERO
        if node.name == "clamp" and min(levels) == ZERO:
            return ZERO
        if node.name == "integer_pow" and node.params["y"] > 0 and levels[0] == ZERO:
            return ZERO
        if node.name == "div" and levels[0] == ZERO and _is_number(node.ins[1]):
            return ZERO
        return min(CONSTANT, *levels)

    # -- what moves axes -------------------------------------------------------------

    def _transpose(self, node):
        levels = self.of(node.ins[0])
        return [tuple(levels[d] for d in node.params["permutation"])]

    def _squeeze(self, node):
        gone = node.params["dimensions"]
        levels = self.of(node.ins[0])
        return [tuple(x for d, x in enumerate(levels) if d not in gone)]

    def _same(self, node):
        return [self.of(node.ins[0]) for _ in node.outs]

    def _broadcast(self, node):
        operand = node.ins[0]
        if isinstance(operand, Lit):
            start = ZERO if operand.value == 0 else CONSTANT
        else:
            start = CONSTANT if self.is_fixed(operand) else ANY
        shape = self._program.shape(node.outs[0])
        out = [start] * len(shape)
        sizes = self._program.shape(operand)
        for dim, target in enumerate(node.params["broadcast_dimensions"]):
            if sizes[dim] == shape[target]:
                out[target] = self.of(operand)[dim]
        return [tuple(out)]

    def _reshape(self, node):
        levels = self.of(node.ins[0])
        labels = self._analysis.label(node.ins[0])
        before = self._program.shape(node.ins[0])
        after = self._program.shape(node.outs[0])
        out = [ANY] * len(after)
        for ins, outs in reshape_blocks(before, after):
            live = [
                levels[k] for k in ins if not self._analysis.atoms.is_frozen(labels[k])
            ]
            for k in outs:
                out[k] = min(live, default=ANY)
        return [tuple(out)]

    def _concatenate(self, node):
        rows = [self.of(operand) for operand in node.ins]
        return [tuple(map(min, zip(*rows, strict=True)))]

    def _pad(self, node):
        levels = self.of(node.ins[0])
        zero = _is_zero(node.ins[1])
        out = []
        for level, config in zip(levels, node.params["padding_config"], strict=True):
            cap = ZERO if zero or tuple(config) == (0, 0, 0) else CONSTANT
            out.append(min(level, cap))
        return [tuple(out)]

    def _reduce(self, node):
        axes = set(node.params["axes"])
        cap = CONSTANT if node.name.startswith("arg") else ZERO
        rest = (x for d, x in enumerate(self.of(node.ins[0])) if d not in axes)
        return [tuple(min(level, cap) for level in rest)]

    def _fft(self, node):
        levels = self.of(node.ins[0])
        first = len(levels) - len(node.params["fft_lengths"])
        cap = CONSTANT if self.is_fixed(node.ins[0]) else ANY
        return [(*levels[:first], *(min(x, cap) for x in levels[first:]))]

    def _dot(self, node):
        (lhs_sum, rhs_sum), (lhs_batch, rhs_batch) = node.params["dimension_numbers"]
        lhs, rhs = map(self.of, node.ins[:2])
        out = []
        for one, two in zip(lhs_batch, rhs_batch, strict=True):
            both = (lhs[one], rhs[two])
            out.append(ZERO if ZERO in both else min(both))
        for levels, other, used in (
            (lhs, node.ins[1], (*lhs_sum, *lhs_batch)),
            (rhs, node.ins[0], (*rhs_sum, *rhs_batch)),
        ):
            for dim, level in enumerate(levels):
                if dim not in used:
                    fixed = self.is_fixed(other)
                    out.append(level if level == ZERO or fixed else ANY)
        return [tuple(out)]

    def _convolution(self, node):
        spec = node.params["dimension_numbers"]
        lhs, rhs = map(self.of, node.ins)
        out = [ANY] * len(lhs)
        out[spec.out_spec[0]] = ZERO if lhs[spec.lhs_spec[0]] == ZERO else ANY
        channel = rhs[spec.rhs_spec[0]]
        depthwise = self._program.shape(node.ins[1])[spec.rhs_spec[1]] == 1
        if channel != ZERO:
            one = lhs[spec.lhs_spec[1]]
            grouped = node.params["feature_group_count"] > 1
            known = one if depthwise and grouped and self.is_fixed(node.ins[1]) else ANY
            fixed = CONSTANT if self.is_fixed(node.ins[0]) else ANY
            channel = max(known, min(channel, fixed))
        out[spec.out_spec[1]] = channel
        return [tuple(out)]

    def _gather(self, node):
        numbers = node.params["dimension_numbers"]
        excluded = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
        shape = self._program.shape(node.ins[0])
        levels = self.of(node.ins[0])
        start = CONSTANT if all(map(self.is_fixed, node.ins)) else ANY
        out = [start] * len(self._program.shape(node.outs[0]))
        indexed = self.is_fixed(node.ins[1])
        for target, dim in zip(
            numbers.offset_dims, window_dims(len(shape), excluded), strict=True
        ):
            level = levels[dim]
            out[target] = level if level == ZERO or indexed else ANY
        return [tuple(out)]

    def _dynamic_slice(self, node):
        fixed = all(map(self.is_fixed, node.ins[1:]))
        levels = self.of(node.ins[0])
        return [tuple(x if x == ZERO or fixed else ANY for x in levels)]

    def _dynamic_update_slice(self, node):
        fixed = all(map(self.is_fixed, node.ins[2:]))
        pairs = zip(self.of(node.ins[0]), self.of(node.ins[1]), strict=True)
        return [tuple(min(p) if min(p) == ZERO or fixed else ANY for p in pairs)]

    def _scatter(self, node):
        numbers = node.params["dimension_numbers"]
        excluded = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
        levels, updates = self.of(node.ins[0]), self.of(node.ins[2])
        out = [ANY] * len(levels)
        windowed = window_dims(len(levels), excluded)
        for at, dim in zip(numbers.update_window_dims, windowed, strict=True):
            out[dim] = ZERO if levels[dim] == updates[at] == ZERO else ANY
        return [tuple(out)]

    # -- bodies ----------------------------------------------------------------------

    def _enter(self, graph: Graph, operands: Sequence, levels: Sequence[Levels]):
        for value, operand, level in zip(graph.inputs, operands, levels, strict=True):
            self.levels[value] = level
            if operand is not None and self.is_fixed(operand):
                self._fixed.add(value)
            else:
                self._fixed.discard(value)
        return self._run(graph)

    def _scan(self, node):
        (body,) = node.subs
        num_consts, num_carry = scan_parts(node.params)
        operands = list(node.ins)
        inputs = [self.of(operand) for operand in operands]
        inputs = [
            levels[1:] if k >= num_consts + num_carry else levels
            for k, levels in enumerate(inputs)
        ]
        known = [
            None if num_consts <= k < num_consts + num_carry else operand
            for k, operand in enumerate(operands)
        ]
        carry = slice(num_consts, num_consts + num_carry)
        outs = self._until_stable(body, known, inputs, carry)
        return [*inputs[carry], *((ANY, *levels) for levels in outs[num_carry:])]

    def _until_stable(self, body, known, inputs, carry):
        """Lower the carry's levels until a turn of the loop keeps them."""
        while True:
            outs = self._enter(body, known, inputs)
            after = [
                tuple(map(min, zip(one, two, strict=True)))
                for one, two in zip(inputs[carry], outs, strict=False)
            ]
            if after == inputs[carry]:
                return outs
            inputs[carry] = after

    def _while(self, node):
        condition, body = node.subs
        num_cond, num_body = node.params["cond_nconsts"], node.params["body_nconsts"]
        operands = [*node.ins[num_cond : num_cond + num_body]]
        known = [*operands, *([None] * (len(node.ins) - num_cond - num_body))]
        inputs = [self.of(x) for x in node.ins[num_cond:]]
        carry = slice(num_body, len(inputs))
        self._until_stable(body, known, inputs, carry)
        known = [*node.ins[:num_cond], *([None] * len(inputs[carry]))]
        levels = [self.of(x) for x in node.ins[:num_cond]]
        self._enter(condition, known, [*levels, *inputs[carry]])
        # the number of turns may depend on the inputs
        return [tuple(x if x == ZERO else ANY for x in row) for row in inputs[carry]]

    def _cond(self, node):
        levels = [self.of(operand) for operand in node.ins[1:]]
        rows = [self._enter(branch, node.ins[1:], levels) for branch in node.subs]
        fixed = self.is_fixed(node.ins[0])
        return [
            tuple(
                x if x == ZERO or fixed else ANY
                for x in map(min, zip(*out, strict=True))
            )
            for out in zip(*rows, strict=True)
        ]

    def _custom(self, node):
        body = node.subs[0]
        outs = self._enter(body, node.ins, [self.of(operand) for operand in node.ins])
        for value, out in zip(node.outs, body.outputs, strict=True):
            if self.is_fixed(out):
                self._fixed.add(value)
        return outs


def _is_zero(operand) -> bool:
    return isinstance(operand, Lit) and bool(operand.value == 0)


def _is_number(operand) -> bool:
    return isinstance(operand, Lit) and bool(operand.value != 0)


def _partner(node: Node, operand: int, dim: int) -> tuple[int, int] | None:
    """The axis of the other operand that this one is summed with."""
    if node.name in ("dot_general", "ragged_dot_general"):
        sums = dot_numbers(node)[0]
        return 1 - operand, sums[1 - operand][list(sums[operand]).index(dim)]
    if node.name == "conv_general_dilated":
        spec = node.params["dimension_numbers"]
        axes = (spec.lhs_spec[1], spec.rhs_spec[1])
        return 1 - operand, axes[1 - operand]
    return None


_MOVES = {
    "transpose": ZeroAnalysis._transpose,
    "squeeze": ZeroAnalysis._squeeze,
    "rev": ZeroAnalysis._same,
    "slice": ZeroAnalysis._same,
    "split": ZeroAnalysis._same,
    "cumsum": ZeroAnalysis._same,
    "reduce_window_sum": ZeroAnalysis._same,
    "reduce_window_max": ZeroAnalysis._same,
    "broadcast_in_dim": ZeroAnalysis._broadcast,
    "reshape": ZeroAnalysis._reshape,
    "concatenate": ZeroAnalysis._concatenate,
    "pad": ZeroAnalysis._pad,
    **dict.fromkeys(
        ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "argmax", "argmin"),
        ZeroAnalysis._reduce,
    ),
    "fft": ZeroAnalysis._fft,
    "dot_general": ZeroAnalysis._dot,
    "conv_general_dilated": ZeroAnalysis._convolution,
    "gather": ZeroAnalysis._gather,
    "dynamic_slice": ZeroAnalysis._dynamic_slice,
    "dynamic_update_slice": ZeroAnalysis._dynamic_update_slice,
    **dict.fromkeys(SCATTERS, ZeroAnalysis._scatter),
}

_BODIES = {
    "scan": ZeroAnalysis._scan,
    "while": ZeroAnalysis._while,
    "cond": ZeroAnalysis._cond,
    "custom_jvp_call": ZeroAnalysis._custom,
    "custom_vjp_call": ZeroAnalysis._custom,
    "custom_vjp_call_jaxpr": ZeroAnalysis._custom,
}
