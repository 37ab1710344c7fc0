"""What a selection is expected to cost is about what it costs."""

import jax
import numpy as np
import pytest

from gamepruning.coalitions.indices import banzhaf_values
from gamepruning.selection import iterated_building, iterated_pruning
from gamepruning.selection.forecast import (
    expected_work,
    measure_speed,
    players_scored,
)

WORTH = np.linspace(0.1, 1.0, 12)


def additive(masks):
    return np.asarray(masks) @ WORTH


@pytest.mark.parametrize("play", [iterated_building, iterated_pruning])
@pytest.mark.parametrize("step", [1, 3, 0.3])
def test_rounds_are_those_that_are_played(play, step, key):
    budget, n = 30, 5
    trace = play(
        key, additive, n, step=step, num_players=12, scorer=banzhaf_values,
        num_evaluations=budget,
    )  # fmt: skip
    builds = play is iterated_building
    scored = players_scored(12, n, step, is_building=builds)
    assert scored == [len(round_.players) for round_ in trace.rounds]
    work = expected_work(scored, [budget] * len(scored))
    assert work.evaluations == pytest.approx(trace.num_evaluations, rel=0.15)
    assert work.toggles == 0 < work.operations


def test_the_speed_is_that_of_calls_after_the_first(key):
    calls = []

    def game(masks):
        calls.append(len(masks))
        return jax.device_get(masks) @ WORTH

    speed = measure_speed(game, num_players=12)
    assert calls == [64] * 3 + [13] * 3
    assert 0 < speed.evaluation < 1 and 0 < speed.toggles < 1
