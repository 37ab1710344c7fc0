"""What kind of operation each primitive is: the one table of names.

A primitive is in every class that fits. What each class means to an analysis stands
with the rules of its family in `trace.rules`; who only needs the kind of an operation
(what to keep between evaluations, where a body is) asks here.
"""

from collections.abc import Set

SAME: dict[str, str] = {}  # {primitive of one's own: the known one it computes}


class Names(frozenset[str]):
    """Names of primitives, and all that `register_rule(same_as=)` says is one of them.

    Example:
      >>> SAME["my_add"] = "add"
      >>> "my_add" in ADDITIONS, "my_add" in ADDITIONS | PRODUCTS, "my_add" in PRODUCTS
      (True, True, False)
      >>> del SAME["my_add"]
    """

    def __contains__(self, name: object) -> bool:
        return super().__contains__(SAME.get(name, name) if SAME else name)  # type: ignore

    def __or__(self, other: Set[str]) -> "Names":  # type: ignore
        return Names(super().__or__(other))

    def __and__(self, other: Set[str]) -> "Names":  # type: ignore
        return Names(super().__and__(other))

    __ror__, __rand__ = __or__, __and__

    def __sub__(self, other: Set[str]) -> "Names":  # type: ignore
        return Names(super().__sub__(other))


def _names(text: str) -> Names:
    return Names(text.split())


# Entry k of the result is computed from entry k of each operand.
ELEMENTWISE = _names("""
abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e
bessel_j1 bitcast_convert_type cbrt ceil clamp clz complex conj convert_element_type
copy copy_p cos cosh digamma div eq eq_to erf erf_inv erfc exp exp2 expm1 floor ge gt
igamma igamma_grad_a igammac imag integer_pow is_finite le le_to lgamma log log1p
logistic lt lt_to max mesh_cast min mul name ne neg nextafter not one_minus_square or
polygamma population_count pow random_gamma_grad real reduce_precision
regularized_incomplete_beta rem reshard round rsqrt select_n sharding_constraint
shift_left shift_right_arithmetic shift_right_logical sign sin sinh sqrt square
stop_gradient sub tan tanh xla_metadata_value xor zeta
""")

# Elementwise with one operand, and 0 where that is 0.
KEEPS_ZERO = _names("""
abs asin asinh atan atanh cbrt ceil conj convert_element_type copy copy_p erf expm1
floor imag log1p mesh_cast name neg real reduce_precision reshard round
sharding_constraint sign sin sinh sqrt square stop_gradient tan tanh xla_metadata_value
""")

# Elementwise with several operands, and 0 where all of them, or one of them, are 0.
ZERO_IF_ALL = _names("add add_any clamp complex max min or sub xor")
ZERO_IF_ANY = _names("and mul")

# Elementwise, and each entry of the result is an entry of the operand or plus or minus
# one: parameters are still parameters behind them.
VIEWS = _names("""
abs convert_element_type copy copy_p mesh_cast neg reduce_precision reshard
sharding_constraint stop_gradient xla_metadata_value
""")

# A line through the origin, or parallel to one, in each operand while others stay.
LINEAR = VIEWS - _names("abs") | _names("add add_any div mul name sub")

# The result is the operand, with a note for whoever compiles or differentiates.
ANNOTATIONS = _names("copy copy_p name sharding_constraint xla_metadata_value")

# Every entry of the result is one of the operand's, perhaps in another type.
PASSES_ENTRIES = ANNOTATIONS | _names("""
broadcast_in_dim convert_element_type reshape reshard squeeze stop_gradient transpose
""")

# The same entries in the same order, under another shape.
RESHAPES = _names("reshape squeeze")

ADDITIONS = _names("add add_any")

# Every operand passes as it is.
PASSES_EACH = _names("device_put optimization_barrier")

# Random numbers are made at full size and cut down: the same bits survive pruning.
SOURCES = _names("""
random_bits random_fold_in random_gamma random_seed random_split random_unwrap
random_wrap rng_bit_generator rng_uniform threefry2x32
""")

ARG_REDUCTIONS = _names("argmax argmin")  # a search: the result is an index
SEARCHES = _names("argmax top_k")  # for the highest
NUMERIC_REDUCTIONS = _names("reduce_max reduce_min reduce_prod reduce_sum")
LOGICAL_REDUCTIONS = _names("reduce_and reduce_or reduce_xor")
REDUCTIONS = ARG_REDUCTIONS | NUMERIC_REDUCTIONS | LOGICAL_REDUCTIONS
SUMS = _names("reduce_sum")  # may be gated instead of freezing the axis

