"""How the benchmarks take times, and what they make of them."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from gamepruning.compaction.measure import Latency
from gamepruning.types import InputError


def seconds_of(run: Callable[[], Any]) -> float:
    """The seconds that a call takes until its results are there."""
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def in_turns(
    calls: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, list[float]]:
    """Seconds of each call, in turns there and back, after one that compiles.

    Raises:
      InputError: `repeats` is below one.
    """
    if repeats < 1:
        raise InputError(f"expected repeats >= 1, got {repeats}")
    for call in calls.values():
        jax.block_until_ready(call())
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats):
        for name in list(calls)[:: 1 if turn % 2 == 0 else -1]:
            times[name].append(seconds_of(calls[name]))
    return times


def milliseconds(latency: Latency, per: int = 1) -> dict[str, Any]:
    """A latency in milliseconds, of one of the `per` steps of a call."""
    names = ("median", "p10", "p90")
    spread = {name: 1e3 * getattr(latency, name) / per for name in names}
    return spread | {"repeats": latency.repeats}


def at_most(what: str, value: float, target: float) -> dict[str, Any]:
    """A verdict on a value that should be small."""
    return {what: value, "at most": target, "met": bool(value <= target)}


def at_least(what: str, value: float, target: float) -> dict[str, Any]:
    """A verdict on a value that should be large."""
    return {what: value, "at least": target, "met": bool(value >= target)}
