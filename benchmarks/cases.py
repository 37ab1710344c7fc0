"""The networks that an accelerator is measured on; each is made once a process."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.coalitions import count_flops
from benchmarks.gpt2 import make_gpt2
from benchmarks.products import PRECISIONS, Precision, Shape, rate_of_product
from benchmarks.resnet18 import draw_weights
from gamepruning import metrics
from gamepruning.coalitions.measures import negative_cross_entropy
from gamepruning.coalitions.values import ValueFunction, value_function
from gamepruning.compaction.measure import count_macs
from gamepruning.players import Players, find_players
from gamepruning.workbench.networks.models import build_model

DTYPES = ("float32", "bfloat16")
LENET, RESNET = "lenet_300_100", "resnet56"


class Sizes(NamedTuple):
    """How large everything is; hashable.

    Attributes:
      cases: (network, type) whose coalitions are valued.
      product: n of the product n x n x n whose rate is the measure of all others.
      lenet_rows: images of LeNet-300-100.
      resnet_rows: images of the ResNet.
      resnet: fields of the workbench's `ResNet`; 9 blocks a stage make ResNet-56.
      gpt2: fields of `GPT2`.
      sequences: how many GPT-2 reads, each as long as its context.
      seconds: to spend on one timing, about.
      banzhaf_seconds: to spend on the Banzhaf values of GPT-2.
      pilot: coalitions that tell how many are affordable.
      steps: calls of a training step to time.
      tiles: (network, rows, coalitions) at once to try; None is the library's choice.
    """

    cases: tuple[tuple[str, str], ...]
    product: int
    lenet_rows: int
    resnet_rows: int
    resnet: tuple[tuple[str, Any], ...]
    gpt2: tuple[tuple[str, int], ...]
    sequences: int
    seconds: float
    banzhaf_seconds: float
    pilot: int
    steps: int
    tiles: tuple[tuple[str, int | None, int | None], ...]


FULL = Sizes(
    cases=(
        (LENET, "float32"),
        ("gpt2", "float32"),
        ("gpt2", "bfloat16"),
        (RESNET, "float32"),
        (LENET, "bfloat16"),
        (RESNET, "bfloat16"),
    ),
    product=8192,
    lenet_rows=10_000,
    resnet_rows=1024,
    resnet=(("blocks", 9),),
    gpt2=(),
    sequences=4,
    seconds=1.5,
    banzhaf_seconds=60.0,
    pilot=512,
    steps=20,
    tiles=(
        (LENET, None, None),
        (LENET, None, 256),
        (LENET, 10_000, 256),
        (LENET, 10_000, 1024),
        ("gpt2", None, None),
        ("gpt2", None, 8),
        ("gpt2", None, 32),
        (RESNET, None, None),
        (RESNET, None, 16),
    ),
)
SMALL = Sizes(
    cases=((LENET, "float32"), ("gpt2", "bfloat16"), (RESNET, "float32")),
    product=256,
    lenet_rows=64,
    resnet_rows=4,
    resnet=(("filters", (4,)),),
    gpt2=(
        ("layers", 1),
        ("width", 16),
        ("heads", 2),
        ("vocabulary", 64),
        ("context", 8),
    ),
    sequences=2,
    seconds=0.02,
    banzhaf_seconds=0.2,
    pilot=64,
    steps=1,
    tiles=((LENET, 32, 16),),
)


class Network(NamedTuple):
    """A network at random weights, with random data.

    Attributes:
      apply: (params, inputs) -> outputs.
      params: its parameters.
      inputs: [B, ...].
      labels: what the metric compares with.
      metric: (outputs, labels) -> scalar, a mean over examples.
    """

    apply: Callable[..., Any]
    params: Any
    inputs: jax.Array
    labels: jax.Array
    metric: Callable[..., Any]

    def astype(self, dtype: str) -> "Network":
        """The network and its inputs in another precision; tokens stay integers."""

        def cast(leaf: jax.Array) -> jax.Array:
            is_real = jnp.issubdtype(leaf.dtype, jnp.floating)
            return leaf.astype(dtype) if is_real else leaf

        params, inputs = jax.tree.map(cast, (self.params, self.inputs))
        return self._replace(params=params, inputs=inputs)

    def score(self, params: Any, inputs: Any, labels: Any) -> jax.Array:
        """The metric of a plain forward pass."""
        return self.metric(self.apply(params, inputs), labels)


@functools.cache
def network_of(name: str, dtype: str, sizes: Sizes) -> Network:
    """A network of `NETWORKS`."""
    if dtype != "float32":
        return network_of(name, "float32", sizes).astype(dtype)
    return NETWORKS[name](sizes)


@functools.cache
def players_of(name: str, sizes: Sizes) -> Players:
    """The players of a network."""
    network = network_of(name, "float32", sizes)
    return find_players(network.apply, network.params, network.inputs[:8])


class Work(NamedTuple):
    """The flops of matrix products and convolutions.

    Attributes:
      value: of a coalition's value, after the first gate.
      plain: of a plain forward pass.
    """

    value: int
    plain: int


@functools.cache
def work_of(name: str, dtype: str, sizes: Sizes) -> Work:
    """The flops of a network's values."""
    network = network_of(name, dtype, sizes)
    value = count_flops(players_of(name, sizes), network.params, network.inputs)
    plain = count_macs(network.apply, network.params, network.inputs)
    return Work(value, 2 * plain)


