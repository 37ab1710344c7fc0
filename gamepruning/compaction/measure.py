"""What a model costs: parameters, bytes, multiply-adds, and time on this machine."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.errors import InputError
from gamepruning.trace.flatten import without_dead_code
from gamepruning.trace.primitives import COUNTED_LOOPS, SAME
from gamepruning.trace.rules.contract import count_taps
from gamepruning.trees.arrays import is_array, split_arrays

Call = tuple[Callable[..., Any], tuple]  # a function and its arguments

SECONDS = 1.0  # that the calls of one function are timed, unless told otherwise


class Macs(NamedTuple):
    """Multiply-adds of a function.

    Attributes:
      total: their number.
      by_primitive: the same by the primitive that does them.
      notes: what the number leaves out or assumes, one line each.
    """

    total: int
    by_primitive: dict[str, int]
    notes: tuple[str, ...]


class Latency(NamedTuple):
    """How long one call takes, in seconds.

    Attributes:
      median: half of the calls took less.
      p10: one call in ten took less.
      p90: nine calls in ten took less.
      repeats: how many calls were timed.
    """

    median: float
    p10: float
    p90: float
    repeats: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a network costs to hold and to run.

    Attributes:
      params: entries of all its arrays.
      num_bytes: bytes that they take.
      macs: multiply-adds for one example.
      latency_ms: the median for `latency_batch` examples, warm and waited for.
      latency_p10_ms: the tenth percentile.
      latency_p90_ms: the ninetieth percentile.
      latency_batch: examples of a call.
    """

    params: int
    num_bytes: int
    macs: int
    latency_ms: float
    latency_p10_ms: float
    latency_p90_ms: float
    latency_batch: int


def measure_costs(
    networks: Mapping[str, tuple[Callable[..., Any], Any]],
    inputs: Any,
    *,
    budget: float | None = None,
) -> dict[str, Cost]:
    """Size and speed of networks, timed in turns.

    Args:
      networks: name -> (apply, params), with apply(params, inputs).
      inputs: a batch of examples, [B, ...].
      budget: see `measure_latency`.

    Returns:
      The cost of each network by its name.

    Example:
      >>> costs = measure_costs(
      ...     {"line": (lambda w, x: x @ w, jnp.ones(4))}, jnp.ones((9, 4))
      ... )
      >>> costs["line"].params, costs["line"].macs, costs["line"].latency_batch
      (4, 4, 9)
    """
    calls = {name: (apply, (p, inputs)) for name, (apply, p) in networks.items()}
    latencies = measure_latency(calls, budget=budget)
    return {
        name: Cost(
            params=count_params(params),
            num_bytes=count_bytes(params),
            macs=count_macs(apply, params, inputs[:1]),
            latency_ms=1e3 * latencies[name].median,
            latency_p10_ms=1e3 * latencies[name].p10,
            latency_p90_ms=1e3 * latencies[name].p90,
            latency_batch=len(inputs),
        )
        for name, (apply, params) in networks.items()
    }


def count_params(tree: Any) -> int:
    """The number of entries in all arrays of a tree.

    Example:
      >>> count_params({"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)})
      16
    """
    return sum(prod(leaf.shape) for leaf in _arrays(tree))


def count_bytes(tree: Any) -> int:
    """The bytes that all arrays of a tree take.

    Example:
      >>> count_bytes({"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4, jnp.bfloat16)})
      56
    """
    return sum(prod(leaf.shape) * leaf.dtype.itemsize for leaf in _arrays(tree))


def count_macs(fn: Callable[..., Any], *args: Any) -> int:
    """The multiply-adds of one call: matrix products and convolutions.

    Args:
      fn: any function that JAX can trace.
      *args: its arguments, or `jax.ShapeDtypeStruct` in place of arrays. A batch of B
        examples counts B times.

    Returns:
      Their number; `tally_macs` tells more.

    Example:
      >>> count_macs(jnp.dot, jnp.ones((2, 3)), jnp.ones((3, 4)))
      24
    """
    return tally_macs(fn, *args).total


def tally_macs(fn: Callable[..., Any], *args: Any) -> Macs:
    """The multiply-adds of one call, by primitive, and what is not in the number.

    What the outputs do not need does not count: XLA drops it. Padding counts like any
    other entry, except in a transposed convolution, where neither padding nor the holes
    between the entries count. A scan counts as often as it runs, a while loop once, of
    the branches of a cond the dearest one.

    Args:
      fn: any function that JAX can trace.
      *args: its arguments, or `jax.ShapeDtypeStruct` in place of arrays.

    Returns:
      The tally.

    Example:
      >>> tally_macs(lambda x: x @ x, jnp.ones((3, 3)))
      Macs(total=27, by_primitive={'dot_general': 27}, notes=())
    """
    notes: dict[str, None] = {}
    fn, arrays = _of_arrays(fn, args)
    jaxpr = without_dead_code(jax.make_jaxpr(fn)(*arrays).jaxpr)
    counts = _count_jaxpr(jaxpr, notes)
    return Macs(counts.total(), dict(counts), tuple(notes))


@overload
def measure_latency(
    fn: Callable[..., Any],
    *args: Any,
    budget: float | None = None,
    repeats: int | None = None,
) -> Latency: ...


@overload
def measure_latency(
    fn: Mapping[str, Call],
    *,
    budget: float | None = None,
    repeats: int | None = None,
) -> dict[str, Latency]: ...


