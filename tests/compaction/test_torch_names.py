"""Published weights under PyTorch's names: read, and checked in one line."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from gamepruning.compaction.torch_names import has_torch_names, load_torch, torch_name
from gamepruning.images import CifarResNet, CifarVGG
from gamepruning.trees.paths import named_leaves
from gamepruning.types import InputError

RESNET = CifarResNet(8, "B", (2, 4, 4), 3)
VGG = CifarVGG((2, 4), (1,), 3)
X = jnp.linspace(-1, 1, 2 * 8 * 8 * 3).reshape(2, 8, 8, 3)


def drawn(module):
    """Variables of a module, the statistics drawn as well."""
    variables = module.init(jax.random.key(0), X)
    leaves, tree = jax.tree.flatten(variables)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    drawn = [jax.random.uniform(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, drawn)


def published(variables):
    """The arrays as PyTorch has them."""
    made = {"bn1.num_batches_tracked": np.zeros(1, np.int64)}
    for name, leaf in named_leaves(variables).items():
        array = np.asarray(leaf)
        if name.endswith("kernel"):
            array = np.moveaxis(array, (-1, -2), (0, 1))
        made[torch_name(name)] = np.ascontiguousarray(array)
    return made


@pytest.mark.parametrize("module", [RESNET, VGG], ids=["resnet", "vgg"])
def test_weights_come_back(module, tmp_path):
    wanted = drawn(module)
    save_file(published(wanted), tmp_path / "a.safetensors")
    assert has_torch_names(tmp_path / "a.safetensors")
    found = load_torch(tmp_path / "a.safetensors", wanted)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, found, wanted))


def test_other_words_for_the_same_layers(tmp_path):
    wanted = drawn(RESNET)
    arrays = {
        "module." + k.replace("linear.", "fc.").replace("shortcut", "downsample"): v
        for k, v in published(wanted).items()
    }
    assert any("downsample" in name for name in arrays)
    save_file(arrays, tmp_path / "a.safetensors")
    found = load_torch(tmp_path / "a.safetensors", wanted)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, found, wanted))


def test_a_bias_before_a_norm_is_taken_into_its_mean(tmp_path):
    wanted = drawn(VGG)
    bias = np.array([0.5, -0.25], np.float32)
    save_file(published(wanted) | {"features.0.bias": bias}, tmp_path / "a.safetensors")
    found = load_torch(tmp_path / "a.safetensors", wanted)
    means = (tree["batch_stats"]["features_1"]["mean"] for tree in (found, wanted))
    np.testing.assert_allclose(next(means), next(means) - bias, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.pop("layer1.0.bn1.weight"), "has no 'layer1.0.bn1.weight'"),
        (
            lambda a: a.update({"x.weight": np.ones(2)}),
            "beside the network's, 'x.weight'",
        ),
        (
            lambda a: a.update({"linear.weight": np.zeros((10, 4), np.float32)}),
            r"expected linear.weight of shape \(3, 4\), got \(10, 4\)",
        ),
        (
            lambda a: a.update({"linear.bias": np.full(3, np.nan, np.float32)}),
            "NaN or infinity in 'linear.bias'",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_one_line(change, said, tmp_path):
    arrays = published(drawn(RESNET))
    change(arrays)
    save_file(arrays, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=f"^[^\n]*{said}[^\n]*$"):
        load_torch(tmp_path / "a.safetensors", drawn(RESNET))


def test_a_bias_of_the_network_stays_out_of_the_mean(tmp_path):
    class Biased(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(2, (3, 3), name="features_0")(x)
            return nn.BatchNorm(use_running_average=True, name="features_1")(x)

    wanted = drawn(Biased())
    save_file(published(wanted), tmp_path / "a.safetensors")
    found = load_torch(tmp_path / "a.safetensors", wanted)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, found, wanted))
