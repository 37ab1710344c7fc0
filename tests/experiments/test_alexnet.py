"""How AlexNet's layers share out who stays."""

import numpy as np
import pytest

from experiments.alexnet.choice import scaled_counts


@pytest.mark.parametrize("total", [3, 10, 57, 90, 110])
def test_counts_follow_the_shares_until_a_layer_is_full(total):
    full = np.array([10, 40, 60])
    counts = np.array(scaled_counts(np.array([0.5, 0.3, 0.2]), full, total))
    assert counts.sum() == total
    assert (counts >= 1).all() and (counts <= full).all()
    if total == 10:
        assert counts.tolist() == [5, 3, 2]
    if total == 57:  # the first is full; the others have 3 to 2
        assert counts.tolist() == [10, 28, 19]


def test_a_layer_without_a_share_keeps_one():
    assert scaled_counts(np.array([0.0, 1.0]), np.array([5, 5]), 4)[0] == 1
