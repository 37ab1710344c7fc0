"""Which axes become which when an array with a symbolic length is reshaped."""

import pytest
from jax import export

from gamepruning.trace.rules.shape import reshape_blocks

B, C = export.symbolic_shape("b, c")
WHOLE = [([0, 1], [0, 1])]


@pytest.mark.parametrize(
    ("before", "after", "blocks"),
    [
        ((4 * B, 8), (B, 4, 2, 4), [([0], [0, 1]), ([1], [2, 3])]),
        ((B, 4, 2, 4), (4 * B, 8), [([0, 1], [0]), ([2, 3], [1])]),
        ((8, 3 * B), (2, 4, B, 3), [([0], [0, 1]), ([1], [2, 3])]),
        ((B, C, 4), (B * C, 2, 2), [([0, 1], [0]), ([2], [1, 2])]),
        ((4 * B, 6), (2 * B, 12), WHOLE),
        ((B, 8), (8, B), WHOLE),
        ((8, 5 * B), (4, 10 * B), WHOLE),
    ],
)
def test_known_axes_at_an_end_are_paired(before, after, blocks):
    assert sorted(reshape_blocks(before, after)) == blocks