def measure_latency(fn, *args, budget=None, repeats=None):
    """Time a function, or several in one run: compiled, warm, and waited for.

    Several functions take turns: a machine that is busy for a while slows all of them
    alike, so that the ratios hold where the numbers do not.

    Args:
      fn: any function that `jax.jit` takes; or several, {name: (fn, args)}.
      *args: the arguments of one function; zeros stand in for a
        `jax.ShapeDtypeStruct`.
      budget: about how many seconds to measure in all, compiling apart; 1 for one
        function and 2 for several if None.
      repeats: how many calls of each function to time, instead of the budget.

    Returns:
      The latency on this machine; {name: latency} of several functions.

    Raises:
      InputError: `repeats` or the budget is not positive.

    Example:
      >>> measure_latency(jnp.sin, jnp.ones(3), repeats=5).repeats
      5
      >>> calls = {"sin": (jnp.sin, (jnp.ones(3),)), "cos": (jnp.cos, (jnp.ones(3),))}
      >>> list(measure_latency(calls, repeats=5))
      ['sin', 'cos']
    """
    if callable(fn):
        budget = SECONDS if budget is None else budget
        return _measure({"": (fn, args)}, budget, repeats)[""]
    return _measure(fn, 2 * SECONDS if budget is None else budget, repeats)


def _measure(
    calls: Mapping[str, Call], budget: float, repeats: int | None
) -> dict[str, Latency]:
    if (repeats is not None and repeats < 1) or budget <= 0:
        raise InputError(
            f"expected repeats >= 1 and budget > 0, got {repeats} and {budget}"
        )
    ready = {name: _prepare(fn, args) for name, (fn, args) in calls.items()}
    names = list(ready)
    if repeats is None:
        one_round = sum(min(_seconds(ready[n]) for _ in range(3)) for n in names)
        repeats = int(np.clip(budget / max(one_round, 1e-9), 5, 2000))
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats):
        # There and back again: nobody always comes after the same neighbour.
        for name in names if turn % 2 == 0 else names[::-1]:
            times[name].append(_seconds(ready[name]))
    return {name: _summary(times[name]) for name in names}


def _arrays(tree: Any) -> list:
    return [leaf for leaf in jax.tree.leaves(tree) if is_array(leaf)]


def _prepare(fn: Callable[..., Any], args: tuple) -> Callable[[], Any]:
    """A call without arguments, compiled and warm, its data on the device."""
    fn, arrays = _of_arrays(fn, args)
    jitted = jax.jit(fn)
    arrays = jax.device_put([_concrete(array) for array in arrays])
    for _ in range(2):
        jax.block_until_ready(jitted(*arrays))
    return lambda: jitted(*arrays)


def _of_arrays(fn: Callable[..., Any], args: tuple) -> tuple[Callable[..., Any], list]:
    """The function of the arrays in its arguments; the rest is fixed."""
    arrays, rebuild = split_arrays(args)
    return lambda *arrays: fn(*rebuild(arrays)), arrays


def _concrete(leaf: Any) -> Any:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        dtype = jax.dtypes.canonicalize_dtype(leaf.dtype)
        return jnp.zeros(leaf.shape, dtype, device=leaf.sharding)
    return leaf


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def _summary(times: list[float]) -> Latency:
    p10, median, p90 = np.quantile(times, [0.1, 0.5, 0.9])
    return Latency(float(median), float(p10), float(p90), len(times))


def _count_jaxpr(jaxpr: Any, notes: dict[str, None]) -> Counter:
    counts = Counter()
    for eqn in jaxpr.eqns:
        counts.update(_count_eqn(eqn, notes))
    return counts


def _count_eqn(eqn: Any, notes: dict[str, None]) -> Mapping[str, int]:
    name = SAME.get(eqn.primitive.name, eqn.primitive.name)
    if name in _COUNTERS:
        return {name: _COUNTERS[name](eqn)}
    if name in _SKIPPED:
        notes[f"{name} is not counted"] = None
        return {}
    inner = [_count_jaxpr(jaxpr, notes) for jaxpr in _inner_jaxprs(eqn.params)]
    if name == "cond":
        return max(inner, key=Counter.total)
    counts = sum(inner, Counter())
    if name in COUNTED_LOOPS:
        return {key: count * eqn.params["length"] for key, count in counts.items()}
    if name == "while" and counts:
        notes["the body of a while loop counts once"] = None
    return counts


def _inner_jaxprs(params: Mapping[str, Any]) -> Iterator[Any]:
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            jaxpr = getattr(item, "jaxpr", item)
            if hasattr(jaxpr, "eqns"):
                yield jaxpr


def _count_dot(eqn: Any) -> int:
    (contract, _), _ = eqn.params["dimension_numbers"]
    lhs, out = eqn.invars[0].aval, eqn.outvars[0].aval
    return prod(out.shape) * prod(lhs.shape[dim] for dim in contract)


def _count_ragged_dot(eqn: Any) -> int:
    """Every row meets the matrix of its group alone."""
    numbers = eqn.params["ragged_dot_dimension_numbers"]
    (_, contract), (_, batch) = numbers.dot_dimension_numbers
    used = {*contract, *batch, *numbers.rhs_group_dimensions}
    lhs, rhs = (v.aval.shape for v in eqn.invars[:2])
    return prod(lhs) * prod(n for dim, n in enumerate(rhs) if dim not in used)


def _count_conv(eqn: Any) -> int:
    """Outputs times kernel taps times the input channels of one group."""
    params = eqn.params
    dims = params["dimension_numbers"]
    lhs, rhs, out = (v.aval.shape for v in (*eqn.invars[:2], *eqn.outvars))
    batch, features = (out[dim] for dim in dims.out_spec[:2])
    return batch * features * rhs[dims.rhs_spec[1]] * count_taps(params, lhs, rhs, out)


_COUNTERS: dict[str, Callable[[Any], int]] = {
    "dot_general": _count_dot,
    "conv_general_dilated": _count_conv,
    "ragged_dot_general": _count_ragged_dot,
}
_SKIPPED = ("shard_map", "pallas_call", "custom_linear_solve")
