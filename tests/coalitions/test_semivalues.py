"""Weights by coalition size, and the law of coalitions that goes with them."""

import math
from fractions import Fraction

import numpy as np
import pytest

from gamepruning.coalitions.estimators import sampling
from gamepruning.coalitions.semivalues import banzhaf, beta_semivalue, shapley
from gamepruning.types import InputError

KINDS = {
    "shapley": shapley,
    "banzhaf": banzhaf,
    "banzhaf_small": lambda n: banzhaf(n, 0.2),
    "banzhaf_large": lambda n: banzhaf(n, 0.9),
    "beta_16_1": lambda n: beta_semivalue(n, 16, 1),
    "beta_2_5": lambda n: beta_semivalue(n, 2, 5),
    "beta_small": lambda n: beta_semivalue(n, 0.5, 0.5),
}
NUM = 20_000  # one number of coalitions throughout: compiling takes longest
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def factorials(n):
    found = [1]
    for i in range(1, n + 1):
        found.append(found[-1] * i)
    return found


def rational_weights(semivalue) -> list[Fraction]:
    """The definition, in whole numbers; alpha and beta have to be whole."""
    n = semivalue.num_players
    f = factorials(n + 50)
    choose = [f[n - 1] // (f[k] * f[n - 1 - k]) for k in range(n)]
    if semivalue.name == "banzhaf":
        a, b = Fraction(semivalue.bias).limit_denominator(100).as_integer_ratio()
        terms = [a**k * (b - a) ** (n - 1 - k) for k in range(n)]
        return [
            Fraction(c * t, b ** (n - 1)) for c, t in zip(choose, terms, strict=True)
        ]
    alpha, beta = map(int, semivalue.parameters or (1, 1))

    def whole_beta(x, y):
        return Fraction(f[x - 1] * f[y - 1], f[x + y - 1])

    return [
        c * whole_beta(k + beta, n - 1 - k + alpha) / whole_beta(alpha, beta)
        for k, c in enumerate(choose)
    ]


@pytest.mark.parametrize("n", [1, 2, 9, 600])
@pytest.mark.parametrize(
    "name", ["shapley", "banzhaf", "banzhaf_small", "banzhaf_large", "beta_16_1"]
)
def test_weights_follow_their_definition(name, n):
    semivalue = KINDS[name](n)
    expected = [float(weight) for weight in rational_weights(semivalue)]
    np.testing.assert_allclose(semivalue.weights(), expected, rtol=1e-10, atol=1e-300)


@every_kind
@pytest.mark.parametrize("n", [1, 2, 100, 2000])
def test_weights_sum_to_one_for_any_number_of_players(make, n):
    weights, logs = make(n).weights(), make(n).log_weights()
    assert weights.shape == logs.shape == (n,)
    assert weights.dtype == np.float64
    assert abs(weights.sum() - 1) < 1e-12
    assert np.isfinite(logs).all()
    np.testing.assert_allclose(np.exp(logs), weights, rtol=1e-9, atol=1e-300)


def test_log_weights_reach_below_the_smallest_float():
    logs = banzhaf(2000, 0.2).log_weights()  # the last one is 0.2^1999
    np.testing.assert_allclose(logs[[0, -1]], [1999 * math.log(p) for p in (0.8, 0.2)])


@every_kind
def test_symmetry_is_that_of_the_weights(make):
    weights = make(8).weights()
    assert make(8).is_symmetric == np.allclose(weights, weights[::-1])


@every_kind
def test_the_others_in_a_coalition_are_k_with_probability_w_k(make, key):
    masks = sampling.coalitions(key, make(6), 0, NUM)
    assert masks.shape == (NUM, 6)
    expected = make(6).weights()
    for player in range(6):
        others = np.delete(masks, player, 1).sum(1)
        share = np.bincount(others, minlength=6) / NUM
        stderr = np.sqrt(expected * (1 - expected) / NUM)
        assert (abs(share - expected) < 5 * stderr + 1e-12).all()


def test_a_semivalue_is_a_static_value():
    assert beta_semivalue(7, 1, 1) == shapley(7)
    assert len({shapley(7), shapley(7), banzhaf(7), banzhaf(7, 0.2)}) == 3
    assert banzhaf(7, 0.2)._replace(num_players=5) == banzhaf(5, 0.2)
    assert banzhaf(7, 0.2).bias == 0.2
    assert shapley(7).bias is None


@pytest.mark.parametrize("bias", [0, 1, -0.1, 1.5, math.nan])
def test_a_bias_outside_zero_and_one_is_an_error(bias):
    with pytest.raises(InputError, match=r"expected bias inside \(0, 1\)"):
        banzhaf(4, bias)


@pytest.mark.parametrize("wrong", [(0, 1), (1, -2), (math.inf, 1), (1, math.nan)])
def test_beta_needs_positive_parameters(wrong):
    with pytest.raises(InputError, match="expected alpha and beta above 0"):
        beta_semivalue(4, *wrong)


@every_kind
@pytest.mark.parametrize("n", [0, -3])
def test_at_least_one_player(make, n):
    with pytest.raises(InputError, match="whole number of players, at least 1"):
        make(n)
