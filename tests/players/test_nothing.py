"""Why there is nothing to prune: the cause that counts, and what would help."""

import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.trace.atoms import Atoms

SHAPES = {"a": (3, 4), "big": (4, 80), "c": (80, 2)}
PARAMS = {name: jnp.ones(shape) for name, shape in SHAPES.items()}
X = jnp.ones((2, 3))


def test_the_cause_that_holds_most_parameters_is_named():
    def apply(p, x):
        small = jnp.sort(x @ p["a"])
        return jnp.cumsum(small @ p["big"], axis=1) @ p["c"]

    with pytest.raises(gp.InputError) as caught:
        gp.find_players(apply, PARAMS, X)
    assert "axis 1 of 'big' stays because it is accumulated by cumsum, as do 98 %" in (
        str(caught.value)
    )


def test_gating_sums_is_suggested_where_it_helps():
    def apply(p, x):
        h = x @ p["a"]
        return (h - h.mean(axis=1, keepdims=True)) @ jnp.ones((4, 2))

    with pytest.raises(gp.InputError, match='reductions="gate" finds 4 players$'):
        gp.find_players(apply, {"a": PARAMS["a"]}, X)
    with pytest.raises(gp.InputError, match="it is sorted by sort[^;]*$"):
        gp.find_players(lambda p, x: jnp.sort(x @ p["a"]), {"a": PARAMS["a"]}, X)


def test_keeping_everybody_is_told():
    def apply(p, x):
        return jnp.tanh(x @ p["a"]) @ jnp.ones((4, 2))

    with pytest.raises(gp.InputError, match="keep names all of a$"):
        gp.find_players(apply, {"a": PARAMS["a"]}, X, keep=["a"])


def test_what_stays_in_a_merged_axis_keeps_its_reason():
    atoms = Atoms()
    live, frozen = atoms.new(2), atoms.new(2)
    atoms.freeze(frozen, "it is sorted")
    merged = atoms.merge([np.concatenate([live, frozen]), "whole"], [4, 3])
    assert {atoms.why(node) for node in merged[6:]} == {"it is sorted"}
    head, _ = atoms.split(merged, [4, 3])
    assert {atoms.why(node) for node in head[2:]} == {"it is sorted"}


def test_parameters_without_entries():
    params = {"q": jnp.zeros((3, 0)), "o": jnp.zeros((0, 2))}
    with pytest.raises(gp.InputError, match="nothing to prune"):
        gp.find_players(lambda p, x: x @ p["q"] @ p["o"], params, jnp.ones((4, 3)))
