"""Public functions x {jit, vmap, grad}, where they promise it: one line each."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized
from jax.test_util import check_grads

from gamepruning.baselines.hard_concrete import hard_concrete_mean, open_probability
from gamepruning.coalitions.measures import (
    calibrated_likelihood,
    negative_cross_entropy,
    true_class_probability,
)
from gamepruning.distillation import distillation_loss
from gamepruning.equilibrium import (
    UtilityConfig,
    best_response,
    competition,
    dominated_players,
    marginal_benefit,
    nash_gap,
    potential,
    squared_norms,
    surviving_players,
    utility,
    utility_gradient,
)
from gamepruning.metrics import (
    accuracy,
    balanced_accuracy,
    class_divergence,
    cross_entropy,
    macro_f1,
    r2,
    squared_error,
)
from tests.small import make_mlp

PLAYERS, PARAMS, INPUTS, LABELS = make_mlp(jax.random.key(3))
N = PLAYERS.num_players
CONFIG = UtilityConfig(beta=0.05, gamma=0.02, eta=0.01)
ALONE = UtilityConfig(beta=0.05, gamma=0.02)
TEACHER = jnp.array([[0.3, -0.2, 1.0], [0.5, 0.1, -0.4]])
TARGETS = jnp.linspace(-1.0, 2.0, N)


def loss(params, gates):
    return cross_entropy(PLAYERS.gated(params, gates, INPUTS), LABELS)


@functools.cache
def grads():
    with jax.ensure_compile_time_eval():  # the first to ask may be in a trace
        at = {"params": PARAMS, "gates": jnp.full(N, 0.6)}
        return jax.grad(lambda joint: loss(joint["params"], joint["gates"]))(at)


def of_game(fn, config=CONFIG):
    return lambda gates: fn(PLAYERS, PARAMS, grads(), gates, config)


def of_classes(fn):
    return lambda gates: fn(gates[:6].reshape(2, 3), jnp.array([2, 0]))


class Case(NamedTuple):
    """A function of a vector [N] in (0, 1), and whether its derivative is its slope."""

    fn: Callable[[jax.Array], jax.Array]
    has_grad: bool


CASES = {
    "utility": Case(of_game(utility, ALONE), True),
    "utility_gradient": Case(of_game(utility_gradient), False),
    "best_response": Case(of_game(best_response), False),
    "nash_gap": Case(of_game(nash_gap), False),
    "dominated_players": Case(of_game(dominated_players), False),
    "marginal_benefit": Case(of_game(marginal_benefit), False),
    "potential": Case(lambda s: potential(PLAYERS, PARAMS, loss, s, CONFIG), True),
    "competition": Case(lambda s: competition(PLAYERS, PARAMS, s), True),
    "squared_norms": Case(
        lambda s: squared_norms(PLAYERS, PLAYERS.participate(PARAMS, s)), True
    ),
    "surviving_players": Case(lambda s: surviving_players(s, threshold=0.5), False),
    "cross_entropy": Case(of_classes(cross_entropy), True),
    "class_divergence": Case(
        lambda s: class_divergence(TEACHER, s[:6].reshape(2, 3)), True
    ),
    "distillation_loss": Case(
        lambda s: distillation_loss(s[:6].reshape(2, 3), jnp.array([2, 0]), TEACHER),
        True,
    ),
    "negative_cross_entropy": Case(of_classes(negative_cross_entropy), True),
    "true_class_probability": Case(of_classes(true_class_probability), True),
    "calibrated_likelihood": Case(of_classes(calibrated_likelihood), False),
    "accuracy": Case(of_classes(accuracy), False),
    "balanced_accuracy": Case(of_classes(balanced_accuracy), False),
    "macro_f1": Case(of_classes(macro_f1), False),
    "squared_error": Case(lambda s: squared_error(s, TARGETS), True),
    "r2": Case(lambda s: r2(s, TARGETS), True),
    "hard_concrete_mean": Case(hard_concrete_mean, True),
    "open_probability": Case(open_probability, True),
}
SLOPED = [name for name, case in CASES.items() if case.has_grad]


def points(num=3):
    rng = np.random.default_rng(1)
    return jnp.asarray(rng.uniform(0.1, 0.9, (num, N)), jnp.float32)


class WithAndWithoutJit(chex.TestCase):
    """`self.variant` is `jax.jit` once, and once nothing."""

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters(*CASES)
    def test_values_are_finite_and_those_of_jit(self, name):
        x = points()[0]
        found = self.variant(CASES[name].fn)(x)
        chex.assert_tree_all_finite(found)
        expected = CASES[name].fn(x)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_other_values_are_not_traced_again(name):
    fn = jax.jit(chex.assert_max_traces(CASES[name].fn, n=1))
    for x in points():
        fn(x)


@pytest.mark.parametrize("name", CASES)
def test_vmap_is_one_by_one(name):
    together = jax.vmap(CASES[name].fn)(points())
    for x, found in zip(points(), together, strict=True):
        np.testing.assert_allclose(found, CASES[name].fn(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SLOPED)
def test_derivatives_are_those_of_finite_differences(name):
    fn = CASES[name].fn
    check_grads(fn, (points()[0],), 1, ["rev"], atol=2e-2, rtol=2e-2, eps=1e-2)


def test_the_slope_of_the_utility_is_its_gradient():
    x = points()[0]
    slope = jax.grad(lambda s: of_game(utility)(s).sum())(x)
    np.testing.assert_allclose(slope, of_game(utility_gradient)(x), rtol=1e-5)
