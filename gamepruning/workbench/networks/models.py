"""Networks to prune, in flax linen, each behind one pure `apply(params, x)`.

Nothing else in the library knows them: they are what a user would bring. `build_model`
makes one fit for a data set and hides linen's collections.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gamepruning.errors import InputError
from gamepruning.images.networks import (
    DEPTHS,
    AlexNet,
    CifarResNet,
    CifarVGG,
    LeNet5,
    ResNet,
    Transformer,
)
from gamepruning.spelling import closest
from gamepruning.trees.paths import named_leaves

ACTIVATIONS = {"relu": nn.relu, "gelu": nn.gelu, "silu": nn.silu, "tanh": nn.tanh}

Inputs = Float[Array, "B *shape"]
Outputs = Float[Array, "B outputs"]


class Model(NamedTuple):
    """A network as pure functions.

    If it has batch statistics, params is `{"params": ..., "batch_stats": ...}`, else
    the parameters alone. `apply` is the network in use: no dropout, running statistics.
    `train_apply`, as in training, has dropout and brings the statistics up to date.
    """

    name: str  # what the report calls it
    init: Callable[[jax.Array], Any]  # key -> params
    apply: Callable[[Any, Any], Any]  # (params, [B, *input_shape]) -> [B, num_outputs]
    train_apply: Callable[[Any, Any, jax.Array], tuple[Any, Any]]  # -> outputs, params
    is_plain: bool  # training needs no key and changes weights only: `apply` serves it
    state: frozenset[str] = frozenset()  # paths that train_apply keeps, not optimizers


class MLP(nn.Module):
    """Fully connected layers; 784-512-256-10 on MNIST (arXiv 2512.22106, 7.1).

    The fully connected LeNet has 300 and 100 of them (LeCun et al. 1998), the text
    classifier of GTAP three of 256 (arXiv 2311.10468, IV-B2).
    """

    num_outputs: int
    widths: tuple[int, ...] = (512, 256)
    activation: str = "relu"
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Inputs, train: bool = False) -> Outputs:
        x = x.reshape(x.shape[0], -1)
        for i, width in enumerate(self.widths):
            x = ACTIVATIONS[self.activation](nn.Dense(width, name=f"hidden_{i}")(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.num_outputs, name="output")(x)


class Entry(NamedTuple):
    """One line of `MODELS`: all that adding a network takes."""

    module: type[nn.Module]  # its fields are the options, with their defaults
    min_image: int  # the smallest height and width it can read; 0 for any input
    example: tuple[int, ...]  # the shape of one example that it was made for
    given: Mapping[str, Any] = {}  # options that the name stands for


MODELS = {
    "mlp": Entry(MLP, 0, (28, 28, 1)),
    "lenet_300_100": Entry(MLP, 0, (28, 28, 1), {"widths": (300, 100)}),
    "text_mlp": Entry(MLP, 0, (1000,), {"widths": (256, 256, 256)}),
    "lenet_5": Entry(LeNet5, 12, (28, 28, 1)),
    "alexnet": Entry(AlexNet, 63, (64, 64, 3)),
    "resnet": Entry(ResNet, 4, (32, 32, 3)),
    "transformer": Entry(Transformer, 0, (28, 28, 1)),
    "vgg19": Entry(CifarVGG, 16, (32, 32, 3)),
    **{  # the shortcut B is a convolution, A has no parameters
        f"resnet{depth}{end}": Entry(
            CifarResNet, 4, (32, 32, 3), {"depth": depth, "shortcut": shortcut}
        )
        for end, shortcut in (("", "A"), ("_b", "B"))
        for depth in DEPTHS
    },
}


def build_model(
    name: str, *, input_shape: tuple[int, ...], num_outputs: int, **options: Any
) -> Model:
    """Make one of the networks in `MODELS` fit for some data.

    Args:
      name: a key of `MODELS`.
      input_shape: the shape of one example: (features,) or (height, width, channels).
      num_outputs: classes, or predicted numbers.
      **options: fields of the network's module, such as `widths=(64, 32)`.

    Returns:
      The network as pure functions. They are deterministic given their key.

    Raises:
      InputError: no such network or option, or it cannot read such inputs.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> model = build_model("mlp", input_shape=(8, 8, 1), num_outputs=10)
      >>> params = model.init(jax.random.key(0))
      >>> model.apply(params, jnp.zeros((5, 8, 8, 1))).shape
      (5, 10)
    """
    if name not in MODELS:
        told = f"no model {name!r}{closest(name, MODELS)}"
        raise InputError(f"{told} (`gamepruning prune --help` names all)")
    entry = MODELS[name]
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    _check(entry, name, input_shape, options)
    module = entry.module(num_outputs=num_outputs, **{**entry.given, **options})

    def init(key):
        variables = module.init(key, jnp.zeros((1, *input_shape)))
        return variables if "batch_stats" in variables else variables["params"]

    def apply(params, x, **how):
        variables = params if "batch_stats" in params else {"params": params}
        return module.apply(variables, x, **how)

    def train_apply(params, x, key):
        how = {"train": True, "rngs": {"dropout": key}, "mutable": ["batch_stats"]}
        outputs, updates = apply(params, x, **how)
        return outputs, ({**params, **updates} if "batch_stats" in params else params)

    try:  # tracing the start costs no computing and shows if sizes fit
        shapes = jax.eval_shape(init, jax.random.key(0))
        if any(0 in leaf.shape for leaf in jax.tree.leaves(shapes)):  # from JAX 0.12 on
            raise ValueError("a layer would be empty")
    except Exception as error:  # whatever linen and XLA say about sizes
        reason = str(error).strip().splitlines()
        raise InputError(
            f"{name} cannot be built with these options for such inputs: "
            f"{reason[0] if reason else type(error).__name__}"
        ) from error
    is_plain = "batch_stats" not in shapes and not options.get("dropout")
    state = frozenset(n for n in named_leaves(shapes) if n.startswith("batch_stats/"))
    return Model(name, jax.jit(init), apply, train_apply, is_plain, state)


def _check(
    entry: Entry, name: str, input_shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    known = [field.name for field in dataclasses.fields(entry.module)]
    known = [field for field in known if field not in ("num_outputs", "parent", "name")]
    for option, value in options.items():
        if option not in known:
            raise InputError(f"{name} has no option {option!r}{closest(option, known)}")
        if option == "activation" and value not in ACTIVATIONS:
            raise InputError(f"no activation {value!r}{closest(value, ACTIVATIONS)}")
        sizes = value if isinstance(value, tuple) else ()
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise InputError(f"{name}: {option} must be positive integers, got {value}")
    smallest = entry.min_image
    is_plain = smallest == 0 and input_shape and math.prod(input_shape) > 0
    if not is_plain and (len(input_shape) != 3 or min(input_shape[:2]) < smallest):
        raise InputError(
            f"{name} reads images of at least {smallest}x{smallest}, "
            f"[height, width, channels], got inputs of shape {input_shape}: "
            "choose another model, such as mlp"
        )
