"""Every function that the library hands back says in one line what it cannot read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.types import InputError

X = jnp.ones((2, 4))
INPUTS = {
    "another shape": ((jnp.ones((2, 5)),), r"expected .* 4\], got float32\[2, 5\]"),
    "no input": ((), "expected .*, got none"),
    "one too many": ((X, X, X), r"got float32\[2, 4\], float32\[2, 4\], float32"),
    "text": ((np.array([["a"] * 4] * 2),), "expected numbers, got an array of <U1"),
    "a dictionary of it": (({"x": X},), r"got dict of \(float32\[2, 4\]\)"),
    "None": ((None,), "got NoneType"),
}


def model(params, x):
    return jax.nn.relu(x @ params["w1"] + params["b1"][None]) @ params["w2"]


@pytest.fixture(scope="module")
def made():
    one, two = jax.random.split(jax.random.key(0))
    params = {
        "w1": jax.random.normal(one, (4, 8)), "b1": jnp.ones(8),
        "w2": jax.random.normal(two, (8, 3)),
    }  # fmt: skip
    players = gp.find_players(model, params, X)
    mask = gp.top_n(gp.magnitude_scores(players, params), 3)
    return players, params, gp.compact(players, params, mask)


@pytest.fixture(scope="module")
def callables(made, tmp_path_factory):
    players, params, small = made
    gates = jnp.ones(8)
    folder = gp.export_model(small, tmp_path_factory.mktemp("x") / "m", inputs=[X])
    exported = gp.export.load_stablehlo(folder["stablehlo"])
    return {
        "small.apply": lambda *inputs: small.apply(small.params, *inputs),
        "jit": lambda *inputs: jax.jit(small.apply)(small.params, *inputs),
        "gated": lambda *inputs: players.gated(params, gates, *inputs),
        "stablehlo": exported,
    }


@pytest.mark.parametrize("name", ["small.apply", "jit", "gated", "stablehlo"])
@pytest.mark.parametrize("what", INPUTS)
def test_wrong_inputs_are_one_clear_line(callables, name, what):
    inputs, told = INPUTS[what]
    if what == "text" and name in ("jit", "stablehlo"):
        pytest.skip("jit itself refuses it")
    with pytest.raises(InputError, match=told) as caught:
        callables[name](*inputs)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_params_of_another_structure(made):
    _, params, small = made
    for wrong in (
        {"w1": small.params["w1"]},
        None,
        list(small.params.values()),
        params,
    ):
        with pytest.raises(InputError, match="'b1' is missing|has shape"):
            small.apply(wrong, X)


def test_what_fits_is_read_at_any_batch_size(callables):
    for call in callables.values():
        assert call(jnp.ones((7, 4))).shape == (7, 3)
