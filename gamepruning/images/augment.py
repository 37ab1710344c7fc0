"""Random crops and mirror images, inside a compiled step."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

MARGIN = 8  # a crop moves an image by up to this fraction of its side


def crop_and_flip(
    key: Key[Array, ""], images: Float[Array, "B H W C"]
) -> Float[Array, "B H W C"]:
    """Shift each image by up to an eighth of its side, and mirror every second one.

    Args:
      key: random key; decides all shifts and mirrors.
      images: a batch. What comes in at the border is 0.

    Returns:
      Images of the same shape: four pixels of shift for 32 x 32, as for CIFAR (He et
      al. 2016, 4.2). Cost: one copy of the batch.

    Example:
      >>> images = jnp.ones((2, 8, 8, 3))
      >>> crop_and_flip(jax.random.key(0), images).shape
      (2, 8, 8, 3)
    """
    shift_key, flip_key = jax.random.split(key)
    margins = [side // MARGIN for side in images.shape[1:3]]
    most = 2 * jnp.array([margins]) + 1
    shifts = jax.random.randint(shift_key, (len(images), 2), 0, most)
    padded = jnp.pad(images, ((0, 0), *((m, m) for m in margins), (0, 0)))

    def crop(image, shift):
        return jax.lax.dynamic_slice(image, (*shift, 0), images.shape[1:])

    cropped = jax.vmap(crop)(padded, shifts)
    is_mirrored = jax.random.bernoulli(flip_key, shape=(len(images), 1, 1, 1))
    return jnp.where(is_mirrored, cropped[:, :, ::-1], cropped)
