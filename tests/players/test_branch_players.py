"""Residual branches as players: found, gated, valued, and gone."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gamepruning as gp
from tests.zoo import CASES

WIDTH, HIDDEN, LAYERS = 4, 6, 3
NUMBERS = np.random.default_rng(0)


def weight(*shape: int) -> jax.Array:
    draws = NUMBERS.standard_normal(shape) / shape[-2] ** 0.5
    return jnp.asarray(draws, jnp.float32)


def norm(x, scale):
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-6) * scale


def attend(x, w):
    q, k, v = (norm(x, w["norm"][None, None]) @ w[name] for name in "qkv")
    return jax.nn.softmax(jnp.einsum("btd,bsd->bts", q, k)) @ v @ w["o"]


def feed(x, w):
    return jnp.tanh(norm(x, w["norm"][None, None]) @ w["up"]) @ w["down"]


def layer(x, w, gates=(1.0, 1.0)):
    """A layer of a transformer; Python adds the bias to the sum."""
    x = x + gates[0] * attend(x, w["attention"])
    bias = w["mlp"]["bias"][None, None]
    return x + gates[1] * feed(x, w["mlp"]) + gates[1] * bias


def make_layer() -> dict:
    square = {name: weight(WIDTH, WIDTH) for name in "qkvo"}
    mlp = {"up": weight(WIDTH, HIDDEN), "down": weight(HIDDEN, WIDTH)}
    scale = jnp.linspace(0.5, 1.5, WIDTH)
    bias = weight(1, WIDTH)[0]
    return {
        "attention": {"norm": scale, **square},
        "mlp": {"norm": scale, "bias": bias, **mlp},
    }


ROWS = [make_layer() for _ in range(LAYERS)]
ENDS = {"in": weight(5, WIDTH), "out": weight(WIDTH, 3)}
X, Y = weight(2, 4, 5), jnp.array([[0, 1, 2, 0]] * 2)


def unrolled(params, x):
    x = x @ params["in"]
    for w in params["layers"]:
        x = jax.checkpoint(layer)(x, w)
    return x @ params["out"]


def scanned(params, x):
    def turn(x, w):
        return jax.checkpoint(layer)(x, w), None

    return jax.lax.scan(turn, x @ params["in"], params["layers"])[0] @ params["out"]


def by_hand(gates, x=X):
    """The same with gates [2 L] on the branches."""
    x = x @ ENDS["in"]
    for k, w in enumerate(ROWS):
        x = layer(x, w, gates[2 * k : 2 * k + 2])
    return x @ ENDS["out"]


class Found(NamedTuple):
    apply: object
    params: dict
    players: gp.Players


def find(apply, params, *inputs, **options) -> Found:
    players = gp.find_players(apply, params, *inputs, granularity="branch", **options)
    return Found(apply, params, players)


@pytest.fixture(scope="module")
def stack():
    stacked = jax.tree.map(lambda *rows: jnp.stack(rows), *ROWS)
    return find(scanned, {**ENDS, "layers": stacked}, X)


@pytest.fixture(scope="module", params=["unrolled", "scanned"])
def model(request, stack):
    if request.param == "scanned":
        return stack
    return find(unrolled, {**ENDS, "layers": ROWS}, X)


MASK = np.array([1, 0, 0, 0, 1, 1], bool)  # a branch of layer 0, all of layer 1


def cut(players, params, x, stay) -> gp.compaction.CompactModel:
    return gp.compact(players, params, np.array(stay), inputs=(x,))


# -- who there is ----------------------------------------------------------------------


def test_each_branch_of_each_layer_is_a_player(model):
    players = model.players
    assert players.num_players == 2 * LAYERS and players.granularity == "branch"
    at = "layers[{}]/{}" if model.apply is scanned else "layers/{}/{}"
    names = [at.format(k, name) for k in range(LAYERS) for name in ("attention", "mlp")]
    assert players.names == tuple(names)
    assert repr(players) == "Players(6 branches: branches 6)"
    assert {row.path for row in players.frozen} == {"in", "out"}
    told = players.explain()
    assert " branch " in told and "it is outside of the residual branches" in told
    shown = "layers[0-2]/mlp" if model.apply is scanned else "layers/{0-2}/mlp"
    assert shown in told
    assert players.to_dict()["families"][0]["name"] == "branches"


def test_gates_are_those_of_the_branches(model):
    gated = jax.jit(lambda g: model.players.gated(model.params, g, X))
    for gates in (jnp.linspace(0.1, 1.2, 6), 1.0 * MASK):
        np.testing.assert_allclose(gated(gates), by_hand(gates), rtol=1e-4, atol=1e-5)


def test_gates_have_a_gradient_and_map(stack):
    gates = jnp.linspace(0.1, 1.2, 6)
    loss = lambda fn: lambda gates: jnp.sin(fn(gates)).sum()  # noqa: E731
    gated = lambda g: stack.players.gated(stack.params, g, X)  # noqa: E731
    slope = jax.jit(jax.grad(loss(gated)))(gates)
    expected = jax.jit(jax.grad(loss(by_hand)))(gates)
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-5)
    many = jnp.stack([MASK, ~MASK])
    for out, mask in zip(jax.vmap(gated)(many), many, strict=True):
        np.testing.assert_allclose(out, by_hand(1.0 * mask), rtol=1e-4, atol=1e-5)


def test_what_the_gates_do_not_reach_is_computed_once(model):
    players, gates = model.players, jnp.asarray(MASK)
    varying = np.arange(6) > 3
    found = players.split(model.params, (X,), varying)
    shared = found.prefix(model.params, gates, X)
    outputs = found.suffix(shared, gates & ~varying)
    expected = players.gated(model.params, gates & ~varying, X)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


def test_values_are_those_of_the_model_without_the_branches(stack):
    metric = lambda out, y: -gp.cross_entropy(out, y)  # noqa: E731
    value_fn = gp.value_function(stack.players, stack.params, metric, X, Y)
    masks = np.array([MASK, ~MASK, MASK | ~MASK, MASK & ~MASK])
    expected = [metric(by_hand(1.0 * mask), Y) for mask in masks]
    np.testing.assert_allclose(value_fn(masks), expected, rtol=1e-5)
    worth = jax.jit(lambda gates: metric(by_hand(gates), Y))
    brute = gp.exact_shapley(lambda m: np.array([worth(1.0 * row) for row in m]), 6)
    shapley = gp.exact_shapley(value_fn, 6)
    np.testing.assert_allclose(shapley.value, brute.value, rtol=1e-3, atol=1e-6)


def test_scorers_see_the_branches(stack):
    players, params = stack.players, stack.params
    loss = lambda gates: gp.cross_entropy(by_hand(gates, X[:1]), Y[:1])  # noqa: E731
    slope = jax.jit(jax.grad(loss))(jnp.ones(6))
    taylor = gp.taylor_scores(players, params, gp.cross_entropy, X[:1], Y[:1])
    np.testing.assert_allclose(taylor.value, abs(slope), rtol=1e-3, atol=1e-6)
    energies = [
        sum(float(jnp.square(leaf).sum()) for leaf in jax.tree.leaves(w[name]))
        for w in ROWS
        for name in ("attention", "mlp")
    ]
    found = gp.magnitude_scores(players, params).value
    np.testing.assert_allclose(jnp.square(found), energies, rtol=1e-5)
    x, turned = X @ ENDS["in"], []
    for w in ROWS:
        for gates in ((1.0, 0.0), (0.0, 1.0)):
            after = layer(x, w, gates)
            turned.append(1 - optax.cosine_similarity(x, after).mean())
            x = after
    scores = gp.baselines.influence_scores(players, params, X)
    np.testing.assert_allclose(scores.value, turned, rtol=1e-3, atol=1e-5)
    assert (gp.baselines.activation_scores(players, params, X).value > 0).all()


# -- who leaves ------------------------------------------------------------------------


def test_a_small_model_has_neither_their_parameters_nor_their_equations(model):
    params, players = model.params, model.players
    state = optax.adam(1e-3).init(params)
    small = gp.compact(players, params, MASK, inputs=(X,), opt_state=state)
    np.testing.assert_allclose(
        small.apply(small.params, X), by_hand(1.0 * MASK), rtol=1e-4, atol=1e-5
    )
    one = small.apply(small.params, X[:1])
    np.testing.assert_allclose(one, by_hand(1.0 * MASK, X[:1]), rtol=1e-4, atol=1e-5)
    left = gp.compaction.count_params(small.params)
    own = [gp.compaction.count_params(w[n]) for w in ROWS for n in ("attention", "mlp")]
    assert left == gp.compaction.count_params(ENDS) + sum(np.array(own)[MASK])
    assert gp.compaction.count_params(small.opt_state[0].mu) == left
    assert small.report.macs.after < 0.65 * small.report.macs.before
    for unit in ("params", "bytes", "macs"):
        size = gp.players.size_of(players, unit)
        count = getattr(small.report, unit)
        assert size.count(MASK) == count.after == round(float(size(MASK))), unit
        assert size.count(MASK | True) == count.before
    assert jax.tree.structure(small.params) == jax.tree.structure(params)


def test_plans_say_who_left(model, tmp_path):
    players, params = model.players, model.params
    small = gp.compact(players, params, MASK, inputs=(X,))
    small.plan.save(tmp_path / "plan.json")
    plan = gp.Plan.load(tmp_path / "plan.json")
    assert plan == small.plan and plan.families[0].name == "branches"
    np.testing.assert_array_equal(plan.mask(players), MASK)
    jax.tree.map(np.testing.assert_array_equal, plan.apply(params), small.params)
    np.testing.assert_array_equal(players.mask_from_kept(plan.kept), MASK)
    with pytest.raises(gp.InputError, match="a plan for another model"):
        players.mask_from_kept({("in", 0): np.array([0])})


def test_zeros_do_the_same(model):
    zeroed = model.players.exclude(model.params, MASK)
    expected = by_hand(1.0 * MASK)
    np.testing.assert_allclose(model.apply(zeroed, X), expected, rtol=1e-4, atol=1e-5)
    halves = model.players.participate(model.params, jnp.full(6, 0.5))
    own = halves["layers"][0] if model.apply is unrolled else halves["layers"]
    before = model.params["layers"][0] if model.apply is unrolled else None
    before = model.params["layers"] if before is None else before
    np.testing.assert_allclose(own["mlp"]["up"], before["mlp"]["up"] / 2)


def test_everybody_may_leave(model):
    nobody = np.zeros(6, bool)
    small = gp.compact(model.players, model.params, nobody, inputs=(X,))
    expected = X @ ENDS["in"] @ ENDS["out"]
    np.testing.assert_allclose(small.apply(small.params, X), expected, rtol=1e-5)
    assert len(jax.make_jaxpr(small.apply)(small.params, X).jaxpr.eqns) == 2
    assert small.report.params.after == gp.compaction.count_params(ENDS)


def test_checkpoints_return_what_is_read_alone():
    params = {**ENDS, "layers": ROWS}
    players = find(unrolled, params, X).players
    small = jax.make_jaxpr(players.compact_apply(MASK))
    kept = gp.compaction.slice_tree(params, players.kept_indices(MASK))
    calls = [e for e in small(kept, X).jaxpr.eqns if "policy" in e.params]
    assert [len(call.outvars) for call in calls] == [1, 1]  # layer 1 is gone


def test_a_stack_that_loses_whole_layers_is_a_shorter_stack(stack):
    mask = np.array([1, 1, 0, 0, 1, 1], bool)
    small = gp.compact(stack.players, stack.params, mask, inputs=(X,))
    assert {len(leaf) for leaf in jax.tree.leaves(small.params["layers"])} == {2}
    np.testing.assert_allclose(
        small.apply(small.params, X), scanned(small.params, X), rtol=1e-5, atol=1e-6
    )
    assert small.report.notes == ()


def test_layers_that_lost_different_branches_run_in_several_loops(stack):
    small = gp.compact(stack.players, stack.params, MASK, inputs=(X,))
    assert "2 of 3 are left and run in 2 loops" in small.report.notes[0]
    lengths = jax.tree.map(len, small.params["layers"])
    assert set(lengths["attention"].values()) == {2}
    assert set(lengths["mlp"].values()) == {1}
    jaxpr = jax.make_jaxpr(small.apply)(small.params, X).jaxpr
    loops = [e.params["length"] for e in jaxpr.eqns if e.primitive.name == "scan"]
    assert loops == [1, 1]


# -- spellings -------------------------------------------------------------------------


def square(*names: str) -> dict:
    return {name: weight(WIDTH, WIDTH) for name in names}


def names_of(apply, names: str, **options) -> tuple:
    x = weight(3, WIDTH)
    return find(apply, square(*names.split()), x, **options).players.names


def test_sums_of_branches_in_any_order_are_branches():
    def beside(p, x):  # as in GPT-J and PaLM
        return (x @ p["a"]) + jnp.tanh(x @ p["b"]) + x

    def in_turn(p, x):
        return (x + jnp.tanh(x @ p["a"])) + x @ p["b"]

    def behind(p, x):  # a norm after the sum
        x = jnp.tanh(x + x @ p["a"])
        return x @ p["b"] + x

    for apply in (beside, in_turn, behind):
        assert names_of(apply, "a b") == ("a", "b")


def test_a_shortcut_that_pads_stays():
    def apply(p, x):
        return jnp.pad(x[:, ::2], ((0, 0), (0, 2))) + jnp.tanh(x @ p["a"])

    def mask(p, tokens):  # of whole numbers: no stream
        x = jnp.sin(tokens.astype(jnp.float32)[:, None] @ p["b"][:1])
        hidden = (tokens > 0).astype(jnp.float32)[:, None]
        return jnp.tanh(x @ p["a"]) @ p["b"] + jnp.broadcast_to(hidden, x.shape)

    assert names_of(apply, "a") == ("a",)
    with pytest.raises(gp.InputError, match="nothing to prune"):
        find(mask, square("a", "b"), jnp.arange(3))


def test_a_branch_in_a_branch_leaves_with_it():
    def apply(p, x):
        y = x @ p["in"]
        y = y + jnp.tanh(y @ p["inner"])
        return x + jnp.sin(y) @ p["out"]

    x = weight(3, WIDTH)
    params = square("in", "inner", "out")
    players = find(apply, params, x).players
    assert players.names == ("inner", "out")
    small = cut(players, params, x, [False, True])
    assert jax.tree.map(len, small.params) == {"in": 4, "inner": 0, "out": 4}
    small = cut(players, params, x, [True, False])
    assert gp.compaction.count_params(small.params) == 0
    size = gp.players.size_of(players, "params")
    masks = np.array([[1, 1], [0, 1], [1, 0]])
    assert [size.count(mask) for mask in masks] == [48, 32, 0]


def test_what_two_branches_share_goes_with_the_last():
    def apply(p, x):
        for name in ("a", "b"):
            x = x + jnp.tanh(x @ p["both"]) @ p[name]
        return x

    x = weight(3, WIDTH)
    params = square("a", "b", "both")
    players = find(apply, params, x).players
    (row,) = players.frozen
    assert row.path == "both" and row.reason == "it is not a alone that reads it"
    small = cut(players, params, x, [False, True])
    assert jax.tree.map(len, small.params) == {"a": 0, "b": 4, "both": 4}
    small = cut(players, params, x, [False, False])
    assert gp.compaction.count_params(small.params) == 0


def test_gelu_norms_and_other_sums_are_no_branches():
    def apply(p, x):
        x = x + 0.1 * x**3 + jnp.sin(x)  # nothing costly is added
        x = norm(x, 1.0) @ p["a"] + jnp.tanh(x) @ p["b"]  # two that are as long
        return x

    with pytest.raises(gp.InputError, match="nothing to prune: no residual branch"):
        names_of(apply, "a b")


def test_keep_names_branches_or_parameters():
    def apply(p, x):
        x = x + jnp.tanh(x @ p["a"]) @ p["c"]
        return x + x @ p["b"]

    assert names_of(apply, "a b c") == ("c", "b")
    assert names_of(apply, "a b c", keep="b") == ("c",)
    assert names_of(apply, "a b c", keep=["a"]) == ("b",)
    with pytest.raises(gp.InputError, match="keep names 'd', which is neither a branc"):
        names_of(apply, "a b c", keep="d")
    with pytest.raises(gp.InputError, match="keep names all of c, b"):
        names_of(apply, "a b c", keep=["b", "c"])


def test_inputs_and_outputs_do_not_play_with_branches():
    with pytest.raises(gp.InputError, match="takes neither input_axes nor"):
        names_of(lambda p, x: x + x @ p["a"], "a", input_axes={0: 1})


@pytest.mark.parametrize("axis, backwards", [(1, False), (0, True)])
def test_layers_may_be_stacked_along_any_axis_and_run_backwards(axis, backwards):
    """With a result for each layer, a table of constants, and bfloat16 in between."""
    steps = jnp.arange(4.0)

    def apply(p, x):
        def turn(x, row):
            w, step = row
            wide = x.astype(jnp.float32)
            wide = wide + jnp.tanh(wide @ w["up"] + step[None, None]) @ w["down"]
            return wide.astype(jnp.bfloat16), ()

        rows = {k: jnp.moveaxis(w, axis, 0) for k, w in p.items()}
        rows = {k: w.astype(jnp.float32) for k, w in rows.items()}
        x, _ = jax.lax.scan(turn, x, (rows, steps), reverse=backwards)
        return x

    params = {"up": weight(4, 5, 6), "down": weight(4, 6, 5)}
    params = {k: jnp.moveaxis(w, 0, axis) for k, w in params.items()}
    x = jnp.ones((2, 5), jnp.bfloat16)
    players = find(apply, params, x).players
    assert players.num_players == 4
    small = cut(players, params, x, [True, False, True, False])
    assert small.params["up"].shape[axis] == 2
    assert len(jax.make_jaxpr(small.apply)(small.params, x).jaxpr.eqns) < 10


def test_a_loop_whose_turns_are_read_runs_them_all():
    def apply(p, x):
        def turn(x, w):
            x = x + jnp.tanh(x @ w)
            return x, x.sum()

        return jax.lax.scan(turn, x, p)

    params, x = weight(3, WIDTH, WIDTH), jnp.ones((2, WIDTH))
    players = find(apply, params, x).players
    small = cut(players, params, x, [True, False, True])
    assert small.params.shape[0] == 2 and small.apply(small.params, x)[1].shape == (3,)


def test_weights_that_all_turns_share_are_one_player():
    def apply(p, x):
        turn = lambda x, _: (x + jnp.tanh(x @ p["w"]), None)  # noqa: E731
        return jax.lax.scan(turn, x @ p["in"], length=5)[0] @ p["out"]

    params, x = square("w", "in", "out"), jnp.ones((2, WIDTH))
    players = find(apply, params, x).players
    assert players.names == ("w",)
    small = cut(players, params, x, [False])
    assert small.params["w"].size == 0
    assert len(jax.make_jaxpr(small.apply)(small.params, x).jaxpr.eqns) == 2


# -- frameworks ------------------------------------------------------------------------


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        x = x + nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(x))
        hidden = nn.tanh(nn.Dense(HIDDEN)(nn.RMSNorm()(x)))
        return x + nn.Dropout(0.5, deterministic=True)(nn.Dense(WIDTH)(hidden)), None


class Net(nn.Module):
    layers: int = 3

    @nn.compact
    def __call__(self, x):
        stack = nn.scan(
            nn.remat(Block, prevent_cse=False),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=self.layers,
        )
        return nn.Dense(2)(stack(name="blocks")(nn.Dense(WIDTH)(x), None)[0])


def test_a_linen_module_of_fewer_layers_is_what_is_left():
    net = Net()
    shapes = jax.eval_shape(net.init, jax.random.key(0), X)
    variables = jax.tree.map(lambda s: weight(1, *s.shape)[0], shapes)
    apply, params = gp.from_linen(net, variables)
    players = find(apply, params, X).players
    assert players.names[2:4] == (
        "blocks[1]/MultiHeadDotProductAttention_0",
        "blocks[1]/Dense_1",
    )
    small = cut(players, params, X, [True, True, False, False, True, True])
    assert str(gp.to_module(small, net, X)) == "SmallModule(Net: layers 3 -> 2)"


def test_a_resnet_keeps_its_projections():
    """Twice as many channels need a projection; the block beside it may leave."""
    model = CASES["resnet18"].model("float32", 0)
    players = find(model.apply, model.params, *model.inputs).players
    assert players.names == tuple(f"BasicBlock_{k}" for k in range(8))
    kept = {row.path: row.reason for row in players.frozen}
    shortcut = "params/BasicBlock_2/Conv_2/kernel"
    assert kept[shortcut].startswith("it is the shortcut beside BasicBlock_2, which ")
    assert "BasicBlock_2 is beside a shortcut, which stays" in players.explain()
    size = gp.players.size_of(players, "params")
    nobody = np.zeros(8, bool)
    small = jax.eval_shape(
        lambda p: gp.compaction.slice_tree(p, players.kept_indices(nobody)),
        model.params,
    )
    assert gp.compaction.count_params(small) == size.count(nobody) == 4034


def test_players_without_competition_may_take_turns():
    """They see nobody, so a round of turns is one at once; whatever the players are."""
    params = {"w": weight(4, 4), "out": weight(4, 2)}
    x = weight(6, 4)

    def apply(params, x):
        return (x + jnp.tanh(x @ params["w"])) @ params["out"]

    players = gp.find_players(apply, params, x, granularity="branch")

    def loss(params, gates):
        return jnp.square(players.gated(params, gates, x)).mean()

    config = gp.UtilityConfig(beta=0.1)
    turns, once = (
        gp.solve(players, params, loss, config, dynamics=name)
        for name in ("sequential", "simultaneous")
    )
    np.testing.assert_allclose(turns.gates, once.gates, atol=1e-4)
