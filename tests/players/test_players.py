"""The public face of `find_players`: options, errors, and what gates mean."""

from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.test_util import check_grads

import gamepruning as gp
from tests.small import apply_mlp, make_mlp


def test_gates_of_one_are_the_model_and_bool_gates_are_zeros_and_ones(key):
    players, params, inputs, _ = make_mlp(key)
    ones = jnp.ones(players.num_players)
    mask = jnp.arange(players.num_players) % 2 == 0
    np.testing.assert_array_equal(
        players.gated(params, ones, inputs), apply_mlp(params, inputs)
    )
    np.testing.assert_array_equal(
        players.gated(params, mask, inputs),
        players.gated(params, mask.astype(jnp.float32), inputs),
    )


def test_gated_is_the_mlp_worked_out_by_hand(key):
    players, params, inputs, _ = make_mlp(key, widths=(5, 4, 2))
    gates = jnp.array([0.0, 0.25, 1.0, 0.5])
    one, two = params["dense0"], params["dense1"]
    hidden = jax.nn.relu(inputs @ one["kernel"] + one["bias"][None]) * gates[None]
    expected = hidden @ two["kernel"] + two["bias"][None]
    np.testing.assert_allclose(
        players.gated(params, gates, inputs), expected, rtol=1e-6
    )


def test_no_recompilation_and_any_batch_size(key):
    players, params, inputs, _ = make_mlp(key)
    gated = jax.jit(chex.assert_max_traces(players.gated, n=2))  # one a batch size
    gates = jnp.ones(players.num_players)
    for count in (8, 3, 8):
        assert gated(params, gates, inputs[:count]).shape == (count, 2)


def test_layer_players_are_families(key):
    units, params, inputs, _ = make_mlp(key)
    layers = gp.find_players(apply_mlp, params, inputs, granularity="layer")
    assert layers.num_players == 2 and layers.names == ("dense0", "dense1")
    by_unit = jnp.repeat(jnp.array([1.0, 0.5]), np.array([4, 3]))
    np.testing.assert_allclose(
        layers.gated(params, jnp.array([1.0, 0.5]), inputs),
        units.gated(params, by_unit, inputs),
        rtol=1e-6,
    )


def test_weight_players_are_entries_of_kernels(key):
    _, params, inputs, _ = make_mlp(key)
    players = gp.find_players(apply_mlp, params, inputs, granularity="weight")
    assert players.num_players == 5 * 4 + 4 * 3 + 3 * 2
    gates = jnp.ones(players.num_players).at[6].set(0.5)  # row 1, column 2 of dense0
    changed = jax.tree.map(jnp.copy, params)
    changed["dense0"]["kernel"] = changed["dense0"]["kernel"].at[1, 2].multiply(0.5)
    np.testing.assert_allclose(
        players.gated(params, gates, inputs), apply_mlp(changed, inputs), rtol=1e-6
    )
    entries = players.sum_owned(params)
    assert entries[6] == params["dense0"]["kernel"][1, 2]


def test_input_features_play_on_request(key):
    _, params, inputs, _ = make_mlp(key)
    players = gp.find_players(apply_mlp, params, inputs, input_axes={0: 1})
    assert [f.name for f in players.families][0] == "input 0"
    mask = np.ones(players.num_players, bool)
    mask[[1, 3]] = False
    np.testing.assert_allclose(
        players.gated(params, mask, inputs),
        apply_mlp(params, inputs.at[:, jnp.array([1, 3])].set(0.0)),
        rtol=1e-6,
    )
    assert players.input_kept(mask)[0][1].tolist() == [0, 2, 4]


@pytest.mark.parametrize("keep", ["dense0", "dense0/kernel"])
def test_what_is_kept_on_request_stays(key, keep):
    _, params, inputs, _ = make_mlp(key)
    players = gp.find_players(apply_mlp, params, inputs, keep=[keep])
    assert [family.name for family in players.families] == ["dense1"]


