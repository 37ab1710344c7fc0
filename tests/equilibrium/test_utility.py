"""The utility, its own-strategy gradient, and the closed form of eq. 18."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamepruning.equilibrium import (
    UtilityConfig,
    competition,
    marginal_benefit,
    squared_norms,
    utility,
    utility_gradient,
)
from gamepruning.metrics import cross_entropy
from gamepruning.players import find_players
from gamepruning.types import InputError
from tests.small import apply_mlp, make_mlp

CONFIGS = [
    UtilityConfig(beta=0.05, gamma=0.05),
    UtilityConfig(alpha=2.0, beta=0.1, gamma=0.02, eta=0.3),
    UtilityConfig(beta=0.1, gamma=0.01, eta=0.2, benefit="literal"),
    UtilityConfig(beta=0.1, gamma=0.01, eta=0.2, norm="mean"),
    UtilityConfig(beta=0.1, gamma=0.01, eta=0.2, norm="unit"),
]


@pytest.fixture
def game(key):
    players, params, inputs, labels = make_mlp(key)
    gates = jnp.linspace(0.1, 0.9, players.num_players)

    def loss(joint):
        outputs = players.gated(joint["params"], joint["gates"], inputs)
        return cross_entropy(outputs, labels)

    grads = jax.grad(loss)({"params": params, "gates": gates})
    return players, params, grads, gates


def own_rows(params) -> list[np.ndarray]:
    """Theta, one matrix a layer: a row is a hidden unit's incoming weights and bias."""
    layers = [params[name] for name in sorted(params)][:-1]
    return [
        np.asarray(
            jnp.concatenate([layer["kernel"], layer["bias"][None]]).T, np.float64
        )
        for layer in layers
    ]


def closed_form(params, grads, gates, config) -> np.ndarray:
    """Eq. 18, term by term, with every inner product written out."""
    gates = np.asarray(gates, np.float64)
    gradients, start = [], 0
    for theta, gradient in zip(
        own_rows(params), own_rows(grads["params"]), strict=True
    ):
        s = gates[start : start + len(theta)]
        inner = (gradient * theta).sum(axis=1)
        benefit = inner if config.benefit == "literal" else -inner / s
        if config.norm == "mean":
            theta = theta / np.sqrt(theta.shape[1])
        if config.norm == "unit":
            theta = theta / np.linalg.norm(theta, axis=1, keepdims=True)
        gram = theta @ theta.T
        rivals = gram @ s - np.diag(gram) * s
        gradients.append(
            config.alpha * benefit
            - 2 * config.beta * np.diag(gram) * s
            - config.gamma * np.sign(s)
            - config.eta * rivals
        )
        start += len(theta)
    return np.concatenate(gradients)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("over", ["params", "both"])
def test_gradient_is_the_closed_form(game, config, over):
    players, params, grads, gates = game
    dloss = grads["params"] if over == "params" else grads
    actual = utility_gradient(players, params, dloss, gates, config)
    np.testing.assert_allclose(
        actual, closed_form(params, grads, gates, config), atol=1e-5
    )


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_gradient_is_the_finite_difference_of_ones_own_strategy(game, config):
    players, params, grads, gates = game
    with jax.enable_x64(True):
        wide = lambda tree: jax.tree.map(lambda a: np.asarray(a, np.float64), tree)  # noqa: E731
        params, grads, gates = wide(params), wide(grads), jnp.asarray(wide(gates))
        step = 1e-4
        # B_i is linearised at the current gates; both grads and b_i stay there.
        benefit = marginal_benefit(players, params, grads, gates, config)
        frozen = {"params": grads["params"], "gates": -benefit}
        if config.benefit == "literal":
            frozen = grads
        differences = []
        for i in range(players.num_players):
            up, down = (
                utility(players, params, frozen, gates.at[i].add(h), config)[i]
                for h in (step, -step)
            )
            differences.append((up - down) / (2 * step))
        actual = utility_gradient(players, params, grads, gates, config)
        np.testing.assert_allclose(actual, np.array(differences), atol=1e-7)


