"""A random network: a list of steps that says what it is and can be run."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

MAX_ENTRIES = 300  # of one example in one intermediate array
MAX_RANK = 5
SIZES = (2, 3, 4, 5, 6)


class Step(NamedTuple):
    """values[output] = run([params], *[values], **settings)"""

    name: str
    run: Callable[..., Any]
    inputs: tuple[int, ...]
    params: tuple[int, ...]
    settings: dict[str, Any]
    shape: tuple[int, ...]


class Network(NamedTuple):
    """Steps over numbered values; the inputs are the first of them."""

    seed: int
    params: list[np.ndarray]
    inputs: tuple[np.ndarray, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]

    def apply(self, params: Sequence[Any], *inputs: Any) -> list[Any]:
        """The network as the pure function that `find_players` takes."""
        values = list(inputs)
        for step in self.steps:
            chosen = [params[k] for k in step.params]
            arguments = [values[k] for k in step.inputs]
            values.append(step.run(chosen, *arguments, **step.settings))
        return [values[k] for k in self.outputs]

    @property
    def ops(self) -> list[str]:
        return sorted({step.name for step in self.steps})

    @property
    def is_differentiable(self) -> bool:
        """False with a loop of unknown length, through which nothing runs backwards."""
        return all(step.settings.get("how") != "while" for step in self.steps)

    def __str__(self) -> str:
        lines = [f"# network {self.seed}"]
        lines += [f"v{k} = input {x.shape}" for k, x in enumerate(self.inputs)]
        for k, step in enumerate(self.steps, start=len(self.inputs)):
            weights = [f"p{i}{list(self.params[i].shape)}" for i in step.params]
            settings = [f"{name}={_brief(s)}" for name, s in step.settings.items()]
            values = [f"v{i}" for i in step.inputs]
            arguments = ", ".join([*values, *weights, *settings])
            lines.append(f"v{k} {step.shape} = {step.name}({arguments})")
        lines.append(f"return {', '.join(f'v{k}' for k in self.outputs)}")
        return "\n".join(lines)


def _brief(setting: Any) -> str:
    if callable(setting):
        return getattr(setting, "__name__", repr(setting))
    if isinstance(setting, np.ndarray):
        return f"array{setting.shape}"
    return str(setting)


class Grower:
    """Adds random steps; `OPS[name](grower, value)` returns the new value's number.

    Args:
      seed: decides everything.
    """

    def __init__(self, seed: int):
        self.seed = seed
        self.numbers = np.random.default_rng(seed)
        self.params: list[np.ndarray] = []
        self.inputs: list[np.ndarray] = []
        self.steps: list[Step] = []
        self.shapes: list[tuple[int, ...]] = []
        self.used: set[int] = set()

    # -- choices -----------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        return bool(self.numbers.random() < probability)

    def pick(self, options: Sequence[Any]) -> Any:
        return options[int(self.numbers.integers(len(options)))]

    def size(self) -> int:
        return int(self.pick(SIZES))

    def axis(self, value: int, least: int = 2) -> int | None:
        """An axis with at least so many entries, never the batch."""
        return self.maybe(self.axes(value, least))

    def axes(self, value: int, least: int = 2) -> list[int]:
        shape = self.shapes[value]
        return [k for k in range(1, len(shape)) if shape[k] >= least]

    def maybe(self, options: Sequence[Any]) -> Any:
        return self.pick(options) if options else None

    def like(self, shape: tuple[int, ...], but: int | None = None) -> int | None:
        """An earlier value of this shape (free in axis `but`)."""

        def fits(other: tuple[int, ...]) -> bool:
            if len(other) != len(shape):
                return False
            pairs = enumerate(zip(other, shape, strict=True))
            return all(a == b for k, (a, b) in pairs if k != but)

        first = 1 if self.is_tokens(0) else 0
        found = [k for k in range(first, len(self.shapes)) if fits(self.shapes[k])]
        return self.maybe(found)

    def is_tokens(self, value: int) -> bool:
        return value < len(self.inputs) and self.inputs[value].dtype.kind == "i"

    # -- additions ---------------------------------------------------------------------

    def input(self, array: np.ndarray) -> int:
        self.inputs.append(array)
        self.shapes.append(array.shape)
        return len(self.shapes) - 1

    def weight(self, *shape: int, fan_in: int | None = None) -> int:
        """A new parameter, or now and then one that is there already (tied)."""
        same = [k for k, p in enumerate(self.params) if p.shape == shape]
        if same and self.chance(0.15):
            return self.pick(same)
        fan_in = int(np.prod(shape[:-1])) if fan_in is None else fan_in
        self.params.append(self.numbers.standard_normal(shape) * max(fan_in, 1) ** -0.5)
        return len(self.params) - 1

    def bias(self, *shape: int) -> int:
        return self.weight(*shape, fan_in=6)

    def positive(self, *shape: int) -> int:
        self.params.append(self.numbers.uniform(0.5, 1.5, shape))
        return len(self.params) - 1

    def constant(self, *shape: int) -> np.ndarray:
        return self.numbers.standard_normal(shape)

    def emit(
        self,
        name: str,
        run: Callable[..., Any],
        inputs: Sequence[int],
        params: Sequence[int] = (),
        **settings: Any,
    ) -> int | None:
        """Add a step; None if its value would be empty or too large."""
        specs = [_spec(self.params[k].shape) for k in params]
        values = [self._value_spec(k) for k in inputs]
        out = jax.eval_shape(lambda p, xs: run(p, *xs, **settings), specs, values)
        entries = int(np.prod(out.shape[1:]))
        fits = 0 < entries <= MAX_ENTRIES and len(out.shape) <= MAX_RANK
        if not fits or out.shape[0] != self.shapes[0][0]:
            return None
        step = Step(name, run, tuple(inputs), tuple(params), settings, out.shape)
        self.steps.append(step)
        self.shapes.append(out.shape)
        self.used.update(inputs)
        return len(self.shapes) - 1

    def _value_spec(self, value: int) -> jax.ShapeDtypeStruct:
        dtype = jnp.int32 if self.is_tokens(value) else jnp.float64
        return jax.ShapeDtypeStruct(self.shapes[value], dtype)

    def finish(self, outputs: Sequence[int]) -> Network:
        steps, inputs = tuple(self.steps), tuple(self.inputs)
        return Network(self.seed, self.params, inputs, steps, tuple(outputs))


def _spec(shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float64)
