"""What becomes of a reader's result: its bias, and the stream that it is added to."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from gamepruning.reconstruction.entries import SAME_ENTRIES, ViewEntries, Views
from gamepruning.reconstruction.line import Line, Operation
from gamepruning.trace.primitives import ADDITIONS
from gamepruning.trace.program import Lit, Operand


class Link(NamedTuple):
    """One affine step that a result goes through on its way.

    Attributes:
      step: the step.
      place: which of its operands the result is.
    """

    step: Operation
    place: int

    @property
    def other(self) -> Operand:
        """The other operand of a sum, difference, product or quotient."""
        return self.step.ins[1 - self.place]

    @property
    def has_other(self) -> bool:
        """True for a step of two operands."""
        return len(self.step.ins) == 2

    def moved(self, array: Any) -> Any:
        """Entries of the result where the step puts them."""
        if self.step.node.name == "transpose":
            return array.transpose(self.step.node.params["permutation"])
        return array

    def moved_back(self, array: Any) -> Any:
        """What the step puts somewhere, where it was before."""
        if self.step.node.name == "transpose":
            order = np.argsort(self.step.node.params["permutation"])
            return array.transpose(order)
        return array

    def forward(self, array: Any, factor: Any) -> Any:
        """What a change of the result becomes; `factor` is the other operand."""
        name = self.step.node.name
        if name == "mul":
            return array * factor
        if name == "div":
            return array / factor
        if name == "neg" or (name == "sub" and self.place == 1):
            return -array
        return self.moved(array)

    def backward(self, array: Any, factor: Any) -> Any:
        """The change of the result that becomes `array`; 0 where none can."""
        name = self.step.node.name
        if name == "mul":
            return jnp.where(factor == 0, 0, array / jnp.where(factor == 0, 1, factor))
        if name == "div":
            return array * factor
        if name == "transpose":
            return self.moved_back(array)
        return self.forward(array, factor)


class Bias(NamedTuple):
    """A parameter that is added to (or subtracted from) a result.

    Attributes:
      links: from the result to where it is added.
      entries: the parameter's entries as they are added, in the result's shape.
      sign: 1 where it is added, -1 where it is subtracted.
    """

    links: tuple[Link, ...]
    entries: ViewEntries
    sign: int


class Stream(NamedTuple):
    """The sum that a result ends in: a residual stream.

    Attributes:
      links: from the result to the sum.
      other: what it is added to.
      step: the sum.
    """

    links: tuple[Link, ...]
    other: Operand
    step: Operation


@dataclass(frozen=True, eq=False)
class Chain:
    """The affine way of a result.

    Attributes:
      bias: the first parameter that is added to it, if there is one.
      stream: the first sum with something that depends on the inputs, if any.
      links: all affine steps from the result to the sum, or to where the way ends.
      end: the value there: the sum, or what the last link makes.
    """

    bias: Bias | None
    stream: Stream | None
    links: tuple[Link, ...]
    end: int


def follow(line: Line, views: Views, varying: set[int], result: int) -> Chain:
    """Follow a result as long as it has one reader, which is affine.

    Args:
      line: the program.
      views: of its parameters.
      varying: the values that depend on the inputs.
      result: the value to follow.
    """
    consumers = views.consumers
    links: list[Link] = []
    bias, value = None, result
    while value not in line.outputs and len(consumers.get(value, ())) == 1:
        link = Link(*consumers[value][0])
        kind = _kind(line, varying, link)
        if kind == "sum":
            stream = Stream(tuple(links), link.other, link.step)
            return Chain(bias, stream, tuple(links), link.step.outs[0])
        if kind is None:
            break
        links.append(link)
        if bias is None and kind == "shift":
            bias = _bias(line, views, tuple(links))
        value = link.step.outs[0]
    return Chain(bias, None, tuple(links), value)


def _kind(line: Line, varying: set[int], link: Link) -> str | None:
    """ "move", "scale", "shift" or "sum"; None for what is not affine."""
    name = link.step.node.name
    if link.step.part is not None or len(link.step.outs) != 1:
        return None
    shape = line.shape(link.step.outs[0])
    if not line.is_float(link.step.outs[0]):
        return None
    if name in SAME_ENTRIES or name in ("neg", "transpose"):
        return "move"
    if len(link.step.ins) != 2 or line.shape(link.step.ins[link.place]) != shape:
        return None
    varies = not isinstance(link.other, Lit) and link.other in varying
    if name in ADDITIONS or name == "sub":
        if not varies:
            return "shift"
        is_sum = name in ADDITIONS and line.shape(link.other) == shape
        return "sum" if is_sum else None
    if varies or (name == "div" and link.place == 1):
        return None
    return "scale" if name in ("mul", "div") else None


def _bias(line: Line, views: Views, links: tuple[Link, ...]) -> Bias | None:
    last = links[-1]
    entries = views.of(last.other)
    if entries is None:
        return None
    if not all(line.is_float(views.leaves[leaf]) for leaf in entries.leaves):
        return None
    shape = line.shape(last.step.outs[0])
    index = np.broadcast_to(entries.places, shape)
    sign = -1 if last.step.node.name == "sub" and last.place == 0 else 1
    return Bias(links, ViewEntries(entries.layout, index), sign)
