"""Windows: from one reader to the end of the next one's affine way.

A window is a small network with a known target: what the full network has at its end.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped

from gamepruning.reconstruction.aims import Aim
from gamepruning.reconstruction.entries import Views
from gamepruning.reconstruction.line import Operation
from gamepruning.reconstruction.passes import Passes
from gamepruning.reconstruction.readers import Reader
from gamepruning.trace.primitives import ADDITIONS, PRODUCTS
from gamepruning.trace.program import Lit

Parts = tuple[Any, Any]  # two parts of the rows: by entry of a result 1 or 0


class Window(NamedTuple):
    """A stretch of the program with a target at its end.

    Attributes:
      start: the position of its first step.
      stop: the position behind its last.
      end: the value at its end.
      aim: what should be as in the full network.
      train: by entry of `end`, 1 where it is fitted to and 0 elsewhere.
      held: the same for the rows held out.
    """

    start: int
    stop: int
    end: int
    aim: Aim
    train: Shaped[np.ndarray, "..."]
    held: Shaped[np.ndarray, "..."]

    @property
    def parts(self) -> Parts:
        """Both."""
        return self.train, self.held


def reader_window(
    reader: Reader, passes: Passes, start: int, aim: Aim, held_out: float
) -> Window:
    """The window from a position to the end of a reader's affine way."""
    line, chain = passes.readers.line, reader.chain
    shape = line.shape(chain.end)
    index = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    for link in reversed(chain.links):
        index = link.moved_back(index)
    rows = reader.product.results(index)
    there = np.broadcast_to(reader.has_output[:, None], rows.shape)
    cuts = max(1, round(rows.shape[1] * (1 - held_out)))
    parts = []
    for part in (slice(None, cuts), slice(cuts, None)):
        flags = np.zeros(index.size, np.float32)
        flags[rows[:, part][there[:, part]]] = 1
        parts.append(flags.reshape(shape))
    step = line.producers()[chain.end]
    return Window(start, passes.position[step] + 1, chain.end, aim, *parts)


def output_window(
    passes: Passes, start: int, aim: Aim, held_out: float
) -> Window | None:
    """The window from a position to the one output of the network; None without one."""
    line = passes.readers.line
    if len(line.outputs) != 1 or isinstance(line.outputs[0], Lit):
        return None
    end = line.outputs[0]
    step = line.producers().get(end)
    if step is None or not line.is_float(end) or not line.shape(end):
        return None
    shape = line.shape(end)
    if len(shape) == 1 and aim is Aim.CLASSES:
        return None
    *rows, classes = shape if len(shape) > 1 else (*shape, 1)
    count = int(np.prod(rows))
    is_train = np.arange(count) < max(1, round(count * (1 - held_out)))
    train = np.repeat(is_train, classes).reshape(shape).astype(np.float32)
    stop = passes.position[step] + 1
    return Window(start, stop, end, aim, train, 1 - train)


# -- what is free in a window ----------------------------------------------------------


def free_entries(
    window: Window, passes: Passes, steps: Sequence[Operation]
) -> dict[int, Bool[np.ndarray, "..."]]:
    """By parameter the entries that may change.

    They are weights of products and biases in the window that nothing outside reads,
    and through which the window changes nothing else than its end.
    """
    line, views = passes.readers.line, Views(passes.readers.line, passes.param_values)
    bound = _bound(window, passes, steps)
    ends = {step for step in steps if _is_free(step) and not bound & set(step.outs)}
    shapes = [line.shape(value) for value in passes.param_values]
    found: dict[int, np.ndarray] = {}
    operands = (v for step in ends for v in step.ins[:2] if not isinstance(v, Lit))
    for entries in filter(None, map(views.of, operands)):
        for leaf, _, places in views.layout.split(entries.distinct):
            if line.is_float(passes.param_values[leaf]):
                flags = np.zeros(int(np.prod(shapes[leaf])), bool)
                found.setdefault(leaf, flags)[places] = True
    for use in views.uses_of(found):
        if use.step not in ends:
            for leaf, _, places in views.layout.split(use.places):
                if leaf in found:
                    found[leaf][places] = False
    order = sorted(leaf for leaf, flags in found.items() if flags.any())
    return {leaf: found[leaf].reshape(shapes[leaf]) for leaf in order}


def _is_free(step: Operation) -> bool:
    """True for a product or a sum: what it reads of parameters are weights, a bias."""
    return step.part is None and step.node.name in PRODUCTS | ADDITIONS


def _bound(window: Window, passes: Passes, steps: Sequence[Operation]) -> set[int]:
    """The values of a window that something reads beside what leads to its end."""
    inside = set(steps)
    found: set[int] = set()
    consumers = passes.readers.line.consumers()
    outputs = set(passes.readers.line.outputs) - {window.end}
    for step in reversed(steps):
        for out in step.outs:
            readers = {reader for reader, _ in consumers.get(out, ())}
            leaves = out != window.end and not readers <= inside
            if leaves or out in outputs or any(found & set(r.outs) for r in readers):
                found.add(out)
    return found


def ancestors(steps: Sequence[Operation], end: int) -> list[Operation]:
    """The steps that a value is made by."""
    needed, found = {end}, []
    for step in reversed(steps):
        if needed.intersection(step.outs):
            found.append(step)
            needed.update(v for v in step.ins if not isinstance(v, Lit))
    return found[::-1]
