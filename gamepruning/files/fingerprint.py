"""What data are, in a few characters: two trees with one fingerprint are equal."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.trees.paths import named_leaves


def fingerprint(*trees: Any) -> str:
    """A number, in hexadecimal, of all arrays in some trees: paths, types and entries.

    Args:
      *trees: trees of arrays and of whatever `repr` tells apart.

    Example:
      >>> one, two = fingerprint({"x": np.ones(2)}), fingerprint({"x": np.ones(3)})
      >>> len(one), one == two
      (32, False)
    """
    state = hashlib.blake2b(digest_size=16)
    for tree in trees:
        for name, leaf in named_leaves(tree).items():
            if jnp.issubdtype(getattr(leaf, "dtype", int), jax.dtypes.prng_key):
                leaf = jax.random.key_data(leaf)
            array = np.asarray(leaf)
            state.update(f"{name} {array.dtype} {array.shape} ".encode())
            is_plain = array.dtype != object
            state.update(array.tobytes() if is_plain else repr(leaf).encode())
    return state.hexdigest()
