"""The games of the comparison with shapiq: their Shapley values, and ours on them."""

import numpy as np
import pytest

from experiments.peers.games import GAMES
from experiments.peers.shapiq import _exact, _shapley


@pytest.mark.parametrize("name", ["voting", "unanimity", "airport"])
def test_shapley_values_are_those_of_the_game(name):
    game = GAMES[name]()
    exact = _exact(name, game)
    nobody, everybody = game.values(np.array([[False], [True]]).repeat(50, axis=1))
    assert exact.sum() == pytest.approx(everybody - nobody)
    found = _shapley(game, 8000, 0)
    assert np.linalg.norm(found - exact) < 0.4 * np.linalg.norm(exact)
