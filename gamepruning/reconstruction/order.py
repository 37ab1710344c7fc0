"""Puts what a residual correction needs before the reader that is corrected."""

from gamepruning.reconstruction.line import Line, Operation
from gamepruning.reconstruction.readers import Reader, Readers
from gamepruning.trace.program import Lit


def order_corrected(readers: Readers) -> dict[Reader, int]:
    """The stream that each reader adds to, where it can be known before the reader.

    The steps of the line are put in another order, as good as the first: what makes
    the other part of a sum stands before the reader whose result is added to it.

    Returns:
      By reader the other part of the sum that its result ends in.
    """
    line, settled = readers.line, set()
    found: dict[Reader, int] = {}
    every = [reader for shared in readers.shared for reader in shared.readers]
    position = {step: k for k, step in enumerate(line.steps)}
    for reader in sorted(every, key=lambda r: position[r.step]):
        other = reader.chain.stream and reader.chain.stream.other
        if isinstance(other, int) and _move_before(line, other, reader, settled):
            found[reader] = other
        settled.add(reader.step)
    return found


def _move_before(
    line: Line, value: int, reader: Reader, settled: set[Operation]
) -> bool:
    """Put all that makes a value before a reader; False where that cannot be.

    It cannot where the value depends on the reader, or where a reader that was settled
    earlier would have to move.
    """
    start = line.steps.index(reader.step)
    early: list[Operation] = []
    needed = {value}
    for step in reversed(line.steps[start:]):
        if needed.intersection(step.outs):
            if step is reader.step or step in settled:
                return False
            early.append(step)
            needed.update(v for v in step.ins if not isinstance(v, Lit))
    moved = set(early)
    rest = [step for step in line.steps[start:] if step not in moved]
    line.steps[start:] = [*reversed(early), *rest]
    return True
