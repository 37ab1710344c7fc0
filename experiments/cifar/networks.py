"""ResNets for CIFAR (He et al. 2016, 4.2) with published weights, and VGG-19."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from safetensors.numpy import load_file

DEPTHS = (20, 32, 44, 56, 110)
MEAN = np.array((0.485, 0.456, 0.406), np.float32)
DEVIATION = np.array((0.229, 0.224, 0.225), np.float32)
VGG19 = (64, 64, 0, 128, 128, 0, *(256,) * 4, 0, *(512,) * 4, 0, *(512,) * 4)

Images = Float[Array, "B H W 3"]
Logits = Float[Array, "B classes"]


class CifarResNet(nn.Module):
    """A residual network of 6 n + 2 layers in three stages.

    Attributes:
      depth: 20, 32, 44, 56 or 110.
      shortcut: "A", every second pixel with channels of zeros around, no parameters;
        "B", a convolution of 1 x 1 with batch normalisation.
      widths: channels of the stages.
      num_outputs: classes.
    """

    depth: int = 56
    shortcut: str = "A"
    widths: tuple[int, int, int] = (16, 32, 64)
    num_outputs: int = 10

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Logits:
        x = nn.relu(_conv_norm(x, self.widths[0], 3, 1, "conv1", "bn1", train))
        for stage, width in enumerate(self.widths, 1):
            for block in range((self.depth - 2) // 6):
                stride = 2 if stage > 1 and block == 0 else 1
                name = f"layer{stage}_{block}"
                y = _conv_norm(
                    x, width, 3, stride, f"{name}_conv1", f"{name}_bn1", train
                )
                y = _conv_norm(
                    nn.relu(y), width, 3, 1, f"{name}_conv2", f"{name}_bn2", train
                )
                x = nn.relu(y + self._skip(x, width, stride, name, train))
        return nn.Dense(self.num_outputs, name="linear")(x.mean((1, 2)))

    def _skip(self, x, width: int, stride: int, name: str, train: bool):
        if stride == 1 and x.shape[-1] == width:
            return x
        if self.shortcut == "A":
            x = x[:, ::stride, ::stride]
            more = width - x.shape[-1]
            channels = (more // 2, more - more // 2)
            return jnp.pad(x, ((0, 0), (0, 0), (0, 0), channels))
        return _conv_norm(
            x, width, 1, stride, f"{name}_shortcut_0", f"{name}_shortcut_1", train
        )


class CifarVGG(nn.Module):
    """VGG-19 with batch normalisation and one dense layer, as CIFAR has it."""

    layers: tuple[int, ...] = VGG19  # channels; 0 is a pooling
    num_outputs: int = 10

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Logits:
        for number, width in enumerate(self.layers):
            if width:
                names = f"conv{number}", f"bn{number}"
                x = nn.relu(_conv_norm(x, width, 3, 1, *names, train))
            else:
                x = nn.max_pool(x, (2, 2), strides=(2, 2))
        return nn.Dense(self.num_outputs, name="linear")(x.mean((1, 2)))


def _conv_norm(x, width: int, size: int, stride: int, conv: str, norm: str, train):
    pad = [(size // 2, size // 2)] * 2  # as PyTorch pads, also at stride 2
    x = nn.Conv(width, (size, size), stride, pad, use_bias=False, name=conv)(x)
    return nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, name=norm)(x)


def load_torch(path: str | Path) -> dict[str, Any]:
    """Variables of `CifarResNet` from weights with PyTorch's names.

    Args:
      path: a .safetensors file: `layer1.0.conv1.weight` [out, in, height, width],
        `layer1.0.bn1.running_mean`, `linear.weight` [out, in].

    Returns:
      `{"params": ..., "batch_stats": ...}`.
    """
    return from_torch(load_file(path))


def from_torch(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The same from the arrays themselves."""
    out: dict[str, Any] = {"params": {}, "batch_stats": {}}
    for key, array in weights.items():
        *module, kind = key.split(".")
        name = "_".join(module)
        if name.startswith("layer"):
            name = f"{module[0]}_{module[1]}_{'_'.join(module[2:])}"
        is_norm = f"{'.'.join(module)}.running_mean" in weights
        place = _PLACES.get((kind, is_norm))
        if place is None:  # num_batches_tracked
            continue
        collection, leaf = place
        out[collection].setdefault(name, {})[leaf] = _turn(array, leaf)
    return out


_PLACES = {
    ("weight", False): ("params", "kernel"),
    ("bias", False): ("params", "bias"),
    ("weight", True): ("params", "scale"),
    ("bias", True): ("params", "bias"),
    ("running_mean", True): ("batch_stats", "mean"),
    ("running_var", True): ("batch_stats", "var"),
}


def _turn(array: np.ndarray, leaf: str) -> np.ndarray:
    """From [out, in, ...] to [..., in, out]."""
    if leaf != "kernel":
        return array
    order = (*range(2, array.ndim), 1, 0)
    return np.ascontiguousarray(array.transpose(order))


def normalise(images: np.ndarray) -> np.ndarray:
    """Pixels 0 to 255 as the published weights expect them, float32."""
    return ((images.astype(np.float32) / 255) - MEAN) / DEVIATION
