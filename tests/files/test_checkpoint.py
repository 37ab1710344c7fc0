"""Checkpoints come back bit for bit, or not at all with one clear line."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gamepruning.files import npz
from gamepruning.files.checkpoint import load_checkpoint, save_checkpoint
from gamepruning.types import InputError


def make_state():
    params = {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(3, jnp.bfloat16)}
    return {
        "params": params,
        "opt": optax.adam(0.1).init(params),
        "key": jax.random.key(7),
        "steps": jnp.array(3),
    }


def test_a_state_comes_back_bit_for_bit(tmp_path):
    state = make_state()
    save_checkpoint(tmp_path / "a.npz", state, meta={"epochs": 4})
    like = jax.tree.map(lambda leaf: leaf, state)
    again, meta = load_checkpoint(tmp_path / "a.npz", like)
    assert meta == {"epochs": 4}
    assert jax.tree.structure(again) == jax.tree.structure(state)
    for one, two in zip(jax.tree.leaves(again), jax.tree.leaves(state), strict=True):
        assert one.dtype == two.dtype
        if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, two = jax.random.key_data(one), jax.random.key_data(two)
        assert np.array_equal(np.asarray(one), np.asarray(two))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_damage_is_one_clear_line(tmp_path, damage):
    path = tmp_path / "a.npz"
    state = {"w": jnp.arange(1000.0)}
    save_checkpoint(path, state, meta={"epochs": 1})
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flip":
        data[len(data) // 2] ^= 0xFF
    elif damage == "empty":
        data = bytearray()
    else:
        data = bytearray(b"hello")
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.npz is damaged") as caught:
        load_checkpoint(path, state)
    assert "\n" not in str(caught.value)


def test_another_models_checkpoint_is_named(tmp_path):
    path = tmp_path / "a.npz"
    save_checkpoint(path, {"w": jnp.ones(3)}, meta={"epochs": 1})
    with pytest.raises(InputError, match="for another model: expected 'w'"):
        load_checkpoint(path, {"w": jnp.ones(4)})
    with pytest.raises(InputError, match="another model: 'v' is missing in the file"):
        load_checkpoint(path, {"w": jnp.ones(3), "v": jnp.ones(1)})
    with pytest.raises(InputError, match="does not exist"):
        load_checkpoint(tmp_path / "b.npz", {})


def test_an_npz_of_something_else_is_no_checkpoint(tmp_path):
    np.savez(tmp_path / "a.npz", w=np.ones(3))
    with pytest.raises(InputError, match="is not a checkpoint"):
        load_checkpoint(tmp_path / "a.npz", {"w": jnp.ones(3)})


def test_numbers_of_one_size_are_not_taken_for_each_other(tmp_path):
    path = tmp_path / "a.npz"
    save_checkpoint(path, {"w": jnp.array([1.0, 2.0], jnp.bfloat16)}, meta={"step": 3})
    tree, meta = load_checkpoint(path, {"w": jnp.zeros(2, jnp.bfloat16)})
    assert tree["w"].tolist() == [1.0, 2.0] and meta == {"step": 3}
    for other in (jnp.float16, jnp.int16):
        with pytest.raises(InputError, match="expected 'w' as .*, got bfloat16"):
            load_checkpoint(path, {"w": jnp.zeros(2, other)})
    npz.save(path, {}, {"w": np.asarray(jnp.ones(3, jnp.bfloat16))})  # names no type
    old, _ = load_checkpoint(path, {"w": jnp.zeros(3, jnp.bfloat16)})
    assert old["w"].tolist() == [1, 1, 1]
    with pytest.raises(InputError, match="expected 'w' as float32"):
        load_checkpoint(path, {"w": jnp.zeros(3)})