def test_reasons_are_on_record(key):
    players, _, _, _ = make_mlp(key)
    reasons = {(row.path, row.axis): row.reason for row in players.frozen}
    assert reasons["dense2/kernel", 1] == "it is an output of the model"
    assert "axis 1 of input 0" in reasons["dense0/kernel", 0]
    text = players.explain()
    assert "7 players" in text and "dense1" in text and "output of the model" in text
    assert players.to_dict()["families"][0]["name"] == "dense0"


def test_gradients_of_gates_match_finite_differences(key):
    players, params, inputs, _ = make_mlp(key)
    gates = jnp.full(players.num_players, 0.7)

    def loss(gates):
        return jnp.square(players.gated(params, gates, inputs)).sum()

    check_grads(loss, (gates,), order=1, modes=["fwd", "rev"], rtol=1e-2)


def test_nnx_and_linen_adapters_agree_on_the_players():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.one = nnx.Linear(4, 8, rngs=rngs)
            self.norm = nnx.BatchNorm(8, use_running_average=True, rngs=rngs)
            self.two = nnx.Linear(8, 2, rngs=rngs)

        def __call__(self, x):
            return self.two(nnx.relu(self.norm(self.one(x))))

    class Linen(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.BatchNorm(use_running_average=not train)(nn.Dense(8)(x))
            return nn.Dense(2)(nn.relu(x))

    x = jnp.ones((3, 4))
    apply, params = gp.from_nnx(Net(nnx.Rngs(0)))
    assert gp.find_players(apply, params, x).num_players == 8
    module = Linen()
    variables = module.init(jax.random.key(0), x, train=False)
    apply, params = gp.from_linen(module, variables, train=False)
    assert gp.find_players(apply, params, x).num_players == 8
    apply, params = gp.from_nnx(Net(nnx.Rngs(0)), params=[nnx.Param])
    assert gp.find_players(apply, params, x).num_players == 8


def test_a_method_of_an_nnx_module_with_arguments_is_the_model():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.one = nnx.Linear(4, 8, rngs=rngs)
            self.two = nnx.Linear(8, 2, rngs=rngs)

        def encode(self, x, scale):
            return self.two(nnx.relu(self.one(x))) * scale

    net, x = Net(nnx.Rngs(0)), jnp.ones((3, 4))
    for method in ("encode", Net.encode):
        apply, params = gp.from_nnx(net, method=method, scale=3)
        assert gp.find_players(apply, params, x).num_players == 8
        np.testing.assert_allclose(apply(params, x), net.encode(x, 3), rtol=1e-6)
    with pytest.raises(gp.InputError, match="Net has no method 'decode'"):
        gp.from_nnx(net, method="decode")


def test_what_an_nnx_module_counts_or_caches_is_changed_in_a_copy(key):
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.inside = nnx.Linear(4, 8, rngs=rngs)
            self.attend = nnx.MultiHeadAttention(2, 8, 8, decode=True, rngs=rngs)
            self.outside = nnx.Linear(8, 3, rngs=rngs)
            self.attend.init_cache((2, 5, 8))

        def __call__(self, x):
            return self.outside(self.attend(self.inside(x)))

    net, x = Net(nnx.Rngs(0)), jax.random.normal(key, (2, 1, 4))
    apply, params = gp.from_nnx(net)
    first = apply(params, x)
    np.testing.assert_array_equal(apply(params, x), first)
    assert params["attend"]["cache_index"][...] == 0
    apply, params = gp.from_nnx(net, params=(nnx.Param,))
    assert gp.find_players(apply, params, x).num_players
    np.testing.assert_array_equal(apply(params, x), first)


@pytest.mark.parametrize(
    ("adapter", "module", "expected"),
    [
        (
            gp.from_nnx,
            nnx.Linear,
            "instance of a flax.nnx.Module, got the class Linear",
        ),
        (gp.from_nnx, 3, "expected a flax.nnx.Module, got int"),
        (
            partial(gp.from_linen, variables={}),
            nn.Dense,
            "instance of a flax.linen.Module, got the class Dense",
        ),
    ],
)
def test_what_is_no_module_is_named(adapter, module, expected):
    with pytest.raises(gp.InputError, match=expected):
        adapter(module)


def test_a_model_without_anything_prunable_says_why():
    with pytest.raises(gp.InputError, match="nothing to prune.*axis 1 of input 0"):
        gp.find_players(
            lambda p, x: x @ p["w"], {"w": jnp.ones((3, 2))}, jnp.ones((1, 3))
        )
    with pytest.raises(gp.InputError, match="no parameters"):
        gp.find_players(lambda p, x: x, {}, jnp.ones((1, 3)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"granularity": "neuron"}, "granularity='neuron'.*unit, layer, weight"),
        ({"reductions": "mean"}, "reductions='mean'"),
        ({"keep": ["dense7"]}, "dense7.*families are dense0, dense1"),
        ({"input_axes": {3: 1}}, "input 3; there are 1 inputs"),
        ({"input_axes": {0: 5}}, "axis .5,. of input 0, which has 2"),
        ({"outputs_like": lambda p: (None, None)}, "2 leaves for 1 outputs"),
    ],
)
def test_arguments_that_do_not_fit(key, arguments, message):
    _, params, inputs, _ = make_mlp(key)
    with pytest.raises(ValueError, match=message):
        gp.find_players(apply_mlp, params, inputs, **arguments)