EXPONENTIALS = _names("exp exp2")

# Never negative: whatever goes in; if no operand is; if one operand is not.
NONNEGATIVE = _names("abs exp exp2 logistic sqrt square")
NONNEGATIVE_IF_ALL = _names("""
add add_any broadcast_in_dim concatenate convert_element_type copy copy_p div mul
optimization_barrier reduce_max reduce_min reduce_precision reduce_sum reshape reshard
rev sharding_constraint slice squeeze stop_gradient transpose xla_metadata_value
""")
NONNEGATIVE_IF_ANY = _names("max")
# Of numbers that are not negative it is the same with zeros among them.
MAXIMA = _names("reduce_max")

SUMMING_CUMULATIONS = _names("cumsum")  # of zeros they make zeros
CUMULATIONS = SUMMING_CUMULATIONS | _names("cumlogsumexp cummax cummin cumprod")

POOLING = _names("reduce_window_max reduce_window_sum")  # of zeros they make zeros
WINDOWS = POOLING | _names("reduce_window reduce_window_min")
WINDOW_DERIVATIVES = _names("select_and_gather_add select_and_scatter_add")

MATRIX_PRODUCTS = _names("dot_general")
PRODUCTS = MATRIX_PRODUCTS | _names("conv_general_dilated ragged_dot_general")

ADDING_SCATTERS = _names("scatter-add scatter_add scatter-sub scatter_sub")
SCATTERS = ADDING_SCATTERS | _names("""
scatter scatter-max scatter-min scatter-mul scatter_max scatter_min scatter_mul
""")

CUSTOM_JVP = _names("custom_jvp_call")
CUSTOM_VJP = _names("custom_vjp_call custom_vjp_call_jaxpr")
CUSTOM_CALLS = CUSTOM_JVP | CUSTOM_VJP

# Control flow: which of its params hold its bodies, in order.
BRANCHES = _names("cond")
COUNTED_LOOPS = _names("scan")
BODIES: dict[str, tuple[str, ...]] = {
    "cond": ("branches",),
    "scan": ("jaxpr",),
    "while": ("cond_jaxpr", "body_jaxpr"),
}

# Called inline: the body, by the name of the param that holds it, takes its place.
INLINED: dict[str, str] = {
    "checkpoint": "jaxpr",
    "closed_call": "call_jaxpr",
    "composite": "jaxpr",
    "core_call": "call_jaxpr",
    "custom_vmap_call": "call",
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
    "remat_opt": "fwd_jaxpr",
}

# Of those, what whoever runs the program puts around it again: see `Node.remats`.
REMATS = ("checkpoint", "remat", "remat2")
NAMED_CALLS = ("jit", "pjit")

# Under `vmap(axis_name=)` a collective becomes the reduction of that axis.
COLLECTIVES: dict[str, str] = {
    "pmax": "reduce_max",
    "pmin": "reduce_min",
    "psum": "reduce_sum",
}

# What to do about a primitive that has no rule, for the user to read.
ADVICE: dict[str, str] = {
    "custom_linear_solve": "a solution mixes all entries of its axis",
    "pallas_call": (
        "a kernel says nothing of its axes: declare what it does by "
        "register_rule('pallas_call', label=, rebind=), whose rules see its name in "
        "node.params, or find the players of a model without it"
    ),
    "shard_map": (
        "its body sees one device's part of each array: find the players of the model "
        "without it, as sharded parameters keep their shardings"
    ),
}

# The result costs so much that it is worth keeping while single players toggle.
HEAVY = (
    PRODUCTS
    | WINDOWS
    | WINDOW_DERIVATIVES
    | CUMULATIONS
    | frozenset(BODIES)
    | _names("fft sort top_k triangular_solve")
)

CLASSES: dict[str, Names] = {
    name: value for name, value in globals().items() if isinstance(value, Names)
}


def classes_of(name: str) -> tuple[str, ...]:
    """The classes of a primitive, in the order of the table.

    Args:
      name: the primitive's name.

    Returns:
      The names of the classes; () for a primitive that is in none.

    Example:
      >>> classes_of("tanh"), classes_of("reduce_max")[:2]
      (('ELEMENTWISE', 'KEEPS_ZERO'), ('NUMERIC_REDUCTIONS', 'REDUCTIONS'))
    """
    return tuple(kind for kind, names in CLASSES.items() if name in names)
