"""The games of the comparison with shapiq: their power indices, and ours on them."""

import numpy as np
import pytest

from experiments.peers.games import GAMES
from experiments.peers.shapiq import INDICES, _exact, _indices

QUICK = {"shapley": "leverage", "banzhaf": "regression"}  # the default takes seconds


@pytest.mark.parametrize("name", ["voting", "unanimity", "airport"])
@pytest.mark.parametrize("index", INDICES)
def test_indices_are_those_of_the_game(name, index):
    game = GAMES[name]()
    exact = _exact(index, name, game)
    nobody, everybody = game.values(np.array([[False], [True]]).repeat(50, axis=1))
    if index == "shapley":
        assert exact.sum() == pytest.approx(everybody - nobody)
    found = _indices(index, game, 8000, 0, QUICK[index])
    assert np.linalg.norm(found - exact) < 0.4 * np.linalg.norm(exact)