def test_gates_masks_and_params_that_do_not_fit(key):
    players, params, inputs, _ = make_mlp(key)
    with pytest.raises(
        gp.InputError, match=r"gates have shape \(3,\), expected \(7,\)"
    ):
        players.gated(params, jnp.ones(3), inputs)
    with pytest.raises(gp.InputError, match=r"mask has shape \(3,\), expected \(7,\)"):
        players.exclude(params, np.ones(3, bool))
    with pytest.raises(gp.InputError, match="dtype float.*expected bool"):
        players.kept_indices(np.ones(7))
    other = {**params, "dense0": {**params["dense0"], "kernel": jnp.ones((5, 9))}}
    with pytest.raises(ValueError, match=r"dense0/kernel has shape \(5, 9\), expected"):
        players.gated(other, jnp.ones(7), inputs)
    with pytest.raises(gp.InputError, match="no family 'x': there are dense0, dense1"):
        players.family("x")
    with pytest.raises(gp.InputError, match="plan for another model"):
        players.mask_from_kept({("dense0/kernel", 0): np.array([0, 1])})


def test_exclusion_refuses_where_zeros_do_not_prove_it():
    def apply(params, x):
        hidden = jnp.exp(x @ params["w"])
        return hidden @ hidden.T

    params, x = {"w": jnp.ones((3, 4))}, jnp.ones((2, 3))
    players = gp.find_players(apply, params, x)
    mask = np.array([True, False, True, True])
    with pytest.raises(ValueError, match="cannot be proved to remove players of w"):
        players.exclude(params, mask)
    small = gp.compact(players, params, mask)
    np.testing.assert_allclose(
        small.apply(small.params, x), players.gated(params, mask, x), rtol=1e-6
    )


def test_keep_means_the_same_for_all_ways_to_hold_parameters(key):
    from flax import linen, nnx

    class Linen(linen.Module):
        @linen.compact
        def __call__(self, x):
            for name, width in (("fc1", 5), ("fc2", 6), ("fc3", 7)):
                x = linen.relu(linen.Dense(width, name=name)(x))
            return linen.Dense(2, name="out")(x)

    class Nnx(nnx.Module):
        def __init__(self, rngs):
            self.fc1 = nnx.Linear(4, 5, rngs=rngs)
            self.fc2 = nnx.Linear(5, 6, rngs=rngs)
            self.fc3 = nnx.Linear(6, 7, rngs=rngs)
            self.out = nnx.Linear(7, 2, rngs=rngs)

        def __call__(self, x):
            for layer in (self.fc1, self.fc2, self.fc3):
                x = nnx.relu(layer(x))
            return self.out(x)

    x = jnp.ones((3, 4))
    module = Linen()
    variables = module.init(key, x)
    networks = [
        gp.from_linen(module, variables),
        gp.from_nnx(Nnx(nnx.Rngs(0))),
        (lambda p, x: module.apply({"params": p}, x), variables["params"]),
    ]
    for keep, left in {
        "fc3": ["fc1", "fc2"],
        "fc3/kernel": ["fc1"],
        "out": ["fc1", "fc2"],
    }.items():
        for apply, params in networks:
            players = gp.find_players(apply, params, x, keep=keep)
            assert [family.name for family in players.families] == left


