"""The training step, and Algorithm 1 from end to end on a small network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gamepruning.equilibrium import (
    EQUILIBRIUM_PRESETS,
    UtilityConfig,
    equilibrium_pruning,
    joint_optimizer,
    make_equilibrium_step,
    projected_gate_ascent,
    surviving_players,
    utility_gradient,
)
from gamepruning.metrics import cross_entropy
from gamepruning.players import find_players
from gamepruning.types import InputError
from tests.small import apply_mlp, make_mlp


def test_one_step_is_equations_16_and_17(key):
    players, params, inputs, labels = make_mlp(key)
    config = UtilityConfig(beta=0.1, gamma=0.05)
    tx = joint_optimizer(optax.sgd(0.2), projected_gate_ascent(0.5))
    init, step = make_equilibrium_step(players, cross_entropy, tx, config)
    state = init(params)
    assert state.gates.dtype == jnp.float32 and (state.gates == 1).all()

    def loss(params, gates):
        return cross_entropy(players.gated(params, gates, inputs), labels)

    value, (down, slope) = jax.value_and_grad(loss, (0, 1))(params, state.gates)
    new, info = jax.jit(step)(state, (inputs, labels))
    expected = jax.tree.map(lambda p, g: p - 0.2 * g, params, down)  # eq. 16
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), new.params, expected
    )
    ascent = utility_gradient(
        players, params, {"params": down, "gates": slope}, state.gates, config
    )
    gates = jnp.clip(state.gates + 0.5 * ascent, 0, 1)  # eq. 17
    np.testing.assert_allclose(new.gates, gates, atol=1e-6)
    np.testing.assert_allclose(info.loss, value, rtol=1e-6)
    np.testing.assert_allclose(info.mean_participation, gates.mean(), rtol=1e-6)
    assert info.num_active == (gates >= 0.01).sum()


def test_step_scans_and_compiles_once(key):
    players, params, inputs, labels = make_mlp(key)
    init, step = make_equilibrium_step(
        players, cross_entropy, joint_optimizer(), UtilityConfig(gamma=0.1)
    )
    run = jax.jit(lambda state, batches: jax.lax.scan(step, state, batches))
    batches = (jnp.stack([inputs] * 3), jnp.stack([labels] * 3))
    state, info = run(init(params), batches)
    assert info.loss.shape == (3,)
    run(state, batches)
    assert run._cache_size() == 1


def test_statistics_from_the_forward_pass_are_taken_over(key):
    players, params, inputs, labels = make_mlp(key)
    init, step = make_equilibrium_step(
        players,
        cross_entropy,
        joint_optimizer(optax.sgd(0.1), projected_gate_ascent(0.1)),
        UtilityConfig(),
        merge_fn=lambda params, outputs: params | {"mean": outputs.mean(axis=0)},
    )
    state, _ = step(init(params), (inputs, labels))
    expected = players.gated(params, jnp.ones(players.num_players), inputs).mean(axis=0)
    np.testing.assert_allclose(state.params["mean"], expected, atol=1e-6)


def test_counters_and_random_keys_are_left_alone(key):
    _, weights, inputs, labels = make_mlp(key)
    params = {"weights": weights, "count": jnp.array(3), "key": jax.random.key(0)}
    players = find_players(lambda p, x: apply_mlp(p["weights"], x), params, inputs)
    init, step = make_equilibrium_step(
        players,
        cross_entropy,
        joint_optimizer(optax.adamw(0.1, weight_decay=0.1), projected_gate_ascent(0.1)),
        UtilityConfig(beta=0.1, eta=0.1, norm="mean"),
    )
    state, _ = jax.jit(step)(init(params), (inputs, labels))
    assert state.params["count"] == 3 and state.params["count"].dtype == jnp.int32
    assert state.params["key"] == params["key"]
    moved = jax.tree.map(
        lambda new, old: bool((new != old).any()), state.params["weights"], weights
    )
    assert jax.tree.all(moved)


def blobs(key, num_examples=256, num_classes=3, size=6):
    """Classes apart by far more than their spread: a few units suffice."""
    center_key, class_key, noise_key = jax.random.split(key, 3)
    centers = 3 * jax.random.normal(center_key, (num_classes, size))
    labels = jax.random.randint(class_key, (num_examples,), 0, num_classes)
    noise = 0.3 * jax.random.normal(noise_key, (num_examples, size))
    return centers[labels] + noise, labels


def prune_blobs(key, config, num_epochs=60):
    players, params, *_ = make_mlp(key, widths=(6, 24, 16, 3))
    inputs, labels = blobs(jax.random.fold_in(key, 1))
    result = equilibrium_pruning(
        jax.random.fold_in(key, 2),
        players,
        params,
        cross_entropy,
        inputs,
        labels,
        config=config,
        tx=joint_optimizer(0.05, 0.01),
        num_epochs=num_epochs,
        batch_size=32,
    )
    kept = jnp.where(result.mask, result.gates, 0.0)
    outputs = players.gated(result.params, kept, inputs)
    return result, (outputs.argmax(-1) == labels).mean()


def test_a_linear_cost_empties_the_network_of_what_it_does_not_need(key):
    result, accuracy = prune_blobs(key, EQUILIBRIUM_PRESETS["l1_strong"])
    assert result.info.loss.shape == (60,)
    assert result.info.num_active[-1] == result.mask.sum()
    assert result.mask.mean() < 0.5
    assert (result.gates[~result.mask] == 0).all()  # exact zeros, not small numbers
    assert accuracy > 0.95


def test_a_quadratic_cost_alone_makes_no_exact_zeros(key):
    result, _ = prune_blobs(key, UtilityConfig(beta=0.001), num_epochs=20)
    assert result.mask.all()


def test_same_key_same_result(key):
    config = EQUILIBRIUM_PRESETS["l1_l2"]
    first, second = (prune_blobs(key, config, num_epochs=2)[0] for _ in range(2))
    np.testing.assert_array_equal(first.gates, second.gates)


def test_presets_are_table_2():
    weights = {
        name: (config.alpha, config.beta, config.gamma, config.eta)
        for name, config in EQUILIBRIUM_PRESETS.items()
    }
    assert weights == {
        "very_high_beta": (1.0, 0.1, 0.0, 0.0),
        "extreme_beta": (1.0, 0.5, 0.0, 0.0),
        "l1_strong": (1.0, 0.001, 0.1, 0.0),
        "l1_l2": (1.0, 0.05, 0.05, 0.0),
    }


def test_who_survives_is_at_least_the_threshold():
    gates = jnp.array([0.0, 0.0099, 0.01, 1.0])
    assert surviving_players(gates).tolist() == [False, False, True, True]
    assert surviving_players(gates, threshold=0.5).tolist() == [False] * 3 + [True]


def test_a_batch_larger_than_the_data_is_refused(key):
    players, params, inputs, labels = make_mlp(key)
    with pytest.raises(ValueError, match="batch_size"):
        equilibrium_pruning(
            key,
            players,
            params,
            cross_entropy,
            inputs,
            labels,
            config=UtilityConfig(),
            tx=joint_optimizer(),
            num_epochs=1,
            batch_size=9,
        )


def averaged(params, x, links):
    """Each node sees the mean of its neighbours."""
    hidden = jax.nn.relu(links @ (x @ params["in"]))
    return links @ (hidden @ params["out"])


def normed(params, x, links):
    """Each example is measured by the batch's own moments."""
    hidden = x @ params["in"]
    moved = hidden - hidden.mean(0, keepdims=True)
    hidden = jax.nn.relu(moved / (hidden.std(0, keepdims=True) + 0.1))
    return hidden @ params["out"] + 0 * links[:, :1]


