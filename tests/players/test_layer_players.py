"""(Layer, unit) players of scanned layers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import gamepruning as gp
from gamepruning.selection import round_mask
from gamepruning.trees.paths import LayerRows

LAYERS, WIDTH, HIDDEN = 3, 4, 6
KEY = jax.random.key(0)


def make_params(axis: int = 0) -> dict:
    """Parameters whose layers are stacked along an axis."""
    shapes = {"up": (WIDTH, HIDDEN), "b": (HIDDEN,), "down": (HIDDEN, WIDTH)}
    keys = jax.random.split(KEY, 5)
    layers = {
        name: jnp.moveaxis(jax.random.normal(key, (LAYERS, *shape)), 0, axis)
        for (name, shape), key in zip(shapes.items(), keys, strict=False)
    }
    return {
        "in": jax.random.normal(keys[3], (5, WIDTH)),
        "layers": layers,
        "out": jax.random.normal(keys[4], (WIDTH, 2)),
    }


def turn(x, w, gates=1.0):
    return x + (jnp.cos(x @ w["up"] + w["b"][None]) * gates) @ w["down"], None


def apply(params, x):
    """The network, scanned."""
    x = jax.lax.scan(turn, x @ params["in"], params["layers"])[0]
    return x @ params["out"]


def by_hand(params, gates, x):
    """The network, layer by layer, with gates [L, F]."""
    x = x @ params["in"]
    for layer in range(LAYERS):
        own = jax.tree.map(lambda leaf, k=layer: leaf[k], params["layers"])
        x, _ = turn(x, own, gates[layer][None])
    return x @ params["out"]


X = jax.random.normal(jax.random.key(1), (7, 5))
PARAMS = make_params()


def find(model, params, **options) -> gp.Players:
    """The players but the residual stream."""
    return gp.find_players(model, params, X, keep="in", **options)


@pytest.fixture(scope="module")
def players():
    return find(apply, PARAMS, layers="each")


@pytest.fixture(scope="module")
def mask():
    """Two of the six units in each layer, others in each."""
    rows = np.zeros((LAYERS, HIDDEN), bool)
    rows[[0, 0, 1, 1, 2, 2], [0, 3, 1, 3, 4, 5]] = True
    return rows.reshape(-1)


def test_each_layer_has_players_of_its_own(players):
    assert players.num_players == LAYERS * HIDDEN
    assert [f.name for f in players.families] == [f"layers[{k}]/up" for k in range(3)]
    assert players.names[HIDDEN + 2] == "layers[1]/up[2]"
    assert find(apply, PARAMS).num_players == HIDDEN


def test_the_unit_of_all_layers_is_told_how_to_be_told_apart(players):
    told = find(apply, PARAMS).explain()
    assert (
        f'all {LAYERS} scanned layers is one player: find_players(..., layers="' in told
    )
    assert "layers[0-2]/up" in players.explain()
    assert f"{LAYERS} x {HIDDEN}" in players.explain()


def test_gates_and_their_gradient_are_those_of_the_layers_one_by_one(players):
    gates = jax.random.uniform(jax.random.key(2), (LAYERS * HIDDEN,))
    loss = lambda fn: lambda gates: jnp.sin(fn(gates)).sum()  # noqa: E731
    ours, slope = jax.value_and_grad(loss(lambda g: players.gated(PARAMS, g, X)))(gates)
    hand = lambda g: by_hand(PARAMS, g.reshape(LAYERS, HIDDEN), X)  # noqa: E731
    value, expected = jax.value_and_grad(loss(hand))(gates)
    np.testing.assert_allclose(ours, value, rtol=1e-5)
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-5)


def test_many_coalitions_at_once(players, mask):
    many = jnp.stack([jnp.asarray(mask), ~jnp.asarray(mask)])
    ours = jax.vmap(lambda m: players.gated(PARAMS, m, X))(many)
    rows = many.reshape(2, LAYERS, HIDDEN)
    for out, row in zip(ours, rows, strict=True):
        np.testing.assert_allclose(out, by_hand(PARAMS, row, X), rtol=1e-5)


def test_what_players_own_is_theirs_in_their_layer(players):
    entries = players.sum_owned(PARAMS).reshape(LAYERS, HIDDEN)
    own = PARAMS["layers"]["up"].sum(1) + PARAMS["layers"]["b"]
    np.testing.assert_allclose(entries, own, rtol=1e-5)
    gates = jnp.arange(LAYERS * HIDDEN) / 10
    scaled = players.participate(PARAMS, gates)["layers"]
    factor = gates.reshape(LAYERS, 1, HIDDEN)
    np.testing.assert_allclose(scaled["up"], PARAMS["layers"]["up"] * factor, rtol=1e-6)
    np.testing.assert_array_equal(scaled["down"], PARAMS["layers"]["down"])


def test_zeroed_weights_are_those_of_the_layer(players, mask):
    zeroed = players.exclude(PARAMS, mask)
    np.testing.assert_allclose(
        apply(zeroed, X), players.gated(PARAMS, mask, X), rtol=1e-5
    )
    assert not zeroed["layers"]["down"][0, 1].any()
    assert zeroed["layers"]["down"][1, 1].all()


def test_moments_are_those_of_the_layer(players):
    mean, _ = players.activation_moments(PARAMS, X)
    x = X @ PARAMS["in"]
    for layer in range(LAYERS):
        own = jax.tree.map(lambda leaf, k=layer: leaf[k], PARAMS["layers"])
        hidden = jnp.cos(x @ own["up"] + own["b"][None])
        here = slice(layer * HIDDEN, (layer + 1) * HIDDEN)
        np.testing.assert_allclose(mean[here], hidden.mean(0), atol=1e-5)
        x, _ = turn(x, own)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_stack_becomes_a_smaller_stack(axis, mask):
    """Layers may be stacked along any axis, as linen's and MaxText's are."""
    params = make_params(axis) if axis == 0 else _second_axis()

    def scanned(params, x):
        layers = {k: jnp.moveaxis(w, axis, 0) for k, w in params["layers"].items()}
        return apply(params | {"layers": layers}, x)

    players = find(scanned, params, layers="each")
    state = optax.adam(1e-3).init(params)
    small = gp.compact(players, params, mask, opt_state=state)
    shapes = jax.tree.map(np.shape, small.params["layers"])
    full = jax.tree.map(np.shape, params["layers"])
    wanted = {
        name: tuple(2 if size == HIDDEN else size for size in shape)
        for name, shape in full.items()
    }
    assert shapes == wanted
    assert jax.tree.map(np.shape, small.opt_state[0].mu["layers"]) == wanted
    rows = np.flatnonzero(mask).reshape(LAYERS, 2) % HIDDEN
    up = jnp.moveaxis(params["layers"]["up"], axis, 0)
    cut = jnp.take_along_axis(up, rows[:, None, :], 2)
    np.testing.assert_array_equal(
        jnp.moveaxis(small.params["layers"]["up"], axis, 0), cut
    )
    plan = gp.Plan.from_dict(small.plan.to_dict())
    assert plan == small.plan and plan.to_dict()["version"] == 2
    assert plan.kept["layers/up", 2].axis == axis
    np.testing.assert_array_equal(plan.mask(players), mask)
    np.testing.assert_array_equal(players.mask_from_kept(plan.kept), mask)
    jax.tree.map(np.testing.assert_array_equal, plan.apply(params), small.params)
    assert small.report.params.after == gp.players.size_of(players).count(mask)
    assert small.report.macs.after == gp.players.size_of(players, "macs").count(mask)


def _second_axis() -> dict:
    params = make_params(1)
    params["layers"]["b"] = jnp.moveaxis(make_params()["layers"]["b"], 0, 1)
    return params


def test_the_same_units_everywhere_are_a_plan_that_older_versions_read(players):
    same = np.tile(np.arange(HIDDEN) < 2, LAYERS)
    small = gp.compact(players, PARAMS, same)
    assert small.plan.to_dict()["version"] == 1
    tied = find(apply, PARAMS)
    np.testing.assert_array_equal(small.plan.mask(tied), same[:HIDDEN])


def test_layers_that_keep_other_numbers_are_refused_with_what_to_do(players, mask):
    uneven = mask.copy()
    uneven[1] = True
    with pytest.raises(gp.InputError, match="3 in layer 0.*uniform=True.*players.pad"):
        gp.compact(players, PARAMS, uneven)
    padded = players.pad(uneven)
    assert padded.reshape(LAYERS, HIDDEN).sum(1).tolist() == [3, 3, 3]
    assert (padded >= uneven).all()
    zeroed = players.exclude(PARAMS, uneven)
    small = gp.compact(players, zeroed, padded)
    ours = small.apply(small.params, X)
    np.testing.assert_allclose(ours, players.gated(PARAMS, uneven, X), rtol=1e-4)


def test_a_choice_for_each_layer_of_equally_many(players):
    scores = np.random.default_rng(0).random(LAYERS * HIDDEN)
    chosen = gp.top_n(scores, 9, players=players, uniform=True)
    rows = np.asarray(chosen).reshape(LAYERS, HIDDEN)
    assert rows.sum(1).tolist() == [3, 3, 3]
    best = np.argsort(-scores.reshape(LAYERS, HIDDEN), 1)[:, :3]
    assert all(
        set(np.flatnonzero(r)) == set(b) for r, b in zip(rows, best, strict=True)
    )
    gp.compact(players, PARAMS, chosen)
    uneven = np.arange(LAYERS * HIDDEN) < 8  # 6, 2, 0
    mended = np.asarray(round_mask(players, uneven, scores, uniform=True))
    assert mended.reshape(LAYERS, HIDDEN).sum(1).tolist() == [3, 3, 3]
    even = gp.top_n(scores, 9, players=players, uniform=True, round_to={"layers/up": 2})
    assert np.asarray(even).reshape(LAYERS, HIDDEN).sum(1).tolist() == [2, 2, 2]
    with pytest.raises(gp.InputError, match="round_to names 'down'.*layers/up"):
        gp.top_n(scores, 9, players=players, round_to={"down": 2})


def test_games_are_played_by_layer(players):
    labels = jnp.arange(7) % 2
    value_fn = gp.value_function(players, PARAMS, gp.negative_cross_entropy, X, labels)
    masks = np.random.default_rng(0).random((5, players.num_players)) < 0.5
    expected = [
        gp.negative_cross_entropy(by_hand(PARAMS, m.reshape(LAYERS, HIDDEN), X), labels)
        for m in masks
    ]
    np.testing.assert_allclose(value_fn(masks), expected, rtol=1e-4)
    arms = gp.removal_arms(players, PARAMS, gp.cross_entropy, X, labels)
    everybody = np.ones(players.num_players, bool)
    everybody[8] = False
    change = (
        -value_fn(everybody[None])[0] + value_fn(np.ones((1, len(everybody)), bool))[0]
    )
    np.testing.assert_allclose(arms.loss_changes()[8], change, atol=1e-4)


def test_residuals_are_hoisted_before_the_layers(players, mask):
    prefix, suffix = players.hoist(PARAMS, X, varying=["layers[1]/up"])
    other = mask.copy()
    other[HIDDEN : 2 * HIDDEN] = True
    ours = suffix(prefix(PARAMS, mask, X), other)
    np.testing.assert_allclose(ours, players.gated(PARAMS, other, X), rtol=1e-5)


def test_whole_families_are_players_by_layer():
    found = find(apply, PARAMS, layers="each", granularity="layer")
    assert found.names == ("layers[0]/up", "layers[1]/up", "layers[2]/up")
    rows = np.repeat([True, False, True], HIDDEN).reshape(LAYERS, HIDDEN)
    ours = found.gated(PARAMS, rows[:, 0], X)
    np.testing.assert_allclose(ours, by_hand(PARAMS, rows, X), rtol=1e-5)


# -- who stays one in all layers -----------------------------------------------------


def _shared(params, x):
    """All layers read one matrix with a row for each unit."""

    def turn(x, w):
        return x + jnp.tanh(jnp.tanh(x @ w["up"]) @ params["all"]) @ w["down"], None

    return jax.lax.scan(turn, x @ params["in"], params["layers"])[0] @ params["out"]


def _carried(params, x):
    """Hidden units are summed up over the layers."""

    def turn(carry, w):
        x, total = carry
        h = jnp.tanh(x @ w["up"])
        return (x + h @ w["down"], total + h), None

    start = x @ params["in"], jnp.zeros((len(x), HIDDEN))
    (x, total), _ = jax.lax.scan(turn, start, params["layers"])
    return x @ params["out"] + total @ params["all"][:, :2]


def _read_outside(params, x):
    """The stack is read by a second loop, too."""
    twice = jax.lax.scan(turn, x @ params["in"], params["layers"])[0]
    return jax.lax.scan(turn, twice, params["layers"])[0] @ params["out"]


def _tabled(params, x):
    """A table with an entry for each unit is computed in every layer."""

    def turn(x, w):
        return x + (jnp.tanh(x @ w["up"]) * jnp.arange(HIDDEN)[None]) @ w["down"], None

    return jax.lax.scan(turn, x @ params["in"], params["layers"])[0] @ params["out"]


TIED = {
    "shared": (_shared, "all layers read or add one array"),
    "carried": (_carried, "it passes from layer to layer"),
    "outside": (_read_outside, "its parameters are read outside"),
    "table": (_tabled, "all layers read or add one array"),
}


@pytest.mark.parametrize("kind", TIED)
def test_what_leaves_its_layer_is_one_player_in_all(kind):
    model, _ = TIED[kind]
    params = PARAMS | {"all": jax.random.normal(KEY, (HIDDEN, HIDDEN))}
    found = find(model, params, layers="each")
    assert max(family.size for family in found.families) == HIDDEN
    assert not any(family.name.startswith("layers[") for family in found.families)


@pytest.mark.parametrize("kind", TIED)
def test_why_a_unit_is_one_player_in_all_layers_is_told(kind):
    """Heads that live within the layer are there, too, so that there is a table."""
    model, reason = TIED[kind]

    def both(params, x):
        return model(params, x) + apply(params["other"], x)

    params = PARAMS | {"all": jax.random.normal(KEY, (HIDDEN, HIDDEN))}
    found = gp.find_players(both, params | {"other": PARAMS}, X, layers="each")
    assert any(f.name.startswith("other/layers[") for f in found.families)
    assert reason in found.explain()


# -- modules -------------------------------------------------------------------------


class LinenLayer(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        h = nn.Dense(HIDDEN, name="up")(nn.LayerNorm()(x))
        return x + nn.Dense(WIDTH, name="down")(nn.relu(h)), None


class LinenStack(nn.Module):
    axis: int = 0

    @nn.compact
    def __call__(self, x):
        rows = {"params": self.axis}
        layers = nn.scan(
            nn.remat(LinenLayer, prevent_cse=False),
            variable_axes=rows,
            split_rngs={"params": True},
            length=LAYERS,
        )
        return layers(name="blocks")(x, None)[0]


class NnxLayer(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.up = nnx.Linear(WIDTH, HIDDEN, rngs=rngs)
        self.down = nnx.Linear(HIDDEN, WIDTH, rngs=rngs)

    def __call__(self, x):
        return x + self.down(nnx.relu(self.up(x)))


class NnxStack(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        make = nnx.vmap(NnxLayer, in_axes=(nnx.StateAxes({...: 0}),), out_axes=0)
        keys = nnx.split_rngs(splits=LAYERS)(lambda rngs: make(rngs))
        self.blocks = keys(rngs)

    def __call__(self, x):
        run = nnx.scan(
            lambda x, block: block(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry
        )
        return run(x, self.blocks)


@pytest.mark.parametrize("kind", ["linen", "linen, axis 1", "nnx"])
def test_modules_with_scanned_layers(kind):
    x = X[:, :WIDTH]
    if kind == "nnx":
        model, params = gp.from_nnx(NnxStack(nnx.Rngs(0)))
    else:
        module = LinenStack(int(kind[-1] == "1"))
        model, params = gp.from_linen(module, module.init(KEY, x))
    players = gp.find_players(model, params, x, layers="each")
    assert [family.size for family in players.families] == [HIDDEN] * LAYERS
    assert players.families[1].name == "blocks[1]/up"
    numbers = np.random.default_rng(0)
    rows = np.stack([numbers.permutation(HIDDEN) < 2 for _ in range(LAYERS)])
    small = gp.compact(players, params, rows.reshape(-1))
    assert any(isinstance(kept, LayerRows) for kept in small.plan.kept.values())


def test_layers_in_groups_of_layers():
    """A scan in a scan: the players are those of the outer layers."""

    def group(x, ws):
        return jax.lax.scan(turn, x, ws)[0], None

    params = PARAMS | {
        "layers": jax.tree.map(lambda w: jnp.stack([w, w], 1), PARAMS["layers"])
    }

    def plain(params, x):
        return (
            jax.lax.scan(group, x @ params["in"], params["layers"])[0] @ params["out"]
        )

    players = find(plain, params, layers="each")
    assert [f.size for f in players.families] == [HIDDEN] * LAYERS
    rows = np.random.default_rng(0).permuted(
        np.tile(np.arange(HIDDEN) < 4, (LAYERS, 1)), axis=1
    )
    small = gp.compact(players, params, rows.reshape(-1))
    assert small.params["layers"]["up"].shape == (LAYERS, 2, WIDTH, 4)


def test_what_does_not_know_layers_says_so(players, mask):
    with pytest.raises(gp.InputError, match="layers='together'"):
        gp.compact(players, PARAMS, mask, fold=True)
    with pytest.raises(gp.InputError, match="expected one of together, each"):
        gp.find_players(apply, PARAMS, X, layers="all")


def test_repair_is_that_of_the_layers_one_by_one(players, mask):
    """Uneven layers, too: nothing has to be rectangular before anything is cut."""

    def unrolled(params, x):
        x = x @ params["in"]
        for w in params["layers"]:
            x, _ = turn(x, w)
        return x @ params["out"]

    uneven = mask.copy()
    uneven[:3] = True
    layers = [jax.tree.map(lambda w, k=k: w[k], PARAMS["layers"]) for k in range(3)]
    plain = PARAMS | {"layers": layers}
    expected = gp.repair(find(unrolled, plain), plain, uneven, X)
    repaired = gp.repair(players, PARAMS, uneven, X)
    for k in range(LAYERS):
        np.testing.assert_allclose(
            repaired.params["layers"]["down"][k],
            expected.params["layers"][k]["down"],
            rtol=1e-3,
            atol=1e-4,
        )
    assert [r.path for r in repaired.report.readers] == [
        f"layers/down[{k}]" for k in range(LAYERS)
    ]
    with pytest.raises(
        gp.InputError, match="gp.repair takes others.*layers='together'"
    ):
        gp.reconstruction.reconstruction_scores(players, PARAMS, X)


def test_unrolled_layers_have_players_of_their_own_anyway():
    flat = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]  # noqa: E731
    assert gp.find_players(flat, PARAMS, X, layers="each").num_players == WIDTH
