"""A model's only input may be given as it is."""

import jax
import jax.export
import jax.numpy as jnp

import gamepruning as gp


def test_export_takes_an_array_for_a_tuple_of_one(tmp_path, key):
    params = {"a": jax.random.normal(key, (4, 6)), "b": jnp.ones((6, 3))}
    x = jnp.ones((5, 4))
    players = gp.find_players(lambda p, x: jax.nn.relu(x @ p["a"]) @ p["b"], params, x)
    small = gp.compact(players, params, jnp.arange(6) < 3)
    written = gp.export_model(small, tmp_path / "one", inputs=x, formats=("stablehlo",))
    again = jax.export.deserialize(written["stablehlo"].read_bytes())
    assert again.call(x[:2]).shape == (2, 3)
