"""What the study of the equilibrium's dynamics counts."""

import numpy as np
import pytest

from experiments.equilibrium_mnist import dynamics_table, games, statics


def test_who_is_dominated_is_compared_with_who_left():
    dominated = np.array([[True, True, False, True]])
    gates = np.array([[0.5, 0.5, 0.5, 0.0]])  # the last one has left already
    found = games.foretold(dominated, gates, np.array([[True, False, True, True]]))
    assert found == {
        "there": 3,
        "dominated": 2,
        "left later": 2,
        "of the dominated, left": 0.5,
        "of those who left, dominated": 0.5,
    }


@pytest.mark.parametrize(
    ("gates", "two_modes"),
    [
        ([0.0, 0.0, 1.0, 1.0], True),
        ([0.0, 0.0, 0.0, 0.05], False),  # nobody is near one
        ([1.0, 1.0, 1.0, 1.0], False),
        ([0.0, 0.5, 0.5, 1.0], False),  # half is between
    ],
)
def test_two_modes_are_mass_near_zero_and_near_one(gates, two_modes):
    game = {"gates": games.shares_of(np.array(gates))}
    assert dynamics_table.is_bimodal(game) == two_modes


def test_ends_that_are_apart_are_two_equilibria():
    first, second = np.array([1.0, 0.0]), np.array([0.95, 0.0])
    third = np.array([0.0, 1.0])
    found = statics.apart([first, second, third])
    assert found["equilibria"] == found["sets of survivors"] == 2
    assert found["largest distance"] == 1.0
    assert statics.apart([])["equilibria"] == 0


def test_orders_with_the_same_worst_players_have_the_same_sets():
    own = np.array([3.0, 1.0, 2.0])
    assert statics.same_sets(own, 10 * own) == 1.0
    assert statics.same_sets(own, np.array([3.0, 2.0, 1.0])) == 0.5


def test_two_peaks_have_the_larger_coefficient_of_sarle():
    two = np.repeat([0.0, 1.0], 50)
    assert games.sarle(two) == pytest.approx(1.0)
    assert games.sarle(np.random.default_rng(0).normal(size=5000)) < 5 / 9
