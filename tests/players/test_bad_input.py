"""Arguments that do not fit, and what stands where an array is expected."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.training.train_state import TrainState
from jax import export
from jax.extend.core import Primitive

import gamepruning as gp
from gamepruning.coalitions.games import count_players
from gamepruning.players.find import _axes_by_array
from gamepruning.players.naming import split_keep
from gamepruning.trace.call import split_call
from tests.small import apply_mlp, make_mlp

MASK = np.array([True, False, True, True, False, True, True])


def apply_scaled(params, x, mode="twice"):
    scale = params["scale"] * (2 if mode == "twice" else 1)
    return jax.nn.relu(x @ params["one"]) @ params["two"] * scale


def make_scaled(key):
    one, two, three = jax.random.split(key, 3)
    params = {
        "one": jax.random.normal(one, (3, 4)),
        "two": jax.random.normal(two, (4, 2)),
        "scale": 2.0,
    }
    return params, jax.random.normal(three, (5, 3))


# -- numbers and other leaves ----------------------------------------------------------


def test_a_number_in_params_may_be_another_one_or_an_array(key):
    params, x = make_scaled(key)
    players = gp.find_players(apply_scaled, params, x)
    everyone = np.ones(4, bool)
    for scale in (2.0, 3.0, 3, jnp.float32(3)):
        given = {**params, "scale": scale}
        for gated in (players.gated, jax.jit(players.gated)):
            np.testing.assert_allclose(
                gated(given, everyone, x), apply_scaled(given, x), rtol=1e-6
            )
    found = gp.find_players(apply_scaled, {**params, "scale": jnp.float32(2)}, x)
    np.testing.assert_array_equal(
        found.gated(params, everyone, x), players.gated(params, everyone, x)
    )


def test_other_leaves_of_the_model_are_read_anew(key):
    params, x = make_scaled(key)
    players = gp.find_players(apply_scaled, params, x, "twice")
    gates = jnp.ones(4)
    np.testing.assert_allclose(
        players.gated(params, gates, x, "twice"),
        2 * players.gated(params, gates, x, "once"),
        rtol=1e-6,
    )


def test_a_number_that_shapes_need_works_outside_jit_and_is_named_inside(key):
    params, x = make_scaled(key)
    params["repeats"] = 2

    def apply(params, x):
        return jnp.tile(apply_scaled(params, x), (1, params["repeats"]))

    players = gp.find_players(apply, params, x)
    small = gp.compact(players, params, np.arange(4) < 2)
    assert small.apply(small.params, x).shape == (5, 4)
    with pytest.raises(gp.InputError, match="'repeats'.*value beforehand") as error:
        jax.jit(players.gated)(params, jnp.ones(4), x)
    assert isinstance(error.value.__cause__, TypeError)


def test_a_train_state_is_a_tree_of_parameters(key):
    _, params, inputs, _ = make_mlp(key)
    state = TrainState.create(apply_fn=apply_mlp, params=params, tx=optax.sgd(0.1))
    players = gp.find_players(lambda s, x: s.apply_fn(s.params, x), state, inputs)
    small = gp.compact(players, state, MASK)
    expected = players.gated(state, MASK, inputs)
    later = state.replace(step=5)
    for given in (state, later):
        np.testing.assert_allclose(
            jax.jit(players.gated)(given, MASK, inputs), expected, rtol=1e-6
        )
    np.testing.assert_allclose(
        jax.jit(small.apply)(small.params, inputs), expected, rtol=1e-6
    )


def test_hoisting_names_a_number_that_became_an_array(key):
    params, x = make_scaled(key)
    players = gp.find_players(apply_scaled, params, x)
    prefix, suffix = players.hoist(params, x)
    gates = jnp.ones(4)
    np.testing.assert_allclose(
        suffix(prefix(params, gates, x), gates), apply_scaled(params, x), rtol=1e-6
    )
    with pytest.raises(gp.InputError, match="number in params.*hoist saw"):
        jax.jit(prefix)(params, gates, x)


@pytest.mark.parametrize(
    ("use", "value"),
    [
        (lambda y, flag: y if flag else -y, True),
        (lambda y, size: y.reshape(-1, size), 2),
        (lambda y, size: y[:, :size], 1),
    ],
    ids=["flag", "shape", "slice"],
)
def test_inputs_that_python_needs_are_to_be_bound(key, use, value):
    _, params, inputs, _ = make_mlp(key)

    def apply(params, x, extra):
        return use(apply_mlp(params, x), extra)

    with pytest.raises(gp.InputError, match="input 1.*functools.partial") as error:
        gp.find_players(apply, params, inputs, value)
    assert error.value.__cause__ is not None
    bound = functools.partial(apply, extra=value)
    assert gp.find_players(bound, params, inputs).num_players == 7


def test_errors_of_the_model_itself_come_through(key):
    _, params, inputs, _ = make_mlp(key)
    with pytest.raises(TypeError, match="positional argument"):
        gp.find_players(apply_mlp, params, inputs, 2.0)


# -- parameters of another tree --------------------------------------------------------


@pytest.mark.parametrize("method", ["gated", "exclude", "participate", "sum_owned"])
def test_parameters_of_another_tree_are_refused(key, method):
    players, params, inputs, _ = make_mlp(key, widths=(4, 4, 4, 4))

    def call(params):
        mask = np.arange(8) > 0
        return {
            "gated": lambda: players.gated(params, mask, inputs),
            "exclude": lambda: players.exclude(params, mask),
            "participate": lambda: players.participate(params, mask),
            "sum_owned": lambda: players.sum_owned(params),
        }[method]()

    renamed = {"zz" if k == "dense0" else k: leaf for k, leaf in params.items()}
    with pytest.raises(gp.InputError, match="'dense0/bias' is missing, 'zz/bias' is"):
        call(renamed)
    wider = {**params, "dense0": {**params["dense0"], "kernel": jnp.ones((4, 9))}}
    with pytest.raises(gp.InputError, match=r"dense0/kernel has shape \(4, 9\)"):
        call(wider)


def test_compaction_refuses_parameters_of_another_tree(key):
    players, params, _, _ = make_mlp(key)
    with pytest.raises(gp.InputError, match="'dense0/bias' is missing"):
        gp.compact(players, {"dense1": params["dense1"]}, MASK)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("convert", [jnp.asarray, np.array])
def test_what_is_not_finite_leaves_with_its_player(key, bad, convert):
    players, params, inputs, _ = make_mlp(key)
    params = jax.tree.map(np.array, params)
    params["dense0"]["kernel"][2, 1] = bad  # player 1 is out
    params["dense1"]["kernel"][1, 0] = bad  # read from player 1
    excluded = players.exclude(jax.tree.map(convert, params), MASK)
    np.testing.assert_allclose(
        apply_mlp(excluded, inputs), players.gated(params, MASK, inputs), rtol=1e-6
    )
    assert isinstance(excluded["dense0"]["kernel"], type(convert(1.0)))


def test_what_is_not_finite_stays_with_a_player_that_stays(key):
    players, params, inputs, _ = make_mlp(key)
    kernel = params["dense0"]["kernel"].at[2, 0].set(jnp.nan)
    params["dense0"]["kernel"] = kernel
    assert np.isnan(apply_mlp(players.exclude(params, MASK), inputs)).any()


# -- masks, inputs, and nothing to prune -----------------------------------------------


def test_a_traced_mask_is_refused(key):
    players, params, _, _ = make_mlp(key)
    for call in (
        lambda mask: players.exclude(params, mask),
        lambda mask: gp.compact(players, params, mask).params,
        lambda mask: players.select(mask),
    ):
        with pytest.raises(gp.InputError, match="mask is traced.*gated"):
            jax.jit(call)(MASK)


def test_compaction_inside_jit_is_refused(key):
    players, params, _, _ = make_mlp(key)
    with pytest.raises(gp.InputError, match="parameters are traced"):
        jax.jit(lambda p: gp.compact(players, p, MASK).params)(params)


def test_a_batch_of_any_size_asks_for_inputs_to_verify_with(key):
    _, params, inputs, _ = make_mlp(key)
    (size,) = export.symbolic_shape("b")
    shape = jax.ShapeDtypeStruct((size, 5), jnp.float32)
    players = gp.find_players(apply_mlp, params, shape)
    with pytest.raises(gp.InputError, match=r"pass inputs=\(...\)"):
        gp.compact(players, params, MASK)
    assert gp.compact(players, params, MASK, inputs=(inputs,)).mask.sum() == 5
    dead = players.participate(params, MASK)
    with pytest.raises(gp.InputError, match="fold .* inputs of fixed shapes"):
        gp.compact(players, dead, MASK, inputs=(inputs,), fold=True)


def test_input_axes_that_cannot_play_say_why(key):
    _, params, inputs, _ = make_mlp(key)
    for axes, first in ((0, "dense0"), ((0, 1), "input 0")):
        players = gp.find_players(apply_mlp, params, inputs, input_axes={0: axes})
        assert players.families[0].name == first
        (row,) = [row for row in players.frozen if row.path == "input 0"]
        why = "it is an output of the model"
        assert (row.axis, row.count, row.reason) == (0, 8, why)
        assert why in players.explain()


@pytest.mark.parametrize("axes", [(1,), 1, [[1]], "x"])
def test_input_axes_without_the_input_they_are_of(axes):
    with pytest.raises(gp.InputError, match="for the position of an input, such as"):
        _axes_by_array(
            axes, split_call({}, (jnp.ones((2, 3)),))
        )  # find_players, without types checked


@pytest.mark.parametrize("keep", [1, [1], ["one", 2.0]])
def test_keep_is_of_names_and_paths(keep):
    check = inspect.unwrap(split_keep)  # the tests' own checks of types come before
    with pytest.raises(gp.InputError, match="expected the name of a family"):
        check(keep, ["one/kernel"], {})


@pytest.mark.parametrize("game", [3, {}])
def test_what_is_no_game_is_told_apart_from_one_without_a_number(game):
    with pytest.raises(gp.InputError, match="expected a value function"):
        inspect.unwrap(count_players)(game)


def test_nothing_to_prune_names_what_is_not_understood():
    primitive = Primitive("my_mystery")
    primitive.def_abstract_eval(lambda x: x)
    params = {"one": jnp.ones((3, 5)), "two": jnp.ones((5, 2))}
    with pytest.raises(gp.InputError, match="left whole: my_mystery .*for example"):
        gp.find_players(
            lambda p, x: primitive.bind(x @ p["one"]) @ p["two"],
            params,
            jnp.ones((1, 3)),
        )


@pytest.mark.parametrize("where", ["in a loop", "before"])
def test_an_array_that_is_written_in_place(where):
    """Its writes were dropped, in the full model as in the small one."""

    def apply(params, x):
        tape = jax.new_ref(jnp.zeros((3, *x.shape)))

        def step(x, k):
            x = jnp.tanh(x @ params["one"] @ params["two"])
            tape[k] = x
            return x, None

        if where == "in a loop":
            x, _ = jax.lax.scan(step, x, jnp.arange(3))
        else:
            x, _ = step(x, 0)
        return x + tape[...].sum(0)

    params = {"one": jnp.ones((3, 5)), "two": jnp.ones((5, 3))}
    with pytest.raises(gp.InputError, match=r"written in place \(jax.new_ref\)"):
        gp.find_players(apply, params, jnp.ones((1, 3)))


def test_a_model_that_prints_has_its_players():
    def apply(params, x):
        jax.debug.print("{}", x.sum())
        return jnp.tanh(x @ params["one"]) @ params["two"]

    params = {"one": jnp.ones((3, 5)), "two": jnp.ones((5, 3))}
    assert gp.find_players(apply, params, jnp.ones((1, 3))).num_players == 5


# -- params that the model cannot read -------------------------------------------------


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, r"expected params with arrays, got \{\}; .* KeyError: 'scale'"),
        (None, "expected params with arrays, got None"),
        ({"two": np.ones((4, 2))}, "looks up 'scale', which is not in params: .* two"),
    ],
)
def test_a_model_that_lacks_a_parameter(params, said):
    with pytest.raises(gp.InputError, match=said):
        gp.find_players(apply_scaled, params, np.ones((5, 3)))


def test_keys_that_jax_cannot_sort(key):
    params, x = make_scaled(key)
    mixed = {"layers": [{0: params["one"], "b": params["two"]}]}
    said = r"of one type.* got 0 \(int\) and 'b' \(str\): write str\(key\)"
    players = gp.find_players(apply_scaled, params, x)
    for call in (
        lambda: gp.find_players(lambda p, x: x, mixed, x),
        lambda: players.gated(mixed, jnp.ones(4), x),
        lambda: gp.compact(players, mixed, np.ones(4, bool)),
    ):
        with pytest.raises(gp.InputError, match=said):
            call()
