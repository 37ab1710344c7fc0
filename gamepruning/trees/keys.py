"""Random keys as users give them."""

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from gamepruning.types import InputError


def as_key(key: Any) -> jax.Array:
    """One random key: a key, the numbers of an old one, or a seed.

    Args:
      key: `jax.random.key(0)`, `jax.random.PRNGKey(0)`, or a whole number, which stands
        for `jax.random.key` of it. Traced keys pass.

    Returns:
      The key, typed.

    Raises:
      InputError: it is none, or several.

    Example:
      >>> (
      ...     bool(as_key(3) == jax.random.key(3)),
      ...     bool(as_key(jax.random.PRNGKey(3)) == as_key(3)),
      ... )
      (True, True)
    """
    if isinstance(key, bool) or not isinstance(
        key, int | np.integer | np.ndarray | jax.Array
    ):
        raise InputError(f"{_EXPECTED}, got {type(key).__name__} {key!r:.60}")
    if isinstance(key, int | np.integer):
        return _from_seed(int(key))
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return _single(jnp.asarray(key), key.shape)
    if isinstance(key, jax.core.Tracer) and key.dtype != jnp.uint32:
        raise InputError(f"{_EXPECTED}, got a traced {key.dtype} {list(key.shape)}")
    if key.ndim == 0 and jnp.issubdtype(key.dtype, jnp.integer):
        return jax.random.key(key)
    if key.dtype != jnp.uint32:
        raise InputError(f"{_EXPECTED}, got an array of {key.dtype} {list(key.shape)}")
    try:
        typed = jax.random.wrap_key_data(jnp.asarray(key))
    except (TypeError, ValueError) as error:
        shape = list(key.shape)
        raise InputError(f"{_EXPECTED}, got uint32 {shape}") from error
    return _single(typed, typed.shape)


def as_threefry(key: Any) -> jax.Array:
    """`as_key` for draws by number: row j has to follow from (key, j) alone.

    Where keys are batched, "rbg" and "unsafe_rbg" draw all rows from the first key: row
    j then depends on the rows beside it. A threefry key stays as it is; of these two
    the first half is one, for "rbg" that of the same seed.

    Args:
      key: see `as_key`.

    Returns:
      The key, of the implementation "threefry2x32".

    Raises:
      InputError: see `as_key`.

    Example:
      >>> bool(as_threefry(jax.random.key(3, impl="rbg")) == as_threefry(3))
      True
    """
    key = as_key(key)
    kind = str(jax.random.key_impl(key))
    if kind == _THREEFRY:
        return key
    if kind in ("rbg", "unsafe_rbg"):
        words = jax.random.key_data(key)[:2]
    else:
        words = jax.random.bits(key, (2,), jnp.uint32)
    return jax.random.wrap_key_data(words, impl=_THREEFRY)


_THREEFRY = "threefry2x32"
_EXPECTED = (
    "expected a random key, such as jax.random.key(0), or a whole number as its seed"
)


def _from_seed(seed: int) -> jax.Array:
    try:
        return jax.random.key(seed)
    except OverflowError as error:
        raise InputError(f"{_EXPECTED}, got {seed}, which is too large") from error


def _single(key: jax.Array, shape: tuple) -> jax.Array:
    if shape:
        raise InputError(
            f"expected one random key, got {shape[0]} of them: pass one, such as "
            "keys[0], or jax.vmap over them"
        )
    return key
