"""Published weights under PyTorch's names, for networks whose layers are named alike.

`layer1.0.conv1.weight` is the kernel of the layer `layer1_0_conv1`. Kernels are turned
from [out, in, ...] to [..., in, out].
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gamepruning.compaction.export import import_safetensors
from gamepruning.trees.paths import named_leaves, path_name
from gamepruning.types import InputError

_KINDS = {  # what PyTorch calls the arrays of a layer
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_COUNTS = "num_batches_tracked"  # of no use here
_OTHERWISE = {"fc.": "linear.", ".downsample.": ".shortcut."}  # torchvision's words


def torch_name(path: str) -> str:
    """What PyTorch calls a parameter.

    Example:
      >>> torch_name("batch_stats/layer1_0_bn1/mean")
      'layer1.0.bn1.running_mean'
    """
    *_, layer, leaf = ("", *path.split("/"))
    return f"{layer.replace('_', '.')}.{_KINDS.get(leaf, leaf)}".lstrip(".")


def has_torch_names(path: str | Path) -> bool:
    """Return True if this is a safetensors file of PyTorch's names: 'conv1.weight'."""
    if not Path(path).is_file():
        return False
    try:
        names = _read(path)
    except InputError:
        return False
    return any(name.endswith(".weight") for name in names)


def load_torch(path: str | Path, like: Any) -> Any:
    """Parameters of a network from a safetensors file with PyTorch's names.

    Args:
      path: the file; `torchvision`'s words (fc, downsample) and the prefix module. of
        DataParallel will do, and a bias in front of a norm is taken into its mean.
      like: a tree of the network's parameters (arrays or `jax.ShapeDtypeStruct`),
        layers named as PyTorch names them, with _ for the points.

    Returns:
      The arrays in a tree like `like`, in its types.

    Raises:
      InputError: an array is missing, left over, of another shape, or not finite.
    """
    arrays = _read(path)
    wanted = {torch_name(name): name for name in named_leaves(like)}
    left = [name for name in arrays if name not in wanted and not _is_ignored(name)]
    left = [name for name in left if _norm_behind(name) not in wanted]
    missing = [name for name in wanted if name not in arrays]
    for told, names in (("has no", missing), ("has, beside the network's,", left)):
        if names:
            more = f" and {len(names) - 1} more" if names[1:] else ""
            raise InputError(f"{path} {told} {names[0]!r}{more}: another network's?")

    def fill(key_path, leaf):
        name = torch_name(path_name(key_path))
        array = _turn(arrays[name])
        if array.shape != leaf.shape:
            expected = _turn(np.empty(leaf.shape, np.bool_), back=True).shape
            raise InputError(
                f"{path}: expected {name} of shape {expected}, got {arrays[name].shape}"
            )
        if name.endswith(".running_mean"):
            bias = _bias_before(name)  # in the mean, where the network has none itself
            array = array if bias in wanted else array - arrays.get(bias, 0)
        if not np.isfinite(array).all():
            raise InputError(f"{path} holds NaN or infinity in {name!r}")
        return np.ascontiguousarray(array.astype(leaf.dtype))

    return jax.tree_util.tree_map_with_path(fill, like)


def _read(path: str | Path) -> dict[str, np.ndarray]:
    arrays: Mapping[str, Any] = import_safetensors(path)
    made = {}
    for name, array in arrays.items():
        name = name.removeprefix("module.")
        for word, own in _OTHERWISE.items():
            name = name.replace(word, own)
        made[name] = array
    return made


def _is_ignored(name: str) -> bool:
    return name.endswith(_COUNTS)


def _turn(array: np.ndarray, *, back: bool = False) -> np.ndarray:
    """From [out, in, ...] to [..., in, out], or back."""
    if array.ndim < 2:
        return array
    if back:
        return array.transpose(-1, -2, *range(array.ndim - 2))
    return array.transpose(*range(2, array.ndim), 1, 0)


def _norm_behind(name: str) -> str:
    """The mean that takes up the bias features.3.bias: features.4.running_mean."""
    layer, _, number = name.removesuffix(".bias").rpartition(".")
    is_numbered = name.endswith(".bias") and number.isdigit()
    return f"{layer}.{int(number) + 1}.running_mean" if is_numbered else ""


def _bias_before(name: str) -> str:
    """The inverse of `_norm_behind`."""
    layer, _, number = name.removesuffix(".running_mean").rpartition(".")
    return f"{layer}.{int(number) - 1}.bias" if number.isdigit() else ""
