"""What users bring fits, or one clear line says why not."""

import jax.numpy as jnp
import numpy as np
import pytest

from gamepruning.compaction.export import export_safetensors
from gamepruning.compaction.user_network import load_weights
from gamepruning.types import InputError


def test_weights_from_a_file_and_from_a_run_folder(tmp_path):
    params = {"layer": {"kernel": jnp.arange(6.0).reshape(2, 3)}}
    export_safetensors(params, tmp_path / "dense.safetensors")
    for path in (tmp_path, tmp_path / "dense.safetensors"):
        again = load_weights(path, params)
        assert np.array_equal(again["layer"]["kernel"], params["layer"]["kernel"])


@pytest.mark.parametrize(
    ("write", "like", "message"),
    [
        (None, {"w": jnp.ones(3)}, "no safetensors file"),
        ({"w": jnp.ones(2)}, {"w": jnp.ones(3)}, "'w'"),
        ({"w": jnp.ones(2)}, {"v": jnp.ones(2)}, "no parameter"),
        (
            {"w": jnp.array([1.0, jnp.nan])},
            {"w": jnp.ones(2)},
            "NaN or infinity",
        ),
    ],
)
def test_weights_that_do_not_fit(tmp_path, write, like, message):
    path = tmp_path / "a.safetensors"
    if write is not None:
        export_safetensors(write, path)
    with pytest.raises(InputError, match=message):
        load_weights(path, like)
