"""Products as plain matrices: rows of inputs, one matrix of weights a group.

Every product that reads weights is Z[g] = X[g] @ W[g], with groups g (batch axes, or
the groups of a convolution), R rows, K inputs and M outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Int, Shaped

from gamepruning.trace.program import Node
from gamepruning.trace.rules.contract import dot_numbers

Matrices = Shaped[Any, "G A B"]


@dataclass(frozen=True, eq=False)
class Product:
    """How the operands of a product become matrices.

    Attributes:
      node: the product.
      weights: which operand holds the weights, 0 or 1.
    """

    node: Node
    weights: int

    @property
    def inputs(self) -> int:
        """Which operand is the activation."""
        return 1 - self.weights

    def rows(self, array: Any) -> Matrices:
        """The activation as [G, R, K]."""
        raise NotImplementedError

    def split(self, keep: Int[np.ndarray, " k"]) -> tuple[Any, Any]:
        """Some inputs as what to take of the activation's channels, then of K."""
        return None, keep

    def some_rows(self, array: Any, channels: Any, keep: Any) -> Matrices:
        """The activation as [G, R, k], of the inputs that were split so; traced."""
        del channels
        return self.rows(array)[:, :, keep]

    def matrix(self, array: Any) -> Matrices:
        """The weights (or what belongs to their entries) as [G, K, M]."""
        raise NotImplementedError

    def results(self, array: Any) -> Matrices:
        """The result as [G, R, M]."""
        raise NotImplementedError

    def input_dims(self) -> tuple[int, ...]:
        """The axes of the activation that may be cut, in the order of K."""
        raise NotImplementedError

    def players(self, columns: Sequence[np.ndarray]) -> Int[np.ndarray, "G K width"]:
        """Whom each input needs, by whom each entry of `input_dims` needs."""
        raise NotImplementedError


