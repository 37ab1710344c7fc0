"""Every primitive that public layers emit has a home, and each name few files.

`tests/players/test_zoo.py` says the same of the models of the zoo.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax import lax

import gamepruning
from gamepruning.trace import primitives
from gamepruning.trace.flatten import trace
from gamepruning.trace.program import Graph
from gamepruning.trace.rules import RULES, rules_of

PACKAGE = Path(gamepruning.__file__).parent
LISTED = Path(__file__).with_name("rules.txt")
HOME = "gamepruning.trace.rules."
X = jax.ShapeDtypeStruct((2, 8), jnp.float32)
IMAGE = jax.ShapeDtypeStruct((2, 8, 8, 4), jnp.float32)
SEQUENCE = jax.ShapeDtypeStruct((2, 6, 8), jnp.float32)
TOKENS = jax.ShapeDtypeStruct((2, 6), jnp.int32)

LINEN = {
    "Dense": (nn.Dense(6), X),
    "DenseGeneral": (nn.DenseGeneral((2, 3), axis=(-2, -1)), SEQUENCE),
    "Einsum": (nn.Einsum((8, 5), "bi,io->bo"), X),
    "Embed": (nn.Embed(9, 6), TOKENS),
    "Conv": (nn.Conv(6, (3, 3), feature_group_count=2), IMAGE),
    "ConvLocal": (nn.ConvLocal(6, (3, 3)), IMAGE),
    "ConvTranspose": (nn.ConvTranspose(6, (3, 3), (2, 2)), IMAGE),
    "BatchNorm": (nn.BatchNorm(use_running_average=True), IMAGE),
    "LayerNorm": (nn.LayerNorm(), X),
    "RMSNorm": (nn.RMSNorm(), X),
    "GroupNorm": (nn.GroupNorm(2), IMAGE),
    "InstanceNorm": (nn.InstanceNorm(), IMAGE),
    "WeightNorm": (nn.WeightNorm(nn.Dense(6)), X),
    "PReLU": (nn.PReLU(), X),
    "MultiHeadDotProductAttention": (
        nn.MultiHeadDotProductAttention(2),
        SEQUENCE,
    ),
    "LSTM": (nn.RNN(nn.LSTMCell(6)), SEQUENCE),
    "GRU": (nn.RNN(nn.GRUCell(6)), SEQUENCE),
    "MGU": (nn.RNN(nn.MGUCell(6)), SEQUENCE),
    "SimpleCell": (nn.RNN(nn.SimpleCell(6)), SEQUENCE),
    "Bidirectional": (
        nn.Bidirectional(nn.RNN(nn.GRUCell(4)), nn.RNN(nn.GRUCell(4))),
        SEQUENCE,
    ),
}
NNX = {
    "Linear": (lambda rngs: nnx.Linear(8, 6, rngs=rngs), X),
    "LinearGeneral": (lambda rngs: nnx.LinearGeneral(8, (2, 3), rngs=rngs), X),
    "LoRA": (lambda rngs: nnx.LoRA(8, 2, 6, rngs=rngs), X),
    "Embed": (lambda rngs: nnx.Embed(9, 6, rngs=rngs), TOKENS),
    "Conv": (lambda rngs: nnx.Conv(4, 6, (3, 3), rngs=rngs), IMAGE),
    "BatchNorm": (
        lambda rngs: nnx.BatchNorm(4, use_running_average=True, rngs=rngs),
        IMAGE,
    ),
    "LayerNorm": (lambda rngs: nnx.LayerNorm(8, rngs=rngs), X),
    "GroupNorm": (lambda rngs: nnx.GroupNorm(4, 2, rngs=rngs), IMAGE),
    "MultiHeadAttention": (
        lambda rngs: nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs),
        SEQUENCE,
    ),
    "RNN": (lambda rngs: nnx.RNN(nnx.LSTMCell(8, 6, rngs=rngs)), SEQUENCE),
}
ACTIVATIONS = """
celu elu gelu glu hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu log_sigmoid
log_softmax logsumexp mish relu relu6 selu sigmoid silu soft_sign softmax softplus
sparse_plus sparse_sigmoid squareplus standardize swish tanh
""".split()
FUNCTIONS = {
    **{name: (getattr(jax.nn, name), (X,)) for name in ACTIVATIONS},
    "one_hot": (lambda x: jax.nn.one_hot(x, 9), (TOKENS,)),
    "dot_product_attention": (
        jax.nn.dot_product_attention,
        (jax.ShapeDtypeStruct((2, 6, 2, 4), jnp.float32),) * 3,
    ),
    "max_pool": (lambda x: nn.max_pool(x, (2, 2), (2, 2)), (IMAGE,)),
    "avg_pool": (lambda x: nn.avg_pool(x, (2, 2), (2, 2)), (IMAGE,)),
    "min_pool": (
        lambda x: nn.pool(x, jnp.inf, lax.min, (2, 2), (2, 2), "VALID"),
        (IMAGE,),
    ),
    "dropout": (
        lambda x: nn.Dropout(0.5, deterministic=False).apply(
            {}, x, rngs={"dropout": jax.random.key(0)}
        ),
        (X,),
    ),
    "normal": (lambda x: x + jax.random.normal(jax.random.key(0), x.shape), (X,)),
    "associative_scan": (lambda x: lax.associative_scan(jnp.add, x), (X,)),
    "cumulative": (lambda x: jnp.cumsum(x) + lax.cummax(x.reshape(-1)), (X,)),
    "sort and top_k": (lambda x: jnp.sort(x)[:, :3] + lax.top_k(x, 3)[0], (X,)),
    "segment_sum": (lambda x: jax.ops.segment_sum(x, jnp.array([0, 1]), 2), (X,)),
    "cond": (lambda x: lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x), (X,)),
    "while_loop": (lambda x: lax.while_loop(lambda x: x.sum() < 9, jnp.exp, x), (X,)),
    "fori_loop": (lambda x: lax.fori_loop(0, 3, lambda _, x: jnp.sin(x), x), (X,)),
    "checkpoint": (jax.checkpoint(jnp.sin), (X,)),
}


def linen_layer(name: str):
    module, x = LINEN[name]
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    return module.apply, (variables, x)


def nnx_layer(name: str):
    make, x = NNX[name]
    graph, state = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
    return lambda state, x: nnx.merge(graph, state)(x), (state, x)


def names_in(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        yield node.name
        for body in node.subs:
            yield from names_in(body)


def emitted(fn, arguments) -> set[str]:
    """The primitives of a function, and of its gradient where it has one."""
    found = set(names_in(trace(fn, *arguments).graph))

    def total(*arguments):
        leaves = jax.tree.leaves(fn(*arguments))
        return sum(leaf.sum() for leaf in leaves if leaf.dtype == jnp.float32)

    try:
        slopes = trace(jax.grad(total, allow_int=True), *arguments)
    except (TypeError, ValueError):  # nothing runs backwards through a while loop
        return found
    return found | set(names_in(slopes.graph))


def check_homes(names: set[str]) -> None:
    homeless = sorted(name for name in names if RULES[name].label is None)
    rules = "\n".join(f"{name}: {rules_of(name)}" for name in sorted(names))
    assert not homeless, f"without a label rule: {homeless}; the others:\n{rules}"


@pytest.mark.parametrize("name", LINEN)
def test_linen_layers_have_homes(name):
    check_homes(emitted(*linen_layer(name)))


@pytest.mark.parametrize("name", NNX)
def test_nnx_layers_have_homes(name):
    check_homes(emitted(*nnx_layer(name)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_homes(name):
    with jax.numpy_rank_promotion("allow"):
        check_homes(emitted(*FUNCTIONS[name]))


def test_every_class_is_of_primitives_with_rules():
    """But for names that another version of JAX may use, and what is only costly."""
    costly = {"triangular_solve"}
    for kind, names in primitives.CLASSES.items():
        assert all(name in RULES for name in names - costly), kind


def told_rules() -> str:
    """A line a primitive: where each of its rules stands."""
    lines = []
    for name in sorted(RULES):
        rules = rules_of(name).items()
        told = (f"{kind}={rule.removeprefix(HOME)}" for kind, rule in rules)
        lines.append(" ".join([name, *told]) + "\n")
    return "".join(lines)


TOLD = told_rules()  # before another test teaches a primitive


def test_rules_stand_where_they_are_listed():
    """A rule that is lost or new shows; `python -m tests.trace.test_primitive_table`
    writes the list anew."""
    assert LISTED.read_text(encoding="utf-8") == TOLD


def test_an_unknown_primitive_has_no_home():
    assert rules_of("unheard_of") == {} and RULES["unheard_of"].label is None


def test_a_primitive_has_one_home():
    """All the rules of a primitive stand in one file, but for shared ones."""
    shared = {"gamepruning.trace.labels", "gamepruning.trace.rules.parts"}
    for name in RULES:
        rules = [getattr(RULES[name], kind) for kind in rules_of(name)]
        homes = {rule.__module__ for rule in rules} - shared
        assert len(homes) <= 1, (name, homes)


@pytest.mark.parametrize("name", ["dot_general", "scan", "reshape"])
def test_a_name_stands_in_at_most_three_files(name):
    files = sorted(p.name for p in PACKAGE.rglob("*.py") if name in words_in(p))
    assert len(files) <= 3, files


def words_in(path: Path) -> set[str]:
    """The words in a file's strings, docstrings apart."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    strings = {
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    comments = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return {word for node in strings - comments for word in str(node.value).split()}


if __name__ == "__main__":
    LISTED.write_text(TOLD, encoding="utf-8")
