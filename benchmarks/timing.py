"""How the benchmarks take times, and what they make of them."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from gamepruning.compaction.measure import Latency
from gamepruning.types import InputError


def seconds_of(
    run: Callable[[], Any], clock: Callable[[], float] = time.perf_counter
) -> float:
    """The seconds that a call takes until its results are there."""
    start = clock()
    jax.block_until_ready(run())
    return clock() - start


def in_turns(
    calls: Mapping[str, Callable[[], Any]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each call, in turns there and back, after one that compiles.

    Args:
      calls: what to time, by name.
      repeats: turns.
      clock: what tells the seconds; `time.process_time` those of all cores.

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
            times[name].append(seconds_of(calls[name], clock))
    return times


class Timing(NamedTuple):
    """What a call takes, in seconds.

    Attributes:
      first: of the first call, compiling included.
      median: of the calls after it.
      repeats: how many those are.
    """

    first: float
    median: float
    repeats: int


def timed(call: Callable[[], Any], budget: float, *, least: int = 1) -> Timing:
    """Time a call within a budget, where one call may take most of it.

    Args:
      call: what to time.
      budget: seconds to spend after the first call, about.
      least: calls after the first, whatever they take.
    """
    first, times = seconds_of(call), [seconds_of(call)]
    while len(times) < least or sum(times) + times[-1] < budget:
        times.append(seconds_of(call))
    return Timing(first, float(np.median(times)), len(times))


def in_a_row(call: Callable[[], Any], number: int) -> Callable[[], Any]:
    """Several calls, sent to the device one after the other without waiting.

    Its queue is then never empty, so that what Python does between two calls is hidden
    where a call takes longer than that. Waiting for the last one waits for all of them
    where there is one queue, as on a GPU.
    """

    def calls() -> Any:
        result = None
        for _ in range(number):
            result = call()
        return result

    return calls


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
