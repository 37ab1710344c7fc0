"""The measured rate of matrix products, in each precision and at several shapes."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import in_a_row, timed

QUEUE = 0.02  # seconds of products to send before waiting, where there is a queue
LONGEST = 64


class Precision(NamedTuple):
    """How products are computed.

    Attributes:
      dtype: of the operands.
      precision: JAX's word for it; None is the default, which the library uses.
    """

    dtype: str
    precision: str | None = None


PRECISIONS = {
    "float32, default": Precision("float32"),
    "float32, highest": Precision("float32", "highest"),
    "bfloat16": Precision("bfloat16"),
}
TF32 = {"TF32": Precision("float32", "TF32_TF32_F32")}  # where the platform has it


class Shape(NamedTuple):
    """Products [m, k] x [k, n], several in one program.

    Attributes:
      m: rows.
      k: what is summed over.
      n: columns.
      stacked: how many of them, one after the other, as tiles of rows come.
    """

    m: int
    k: int
    n: int
    stacked: int = 1

    @property
    def flops(self) -> float:
        """Of all products."""
        return 2.0 * self.m * self.k * self.n * self.stacked


def precisions() -> dict[str, Precision]:
    """The precisions that this platform tells apart."""
    return PRECISIONS | (TF32 if jax.default_backend() == "gpu" else {})


def rate_of_product(shape: Shape, how: Precision, budget: float) -> dict[str, float]:
    """The flops a second of a product.

    Args:
      shape: what to multiply.
      how: in which precision.
      budget: seconds to spend.

    Returns:
      {"TFLOP/s": the rate, "ms": of one program}.
    """
    left, right = (operand.astype(how.dtype) for operand in _operands(shape))
    dot = functools.partial(jnp.dot, precision=how.precision)

    @jax.jit
    def product(left, right):
        if shape.stacked == 1:
            return dot(left[0], right)
        return jax.lax.map(lambda rows: dot(rows, right), left)

    seconds = seconds_each(lambda: product(left, right), budget)
    return {"TFLOP/s": shape.flops / seconds / 1e12, "ms": 1e3 * seconds}


@functools.lru_cache(maxsize=1)
def _operands(shape: Shape) -> tuple[jax.Array, jax.Array]:
    """Random numbers: a card is faster on constants, which draw less power."""
    rng = np.random.default_rng(0)
    shapes = (shape.stacked, shape.m, shape.k), (shape.k, shape.n)
    left, right = (jnp.asarray(rng.standard_normal(s, np.float32)) for s in shapes)
    return left, right


def seconds_each(call: Callable[[], Any], budget: float) -> float:
    """The median seconds of a call, of many in a row where the device queues them."""
    number = 1
    if jax.default_backend() != "cpu":
        once = timed(call, 0.0).median
        number = min(LONGEST, max(1, round(QUEUE / once)))
    return timed(in_a_row(call, number), budget, least=3).median / number