@functools.cache
def value_fn_of(name: str, dtype: str, sizes: Sizes) -> ValueFunction:
    """The value function of a network, of all its players, on one device.

    `products_rate` is that of one, too.
    """
    _, params, inputs, labels, metric = network_of(name, dtype, sizes)
    game = players_of(name, sizes), params, metric, inputs, labels
    return value_function(*game, devices=jax.local_devices()[:1])


@functools.cache
def products_rate(dtype: str, sizes: Sizes) -> float:
    """The flops a second of the large product, in the library's precision."""
    how = PRECISIONS["bfloat16"] if dtype == "bfloat16" else Precision("float32")
    shape = Shape(*(sizes.product,) * 3)
    return 1e12 * rate_of_product(shape, how, sizes.seconds / 4)["TFLOP/s"]


@functools.cache
def draw_masks(num_coalitions: int, num_players: int) -> np.ndarray:
    """Coalitions that each player joins with probability 1/2, bool [S, N]."""
    words = np.random.default_rng(0).bytes(num_coalitions * num_players)
    flat = np.frombuffer(words, np.uint8) < 128
    return flat.reshape(num_coalitions, num_players)


def _lenet_300_100(sizes: Sizes) -> Network:
    return _classifier(LENET, (28, 28, 1), sizes.lenet_rows)


def _resnet56(sizes: Sizes) -> Network:
    shape, rows = (32, 32, 3), sizes.resnet_rows
    return _classifier("resnet", shape, rows, **dict(sizes.resnet))


def _classifier(
    name: str, shape: tuple[int, ...], rows: int, **options: Any
) -> Network:
    model = build_model(name, input_shape=shape, num_outputs=10, **options)
    key = jax.random.key(0)
    params = draw_weights(key, jax.eval_shape(model.init, key))
    inputs = jax.random.uniform(jax.random.key(1), (rows, *shape))
    labels = jax.random.randint(jax.random.key(2), (rows,), 0, 10)
    return Network(model.apply, params, inputs, labels, metrics.accuracy)


def _gpt2(sizes: Sizes) -> Network:
    apply, params = make_gpt2(jax.random.key(0), **dict(sizes.gpt2))
    embedding = params["params"]["tokens"]["embedding"]
    length = params["params"]["places"].shape[1]
    shape = (sizes.sequences, length + 1)
    tokens = jax.random.randint(jax.random.key(1), shape, 0, len(embedding))
    data = tokens[:, :-1], tokens[:, 1:]
    return Network(apply, params, *data, negative_cross_entropy)


NETWORKS: dict[str, Callable[[Sizes], Network]] = {
    LENET: _lenet_300_100,
    "gpt2": _gpt2,
    RESNET: _resnet56,
}
