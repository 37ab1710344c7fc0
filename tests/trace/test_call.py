"""The arguments of a call, split into arrays and constants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamepruning.trace.call import check_paths, split_call
from gamepruning.types import InputError

PARAMS = {"act": "relu", "scale": 2, "w": np.ones((3, 2))}


def test_arrays_and_constants_are_told_apart():
    call = split_call(PARAMS, (jnp.ones((4, 3)), 0.5))
    assert [np.shape(array) for array in call.arrays] == [(3, 2), (4, 3), ()]
    assert call.array_index == (None, None, 0, 1, 2)
    assert call.constants == ("relu", 2)
    assert (call.num_params, call.num_promoted) == (1, 0)
    assert list(call.input_range) == [1, 2]
    assert call.leaf_positions == [2, 3, 4]
    assert call.number_leaves == (4,)
    assert [call.describe(leaf) for leaf in (2, 3)] == ["parameter 'w'", "input 0"]


def test_a_call_is_put_together_again():
    call = split_call(PARAMS, (jnp.ones((4, 3)),))
    params, inputs = call.rebuild([jnp.zeros((3, 2)), jnp.zeros((4, 3))])
    assert params["act"] == "relu" and params["scale"] == 2
    assert not params["w"].any() and not inputs.any()
    assert call.param_leaves()[:2] == ["relu", 2]


def test_a_number_of_params_that_comes_as_an_array_is_promoted():
    """As jit does with numbers; such arrays come last."""
    first = split_call(PARAMS, (jnp.ones((4, 3)),))
    later = {**PARAMS, "scale": jnp.asarray(2)}
    call = split_call(later, (jnp.ones((4, 3)),), first)
    assert [np.shape(array) for array in call.arrays] == [(3, 2), (4, 3), ()]
    assert call.array_index == (None, 2, 0, 1)
    assert (call.num_params, call.num_promoted) == (1, 1)
    assert list(call.input_range) == [1] and call.leaf_positions == [2, 3]
    assert call.number_leaves == (1,)
    assert call.rebuild(call.arrays)[0]["scale"] == 2


def test_the_same_number_stays_a_constant():
    first = split_call(PARAMS, ())
    assert split_call(PARAMS, (), first).key() == first.key()
    other = split_call({**PARAMS, "scale": 3}, (), first)
    assert other.num_promoted == 1 and other.key() != first.key()


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({"w": jnp.zeros((3, 2))}, True),
        ({"w": jnp.zeros((3, 4))}, False),
        ({"w": jnp.zeros((3, 2), jnp.bfloat16)}, False),
        ({"act": "tanh"}, False),
    ],
    ids=["values", "shape", "dtype", "constant"],
)
def test_a_key_is_what_a_trace_depends_on(change, is_same):
    one, two = split_call(PARAMS, ()).key(), split_call({**PARAMS, **change}, ()).key()
    assert (one == two) == is_same
    assert (hash(one) == hash(two)) or not is_same


def test_other_paths_are_refused():
    first = split_call(PARAMS, ())
    with pytest.raises(InputError, match="'w' is missing, 'v' is new"):
        check_paths({"act": "relu", "scale": 2, "v": jnp.ones((3, 2))}, first)


def test_shapes_alone_will_do():
    call = split_call({"w": jax.ShapeDtypeStruct((3, 2), jnp.float32)}, ())
    assert call.arrays[0].shape == (3, 2) and call.num_params == 1
