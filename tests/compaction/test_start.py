"""A start that was cut down has the variance of a fresh one of its size."""

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.compaction.slicing import slice_tree
from gamepruning.compaction.start import fit_variance
from gamepruning.players import find_players
from gamepruning.trees.paths import named_shapes


def test_weights_that_read_fewer_players_grow_and_no_others(key):
    one, two = jax.random.split(key)
    params = {"w": jax.random.normal(one, (5, 8)), "v": jax.random.normal(two, (8, 3))}
    players = find_players(
        lambda p, x: jax.nn.relu(x @ p["w"]) @ p["v"], params, jnp.ones((2, 5))
    )
    mask = np.arange(8) < 2
    small = slice_tree(params, players.kept_indices(mask))
    fitted = fit_variance(players, small, named_shapes(params))
    np.testing.assert_array_equal(fitted["w"], params["w"][:, :2])
    np.testing.assert_allclose(fitted["v"], 2.0 * params["v"][:2])  # sqrt(8 / 2)
