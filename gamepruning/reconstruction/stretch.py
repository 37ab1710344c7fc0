"""Runs a line stretch by stretch, over all batches, with what is alive kept between."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from gamepruning.reconstruction.chain import Link
from gamepruning.reconstruction.line import Line, Operation, run_part
from gamepruning.run.gated import Gated
from gamepruning.trace.labelled import Trace
from gamepruning.trace.program import Lit, Operand

Values = dict[int, Any]  # by the value's number in the line


class Programs:
    """Compiled functions; those that lower to the same text share one program.

    Layers of one shape are compiled once, wherever they stand in the network. Arguments
    that a function does not use are kept: without them, two functions that use
    different ones could have the same text.

    Attributes:
      kept: what was made for a reader, by what it was made of: a reader that is fitted
        again is not traced again.
    """

    def __init__(self):
        self.kept: dict[tuple, Any] = {}
        self._compiled: dict[str, Any] = {}

    def prepare(self, fn: Callable[..., Any], *args: Any) -> Callable[..., Any]:
        """The compiled function for arguments of these shapes."""
        lowered = jax.jit(fn, keep_unused=True).lower(*args)
        text = lowered.as_text()
        if text not in self._compiled:
            self._compiled[text] = lowered.compile()
        return self._compiled[text]


class Runner:
    """Evaluates steps of a line under a mask, or without one.

    Attributes:
      line: the program.
      varying: the values that depend on the inputs.
    """

    def __init__(self, trace: Trace, line: Line, varying: set[int], num_players: int):
        self._trace = trace
        self._line = line
        self._varying = varying
        self._gated = Gated(trace.analysis, trace.columns, np.ones(num_players, bool))
        self._producers = line.producers()
        self._position = {step: k for k, step in enumerate(line.steps)}
        self._needed_after = _last_readers(line)

    # -- a stretch -------------------------------------------------------------------

    def stretch(self, start: int, stop: int) -> tuple[list[Operation], list[int]]:
        """The steps from start to stop that vary, and the varying values they need."""
        steps = [s for s in self._line.steps[start:stop] if self._varies(s.outs)]
        made = {out for step in steps for out in step.outs}
        needed = [v for step in steps for v in step.ins if not isinstance(v, Lit)]
        return steps, [v for v in dict.fromkeys(needed) if v in self._varying - made]

    def is_alive(self, value: int, position: int) -> bool:
        """True if a value is read at this position of the line or later."""
        return self._needed_after.get(value, -1) >= position

    def _varies(self, values: Sequence[int]) -> bool:
        return any(v in self._varying for v in values)

    def constants(self, operands: Sequence[Operand]) -> list[Operation]:
        """The steps that make what does not depend on the inputs."""
        found: set[Operation] = set()
        todo = list(operands)
        while todo:
            operand = todo.pop()
            if isinstance(operand, Lit) or operand in self._varying:
                continue
            step = self._producers.get(operand)
            if step is not None and step not in found:
                found.add(step)
                todo.extend(step.ins)
        return sorted(found, key=self._position.__getitem__)

    # -- evaluation --------------------------------------------------------------------

    def run(self, steps: Sequence[Operation], env: Values, mask: Any) -> None:
        """Evaluate steps, adding their results to `env`; `mask` may be traced."""
        for step in steps:
            args = [self.read(env, operand) for operand in step.ins]
            env.update(zip(step.outs, self._step(step, args, mask), strict=True))

    def read(self, env: Values, operand: Operand) -> Any:
        """The value of an operand."""
        if isinstance(operand, Lit):
            return operand.value
        if operand in env:
            return env[operand]
        return self._trace.program.constants[operand]

    def factor(self, env: Values, link: Link) -> Any:
        """The other operand of a link; None where there is none."""
        return self.read(env, link.other) if link.has_other else None

    def _step(self, step: Operation, args: list, mask: Any) -> list:
        if step.part is not None:
            return run_part(step.part, args)
        return self._gated.with_gates(mask).step(step.node, args)


def _last_readers(line: Line) -> dict[int, int]:
    """By value the position of its last reader; the end for outputs."""
    found: dict[int, int] = {}
    for position, step in enumerate(line.steps):
        for operand in step.ins:
            if not isinstance(operand, Lit):
                found[operand] = position
    for operand in line.outputs:
        if not isinstance(operand, Lit):
            found[operand] = len(line.steps)
    return found
