"""Solutions of a tabulated game, and the simple game that is made of it."""

import numpy as np

from experiments.gtap.solutions import Tabulated, solutions

WORTH = np.array([0.4, 0.3, 0.2, 0.1])


def test_an_additive_game_is_solved_by_what_each_is_worth():
    game = Tabulated(4, lambda masks: masks @ WORTH)
    found = solutions(game, np.array([0, 0, 1, 1]))
    for name in ("Shapley", "Banzhaf", "Owen, by layer", "least core", "nucleolus"):
        np.testing.assert_allclose(found[name], WORTH, atol=1e-6, err_msg=name)
    assert game.best(2).tolist() == [True, True, False, False]


def test_whoever_has_a_winning_part_wins():
    """Player 1 spoils the value of {0, 1}, but 0 alone has the quota."""
    game = Tabulated(2, lambda masks: np.where(masks[:, 1], 0.1, 1.0 * masks[:, 0]))
    simple = game.won_with(0.9)
    masks = np.array([[False, False], [True, False], [False, True], [True, True]])
    assert simple(masks).tolist() == [0.0, 1.0, 0.0, 1.0]
