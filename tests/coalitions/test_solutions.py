"""Cores, nucleoli, power by who wins, and unions: published figures and twins."""

import itertools

import numpy as np
import pytest

import gamepruning as gp
from gamepruning.coalitions import (
    deegan_packel,
    exact_owen,
    exact_shapley,
    johnston,
    least_core,
    nucleolus,
    owen_values,
    threshold_game,
    voting_game,
)
from gamepruning.coalitions.exact import all_coalitions
from gamepruning.types import InputError

CLAIMS = np.array([100, 200, 300])
UNIONS = [0, 3, 3, 1, 1, 1]


def estate(size):
    """What is left to a coalition when all others are paid."""
    return lambda masks: np.maximum(size - ~masks @ CLAIMS, 0)


def gloves(masks):
    return np.minimum(masks[:, 0], masks[:, 1] | masks[:, 2])


def drawn(num, seed=0):
    values = np.random.default_rng(seed).normal(size=2**num)
    powers = 1 << np.arange(num)
    return lambda masks: values[masks @ powers]


def excesses(game, num, value):
    """Of all coalitions, the largest first."""
    masks = all_coalitions(num, 1, 2**num - 1)
    nobody = game(np.zeros((1, num), bool))[0]
    return np.sort(game(masks) * 1.0 - nobody - masks @ value)[::-1]


# -- the core --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("game", "known"),
    [
        (estate(100), [100 / 3, 100 / 3, 100 / 3]),  # the Talmud
        (estate(200), [50, 75, 75]),
        (estate(300), [50, 100, 150]),
        (gloves, [1, 0, 0]),
        (voting_game(2, [1, 1, 1]), [1 / 3, 1 / 3, 1 / 3]),
        (voting_game(3, [2, 1, 1, 1]), [2 / 5, 1 / 5, 1 / 5, 1 / 5]),  # the apex
        (lambda masks: 5 + masks @ [3.0, -1.0], [3, -1]),
        (lambda masks: 5 + 2.0 * masks[:, 0], [2]),
    ],
)
def test_hand_worked_nucleoli(game, known):
    found = nucleolus(game, len(known))
    np.testing.assert_allclose(found.value, known, atol=1e-8)
    assert found.num_evaluations == 2 ** len(known)


@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_no_other_allocation_has_smaller_excesses(scale):
    def game(masks):
        return scale * drawn(5)(masks)

    value = nucleolus(game, 5).value
    best = excesses(game, 5, value)
    draws = np.random.default_rng(1)
    for size in scale * 10.0 ** draws.uniform(-4, 0, 100):
        step = draws.normal(size=5)
        other = excesses(game, 5, value + size * (step - step.mean()))
        first = np.flatnonzero(abs(other - best) > 1e-7 * scale)[0]
        assert other[first] > best[first]


@pytest.mark.parametrize(
    ("game", "num", "excess"),
    [
        (voting_game(2, [1, 1, 1]), 3, 1 / 3),
        (gloves, 3, 0),
        (lambda masks: masks.all(axis=1), 3, -1 / 3),
        (estate(300), 3, -50),
    ],
)
def test_hand_worked_least_cores(game, num, excess):
    found = least_core(game, num)
    assert found.excess == pytest.approx(excess, abs=1e-8)
    largest = excesses(game, num, found.scores.value)[0]
    assert largest == pytest.approx(excess, abs=1e-6)


def test_the_least_core_is_shared_out_evenly():
    found = least_core(estate(300), 3)  # [50, 50 + t, 200 - t]
    np.testing.assert_allclose(found.scores.value, [50, 125, 125], atol=1e-6)
    value = least_core(drawn(5), 5).scores.value
    assert np.square(value).sum() <= np.square(nucleolus(drawn(5), 5).value).sum()


def test_drawn_coalitions_find_the_core_of_a_sum():
    worth = np.random.default_rng(3).normal(size=30)
    game = lambda masks: 7 + masks @ worth  # noqa: E731
    found = least_core(game, 30, num_coalitions=500, key=0)
    np.testing.assert_allclose(found.scores.value, worth, atol=1e-6)
    assert found.excess == pytest.approx(0, abs=1e-8)
    assert 500 < found.scores.num_evaluations <= 532


# -- who wins --------------------------------------------------------------------------


def test_the_security_council():
    """Each needs all 5 permanent members and 4 of the 10 others."""
    council = voting_game(39, [7] * 5 + [1] * 10)
    packel, power = deegan_packel(council).value, johnston(council).value
    np.testing.assert_allclose(packel, [1 / 9] * 5 + [4 / 90] * 10)
    # 210 coalitions of 9, all critical; 638 larger ones, in which 5 are
    shares = [(210 / 9 + 638 / 5) / 848] * 5 + [84 / 9 / 848] * 10
    np.testing.assert_allclose(power, shares)
    assert power[[0, 5]].round(3).tolist() == [0.178, 0.011]  # as published


def test_the_council_of_1958():
    """Felsenthal and Machover, The Measurement of Voting Power (1998), chapter 5."""
    six = voting_game(12, [4, 4, 4, 2, 2, 1])
    known = [5 / 24] * 3 + [3 / 16] * 2 + [0]
    np.testing.assert_allclose(deegan_packel(six).value, known)
    np.testing.assert_allclose(johnston(six).value, [1 / 4] * 3 + [1 / 8] * 2 + [0])


