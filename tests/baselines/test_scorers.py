"""One table of all scorers: a new one joins by one line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamepruning.baselines import (
    BASELINES,
    activation_scores,
    loss_oracle_scores,
    magnitude_scores,
    taylor,
    taylor_scores,
    weight_gradient_scores,
)
from gamepruning.metrics import cross_entropy
from gamepruning.players import find_players
from gamepruning.types import InputError
from tests.small import apply_mlp, make_mlp

NOT_NEGATIVE = {
    "random",
    "magnitude_l1",
    "magnitude_l2",
    "weight_gradient",
    "taylor",
    "activation",
}
SEES_OUTPUTS = ("taylor", "taylor_second", "loss_oracle")
LOOKS_AT_EXAMPLES = (
    "weight_gradient",
    "taylor",
    "taylor_second",
    "activation",
    "loss_oracle",
)


@pytest.fixture
def problem(key):
    players, params, inputs, labels = make_mlp(key)
    return players, params, cross_entropy, inputs, labels


@pytest.mark.parametrize("name", BASELINES)
def test_a_scorer_gives_every_player_a_finite_number(name, key, problem):
    scores = BASELINES[name](key, *problem)
    num_players = problem[0].num_players
    assert scores.value.shape == scores.stderr.shape == (num_players,)
    assert np.isfinite(scores.value).all()
    assert (np.asarray(scores.stderr) == 0).all()
    assert scores.num_evaluations >= 0
    if name in NOT_NEGATIVE:
        assert (np.asarray(scores.value) >= 0).all()


@pytest.mark.parametrize("name", BASELINES)
def test_a_scorer_gives_the_same_again_also_jitted(name, key, problem):
    players, params, loss_fn, inputs, labels = problem

    @jax.jit
    def jitted(key, params, inputs, labels):
        return BASELINES[name](key, players, params, loss_fn, inputs, labels).value

    first, second = (BASELINES[name](key, *problem).value for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(
        jitted(key, params, inputs, labels), first, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("name", SEES_OUTPUTS)
def test_a_player_that_nobody_listens_to_is_worth_nothing(name, key, problem):
    players, params, loss_fn, inputs, labels = problem
    first, second = players.families
    kernel = params["dense1"]["kernel"].at[1].set(0.0)
    params = params | {"dense1": params["dense1"] | {"kernel": kernel}}
    value = BASELINES[name](key, players, params, loss_fn, inputs, labels).value
    assert value[first.start + 1] == pytest.approx(0.0, abs=1e-7)
    if name == "taylor":
        assert value.argmin() == first.start + 1


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("at_once", [1, 3, 8, 100])
def test_scores_do_not_depend_on_the_examples_at_once(name, at_once, key, problem):
    whole = BASELINES[name](key, *problem)
    parts = BASELINES[name](key, *problem, examples_at_once=at_once)
    np.testing.assert_allclose(parts.value, whole.value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", LOOKS_AT_EXAMPLES)
def test_no_examples_is_refused(name, key, problem):
    players, params, loss_fn, inputs, labels = problem
    with pytest.raises(ValueError, match="at least one example"):
        BASELINES[name](key, players, params, loss_fn, inputs[:0], labels[:0])


@pytest.mark.parametrize(
    "name", [name for name in LOOKS_AT_EXAMPLES if name != "activation"]
)
def test_labels_of_another_length_are_refused(name, key, problem):
    players, params, loss_fn, inputs, labels = problem
    arguments = (key, players, params, loss_fn, inputs, labels[:-1])
    with pytest.raises(ValueError, match="leading axis of examples|and labels"):
        BASELINES[name](*arguments)
    with pytest.raises(ValueError, match="leading axis of examples"):
        BASELINES[name](*arguments, examples_at_once=4)


def test_input_features_count_by_the_weights_that_read_them(key):
    _, params, inputs, labels = make_mlp(key)
    players = find_players(apply_mlp, params, inputs, input_axes={0: 1})
    family = players.families[0]
    assert family.size == 5
    kernel = params["dense0"]["kernel"]
    found = magnitude_scores(players, params).value[family.start : family.stop]
    np.testing.assert_allclose(found, jnp.linalg.norm(kernel, axis=1), rtol=1e-5)
    found = weight_gradient_scores(players, params, cross_entropy, inputs, labels).value

    def loss(kernel):
        changed = params | {"dense0": params["dense0"] | {"kernel": kernel}}
        return cross_entropy(apply_mlp(changed, inputs), labels)

    expected = jnp.abs(kernel * jax.grad(loss)(kernel)).sum(axis=1)
    np.testing.assert_allclose(found[:5], expected, rtol=1e-4)


@pytest.mark.parametrize("at_once", [None, 100])
def test_small_variances_beside_large_means_are_seen(at_once):
    def apply(params, x):
        return (100 + x @ params["a"]) @ params["b"]

    params = {"a": jnp.diag(jnp.array([1e-3, 2e-3, 3e-3, 4e-3])), "b": jnp.ones((4, 2))}
    x = jax.random.normal(jax.random.key(0), (256, 4))
    players = find_players(apply, params, x)
    hidden = 100 + np.asarray(x, np.float32) @ np.asarray(params["a"])
    scores = activation_scores(players, params, x, examples_at_once=at_once)
    exact = hidden.astype(float).var(axis=0)
    np.testing.assert_allclose(scores.value, exact, rtol=0.05)


def test_the_nan_of_a_single_player_is_told(key):
    params = {"w": jnp.ones((2, 3)).at[0, 0].set(jnp.nan), "out": jnp.ones((3, 1))}
    players = find_players(
        lambda p, x: jnp.tanh(x @ p["w"]) @ p["out"],
        params,
        jnp.ones((2, 2)),
        granularity="layer",
    )
    assert players.num_players == 1
    with pytest.raises(InputError, match="score of player 0 is NaN"):
        magnitude_scores(players, params)
    zero = jax.tree.map(jnp.zeros_like, params)
    assert magnitude_scores(players, zero).value.tolist() == [0.0]  # no warning


@pytest.mark.parametrize("ord", [1, 2])
def test_whole_layers_beside_a_layer_of_inputs(ord, key):
    _, params, inputs, _ = make_mlp(key)
    options = {"input_axes": {0: 1}, "granularity": "layer"}
    players = find_players(apply_mlp, params, inputs, **options)
    units = find_players(apply_mlp, params, inputs, input_axes={0: 1})
    each = magnitude_scores(units, params, ord=ord).value ** ord
    starts = [family.start for family in units.families]
    expected = np.add.reduceat(np.asarray(each), starts) ** (1 / ord)
    found = magnitude_scores(players, params, ord=ord).value
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("order", [1, 2])
def test_many_examples_and_players_are_added_up(order, key, monkeypatch):
    players, params, inputs, labels = make_mlp(key)
    whole = taylor_scores(players, params, cross_entropy, inputs, labels, order=order)
    monkeypatch.setattr(taylor, "MOST", 3 * players.num_players)
    other = make_mlp(key)[0]  # without what is compiled
    parts = taylor_scores(
        other, params, cross_entropy, inputs, labels, order=order, examples_at_once=2
    )
    np.testing.assert_allclose(parts.value, whole.value, rtol=1e-5)


def test_chunks_are_added_up_and_not_stacked(key):
    players, params, *_ = make_mlp(key)
    inputs, labels = jax.random.normal(key, (300, 5)), jnp.arange(300) % 2

    def score(params, inputs, labels):
        return weight_gradient_scores(
            players, params, cross_entropy, inputs, labels, examples_at_once=2
        ).value

    program = str(jax.make_jaxpr(score)(params, inputs, labels))
    assert "150,2,5]" in program and "150,5,4]" not in program


@pytest.mark.parametrize(
    "score", [taylor_scores, weight_gradient_scores, loss_oracle_scores]
)
def test_the_same_score_is_not_compiled_again(score, key):
    players, params, inputs, labels = make_mlp(key)
    traced = []

    def loss_fn(outputs, labels):
        traced.append(1)
        return cross_entropy(outputs, labels)

    score(players, params, loss_fn, inputs, labels)
    num_first = len(traced)
    other = jax.tree.map(lambda leaf: 2 * leaf, params)
    found = score(players, other, loss_fn, inputs, labels)
    assert len(traced) == num_first > 0
    expected = score(players, other, cross_entropy, inputs, labels)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-6)


def test_activations_are_not_compiled_again(key):
    players, params, inputs, _ = make_mlp(key)
    activation_scores(players, params, inputs)
    other = jax.tree.map(lambda leaf: 2 * leaf, params)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(players), "activation_moments", None)  # it is not traced
        found = activation_scores(players, other, inputs)
    fresh = activation_scores(make_mlp(key)[0], other, inputs)
    np.testing.assert_allclose(found.value, fresh.value, rtol=1e-6)


def test_a_pass_has_at_least_one_example(key):
    players, params, inputs, labels = make_mlp(key)
    for at_once in (0, -1):
        with pytest.raises(InputError, match="at least 1 example at once"):
            taylor_scores(
                players, params, cross_entropy, inputs, labels, examples_at_once=at_once
            )
