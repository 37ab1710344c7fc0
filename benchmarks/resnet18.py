"""ResNet-18 for images of 224x224, in linen: a network of real size to measure on."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class ResNet18(nn.Module):
    """He et al. 2016, arXiv 1512.03385, Table 1; 11.7 million parameters."""

    num_outputs: int = 1000

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 3"]) -> Float[Array, "B outputs"]:
        x = nn.relu(_conv_norm(64, 7, 2)(x))
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))  # after relu: like -inf
        x = nn.max_pool(x, (3, 3), strides=(2, 2))
        for stage, filters in enumerate((64, 128, 256, 512)):
            for block in range(2):
                stride = 2 if stage > 0 and block == 0 else 1
                y = nn.relu(_conv_norm(filters, 3, stride)(x))
                y = _conv_norm(filters, 3, 1)(y)
                if x.shape != y.shape:
                    x = _conv_norm(filters, 1, stride)(x)
                x = nn.relu(x + y)
        return nn.Dense(self.num_outputs)(x.mean((1, 2)))


def _conv_norm(filters: int, size: int, stride: int) -> nn.Sequential:
    margin = size // 2
    conv = nn.Conv(filters, (size, size), stride, margin, use_bias=False)
    return nn.Sequential([conv, nn.BatchNorm(use_running_average=True)])


def make_resnet18(key: jax.Array) -> tuple[Callable[..., Any], Any]:
    """ResNet-18 at random weights.

    Args:
      key: random key.

    Returns:
      (apply, params); apply reads [B, 224, 224, 3] in evaluation mode.
    """
    module = ResNet18()
    shapes = jax.eval_shape(module.init, key, jnp.zeros((1, 224, 224, 3)))
    return module.apply, draw_weights(key, shapes)


def draw_weights(key: jax.Array, shapes: Any) -> Any:
    """Random weights without compiling a deep network's own start.

    Args:
      key: random key.
      shapes: a tree of `jax.ShapeDtypeStruct`.

    Returns:
      Such a tree of arrays: kernels as He et al. 2015 draw them, vectors near 1.
    """
    leaves, treedef = jax.tree.flatten(shapes)
    keys = jax.random.split(key, len(leaves))

    def draw(key, leaf):
        fan_in = max(leaf.size // leaf.shape[-1], 1)
        if leaf.ndim < 2:
            return jnp.ones(leaf.shape) + 0.1 * jax.random.normal(key, leaf.shape)
        return jax.random.normal(key, leaf.shape) * (2 / fan_in) ** 0.5

    params = [draw(k, leaf) for k, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(treedef, params)