def test_indices_of_winners_are_those_of_sets():
    draws = np.random.default_rng(5)
    quota, weights = 9, draws.integers(0, 6, 7)

    def wins(members):
        return weights[list(members)].sum() >= quota

    minimal, vulnerable = np.zeros(7), np.zeros(7)
    counts = [0, 0]
    for size in range(1, 8):
        for members in itertools.combinations(range(7), size):
            if not wins(members):
                continue
            needed = [i for i in members if not wins([j for j in members if j != i])]
            counts[1] += bool(needed)
            vulnerable[needed] += 1 / max(len(needed), 1)
            if len(needed) == size:
                counts[0] += 1
                minimal[needed] += 1 / size
    game = threshold_game(lambda masks: masks @ weights, quota, 7)
    np.testing.assert_allclose(deegan_packel(game).value, minimal / counts[0])
    np.testing.assert_allclose(johnston(game).value, vulnerable / counts[1])


# -- unions ----------------------------------------------------------------------------


def test_unions_of_one_and_of_all_are_no_unions():
    known = exact_shapley(drawn(6), 6).value
    for unions in (np.arange(6), np.zeros(6, int)):
        np.testing.assert_allclose(exact_owen(drawn(6), unions).value, known)


def test_a_union_gets_what_it_is_worth_among_unions():
    unions = np.array(UNIONS)
    value = exact_owen(drawn(6), unions).value
    names = np.unique(unions)

    def among(masks):
        member = (unions == names[:, None]).astype(int)
        return drawn(6)(masks.astype(int) @ member > 0)

    sums = [value[unions == name].sum() for name in names]
    np.testing.assert_allclose(sums, exact_shapley(among, 3).value)


def test_random_orders_find_the_owen_value():
    found = owen_values(0, drawn(6), UNIONS, num_orders=2000)
    apart = (found.value - exact_owen(drawn(6), UNIONS).value) / found.stderr
    assert np.abs(apart).max() < 4
    again = owen_values(0, drawn(6), UNIONS, num_orders=2000)
    np.testing.assert_array_equal(found.value, again.value)


def test_layers_are_unions():
    def apply(params, x):
        for w in params:
            x = np.maximum(x @ w, 0) if isinstance(x, np.ndarray) else x @ w
        return x

    draws = np.random.default_rng(0)
    params = [draws.normal(size=s).astype("f") for s in ((3, 4), (4, 3), (3, 2))]
    x = draws.normal(size=(50, 3)).astype("f")
    players = gp.find_players(apply, params, x)
    value_fn = gp.value_function(
        players, params, gp.negative_cross_entropy, x, (x[:, 0] > 0).astype(int)
    )
    unions = np.asarray(players.family_of)
    exact = exact_owen(value_fn, unions)
    before = value_fn.num_evaluations
    found = owen_values(1, value_fn, unions, num_orders=300)
    assert found.num_evaluations == value_fn.num_evaluations - before
    assert (abs(found.value - exact.value) <= 4.5 * found.stderr + 1e-6).all()


# -- bad input -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nucleolus(gloves, 16), "at most 15 players"),
        (lambda: least_core(gloves, 30), "at most 15 players"),
        (lambda: least_core(gloves, 3, num_coalitions=9), "a random key"),
        (lambda: least_core(gloves, 3, num_coalitions=0, key=0), "at least 1"),
        (lambda: nucleolus(lambda masks: masks[:, 0] / 0.0, 2), "finite"),
        (lambda: johnston(lambda m: m @ [0.5, 0.5], 2), "threshold_game"),
        (lambda: johnston(lambda m: 1.0 - m[:, 0], 2), "another quota"),
        (lambda: deegan_packel(lambda m: m[:, 2] | m[:, 0] & ~m[:, 1], 3), "do harm"),
        (lambda: threshold_game(gloves, np.nan, 3), "a finite quota"),
        (lambda: exact_owen(gloves, np.array([0, 0.5, 1])), "whole numbers"),
        (lambda: exact_owen(drawn(3), np.arange(30)), "owen_values"),
        (lambda: owen_values(0, gloves, [0, 1, 1], num_orders=1), "at least 2"),
        (lambda: owen_values(0, voting_game(1, [1]), [0, 1]), "1 players, got"),
    ],
)
@pytest.mark.filterwarnings("ignore:.* encountered in")
def test_bad_input_is_told(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_threshold_of_what_is_not_a_number_is_told():
    def value(masks):
        return np.where(masks.sum(axis=1) == 1, np.nan, masks.sum(axis=1))

    with pytest.raises(gp.InputError):
        deegan_packel(threshold_game(value, 2, 3))
    assert threshold_game(voting_game(2, [1, 1, 1]), 1).is_deterministic


@pytest.mark.parametrize("number", [100, 1000])
def test_noise_of_nobody_and_everybody_is_in_the_errors_of_owen_values(number):
    """A game of noise alone: all values are 0."""
    noise, inside = np.random.default_rng(0), []
    for seed in range(40):
        found = owen_values(
            seed,
            lambda masks: noise.normal(size=len(masks)),
            [0, 0, 1, 1, 2],
            num_orders=number,
        )
        inside.append(abs(found.value) < 1.96 * found.stderr)
    assert 0.88 < np.mean(inside) < 0.99
