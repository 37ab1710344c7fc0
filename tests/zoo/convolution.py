"""Convolutional networks."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from tests.zoo.case import Draw, Model, case, dense, linen, nnx_model


def norm(x):
    """Batch normalisation with the running statistics."""
    return nn.BatchNorm(use_running_average=True)(x)


class LeNet5(nn.Module):
    @nn.compact
    def __call__(self, x):
        for channels in (6, 16):
            x = nn.relu(nn.Conv(channels, (5, 5), padding="VALID")(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = x.reshape(len(x), -1)
        for units in (120, 84):
            x = nn.relu(nn.Dense(units)(x))
        return nn.Dense(10)(x)


LENET = (6, 16, 120, 84)


@case(
    LENET,
    frozen=(
        ("params/Conv_0/kernel", 0),
        ("params/Dense_2/kernel", 1),
        ("params/Dense_2/bias", 0),
    ),
)
def lenet5_linen(draw: Draw) -> Model:
    """Each channel of the second convolution owns 16 rows of the first kernel."""
    return linen(draw, LeNet5(), draw.normal(3, 28, 28, 1))


@case(LENET, frozen=(("conv1/kernel/value", 0), ("dense3/bias/value", 0)))
def lenet5_nnx(draw: Draw) -> Model:
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs):
            valid = {"padding": "VALID", "rngs": rngs}
            self.conv1 = nnx.Conv(1, 6, (5, 5), **valid)
            self.conv2 = nnx.Conv(6, 16, (5, 5), **valid)
            self.dense1 = nnx.Linear(256, 120, rngs=rngs)
            self.dense2 = nnx.Linear(120, 84, rngs=rngs)
            self.dense3 = nnx.Linear(84, 10, rngs=rngs)

        def __call__(self, x):
            for conv in (self.conv1, self.conv2):
                x = nnx.max_pool(nnx.relu(conv(x)), (2, 2), (2, 2))
            x = nnx.relu(self.dense1(x.reshape(len(x), -1)))
            return self.dense3(nnx.relu(self.dense2(x)))

    return nnx_model(draw, Net, draw.normal(3, 28, 28, 1))


class VGG(nn.Module):
    @nn.compact
    def __call__(self, x):
        for block in ((16, 16), (32, 32)):
            for channels in block:
                x = nn.relu(norm(nn.Conv(channels, (3, 3))(x)))
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = nn.relu(nn.Dense(64)(x.reshape(len(x), -1)))
        return nn.Dense(10)(x)


@case((16, 16, 32, 32, 64), frozen=(("params/Conv_0/kernel", 2),), heavy=True)
def vgg_batch_norm(draw: Draw) -> Model:
    """The statistics live in a collection of their own and leave with the channel."""
    return linen(draw, VGG(), draw.normal(2, 8, 8, 3))


class BasicBlock(nn.Module):
    channels: int
    stride: int

    @nn.compact
    def __call__(self, x):
        y = nn.Conv(self.channels, (3, 3), self.stride, use_bias=False)(x)
        y = nn.Conv(self.channels, (3, 3), use_bias=False)(nn.relu(norm(y)))
        if x.shape != y.shape:
            x = norm(nn.Conv(self.channels, (1, 1), self.stride, use_bias=False)(x))
        return nn.relu(x + norm(y))


class ResNet(nn.Module):
    width: int = 8
    blocks: int = 2

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(self.width, (3, 3), use_bias=False)(x)
        x = nn.max_pool(nn.relu(norm(x)), (3, 3), (2, 2), "SAME")
        for stage in range(4):
            for block in range(self.blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                x = BasicBlock(self.width * 2**stage, stride)(x)
        return nn.Dense(10)(x.mean((1, 2)))


# 8 + 16 + 32 + 64 channels: a stage is one family on its residual stream and one
# inside each of its two blocks, 3 x 120 = 360 in 12 families
STAGES = tuple(8 * 2**stage for stage in range(4))
RESNET = STAGES * 3


@case(
    RESNET,
    frozen=(("params/Conv_0/kernel", 2), ("params/Dense_0/kernel", 1)),
    heavy=True,
)
def resnet18(draw: Draw) -> Model:
    return linen(draw, ResNet(), draw.normal(2, 16, 16, 3))


class DenseNet(nn.Module):
    growth: int = 6

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (3, 3))(x)
        for block in range(2):
            for _ in range(3):
                y = nn.Conv(16, (1, 1))(nn.relu(norm(x)))
                y = nn.Conv(self.growth, (3, 3))(nn.relu(norm(y)))
                x = jnp.concatenate([x, y], -1)
            if block == 0:
                x = nn.avg_pool(nn.Conv(13, (1, 1))(nn.relu(norm(x))), (2, 2), (2, 2))
        return nn.Dense(5)(nn.relu(norm(x)).mean((1, 2)))


@case((8, 13, *(6,) * 6, *(16,) * 6), heavy=True)
def densenet(draw: Draw) -> Model:
    """Stem 8, transition 13, and in each of 6 layers a bottleneck of 16 and 6 new
    channels: every growth block is its own family."""
    return linen(draw, DenseNet(), draw.normal(2, 8, 8, 3))


def relu6(x):
    return jnp.clip(x, 0, 6)


class MobileNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = relu6(norm(nn.Conv(8, (3, 3))(x)))
        y = relu6(norm(nn.Conv(24, (1, 1))(x)))
        y = relu6(norm(nn.Conv(24, (3, 3), feature_group_count=24)(y)))
        squeeze = nn.relu(nn.Dense(6)(y.mean((1, 2))))
        y = y * nn.sigmoid(nn.Dense(24)(squeeze))[:, None, None, :]
        x = x + norm(nn.Conv(8, (1, 1))(y))
        y = nn.hard_swish(norm(nn.Conv(20, (1, 1))(x)))
        y = nn.hard_swish(norm(nn.Conv(20, (3, 3), 2, feature_group_count=20)(y)))
        x = norm(nn.Conv(12, (1, 1))(y))
        x = nn.relu(norm(nn.Conv(24, (3, 3), feature_group_count=12)(x)))
        x = norm(nn.Conv(16, (1, 1))(x))
        y = nn.relu(norm(nn.Conv(24, (1, 1))(x)))
        y = nn.relu(norm(nn.Conv(24, (3, 3), feature_group_count=4)(y)))
        x = nn.relu(x + norm(nn.Conv(16, (1, 1))(y)))
        return nn.Dense(10)(x.mean((1, 2)))


@case((8, 24, 6, 20, 12, 2, 16, 4, 6, 6), heavy=True)
def mobilenet_se_resnext(draw: Draw) -> Model:
    """Stem and first residual 8; expansion 24 with its depthwise filters and its
    squeeze-and-excite scales; squeeze 6; expansion 20; its projection 12 through a
    depthwise convolution of multiplier 2 (2: the first, or the second, copy of every
    channel); residual 16; and ResNeXt's 4 groups, 6 positions within a group on the
    way in and 6 on the way out."""
    return linen(draw, MobileNet(), draw.normal(2, 8, 8, 3))


class ResNeXtBlock(nn.Module):
    groups: int
    width: int

    @nn.compact
    def __call__(self, x):
        inner = self.groups * self.width
        y = nn.relu(nn.Conv(inner, (1, 1))(x))
        y = nn.relu(nn.Conv(inner, (3, 3), feature_group_count=self.groups)(y))
        return nn.relu(x + nn.Conv(x.shape[-1], (1, 1))(y))


class ResNeXt(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(10, (3, 3))(x)
        x = ResNeXtBlock(2, 5)(ResNeXtBlock(4, 3)(x))
        return nn.Dense(4)(x.mean((1, 2)))


@case((10, 4, 3, 3, 2, 5, 5), heavy=True)
def resnext(draw: Draw) -> Model:
    """Whole groups leave, or the same position in every group."""
    return linen(draw, ResNeXt(), draw.normal(2, 6, 6, 3))


class GroupNormPad(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.GroupNorm(num_groups=4)(nn.Conv(8, (3, 3))(x))
        slope = self.param("slope", nn.initializers.normal(), (8,))
        x = jnp.where(x > 0, x, x * slope)
        wide = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, 8)))
        x = wide + nn.Conv(16, (3, 3))(x)
        x = nn.relu(nn.ConvTranspose(12, (3, 3), (2, 2))(x))
        return nn.Dense(5)(x.transpose(0, 3, 1, 2).reshape(len(x), -1))


@case((4, 8, 12))
def group_norm_pad_transposed(draw: Draw) -> Model:
    """Groups of a GroupNorm (4), which the first 8 of the 16 channels after the
    padded shortcut join; the 8 padded ones; the transposed convolution's 12."""
    return linen(draw, GroupNormPad(), draw.normal(2, 6, 6, 3))


class UNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        top = nn.relu(nn.Conv(8, (3, 3))(x))
        x = nn.relu(nn.Conv(12, (3, 3))(nn.max_pool(top, (2, 2), (2, 2))))
        x = nn.relu(nn.ConvTranspose(10, (2, 2), (2, 2))(x))
        x = nn.relu(nn.Conv(6, (3, 3))(jnp.concatenate([top, x], -1)))
        x = jax.image.resize(x, (len(x), 12, 12, 6), "bilinear")
        x = jax.image.resize(x, (len(x), 24, 24, 6), "nearest")
        return nn.Conv(2, (1, 1))(x)


@case((8, 12, 10, 6), heavy=True)
def unet(draw: Draw) -> Model:
    return linen(draw, UNet(), draw.normal(2, 8, 8, 3))


class Inception(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(7, (3, 3), kernel_dilation=2)(x))
        branches: Sequence[jax.Array] = (
            nn.Conv(5, (1, 1))(x),
            nn.Conv(4, (3, 3))(nn.relu(nn.Conv(3, (1, 1))(x))),
            nn.Conv(6, (1, 1))(nn.avg_pool(x, (3, 3), padding="SAME")),
            nn.max_pool(x, (3, 3), padding="SAME"),
        )
        x = nn.relu(jnp.concatenate(branches, -1))
        return nn.Dense(5)(x.max((1, 2)))


