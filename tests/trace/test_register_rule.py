"""A new primitive: opaque at first, then each rule makes one thing possible."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import Primitive
from jax.interpreters import mlir

import gamepruning as gp
from gamepruning.trace.rules import RULES, rules_of
from gamepruning.trace.rules.elementwise import elementwise
from gamepruning.trace.zeros import ZERO

NAMES = ("my_doubling", "my_widening", "my_adding", "my_product")


@pytest.fixture(autouse=True)
def forget_afterwards() -> Iterator[None]:
    yield
    for name in NAMES:
        RULES.remove(name)


def make_primitive(name: str, fn) -> Primitive:
    primitive = Primitive(name)
    primitive.def_impl(fn)
    primitive.def_abstract_eval(
        lambda x, **params: jax.core.ShapedArray(
            jax.eval_shape(lambda x: fn(x, **params), x).shape, x.dtype
        )
    )
    mlir.register_lowering(primitive, mlir.lower_fun(fn, multiple_results=False))
    return primitive


DOUBLING = make_primitive("my_doubling", lambda x: 2 * x)
WIDENING = make_primitive(
    "my_widening", lambda x, *, width: jnp.broadcast_to(x[..., None], (*x.shape, width))
)
X = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)
PARAMS = {
    "one": jnp.linspace(-1.0, 1.0, 15).reshape(3, 5),
    "two": jnp.linspace(-0.5, 1.0, 20).reshape(5, 4),
    "three": jnp.linspace(0.5, 1.0, 8).reshape(4, 2),
}
SIX = np.array([True, False, True, True, False, True, True, True, True])


def apply_doubling(params, x):
    hidden = DOUBLING.bind(x @ params["one"])
    return jax.nn.relu(hidden) @ params["two"] @ params["three"]


def check_smaller(players: gp.Players, mask: np.ndarray) -> None:
    small = gp.compact(players, PARAMS, mask)
    expected = players.gated(PARAMS, mask, X)
    np.testing.assert_allclose(small.apply(small.params, X), expected, rtol=1e-5)


def test_without_a_rule_it_freezes_what_it_meets():
    players = gp.find_players(apply_doubling, PARAMS, X)
    assert players.opaque == ("my_doubling",)
    assert [family.name for family in players.families] == ["two"]


@pytest.mark.parametrize("rules", [{"label": elementwise}, {"like": "tanh"}])
def test_with_a_label_rule_players_pass(rules):
    gp.register_rule("my_doubling", **rules)
    players = gp.find_players(apply_doubling, PARAMS, X)
    assert players.opaque == () and players.num_players == 9
    check_smaller(players, SIX)


def gram(params, x):
    hidden = DOUBLING.bind(x @ params["one"])
    return hidden @ hidden.T


def test_exclude_needs_the_zero_rule():
    """2 x is 0 where x is: zeroed weights are enough, once that is known."""
    mask = np.array([True, False, True, True, True])
    gp.register_rule("my_doubling", label=elementwise)
    players = gp.find_players(gram, PARAMS, X)
    with pytest.raises(ValueError, match="cannot be proved"):
        players.exclude(PARAMS, mask)
    zero = RULES["tanh"].zero
    gp.register_rule("my_doubling", label=elementwise, zero=zero)
    players = gp.find_players(gram, PARAMS, X)
    zeroed = players.exclude(PARAMS, mask)
    expected = players.gated(PARAMS, mask, X)
    np.testing.assert_allclose(gram(zeroed, X), expected, rtol=1e-6)


def test_a_zero_rule_gets_and_gives_levels():
    seen = []

    def zero(zeros, node, levels):
        seen.append(levels)
        return [levels]

    gp.register_rule("my_doubling", like="tanh", zero=zero)
    players = gp.find_players(gram, PARAMS, X)
    players.exclude(PARAMS, np.array([True, False, True, True, True]))
    assert seen[-1][1] == ZERO


def doubled_weights(params, x):
    return jax.nn.relu(x @ DOUBLING.bind(params["one"])) @ params["two"]


def test_ownership_needs_the_usage_rule():
    """A doubled weight is still the weight that makes the unit."""
    gp.register_rule("my_doubling", label=elementwise)
    players = gp.find_players(doubled_weights, PARAMS, X)
    assert "out" not in {piece.role for piece in players.families[0].slices}
    gp.register_rule("my_doubling", label=elementwise, usage=RULES["neg"].usage)
    players = gp.find_players(doubled_weights, PARAMS, X)
    roles = {piece.path: piece.role for piece in players.families[0].slices}
    assert roles == {"one": "out", "two": "in"}


def apply_widening(params, x):
    hidden = WIDENING.bind(jnp.tanh(x @ params["one"]), width=4)
    return jnp.einsum("bhw,hw->bw", hidden, params["two"]) @ params["three"]


def label_widening(analysis, node, labels):
    return [(*labels, analysis.fresh(node.params["width"]))]


def rebind_widening(sizes, node, operand):
    return [node.primitive.bind(operand, width=sizes.out(0)[-1])]


def test_parameters_that_hold_sizes_need_a_rebind_rule():
    gp.register_rule("my_widening", label=label_widening)
    mask = np.ones(9, bool)
    players = gp.find_players(apply_widening, PARAMS, X)
    assert sorted(family.size for family in players.families) == [4, 5]
    for family in players.families:  # operand and result lose entries
        mask[family.start] = False
    with pytest.raises(gp.InputError, match="my_widening gave .* a rebind rule"):
        check_smaller(players, mask)
    gp.register_rule("my_widening", label=label_widening, rebind=rebind_widening)
    check_smaller(gp.find_players(apply_widening, PARAMS, X), mask)


def test_what_is_missing_is_said():
    with pytest.raises(gp.InputError, match="needs a label rule, or like="):
        gp.register_rule("my_doubling")
    with pytest.raises(gp.InputError, match="like='tan_h'.*did you mean tan"):
        gp.register_rule("my_doubling", like="tan_h")


def test_where_the_rules_stand():
    gp.register_rule("my_widening", label=label_widening)
    assert rules_of("my_widening")["label"].endswith("label_widening")
    assert rules_of("unheard_of") == {}


ADDING = Primitive("my_adding")
ADDING.def_impl(jnp.add)
ADDING.def_abstract_eval(lambda x, y: jax.core.ShapedArray(x.shape, x.dtype))
mlir.register_lowering(ADDING, mlir.lower_fun(jnp.add, multiple_results=False))


def test_an_addition_of_ones_own_begins_a_branch():
    def with_branch(params, x):
        x = x @ params["in"]
        return ADDING.bind(x, jax.nn.relu(x @ params["one"]) @ params["two"])

    shapes = {"in": (3, 4), "one": (4, 6), "two": (6, 4)}
    rng = np.random.default_rng(0)
    params = {k: jnp.asarray(rng.normal(size=s), "float32") for k, s in shapes.items()}
    gp.register_rule("my_adding", like="add")  # ties its axes in the same way
    with pytest.raises(gp.InputError, match="branch"):
        gp.find_players(with_branch, params, X, granularity="branch")
    gp.register_rule("my_adding", same_as="add")
    players = gp.find_players(with_branch, params, X, granularity="branch")
    assert players.num_players == 1
    small = gp.compact(players, params, np.zeros(1, bool), min_units=0)
    np.testing.assert_allclose(
        small.apply(small.params, X), X @ params["in"], rtol=1e-5
    )
    assert "one" not in small.params or small.params["one"].size == 0
    with pytest.raises(gp.InputError, match="same_as='ad': no primitive of this name"):
        gp.register_rule("my_adding", same_as="ad")


def test_a_reader_is_fitted_to_what_passes_behind_an_addition_of_ones_own():
    def apply(add, params, x):
        out = add(jax.nn.relu(x @ params["one"]) @ params["two"], jnp.ones((len(x), 4)))
        return jax.nn.relu(out) @ params["three"]

    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(64, 3)), "float32")
    draw = lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), "float32")  # noqa: E731
    params = jax.tree.map(draw, PARAMS)

    def repaired(add):
        players = gp.find_players(partial(apply, add), params, x)
        return gp.repair(players, params, np.arange(9) > 2, x).params["two"]

    gp.register_rule("my_adding", like="add")
    plain, ours = repaired(jnp.add), repaired(ADDING.bind)
    assert not np.allclose(plain, ours, atol=1e-3)  # fitted to the sum's result alone
    gp.register_rule("my_adding", same_as="add")
    np.testing.assert_allclose(repaired(ADDING.bind), plain, atol=1e-4)


NUMBERS = {"dimension_numbers": (((1,), (0,)), ((), ()))}
PRODUCT = Primitive("my_product")
PRODUCT.def_impl(lambda x, y, **params: x @ y)
PRODUCT.def_abstract_eval(
    lambda x, y, **params: jax.core.ShapedArray((x.shape[0], y.shape[1]), x.dtype)
)
mlir.register_lowering(
    PRODUCT, mlir.lower_fun(lambda x, y, **params: x @ y, multiple_results=False)
)


def test_multiply_adds_of_a_product_of_ones_own_are_counted():
    def apply(params, x):
        return PRODUCT.bind(jax.nn.relu(x @ params["one"]), params["two"], **NUMBERS)

    gp.register_rule("my_product", same_as="dot_general")
    params = {name: PARAMS[name] for name in ("one", "two")}
    players = gp.find_players(apply, params, X)
    small = gp.compact(players, params, np.arange(5) < 2)
    assert small.report.macs.before == 2 * (3 * 5 + 5 * 4)
    assert small.report.macs.after == 2 * (3 * 2 + 2 * 4)


def test_nothing_is_the_same_as_itself():
    with pytest.raises(gp.InputError, match="same_as='my_adding': no primitive"):
        gp.register_rule("my_adding", same_as="my_adding")
