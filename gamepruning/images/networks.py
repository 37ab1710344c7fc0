"""LeNet-5 and AlexNet adapted, small ones; ResNets and VGG-19 as they are published.

`CifarResNet` is that of He et al. 2016, 4.2. Its layers and those of `CifarVGG` have
the names of PyTorch, with _ for the points, so that
`gamepruning.compaction.torch_names` finds the weights of a file.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from gamepruning.types import InputError

DEPTHS = (20, 32, 44, 56, 110)
VGG19 = (64, 64, 128, 128, *(256,) * 4, *(512,) * 8)

Images = Float[Array, "B H W C"]
Vectors = Float[Array, "B *shape"]
Logits = Float[Array, "B classes"]


class LeNet5(nn.Module):
    """The convolutional LeNet (LeCun et al. 1998).

    As there, images get a margin of two pixels: 28x28 becomes 32x32, and the dense
    part reads 5 x 5 x 16 = 400 features.

    Attributes:
      num_outputs: classes.
      filters: of the convolutions.
      widths: of the dense layers.
      pool: "max" or "avg".
      margin: pixels of zeros on each side.
    """

    num_outputs: int
    filters: tuple[int, int] = (6, 16)
    widths: tuple[int, ...] = (120, 84)
    pool: str = "max"
    margin: int = 2

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Logits:
        pool = {"max": nn.max_pool, "avg": nn.avg_pool}[self.pool]
        margin = (self.margin, self.margin)
        x = jnp.pad(x, ((0, 0), margin, margin, (0, 0)))
        for i, filters in enumerate(self.filters):
            x = nn.Conv(filters, (5, 5), padding="VALID", name=f"conv_{i}")(x)
            x = pool(nn.relu(x), (2, 2), strides=(2, 2))
        x = x.reshape(x.shape[0], -1)
        for i, width in enumerate(self.widths):
            x = nn.relu(nn.Dense(width, name=f"hidden_{i}")(x))
        return nn.Dense(self.num_outputs, name="output")(x)


class AlexNet(nn.Module):
    """AlexNet (Krizhevsky et al. 2012, one tower) for images of 64x64.

    Attributes:
      num_outputs: classes.
      filters: of the convolutions.
      widths: of the dense layers.
      dropout: before each of these, in training.
    """

    num_outputs: int
    filters: tuple[int, int, int, int, int] = (64, 192, 384, 256, 256)
    widths: tuple[int, ...] = (4096, 4096)
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Logits:
        for i, filters in enumerate(self.filters):
            size, stride, margin = [(11, 4, 2), (5, 1, 2), (3, 1, 1)][min(i, 2)]
            conv = nn.Conv(filters, (size, size), stride, margin, name=f"conv_{i}")
            x = nn.relu(conv(x))
            if i in (0, 1, 4):
                x = nn.max_pool(x, (3, 3), strides=(2, 2))
        x = x.reshape(x.shape[0], -1)
        for i, width in enumerate(self.widths):
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
            x = nn.relu(nn.Dense(width, name=f"hidden_{i}")(x))
        return nn.Dense(self.num_outputs, name="output")(x)


class ResNet(nn.Module):
    """A small residual network with batch normalisation (He et al. 2016, 4.2)."""

    num_outputs: int
    filters: tuple[int, ...] = (16, 32, 64)
    blocks: int = 1

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Logits:
        def conv_norm(x, filters, size, stride, name):
            conv = nn.Conv(
                filters, (size, size), stride, use_bias=False, name=f"{name}_conv"
            )
            return nn.BatchNorm(not train, momentum=0.9, name=f"{name}_norm")(conv(x))

        x = nn.relu(conv_norm(x, self.filters[0], 3, 1, "stem"))
        for stage, filters in enumerate(self.filters):
            for block in range(self.blocks):
                name = f"stage_{stage}_block_{block}"
                stride = 2 if stage > 0 and block == 0 else 1
                y = nn.relu(conv_norm(x, filters, 3, stride, f"{name}_in"))
                y = conv_norm(y, filters, 3, 1, f"{name}_out")
                if x.shape != y.shape:
                    x = conv_norm(x, filters, 1, stride, f"{name}_skip")
                x = nn.relu(x + y)
        return nn.Dense(self.num_outputs, name="output")(x.mean((1, 2)))


class Transformer(nn.Module):
    """A small pre-norm transformer encoder (Vaswani et al. 2017), mean-pooled.

    Its tokens are the rows of an image, or `tokens` equal pieces of a vector.
    """

    num_outputs: int
    width: int = 64
    heads: int = 4
    hidden: int = 128
    layers: int = 2
    tokens: int = 16

    @nn.compact
    def __call__(self, x: Vectors, train: bool = False) -> Logits:
        if x.ndim == 2:
            x = jnp.pad(x, ((0, 0), (0, -x.shape[1] % self.tokens)))
            x = x.reshape(x.shape[0], self.tokens, -1)
        x = x.reshape(*x.shape[:2], -1)
        x = nn.Dense(self.width, name="embed")(x)
        start = nn.initializers.normal(0.02)
        x = x + self.param("position", start, (1, *x.shape[1:]))
        for i in range(self.layers):
            y = nn.LayerNorm(name=f"norm_attention_{i}")(x)
            y = nn.MultiHeadDotProductAttention(self.heads, name=f"attention_{i}")(y)
            x = x + y
            y = nn.LayerNorm(name=f"norm_hidden_{i}")(x)
            y = nn.gelu(nn.Dense(self.hidden, name=f"hidden_{i}")(y))
            x = x + nn.Dense(self.width, name=f"back_{i}")(y)
        x = nn.LayerNorm(name="norm")(x).mean(1)
        return nn.Dense(self.num_outputs, name="output")(x)


class CifarResNet(nn.Module):
    """A residual network of 6 n + 2 layers in three stages.

    Attributes:
      depth: 20, 32, 44, 56 or 110.
      shortcut: "A", every second pixel with channels of zeros around, no parameters;
        "B", a convolution of 1 x 1 with batch normalisation.
      widths: channels of the stages.
      num_outputs: classes.
      inner: channels between the two convolutions of each block, in order, as pruning
        leaves them; none given, those of the block's stage.
    """

    depth: int = 56
    shortcut: str = "A"
    widths: tuple[int, int, int] = (16, 32, 64)
    num_outputs: int = 10
    inner: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Logits:
        blocks = (self.depth - 2) // 6
        inner = self.inner or [width for width in self.widths for _ in range(blocks)]
        if len(inner) != 3 * blocks:
            raise InputError(
                f"expected inner channels of {3 * blocks} blocks, got {len(inner)}"
            )
        x = nn.relu(_conv_norm(x, self.widths[0], 3, 1, "conv1", "bn1", train))
        for stage, width in enumerate(self.widths, 1):
            for block in range(blocks):
                stride = 2 if stage > 1 and block == 0 else 1
                name = f"layer{stage}_{block}"
                own = inner[blocks * (stage - 1) + block]
                y = _conv_norm(x, own, 3, stride, f"{name}_conv1", f"{name}_bn1", train)
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
    """VGG-19 with batch normalisation and one dense layer, as CIFAR has it.

    Attributes:
      widths: channels of each convolution.
      pools: the convolutions that pooling comes before, by number.
      num_outputs: classes.
    """

    widths: tuple[int, ...] = VGG19
    pools: tuple[int, ...] = (2, 4, 8, 12)
    num_outputs: int = 10

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Logits:
        at = 0  # PyTorch counts convolution, norm, relu and pooling
        for number, width in enumerate(self.widths):
            if number in self.pools:
                x, at = nn.max_pool(x, (2, 2), strides=(2, 2)), at + 1
            names = f"features_{at}", f"features_{at + 1}"
            x, at = nn.relu(_conv_norm(x, width, 3, 1, *names, train)), at + 3
        return nn.Dense(self.num_outputs, name="classifier")(x.mean((1, 2)))


def _conv_norm(x, width: int, size: int, stride: int, conv: str, norm: str, train):
    pad = [(size // 2, size // 2)] * 2  # as PyTorch pads, also at stride 2
    x = nn.Conv(width, (size, size), stride, pad, use_bias=False, name=conv)(x)
    return nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, name=norm)(x)
