"""What a test model is, and what we expect the tracing to say about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.trees.paths import path_name

FLOATS = ("float32", "float64")


class Model(NamedTuple):
    """A pure function with values for its arguments.

    Attributes:
      apply: `apply(params, *inputs) -> outputs`.
      params: any pytree of arrays.
      inputs: the other arguments.
      options: keyword arguments for `find_players`.
    """

    apply: Callable[..., Any]
    params: Any
    inputs: tuple[Any, ...]
    options: Mapping[str, Any] = {}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model and what is known about it by hand.

    Attributes:
      name: what pytest prints.
      build: `build(draw) -> Model`; the same draw gives the same numbers.
      families: sizes of the families of players, in ascending order.
      frozen: (parameter path, axis) of which no index may leave.
      opaque: primitives that the tracing is not expected to understand.
      refuses: is `exclude` expected to refuse? None where both are right.
      dtypes: the floating types in which the model runs.
      tolerance: bound of the relative error, where rounding needs more than usual.
      heavy: takes long to compile; not all tests are worth it.
      smooth: the outputs' slope is their gradient, as seen by tiny steps in float64.
      gradient: "forward" if nothing runs backwards through the model.
      batched: positions of the inputs whose axis 0 is the batch; () where there is
        none, so that neither another batch size nor vmap makes sense.
    """

    name: str
    build: Callable[["Draw"], Model]
    families: tuple[int, ...]
    frozen: tuple[tuple[str, int], ...] = ()
    opaque: tuple[str, ...] = ()
    refuses: bool | None = False
    dtypes: tuple[str, ...] = FLOATS
    tolerance: Mapping[str, float] = field(
        default_factory=lambda: {"float32": 1e-6, "float64": 1e-12}
    )
    heavy: bool = False
    smooth: bool = True
    gradient: str = "reverse"
    batched: tuple[int, ...] = (0,)

    @property
    def num_players(self) -> int:
        return sum(self.families)

    def model(self, dtype: str, seed: int) -> Model:
        """The model's function, parameters and inputs in one floating type."""
        return self.build(Draw(jax.random.key(seed), dtype))


CASES: dict[str, Case] = {}


def case(families: tuple[int, ...], **expected: Any) -> Callable[..., Any]:
    """Decorator: enter a model's builder and what is expected of it into `CASES`."""

    def register(build: Callable[["Draw"], Model]) -> Callable[["Draw"], Model]:
        name = getattr(build, "__name__", repr(build))
        if name in CASES:
            raise ValueError(f"two models are called {name!r}: rename one of them")
        sizes = tuple(sorted(families))
        CASES[name] = Case(name=name, build=build, families=sizes, **expected)
        return build

    return register


class Draw:
    """Random parameters and inputs of one floating type.

    Nothing is zero and nothing is one: a bias of 0 or a scale of 1 would hide a
    mistake in what the tracing says about it.
    """

    def __init__(self, key: jax.Array, dtype: str):
        self.key = key
        self.dtype = jnp.dtype(dtype)
        self._numbers = np.random.default_rng(np.asarray(jax.random.key_data(key)))

    def normal(self, *shape: int, scale: float = 1.0) -> jax.Array:
        return jnp.asarray(scale * self._numbers.standard_normal(shape), self.dtype)

    def weight(self, *shape: int) -> jax.Array:
        """Normal, with the outputs' variance near the inputs'; last axis is `out`."""
        fan_in = max(int(np.prod(shape[:-1])), 1)
        return self.normal(*shape, scale=fan_in**-0.5)

    def bias(self, *shape: int) -> jax.Array:
        return self.normal(*shape, scale=0.3)

    def positive(self, *shape: int) -> jax.Array:
        return jnp.asarray(self._numbers.uniform(0.5, 1.5, shape), self.dtype)

    def integers(self, high: int, *shape: int) -> jax.Array:
        return jnp.asarray(self._numbers.integers(0, high, shape), jnp.int32)

    def dense(self, *sizes: int) -> list[dict[str, jax.Array]]:
        """Layers of a plain network: [{"w": [in, out], "b": [out]}, ...]."""
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        return [{"w": self.weight(i, o), "b": self.bias(o)} for i, o in pairs]

    def like(self, shapes: Any) -> Any:
        """A tree of the given shapes with values that suit the leaves' names."""
        return jax.tree_util.tree_map_with_path(self._leaf, shapes)

    def _leaf(self, path: Any, leaf: Any) -> Any:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(0)
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.ones(leaf.shape, leaf.dtype)
        name = path_name(path)
        last = name.removesuffix("/value").rsplit("/", 1)[-1]
        if last in ("var", "scale", "average", "running_var"):
            return self.positive(*leaf.shape)
        if len(leaf.shape) < 2 or last in ("bias", "mean"):
            return self.bias(*leaf.shape)
        return self.weight(*leaf.shape)


def linen(draw: Draw, module: Any, *inputs: Any, **options: Any) -> Model:
    """A Flax linen module; its variables, batch statistics included, are the params.

    Only the inputs matter to `module.init`, and it is never run: eval_shape is enough.
    """
    shapes = jax.eval_shape(module.init, draw.key, *inputs)
    return Model(module.apply, draw.like(shapes), inputs, options)


def nnx_model(draw: Draw, make: Callable[[Any], Any], *inputs: Any) -> Model:
    """A Flax nnx module, split into a static graph and a state of arrays."""
    from flax import nnx

    abstract = nnx.eval_shape(lambda: make(nnx.Rngs(0)))
    graph, state = nnx.split(abstract)

    def apply(state: Any, *inputs: Any) -> Any:
        return nnx.merge(graph, state)(*inputs)

    return Model(apply, draw.like(state), inputs)


def dense(layer: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
    """x W + b, for any number of leading axes."""
    bias = layer["b"].reshape((1,) * (x.ndim - 1) + (-1,))
    return x @ layer["w"] + bias


def standardise(x: jax.Array) -> jax.Array:
    """Layer normalisation over the last axis, without parameters."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
