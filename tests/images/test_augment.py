"""Crops and mirror images: what they may be, and that the key decides."""

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.images import crop_and_flip


def test_every_image_is_a_crop_of_itself_with_a_margin(key):
    images = jax.random.uniform(key, (40, 16, 8, 2), minval=0.5)
    made = np.asarray(jax.jit(crop_and_flip)(key, images))
    padded = np.pad(images, ((0, 0), (2, 2), (1, 1), (0, 0)))
    seen = set()
    for image, whole in zip(made, padded, strict=True):
        found = [
            (down, right, turn)
            for down in range(5)
            for right in range(3)
            for turn in (1, -1)
            if (whole[down : down + 16, right : right + 8][:, ::turn] == image).all()
        ]
        assert len(found) == 1
        seen.update(found)
    assert len({down for down, *_ in seen}) == 5 and len({t for *_, t in seen}) == 2


def test_the_key_decides(key):
    images = jax.random.normal(key, (4, 8, 8, 1))
    one, two = jax.random.split(key)
    first, again, other = (crop_and_flip(k, images) for k in (one, one, two))
    assert jnp.array_equal(first, again) and not jnp.array_equal(first, other)