@case((7, 5, 3, 4, 6))
def inception(draw: Draw) -> Model:
    """The pooled branch hands the stem's own channels on: no family of its own."""
    return linen(draw, Inception(), draw.normal(2, 7, 7, 2))


class AlexNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(12, (5, 5), 2)(x))
        power = lax.reduce_window(x**2, 0.0, lax.add, (1, 1, 1, 5), (1,) * 4, "SAME")
        x = nn.max_pool(x / (2 + 1e-2 * power) ** 0.75, (3, 3), (2, 2))
        x = nn.relu(nn.Conv(10, (3, 3))(x))
        return nn.Dense(5)(x.reshape(len(x), -1))


@case((10,), frozen=(("params/Conv_0/kernel", 3), ("params/Conv_1/kernel", 2)))
def local_response_norm(draw: Draw) -> Model:
    """A window over the channels freezes them."""
    return linen(draw, AlexNet(), draw.normal(2, 12, 12, 3))


class PixelShuffle(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(16, (3, 3))(x)
        b, h, w, _ = x.shape
        x = x.reshape(b, h, w, 2, 2, 4).transpose(0, 1, 3, 2, 4, 5)
        x = nn.relu(x.reshape(b, 2 * h, 2 * w, 4))
        return nn.Conv(2, (3, 3))(x)


@case((4,))
def pixel_shuffle(draw: Draw) -> Model:
    """Depth to space: 16 filters make 4 channels of a larger picture."""
    return linen(draw, PixelShuffle(), draw.normal(2, 4, 4, 3))


class MLPMixer(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(12, (2, 2), (2, 2))(x)
        x = x.reshape(len(x), -1, 12)
        y = nn.gelu(nn.Dense(16)(nn.LayerNorm()(x).swapaxes(1, 2)))
        x = x + nn.Dense(x.shape[1])(y).swapaxes(1, 2)
        y = nn.gelu(nn.Dense(20)(nn.LayerNorm()(x)))
        x = x + nn.Dense(12)(y)
        return nn.Dense(3)(x.mean(1))


@case((16, 20), frozen=(("params/Conv_0/kernel", 3), ("params/Dense_0/kernel", 0)))
def mlp_mixer(draw: Draw) -> Model:
    """The channels are frozen by LayerNorm, the tokens by the picture's size."""
    return linen(draw, MLPMixer(), draw.normal(2, 8, 8, 3))


@case((8, 10, 10, 12))
def wavenet(draw: Draw) -> Model:
    """Causal dilated 1-d convolutions, gated; residual stream 8, skip stream 12."""

    def conv(kernel, x, dilation=1):
        reach = dilation * (kernel.shape[0] - 1)
        return lax.conv_general_dilated(
            *(x, kernel, (1,), ((reach, 0),)),
            rhs_dilation=(dilation,),
            dimension_numbers=("NTC", "TIO", "NTC"),
        )

    def apply(params, x):
        x, skip = conv(params["in"], x), 0.0
        for index, layer in enumerate(params["layers"]):
            a, b = conv(layer["tanh"], x, 2**index), conv(layer["gate"], x, 2**index)
            y = jnp.tanh(a) * jax.nn.sigmoid(b)
            x, skip = x + conv(layer["residual"], y), skip + conv(layer["skip"], y)
        return dense(params["out"], jax.nn.relu(skip))

    def layer():
        pair = {"tanh": draw.weight(2, 8, 10), "gate": draw.weight(2, 8, 10)}
        return {
            **pair,
            "residual": draw.weight(1, 10, 8),
            "skip": draw.weight(1, 10, 12),
        }

    params = {"in": draw.weight(1, 3, 8), "layers": [layer(), layer()]}
    params["out"] = draw.dense(12, 4)[0]
    return Model(apply, params, (draw.normal(2, 9, 3),))


class Conv3D(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (2, 3, 3), (1, 2, 2))(x))
        return nn.Dense(3)(nn.relu(nn.Conv(6, (2, 2, 2))(x)).mean((1, 2, 3)))


@case((4, 6))
def conv3d(draw: Draw) -> Model:
    return linen(draw, Conv3D(), draw.normal(2, 4, 6, 6, 2))


@case((6, 9))
def channels_first(draw: Draw) -> Model:
    """NCHW pictures, OIHW kernels, as a network moved over from another library."""

    def conv(layer, x):
        y = lax.conv_general_dilated(x, layer["w"], (1, 1), "SAME")
        return y + layer["b"].reshape(1, -1, 1, 1)

    def apply(params, x):
        for layer in params[:-1]:
            x = jax.nn.relu(conv(layer, x))
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        return dense(params[-1], x.reshape(len(x), -1))

    def kernel(o, i):
        return {"w": draw.normal(o, i, 3, 3, scale=(9 * i) ** -0.5), "b": draw.bias(o)}

    params = [kernel(6, 2), kernel(9, 6), *draw.dense(9 * 9, 4)]
    return Model(apply, params, (draw.normal(2, 2, 6, 6),))


@case((6, 4, 8))
def shuffled_units(draw: Draw) -> Model:
    """A shuffle of two groups, taken apart again by the kernel that reads it."""

    def apply(params, x):
        x = jax.nn.relu(dense(params[0], x))
        x = x.reshape(len(x), 4, 6).swapaxes(1, 2).reshape(len(x), 24)
        x = jax.nn.relu(dense(params[1], x))
        return dense(params[2], x)

    return Model(apply, draw.dense(5, 24, 8, 3), (draw.normal(3, 5),))


@case((4, 6))
def mapped_ensemble(draw: Draw) -> Model:
    """Two networks at once: their kernels are mapped over, their units shared."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            for channels in (4, 6):
                x = nn.relu(nn.Conv(channels, (3, 3))(x))
            return nn.Dense(3)(x.mean((1, 2)))

    many = nn.vmap(
        Net,
        in_axes=None,
        out_axes=0,
        axis_size=2,
        variable_axes={"params": 0},
        split_rngs={"params": True},
    )
    return linen(draw, many(), draw.normal(2, 6, 6, 3))


@case((5, 4, 3), batched=())
def conditional_convolution(draw: Draw) -> Model:
    """A kernel for each example, mixed from three experts."""

    def convolve(kernel, x):
        return nn.relu(lax.conv_general_dilated(x[None], kernel, (1, 1), "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"))[0])  # fmt: skip

    def apply(params, x):
        mix = jax.nn.sigmoid(dense(params["mix"], x.mean((1, 2))))
        for experts in params["experts"]:
            kernels = jnp.einsum("be,ehwio->bhwio", mix, experts)
            x = jax.vmap(convolve)(kernels, x)
        return dense(params["out"], x.mean((1, 2)))

    experts = [draw.weight(3, 3, 3, 2, 5), draw.weight(3, 3, 3, 5, 4)]
    params = {"mix": draw.dense(2, 3)[0], "experts": experts}
    params["out"] = draw.dense(4, 3)[0]
    return Model(apply, params, (draw.normal(2, 5, 5, 2),))