def test_a_game_worked_by_hand():
    # One hidden layer of two units, two inputs, no bias, one output weight each.
    # theta_1 = (3, 4), theta_2 = (1, 0): norms 25 and 1, inner product 3.
    players, params, _, _ = make_mlp(jax.random.key(0), widths=(2, 2, 1))
    params = {
        "dense0": {"kernel": jnp.array([[3.0, 1.0], [4.0, 0.0]]), "bias": jnp.zeros(2)},
        "dense1": {"kernel": jnp.ones((2, 1)), "bias": jnp.zeros(1)},
    }
    grads = {
        "params": jax.tree.map(jnp.zeros_like, params),
        "gates": jnp.array([-2.0, 1.0]),
    }
    gates = jnp.array([0.5, 1.0])
    config = UtilityConfig(alpha=1.0, beta=0.1, gamma=0.2, eta=0.01)
    np.testing.assert_allclose(squared_norms(players, params), [25.0, 1.0])
    np.testing.assert_allclose(competition(players, params, gates), [3.0, 1.5])
    # U_1 = .5 * 2 - .1 * 25 * .25 - .2 * .5 - .01 * .5 * 3 = .26
    # U_2 = 1 * -1 - .1 * 1 * 1 - .2 * 1 - .01 * 1 * 1.5 = -1.315
    value = utility(players, params, grads, gates, config)
    np.testing.assert_allclose(value, [0.26, -1.315], rtol=1e-6)
    # dU_1 = 2 - 2 * .1 * 25 * .5 - .2 - .01 * 3 = -.73
    # dU_2 = -1 - 2 * .1 * 1 * 1 - .2 - .01 * 1.5 = -1.415
    slope = utility_gradient(players, params, grads, gates, config)
    np.testing.assert_allclose(slope, [-0.73, -1.415], rtol=1e-6)


def test_who_has_left_rests_until_it_earns_the_linear_cost(game):
    players, params, grads, _ = game
    gates = jnp.zeros(players.num_players)
    earned = jnp.linspace(-0.1, 0.1, players.num_players)
    grads = {"params": grads["params"], "gates": -earned}
    config = UtilityConfig(beta=0.1, gamma=0.05)
    slope = utility_gradient(players, params, grads, gates, config)
    np.testing.assert_allclose(slope, earned - 0.05, rtol=1e-6)


@pytest.mark.parametrize("norm", ["sum", "mean", "unit"])
def test_a_player_without_weights_is_no_trouble(game, norm):
    players, params, grads, _ = game
    dead = jax.tree.map(lambda leaf: leaf.at[..., 0].set(0.0), params["dense0"])
    params = params | {"dense0": dead}
    gates = jnp.ones(players.num_players)
    grads = grads | {"gates": jnp.zeros(players.num_players)}
    config = UtilityConfig(beta=0.1, gamma=0.1, eta=0.1, norm=norm)
    slope = utility_gradient(players, params, grads, gates, config)
    assert np.isfinite(slope).all()
    assert slope[0] == pytest.approx(-0.1)  # nothing but the linear cost


def test_benefit_from_weights_alone_is_that_of_the_gates_for_relu(game):
    players, params, grads, gates = game
    config = UtilityConfig()
    np.testing.assert_allclose(
        marginal_benefit(players, params, grads["params"], gates, config),
        marginal_benefit(players, params, grads, gates, config),
        atol=1e-5,
    )


def test_benefit_from_weights_alone_is_zero_at_a_closed_gate(game):
    players, params, grads, gates = game
    closed = gates.at[0].set(0.0)
    benefit = marginal_benefit(
        players, params, grads["params"], closed, UtilityConfig()
    )
    assert benefit[0] == 0 and np.isfinite(benefit).all()