def test_units_that_no_kernel_tells_apart_are_one_player(key):
    """A map whose rows and columns are cut alike: each needs all of one kernel."""
    params = {
        "fill": jax.random.normal(key, (2, 3, 1, 3)),
        "read": jax.random.normal(key, (72, 2)),
    }

    def apply(params, x):
        shown = jax.lax.conv_general_dilated(
            x,
            params["fill"],
            (1, 1),
            "SAME",
            rhs_dilation=(2, 2),
            dimension_numbers=("NCYX", "IOXY", "NCXY"),
        )
        return shown.reshape(-1, 4, 18).reshape(-1, 72) @ params["read"]

    inputs = jax.random.normal(key, (3, 2, 4, 6))
    players = gp.find_players(apply, params, inputs)
    assert len(players.model.base.units) == 2 and players.num_players == 1
    mask = np.zeros(1, bool)
    assert not players.gated(params, mask, inputs).any()
    np.testing.assert_array_equal(
        players.mask_from_kept(players.kept_indices(mask)), mask
    )


def test_units_that_meet_another_activation_outlive_the_weights_that_read_them():
    """Row 1 of "o" is all that reads key unit 1 by weights; a query reads it, too."""

    def apply(params, x):
        query, key = x @ params["q"], x @ params["k"]
        scores = jnp.tanh(jnp.einsum("bqd,bkd->bqk", query, key))
        return scores @ key @ params["o"]

    keys = jax.random.split(jax.random.key(0), 4)
    shapes = {"q": (3, 4), "k": (3, 4), "o": (4, 2)}
    params = {
        name: jax.random.normal(key, shapes[name])
        for name, key in zip(shapes, keys, strict=False)
    }
    x = jax.random.normal(keys[3], (2, 5, 3))
    players = gp.find_players(apply, params, x, granularity="weight")
    mask = np.ones(players.num_players, bool)
    (out,) = (f for f in players.families if f.name == "o")
    mask[out.start + 2 : out.start + 4] = False
    small = gp.compact(players, params, mask)
    without = apply({**params, "o": params["o"].at[1].set(0)}, x)
    np.testing.assert_allclose(small.apply(small.params, x), without, rtol=1e-5)


def test_an_empty_batch_is_found_as_any_other():
    def apply(params, x):
        return jax.nn.relu(x.reshape(-1, 3) @ params["a"]) @ params["c"]

    params = {"a": jnp.ones((3, 4)), "c": jnp.ones((4, 2))}
    players = gp.find_players(apply, params, jnp.ones((2, 5, 3)))
    empty = players.gated(params, jnp.ones(4), jnp.ones((0, 5, 3)))
    assert empty.shape == (0, 2)
    assert gp.find_players(apply, params, jnp.ones((0, 5, 3))).num_players == 4


def test_axes_may_be_numbers_of_numpy():
    found = gp.find_players(
        lambda params, x: x @ params,
        jnp.ones((3, 2)),
        jnp.ones((4, 3)),
        input_axes={0: np.int64(1)},
    )
    assert found.num_players == 3


def test_a_pad_that_cuts_more_than_there_was():
    """Five entries come before, and of the nine seven are cut off behind."""

    def apply(params, x):
        return jax.lax.pad(x @ params["q"], 0.0, [(0, 0, 0), (5, -7, 0)]) @ params["z"]

    params, x = {"q": jnp.ones((3, 4)), "z": jnp.ones((2, 2))}, jnp.ones((1, 3))
    players = gp.find_players(apply, params, x)
    gates = jnp.ones(players.num_players)
    np.testing.assert_array_equal(players.gated(params, gates, x), apply(params, x))
