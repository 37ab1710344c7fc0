"""Gauss-Newton fits of a reader together with the weights that lead to it.

A closed-form fit takes what reaches a reader as given. Those who stay can do more: the
weights that make them may change, too. A window of the program, from one reader to the
end of the next one's affine way, is a small network with a known target, what the full
network has there. Its weights and biases are fitted by the method of Levenberg and
Marquardt: linear least squares for the window's linearisation, again and again.
Held-out rows say when to stop. No labels, and no gradient of the network's loss, are
used.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from gamepruning.reconstruction.line import Operation
from gamepruning.reconstruction.moments import wide
from gamepruning.reconstruction.passes import LineRun, Passes
from gamepruning.reconstruction.window import (
    Parts,
    Window,
    ancestors,
    free_entries,
)
from gamepruning.trace.program import Lit
from gamepruning.types import InputError

SOLVE_STEPS = 12  # of conjugate gradients, for each linear least squares
SOLVED = 0.1  # of the first residual of a solve: enough for a step that is followed
PATIENCE = 2  # steps without gain on the held-out rows
DONE = 1e-3  # a step that gains less than this share is the last

ENOUGH = 600  # entries of a window's end for each free entry: more batches are left out
TRIES = 3  # of a step, with more damping each
FIRST_DAMPING = 1e-3  # of the Gauss-Newton matrix along the gradient

Theta = list[Any]  # the free parameters, float32 at least


# -- the loss --------------------------------------------------------------------------


class _Way(NamedTuple):
    """How a window is evaluated.

    Attributes:
      steps: those that lead to its end.
      needed: the varying values that they need.
      free: by parameter the entries that may change.
      fixed: the other parameters that are read.
    """

    steps: list[Operation]
    needed: list[int]
    free: dict[int, Bool[np.ndarray, "..."]]
    fixed: list[int]


def _way(window: Window, passes: Passes) -> _Way:
    runner = passes.runner
    steps, needed = runner.stretch(window.start, window.stop)
    steps = ancestors(steps, window.end)
    read = {v for step in steps for v in step.ins if not isinstance(v, Lit)}
    free = free_entries(window, passes, steps)
    used = passes.used([*runner.constants(list(read)), *steps])
    return _Way(
        steps,
        [v for v in needed if v in read],
        free,
        [k for k in used if k not in free],
    )


class _Losses:
    """The losses of a window over all batches, as functions of what is free."""

    def __init__(self, window: Window, before: LineRun, full: LineRun):
        way = _way(window, before.passes)
        self.free = way.free
        number = _enough(window, way, len(before.values))
        self._leaves = [before.params[k] for k in way.fixed]
        self._batches = [
            ([ours[v] for v in way.needed], theirs[window.end])
            for ours, theirs in zip(
                before.values[:number], full.values[:number], strict=True
            )
        ]
        self._programs = before.passes.programs
        self._functions = _functions(window, way, before)
        self._compiled: dict[int, Any] = {}

    def _total(self, number: int, theta: Theta, parts: Parts, *more: Any) -> Any:
        total = None
        for values, target in self._batches:
            args = (theta, self._leaves, values, target, parts, *more)
            if number not in self._compiled:
                fn = self._functions[number]
                self._compiled[number] = self._programs.prepare(fn, *args)
            part = self._compiled[number](*args)
            total = part if total is None else jax.tree.map(jnp.add, total, part)
        return total

    def values(self, theta: Theta, parts: Parts) -> tuple[float, float]:
        """The sums of the losses over two parts of the rows."""
        first, second = np.asarray(self._total(0, theta, parts), float)
        return float(first), float(second)

    def gradient(self, theta: Theta, parts: Parts) -> Theta:
        """Of the loss over the first part."""
        return self._total(1, theta, parts)

    def curvature(self, theta: Theta, parts: Parts, change: Theta) -> Theta:
        """The Gauss-Newton matrix of the first part times a change."""
        return self._total(2, theta, parts, change)


def _enough(window: Window, way: _Way, number: int) -> int:
    """How many batches are enough for so many free entries."""
    free = sum(int(flags.sum()) for flags in way.free.values())
    return min(number, -(-ENOUGH * free // window.train.size))


def _functions(
    window: Window, way: _Way, before: LineRun
) -> tuple[Callable[..., Any], ...]:
    """Losses, gradient and curvature of one batch, to compile."""
    passes, runner = before.passes, before.passes.runner
    mask = jnp.asarray(before.mask)
    constants = runner.constants([v for step in way.steps for v in step.ins])
    dtypes = [jnp.asarray(before.params[k]).dtype for k in way.free]
    flags = [jnp.asarray(flags) for flags in way.free.values()]

    def result(leaves: list, values: list, theta: Theta) -> Any:
        own = [jnp.asarray(t, kind) for t, kind in zip(theta, dtypes, strict=True)]
        env = passes.env([*way.free, *way.fixed], [*own, *leaves])
        env.update(zip(way.needed, values, strict=True))
        runner.run(constants, env, mask)
        runner.run(way.steps, env, mask)
        return wide(env[window.end])

    def only_free(theta: Theta) -> Theta:
        return [jnp.where(m, t, 0) for m, t in zip(flags, theta, strict=True)]

    def losses(theta, leaves, values, target, parts):
        each = window.aim.loss(wide(target), result(leaves, values, theta))
        return jnp.stack([(each * part).sum() for part in parts])

    def gradient(theta, leaves, values, target, parts):
        ours, back = jax.vjp(partial(result, leaves, values), theta)
        error = -window.aim.descent(wide(target), ours) * parts[0]
        return only_free(back(error)[0])

    def curvature(theta, leaves, values, target, parts, change):
        fn = partial(result, leaves, values)
        ours, tangent = jax.jvp(fn, (theta,), (only_free(change),))
        bent = window.aim.bend(wide(target), ours, tangent) * parts[0]
        return only_free(jax.vjp(fn, theta)[1](bent)[0])

    return losses, gradient, curvature


# -- the fit ---------------------------------------------------------------------------


class _Point(NamedTuple):
    """Where a fit stands: what is free, and its losses."""

    theta: Theta
    train: float
    held: float


def fit_jointly(
    window: Window, before: LineRun, full: LineRun, num_steps: int
) -> float:
    """Fit what is free in a window, and put it into the parameters of a run.

    Args:
      window: the window.
      before: the network to repair, at the window's start.
      full: the full network, at the window's stop.
      num_steps: the most steps; held-out rows choose how many, and all rows are fitted
        to.

    Returns:
      The share of the loss that is left; 1 where nothing changes.

    Raises:
      InputError: the loss is not finite before the first step.
    """
    losses = _Losses(window, before, full)
    theta = [wide(jnp.asarray(before.params[k])) for k in losses.free]
    if not theta:
        return 1.0
    if not np.isfinite(losses.values(theta, window.parts)).all():
        raise InputError(
            "the loss of a Gauss-Newton fit is not finite (NaN or infinite): look for "
            "NaN in the calibration examples and parameters, and for infinite outputs"
        )
    if window.held.any():
        first = _Point(theta, *losses.values(theta, window.parts))
        num_steps = _best_number(losses, window, first, num_steps)
    parts = (window.train + window.held, window.held)
    first = _Point(theta, *losses.values(theta, parts))
    last = [first, *islice(_descend(losses, first, parts), num_steps)][-1]
    if not last.train < first.train:
        return 1.0
    for k, leaf in zip(losses.free, last.theta, strict=True):
        before.params[k] = np.asarray(leaf, jnp.asarray(before.params[k]).dtype)
    return last.train / first.train


def _best_number(losses: "_Losses", window: Window, first: _Point, most: int) -> int:
    """The number of steps with the least loss on the held-out rows."""
    best, number = first.held, 0
    for k, point in enumerate(_descend(losses, first, window.parts), 1):
        if point.held < best:
            best, number = point.held, k
        if k == most or k - number == PATIENCE:
            break
    return number


def _descend(losses: "_Losses", point: _Point, parts: Parts) -> Iterator[_Point]:
    """Step by step, each with a smaller loss; the damping follows what steps gain."""
    damping = FIRST_DAMPING
    while True:
        gradient = losses.gradient(point.theta, parts)
        product = partial(losses.curvature, point.theta, parts)
        for _ in range(TRIES):
            change = _solve(product, gradient, damping)
            theta = _axpy(-1.0, change, point.theta)
            ahead = _Point(theta, *losses.values(theta, parts))
            if ahead.train < point.train:
                break
            damping *= 16
        else:
            return
        gain, point, damping = point.train - ahead.train, ahead, damping / 4
        yield point
        if gain < DONE * point.train:
            return


def _solve(product: Callable[[Theta], Theta], right: Theta, damping: float) -> Theta:
    """Conjugate gradients for (A + damping c) x = right; c: A's size along `right`."""
    square = _dot(right, right)
    found = [jnp.zeros_like(leaf) for leaf in right]
    if not square > 0:
        return found
    residual = direction = right
    first, shift = square, None
    for _ in range(SOLVE_STEPS):
        image = product(direction)
        bend = _dot(direction, image)
        if shift is None:
            shift = damping * bend / square
        image = _axpy(shift, direction, image)
        bend = _dot(direction, image)
        if not bend > 0:
            break
        found = _axpy(square / bend, direction, found)
        residual = _axpy(-square / bend, image, residual)
        new = _dot(residual, residual)
        if new < SOLVED**2 * first:
            break
        direction = _axpy(new / square, direction, residual)
        square = new
    return found


def _dot(a: Theta, b: Theta) -> float:
    return float(sum(float(jnp.vdot(x, y)) for x, y in zip(a, b, strict=True)))


def _axpy(factor: float, a: Theta, b: Theta) -> Theta:
    return [factor * x + y for x, y in zip(a, b, strict=True)]