class DotProduct(Product):
    """A product of matrices with any batch, summed and free axes."""

    def _dims(self) -> tuple[tuple, tuple]:
        """(summed, batch) axes, by operand."""
        return dot_numbers(self.node)

    def _split(self, operand: int, ndim: int) -> tuple[list, list, list]:
        sums, batch = (dims[operand] for dims in self._dims())
        free = [d for d in range(ndim) if d not in (*sums, *batch)]
        return list(batch), free, list(sums)

    def rows(self, array: Any) -> Matrices:
        """Free axes are rows, summed ones inputs."""
        return _matrices(array, self._split(self.inputs, np.ndim(array)))

    def matrix(self, array: Any) -> Matrices:
        """Summed axes are inputs, free ones outputs."""
        batch, free, sums = self._split(self.weights, np.ndim(array))
        return _matrices(array, (batch, sums, free))

    def results(self, array: Any) -> Matrices:
        """Batch axes, then those of the first operand, then those of the second."""
        num_batch = len(self._dims()[1][0])
        num_lhs = self._num_free_lhs
        ndim = np.ndim(array)
        batch = list(range(num_batch))
        first = list(range(num_batch, num_batch + num_lhs))
        second = list(range(num_batch + num_lhs, ndim))
        order = (batch, first, second) if self.weights == 1 else (batch, second, first)
        return _matrices(array, order)

    @property
    def _num_free_lhs(self) -> int:
        sums, batch = (dims[0] for dims in self._dims())
        ndim = len(self.node.alone.eqns[0].invars[0].aval.shape)
        return ndim - len(sums) - len(batch)

    def input_dims(self) -> tuple[int, ...]:
        """Batch axes, then summed ones."""
        sums, batch = (dims[self.inputs] for dims in self._dims())
        return (*batch, *sums)

    def players(self, columns: Sequence[np.ndarray]) -> Int[np.ndarray, "G K width"]:
        """An input needs whom its index along every axis needs."""
        num_batch = len(self._dims()[1][0])
        found = np.zeros((1, 0), int)
        for axis in columns:
            before = np.repeat(found, len(axis), axis=0)
            found = np.hstack([before, np.tile(axis, (len(found), 1))])
        groups = prod(len(axis) for axis in columns[:num_batch])
        return found.reshape(groups, len(found) // groups, found.shape[1])


class Convolution(Product):
    """A convolution of any strides, dilation, padding and number of groups."""

    @property
    def _spec(self) -> Any:
        return self.node.params["dimension_numbers"]

    @property
    def _groups(self) -> int:
        return self.node.params["feature_group_count"]

    def rows(self, array: Any) -> Matrices:
        """Patches: R places, K = channels of a group x taps of the kernel."""
        batch, channel, *space = self._spec.lhs_spec
        array = jnp.transpose(array, (batch, *space, channel))
        patches = _patches(array, self.node.params, self._kernel)
        rows, channels, taps = patches.shape
        groups = self._groups
        if groups == 1:
            return patches.reshape(1, rows, -1)
        each = patches.reshape(rows, groups, channels // groups * taps)
        return each.transpose(1, 0, 2)

    def split(self, keep: Int[np.ndarray, " k"]) -> tuple[Any, Any]:
        """Whole channels are taken before patches are made of them."""
        taps = np.arange(prod(self._kernel))
        channels = np.unique(keep // taps.size)
        whole = (channels[:, None] * taps.size + taps).reshape(-1)
        is_whole = self._groups == 1 and keep.size and np.array_equal(whole, keep)
        return (channels, None) if is_whole else (None, keep)

    def some_rows(self, array: Any, channels: Any, keep: Any) -> Matrices:
        """Patches of the channels, or some of all patches."""
        if channels is None:
            return super().some_rows(array, channels, keep)
        return self.rows(jnp.take(array, channels, axis=self._spec.lhs_spec[1]))

    @property
    def _kernel(self) -> tuple[int, ...]:
        shape = self.node.alone.eqns[0].invars[1].aval.shape
        return tuple(shape[d] for d in self._spec.rhs_spec[2:])

    def matrix(self, array: Any) -> Matrices:
        """Input channels of a group and taps are inputs, output channels outputs."""
        out, *rest = self._spec.rhs_spec
        array = array.transpose((out, *rest))
        each = array.reshape(self._groups, array.shape[0] // self._groups, -1)
        return each.transpose(0, 2, 1)

    def results(self, array: Any) -> Matrices:
        """Places are rows, output channels outputs."""
        batch, channel, *space = self._spec.out_spec
        array = array.transpose((batch, *space, channel))
        each = array.reshape(-1, self._groups, array.shape[-1] // self._groups)
        return each.transpose(1, 0, 2)

    def input_dims(self) -> tuple[int, ...]:
        """The channels."""
        return (self._spec.lhs_spec[1],)

    def players(self, columns: Sequence[np.ndarray]) -> Int[np.ndarray, "G K width"]:
        """All taps of a channel need whom the channel needs."""
        (channels,) = columns
        size = len(channels) // self._groups
        each = channels.reshape(self._groups, size, channels.shape[-1])
        return np.repeat(each, prod(self._kernel), axis=1)


def product_of(node: Node, weights: int) -> Product | None:
    """A product with its weights at an operand; None for one of another kind."""
    if "dimension_numbers" not in node.params or len(node.ins) != 2:
        return None
    if "feature_group_count" not in node.params:
        return DotProduct(node, weights)
    is_plain = weights == 1 and node.params["batch_group_count"] == 1
    return Convolution(node, weights) if is_plain else None


def _matrices(array: Any, dims: tuple[list, list, list]) -> Matrices:
    shape = [prod(array.shape[d] for d in group) for group in dims]
    return array.transpose([d for group in dims for d in group]).reshape(shape)


def _patches(array: Any, params: dict[str, Any], kernel: tuple[int, ...]) -> Any:
    """[rows, C, taps]: what each place of the result sees of [N, space, C]."""
    zero = jnp.zeros((), array.dtype)
    holes = [hole - 1 for hole in params["lhs_dilation"]]
    space = [(*pad, n) for pad, n in zip(params["padding"], holes, strict=True)]
    array = lax.pad(array, zero, [(0, 0, 0), *space, (0, 0, 0)])
    num, *sizes, channels = array.shape
    strides, dilation = params["window_strides"], params["rhs_dilation"]
    pieces = []
    for tap in np.ndindex(*kernel):
        start = [t * d for t, d in zip(tap, dilation, strict=True)]
        rest = [(k - 1 - t) * d for k, t, d in zip(kernel, tap, dilation, strict=True)]
        stop = [size - r for size, r in zip(sizes, rest, strict=True)]
        limits = [num, *stop, channels]
        piece = lax.slice(array, [0, *start, 0], limits, [1, *strides, 1])
        pieces.append(piece.reshape(-1, channels))
    return jnp.stack(pieces, axis=-1)
