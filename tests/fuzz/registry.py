"""The table of operations that a network is grown from."""

from collections.abc import Callable
from typing import NamedTuple

from tests.fuzz.network import Grower

Grow = Callable[[Grower, int], int | None]


class Op(NamedTuple):
    """How to add one operation behind a value, and how often to try."""

    grow: Grow
    weight: float


OPS: dict[str, Op] = {}


def op(*, weight: float = 1.0) -> Callable[[Grow], Grow]:
    """Decorator: `grow(grower, value)` adds steps, or returns None where it cannot."""

    def register(grow: Grow) -> Grow:
        OPS[getattr(grow, "__name__", repr(grow))] = Op(grow, weight)
        return grow

    return register