@pytest.mark.parametrize("apply", [averaged, normed])
def test_examples_that_depend_on_each_other_are_not_divided(apply, key):
    one, two, three, four = jax.random.split(key, 4)
    params = {"in": jax.random.normal(one, (3, 6)), "out": jnp.ones((6, 2))}
    x, labels = jax.random.normal(two, (10, 3)), jnp.arange(10) % 2
    links = jnp.eye(10) + jax.random.bernoulli(three, 0.3, (10, 10))
    inputs = (x, links / links.sum(axis=1, keepdims=True))
    players = find_players(apply, params, *inputs)
    options = {
        "config": UtilityConfig(gamma=0.01),
        "tx": joint_optimizer(optax.sgd(0.1), projected_gate_ascent(0.05)),
        "num_epochs": 4,
    }
    play = functools.partial(equilibrium_pruning, four, players, params, cross_entropy)
    with pytest.raises(InputError, match="batches of 5: pass batch_size=10, all"):
        play(inputs, labels, batch_size=5, **options)
    result = play(inputs, labels, batch_size=10, **options)

    init, step = make_equilibrium_step(
        players, cross_entropy, options["tx"], options["config"]
    )
    state = init(params)
    for epoch in range(4):
        state, info = jax.jit(step)(state, (*inputs, labels))
        np.testing.assert_allclose(result.info.loss[epoch], info.loss, rtol=1e-5)
    np.testing.assert_allclose(result.gates, state.gates, atol=1e-6)


def test_labels_may_be_a_tree_and_there_may_be_no_epochs(key):
    players, params, inputs, labels = make_mlp(key)
    result = equilibrium_pruning(
        key,
        players,
        params,
        lambda outputs, known: cross_entropy(outputs, known["class"]),
        inputs,
        {"class": labels},
        config=UtilityConfig(),
        tx=joint_optimizer(),
        num_epochs=0,
        batch_size=4,
    )
    assert repr(result) == "EquilibriumResult(7 of 7 players left after 0 epochs)"
