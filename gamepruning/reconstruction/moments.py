"""Sums of products of a reader's inputs and errors: all that a fit needs to know."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Shaped

HIGHEST = lax.Precision.HIGHEST


class Moments(NamedTuple):
    """Sums over rows, of inputs x less a shift and of errors e = target - result.

    Attributes:
      rows: how many.
      x: sum of x, [G, K].
      e: sum of e, [G, M].
      xx: sum of x x', [G, K, K].
      xe: sum of x e', [G, K, M].
      ee: sum of e^2 over rows, [G, M].
      t: sum of the targets less a shift, [G, M].
      tt: sum of their squares, [G, M].
    """

    rows: Shaped[Any, ""]
    x: Shaped[Any, "G K"]
    e: Shaped[Any, "G M"]
    xx: Shaped[Any, "G K K"]
    xe: Shaped[Any, "G K M"]
    ee: Shaped[Any, "G M"]
    t: Shaped[Any, "G M"]
    tt: Shaped[Any, "G M"]

    def plus(self, other: "Moments") -> "Moments":
        """The sums over the rows of both, in double precision."""
        return Moments(
            *(np.asarray(a, float) + b for a, b in zip(self, other, strict=True))
        )

    def with_squares_of(self, other: "Moments") -> "Moments":
        """The same with what another knows of the inputs' squares."""
        return self._replace(xx=other.xx)

    def of_no_input(self) -> "Moments":
        """The same without what is known of inputs: no memory of their size."""
        none = {"x": self.x[:, :0], "xx": self.xx[:, :0, :0], "xe": self.xe[:, :0]}
        return self._replace(**{name: part.copy() for name, part in none.items()})

    def exact(self) -> "Moments":
        """The same in double precision."""
        return Moments(*(np.asarray(part, float) for part in self))

    def is_finite(self) -> bool:
        """True if no sum is NaN or infinite."""
        return all(bool(np.isfinite(part).all()) for part in self)

    def target_energy(self) -> float:
        """Sum of squares of the targets about their mean."""
        return float((self.tt - np.square(self.t) / self.rows).sum())


def wide(array: Any) -> Any:
    """An array in single precision at least."""
    return jnp.asarray(array, jnp.promote_types(array.dtype, jnp.float32))


def sum_moments(
    x: Shaped[Any, "G R K"],
    e: Shaped[Any, "G R M"],
    target: Shaped[Any, "G R M"],
    squares: bool = True,
) -> Moments:
    """The sums of one batch; traced.

    Args:
      x: the inputs, less a shift.
      e: target less result.
      target: less a shift.
      squares: sum those of the inputs; if False, they are known, and xx is of no input.
    """

    def product(a, b):
        return jnp.einsum("gri,grj->gij", a, b, precision=HIGHEST)

    count = jnp.asarray(x.shape[1], x.dtype)
    some = x if squares else x[:, :, :0]
    xx = product(some, some)
    xx = (xx + jnp.swapaxes(xx, 1, 2)) / 2  # a product need not be symmetric to the bit
    return Moments(
        rows=count,
        x=x.sum(axis=1),
        e=e.sum(axis=1),
        xx=xx,
        xe=product(x, e),
        ee=jnp.square(e).sum(axis=1),
        t=target.sum(axis=1),
        tt=jnp.square(target).sum(axis=1),
    )
