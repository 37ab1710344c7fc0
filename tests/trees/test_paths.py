"""Leaves by path, and which of them are arrays or can be trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamepruning.trees.arrays import compiled, split_arrays
from gamepruning.trees.paths import array_paths, named_leaves, named_shapes
from gamepruning.trees.trainable import put_trainable, take_trainable
from gamepruning.types import InputError

TREE = {
    "dense": [{"kernel": np.ones((2, 3))}, {"kernel": np.ones(4)}],
    "name": "mlp",
    "steps": np.int32(7),
}


def test_paths_are_keys_with_slashes():
    assert list(named_leaves(TREE)) == [
        "dense/0/kernel",
        "dense/1/kernel",
        "name",
        "steps",
    ]
    assert array_paths(TREE) == ["dense/0/kernel", "dense/1/kernel", "steps"]
    assert named_shapes(TREE)["dense/0/kernel"] == (2, 3)
    assert array_paths(jnp.ones(3)) == [""]


def test_two_leaves_of_one_path_are_refused():
    with pytest.raises(InputError, match="two leaves are called 'a/b'"):
        named_leaves({"a": {"b": 1}, "a/b": 2})


def test_arrays_are_taken_out_and_put_back():
    arrays, rebuild = split_arrays(TREE)
    assert [np.shape(array) for array in arrays] == [(2, 3), (4,), ()]
    again = rebuild([array + 1 for array in arrays])
    assert again["name"] == "mlp" and again["steps"] == 8


def test_names_stay_outside_of_what_is_compiled():
    def fn(params, data):
        assert params["name"] == "mlp" and isinstance(data, jax.core.Tracer)
        return params["dense"][1]["kernel"].sum() * data

    assert compiled(fn, TREE, jnp.float32(2)) == 8


def test_what_can_be_trained_is_inexact():
    trained = take_trainable(TREE)
    assert trained["name"] is None and trained["steps"] is None
    zeros = jax.tree.map(jnp.zeros_like, trained)
    put = put_trainable(zeros, TREE)
    assert put["steps"] == 7 and not put["dense"][0]["kernel"].any()