def test_params_whose_own_keys_are_params_and_gates_are_not_confused(key):
    _, params, inputs, _ = make_mlp(key)
    tree = {"params": params, "gates": jnp.zeros(7)}
    players = find_players(lambda t, x: apply_mlp(t["params"], x), tree, inputs)
    gates = jnp.ones(players.num_players)
    config = UtilityConfig(benefit="literal")
    actual = marginal_benefit(players, tree, tree, gates, config)
    np.testing.assert_allclose(actual, squared_norms(players, tree), rtol=1e-6)


def test_a_traced_config_is_mapped_over(game):
    players, params, grads, gates = game
    betas = jnp.array([0.1, 0.2, 0.5])
    many = UtilityConfig(
        alpha=jnp.ones(3), beta=betas, gamma=jnp.zeros(3), eta=jnp.full(3, 0.1)
    )
    slope_of = lambda config: utility_gradient(players, params, grads, gates, config)  # noqa: E731
    together = jax.jit(jax.vmap(slope_of))(many)
    alone = [slope_of(UtilityConfig(beta=float(b), eta=0.1)) for b in betas]
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-5, atol=1e-7)


def test_half_precision_weights_are_summed_in_single(game):
    players, params, grads, gates = game
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), params)
    norms = squared_norms(players, half)
    assert norms.dtype == jnp.float32
    exact = squared_norms(players, jax.tree.map(lambda a: a.astype(jnp.float32), half))
    np.testing.assert_allclose(norms, exact, rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": -1.0}, "beta"),
        ({"gamma": float("nan")}, "gamma"),
        ({"benefit": "ascent"}, "benefit"),
        ({"norm": "max"}, "norm"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    # TypeError: the type checker of the tests looks at the choices first.
    with pytest.raises((ValueError, TypeError), match=message):
        UtilityConfig(**settings)


def test_other_trees_and_shapes_are_refused(game):
    players, params, grads, gates = game
    config = UtilityConfig()
    with pytest.raises(ValueError, match="loss gradient as a tree like params"):
        utility_gradient(players, params, grads["gates"], gates, config)
    with pytest.raises(ValueError, match="one gate a player"):
        utility_gradient(players, params, grads, gates[:-1], config)
    with pytest.raises(ValueError, match="expected float gates"):
        utility_gradient(players, params, grads, gates > 0.5, config)


@pytest.mark.parametrize("zero", [0, 0.0, np.float32(0), jnp.zeros(())])
def test_a_weight_of_zero_leaves_its_term_out(zero):
    config = UtilityConfig(eta=zero)
    assert not config.has("eta")
    assert not jax.jit(lambda x: x + config.has("eta"))(0)
    assert UtilityConfig(eta=zero + 1).has("eta")


def test_a_traced_eta_is_told_where_players_cannot_be_compared(key):
    def apply(params, x):
        x = x + jnp.tanh(x @ params["up"]) @ params["down"]
        return x @ params["out"]

    params = {"up": jnp.ones((3, 4)), "down": jnp.ones((4, 3)), "out": jnp.ones((3, 2))}
    players = find_players(apply, params, jnp.ones((2, 3)), granularity="branch")
    grads = {"params": params, "gates": jnp.ones(1)}

    def slope(config):
        return utility_gradient(players, params, grads, jnp.ones(1), config)

    assert slope(UtilityConfig(eta=np.float32(0))).tolist() == [-1.0]
    with pytest.raises(InputError, match="a number that jit does not trace"):
        jax.jit(slope)(UtilityConfig())


def test_a_mean_square_makes_no_arrays_of_ones(game, monkeypatch):
    players, params, *_ = game
    squares = squared_norms(players, params)
    count = np.repeat([6.0, 5.0], [4, 3])  # weights and a bias
    monkeypatch.setattr(jnp, "ones", None)
    found = squared_norms(players, params, "mean")
    np.testing.assert_allclose(found, squares / count, rtol=1e-6)
