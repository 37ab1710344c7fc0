"""Best responses, equilibria, their stability: the theory against the dynamics."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamepruning.equilibrium import (
    UtilityConfig,
    best_response,
    condition_numbers,
    dominated_players,
    game_jacobian,
    nash_gap,
    own_terms,
    potential,
    response_jacobian,
    solve,
    spectral_radius,
    utility,
    utility_gradient,
)
from gamepruning.metrics import cross_entropy
from gamepruning.types import InputError
from tests.small import make_mlp

CONFIGS = [
    UtilityConfig(beta=0.05, gamma=0.01),
    UtilityConfig(alpha=2.0, beta=0.1, gamma=0.005, eta=0.05),
    UtilityConfig(beta=0.1, gamma=0.01, eta=0.02, norm="mean"),
    UtilityConfig(beta=0.03, gamma=0.0, eta=0.01, norm="unit"),
]
configs = pytest.mark.parametrize("config", CONFIGS, ids=str)


@pytest.fixture(autouse=True)
def precise():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def game(key):
    """A network, its loss as a function of weights and gates, and some gates."""
    players, params, inputs, labels = make_mlp(key, widths=(5, 6, 4, 3), num_examples=9)
    params = jax.tree.map(lambda leaf: leaf.astype(float), params)
    inputs = inputs.astype(float)

    def loss_fn(params, gates):
        return cross_entropy(players.gated(params, gates, inputs), labels)

    return players, params, loss_fn, jnp.linspace(0.1, 0.9, players.num_players)


def gradients(params, loss_fn, gates):
    down, slopes = jax.grad(loss_fn, (0, 1))(params, gates)
    return {"params": down, "gates": slopes}


@configs
def test_own_terms_are_the_utility(game, config):
    players, params, loss_fn, gates = game
    grads = gradients(params, loss_fn, gates)
    terms = own_terms(players, params, grads, gates, config)
    expected = utility(players, params, grads, gates, config)
    np.testing.assert_allclose(terms.utility(gates), expected, rtol=1e-10)
    slope = terms.slope - 2 * terms.curvature * gates
    expected = utility_gradient(players, params, grads, gates, config)
    np.testing.assert_allclose(slope, expected, rtol=1e-10)


@configs
def test_nobody_can_do_better_than_the_best_response(game, config):
    players, params, loss_fn, gates = game
    grads = gradients(params, loss_fn, gates)
    best = best_response(players, params, grads, gates, config)
    terms = own_terms(players, params, grads, gates, config)
    grid = jnp.linspace(0.0, 1.0, 1001)
    values = jax.vmap(lambda x: terms.utility(jnp.full(len(gates), x)))(grid)
    assert (terms.utility(best) >= values.max(axis=0) - 1e-12).all()
    gain = (terms.utility(best) - terms.utility(gates)).max()
    found = nash_gap(players, params, grads, gates, config)
    np.testing.assert_allclose(found, gain, rtol=1e-9)


@pytest.mark.parametrize("config", CONFIGS[1:3], ids=str)
@pytest.mark.parametrize("linearised", [True, False])
@pytest.mark.parametrize("dynamics", ["ascent", "simultaneous", "sequential"])
def test_all_dynamics_end_in_an_equilibrium(game, config, dynamics, linearised):
    players, params, loss_fn, _ = game
    solution = solve(
        players,
        params,
        loss_fn,
        config,
        dynamics=dynamics,
        linearised=linearised,
        learning_rate=None if dynamics == "ascent" else 0.3,
        tolerance=1e-12,
        max_steps=50_000,
    )
    assert solution.status == "converged"
    assert ((solution.gates >= 0) & (solution.gates <= 1)).all()
    at = jnp.ones(len(solution.gates)) if linearised else solution.gates
    grads = gradients(params, loss_fn, at)
    assert nash_gap(players, params, grads, solution.gates, config) <= 1e-12
    best = best_response(players, params, grads, solution.gates, config)
    np.testing.assert_allclose(solution.gates, best, atol=1e-5)


def test_the_fixed_point_of_ascent_is_the_closed_form(game):
    players, params, loss_fn, _ = game
    config = UtilityConfig(beta=0.1, gamma=0.01)
    grads = gradients(params, loss_fn, jnp.ones(players.num_players))
    best = best_response(players, params, grads, jnp.ones(10), config)
    assert 0 < jnp.sum((best > 0) & (best < 1)) < players.num_players
    solution = solve(players, params, loss_fn, config, linearised=True, tolerance=1e-20)
    np.testing.assert_allclose(solution.gates, best, atol=1e-10)


def test_a_player_in_equilibrium_gains_exactly_nothing(game):
    players, params, loss_fn, _ = game
    config = UtilityConfig(gamma=100.0)
    solution = solve(players, params, loss_fn, config)
    assert (solution.gates == 0).all() and solution.nash_gap == 0.0


def test_where_nothing_pays_players_stay_where_they_are(game):
    players, params, _, gates = game
    solution = solve(
        players, params, lambda p, s: 0.0 * s.sum(), UtilityConfig(), gates=gates
    )
    np.testing.assert_array_equal(solution.gates, gates)
    assert solution.steps == 0


def test_dynamics_that_run_around_say_so(game):
    """Simultaneous responses overshoot where competition is strong."""
    players, params, loss_fn, _ = game
    config = UtilityConfig(beta=0.01, eta=0.05)
    options = {"linearised": True, "max_steps": 500}
    around = solve(players, params, loss_fn, config, dynamics="simultaneous", **options)
    assert around.status == "stopped" and around.nash_gap > 1e-3
    rest = solve(players, params, loss_fn, config, dynamics="sequential", **options)
    assert rest.status == "converged"


@pytest.mark.parametrize("seed", range(3))
def test_dominated_players_stay_out_of_every_equilibrium(game, seed):
    players, params, loss_fn, gates = game
    config = UtilityConfig(beta=0.02, gamma=0.05, eta=0.02)
    grads = gradients(params, loss_fn, gates)
    out = dominated_players(players, params, grads, gates, config)
    assert 0 < out.sum() < players.num_players
    others = jax.random.uniform(jax.random.key(seed), gates.shape)

    # the benefits are those at `gates`, whatever the others do
    slope = own_terms(players, params, grads, others, config).slope
    assert (slope[out] < 0).all()
    # and some choice of the others' makes any other player want to take part
    for player in np.flatnonzero(~out):
        pairs = jax.jacobian(
            lambda s: own_terms(players, params, grads, s, config).slope
        )(gates)
        kind = jnp.where(pairs[player] > 0, 1.0, 0.0)
        best_case = own_terms(players, params, grads, kind, config).slope
        assert best_case[player] > 0


@configs
def test_the_potential_has_the_players_slopes(game, config):
    players, params, loss_fn, gates = game
    climbed = jax.grad(lambda s: potential(players, params, loss_fn, s, config))(gates)
    grads = gradients(params, loss_fn, gates)
    expected = utility_gradient(players, params, grads, gates, config)
    np.testing.assert_allclose(climbed, expected, rtol=1e-9)


def test_the_literal_game_has_no_potential(game):
    players, params, loss_fn, gates = game
    config = UtilityConfig(benefit="literal")
    with pytest.raises(InputError, match="descent"):
        potential(players, params, loss_fn, gates, config)


@configs
def test_the_jacobian_is_that_of_the_slopes(game, config):
    players, params, loss_fn, gates = game
    apply = game_jacobian(players, params, loss_fn, gates, config)
    ours = jax.vmap(apply)(jnp.eye(len(gates))).T

    def slopes(gates):
        grads = gradients(params, loss_fn, gates)
        return utility_gradient(players, params, grads, gates, config)

    step = 1e-6 * jnp.eye(len(gates))
    above, below = (jax.jit(jax.vmap(slopes))(gates[None] + s * step) for s in (1, -1))
    np.testing.assert_allclose(ours, (above - below).T / 2e-6, atol=1e-6)


def test_the_radius_tells_whether_simultaneous_responses_settle(game):
    """Linear responses die out below 1 and not above."""
    players, params, loss_fn, _ = game
    start = 0.5 * jnp.ones(players.num_players)
    for eta, settles in ((0.005, True), (1.0, False)):
        config = UtilityConfig(beta=0.05, eta=eta, norm="unit")
        apply = response_jacobian(
            players, params, loss_fn, start, config, linearised=True, clipped=False
        )
        assert (spectral_radius(apply, len(start)) < 1) == settles


def test_the_radius_of_a_large_operator_is_not_computed_densely():
    numbers = np.random.default_rng(0)
    matrix = jnp.asarray(numbers.standard_normal((90, 90)))
    expected = np.abs(np.linalg.eigvals(np.asarray(matrix))).max()
    found = spectral_radius(lambda v: matrix @ v, 90)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert spectral_radius(lambda v: 0 * v, 90) == 0.0


def test_condition_numbers_are_those_of_the_gated_rows(game):
    players, params, _, gates = game
    found = condition_numbers(players, params, gates.at[6:].set(0.0))
    layer = params["dense0"]
    rows = jnp.concatenate([layer["kernel"], layer["bias"][None]]).T
    expected = np.linalg.cond(gates[:6, None] * rows)
    assert list(found) == [family.name for family in players.families]
    first, second = found.values()
    np.testing.assert_allclose(first, expected, rtol=1e-6)
    assert np.isnan(second)


def test_gates_in_single_precision(key):
    with jax.enable_x64(False):
        players, params, inputs, labels = make_mlp(key)

        def loss_fn(params, gates):
            return cross_entropy(players.gated(params, gates, inputs), labels)

        config = UtilityConfig(beta=0.05, gamma=0.01, eta=0.01)
        solution = solve(players, params, loss_fn, config, linearised=True)
        assert solution.status == "converged" and solution.nash_gap < 1e-6


@pytest.mark.parametrize("options", [{"max_steps": 0}, {"tolerance": -1.0}])
def test_wrong_options_are_named(game, options):
    players, params, loss_fn, _ = game
    with pytest.raises(InputError, match=next(iter(options))):
        solve(players, params, loss_fn, UtilityConfig(), **options)


def test_what_solve_cannot_start_from_is_told(game):
    players, params, loss_fn, gates = game
    with pytest.raises(InputError, match="float gates"):
        solve(players, params, loss_fn, UtilityConfig(), gates=np.ones(len(gates), int))
    for rate in (-1.0, 0.0, float("nan")):
        with pytest.raises(InputError, match="a learning rate above 0"):
            solve(players, params, loss_fn, UtilityConfig(), learning_rate=rate)
    with pytest.raises(InputError):  # not of the types that tests check
        inspect.unwrap(solve)(params, players, loss_fn, UtilityConfig())


@pytest.mark.parametrize("dynamics", ["simultaneous", "sequential"])
def test_gates_stay_between_0_and_1_at_any_rate(game, dynamics):
    players, params, loss_fn, _ = game
    config = UtilityConfig(beta=0.05, gamma=10.0)
    options = {"dynamics": dynamics, "learning_rate": 1.5, "max_steps": 1}
    found = solve(players, params, loss_fn, config, **options).gates
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1


def test_the_jacobian_leaves_out_what_is_not_trained(game):
    players, params, loss_fn, gates = game
    config = UtilityConfig(beta=0.1)
    wanted = game_jacobian(players, params, loss_fn, gates, config)(gates)
    found = game_jacobian(players, params, loss_fn, gates, config)(
        np.asarray(gates, np.float32)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_an_operator_that_is_not_finite_is_refused():
    for size in (2, 90):
        with pytest.raises(InputError, match="gives NaN or infinity"):
            spectral_radius(lambda v: v * jnp.nan, size)


def test_weights_of_numpy_are_checked():
    for weight in (np.float32(-1), np.float64("nan")):
        with pytest.raises(InputError, match="gamma to be finite"):
            UtilityConfig(gamma=weight)


@pytest.mark.parametrize(
    ("wide", "narrow"), [(jnp.float64, jnp.float32), (jnp.float32, jnp.bfloat16)]
)
def test_gates_may_be_narrower_than_parameters(game, wide, narrow):
    players, params, _, gates = game
    params = jax.tree.map(lambda leaf: leaf.astype(wide), params)
    solution = solve(
        players,
        params,
        lambda p, s: -s.sum(),
        UtilityConfig(beta=0.1),
        gates=gates.astype(narrow),
        linearised=True,
    )
    assert solution.status == "converged" and solution.gates.dtype == wide


def test_the_same_game_at_other_parameters_is_not_compiled_again(game):
    players, params, loss_fn, _ = game
    traced = []

    def counted(params, gates):
        traced.append(isinstance(jax.tree.leaves(params)[0], jax.core.Tracer))
        return loss_fn(params, gates)

    config = UtilityConfig(beta=0.1, gamma=0.01)
    first = solve(players, params, counted, config, max_steps=3)
    num_first = len(traced)
    other = jax.tree.map(lambda leaf: 1.1 * leaf, params)
    second = solve(players, other, counted, config, max_steps=3)
    assert len(traced) - num_first < num_first
    assert not jnp.allclose(first.gates, second.gates, atol=1e-6)
