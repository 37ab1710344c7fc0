"""The sums of a reader's inputs and errors over all batches."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Shaped

from gamepruning.reconstruction.aims import Aim
from gamepruning.reconstruction.moments import Moments, sum_moments, wide
from gamepruning.reconstruction.passes import LineRun, Passes
from gamepruning.reconstruction.readers import Reader, Shared
from gamepruning.reconstruction.stretch import Values
from gamepruning.types import InputError


class Shift(NamedTuple):
    """What is taken off before sums of squares, so that they lose no digits.

    Attributes:
      x: off the inputs; 0 without a bias, which would have to make up for it.
      target: off the targets.
    """

    x: Shaped[Any, "G K"]
    target: Shaped[Any, "G M"]


class Collected(NamedTuple):
    """The sums of a reader, or of several that read one matrix.

    Attributes:
      train: over the rows to fit to.
      held: over the rows held out.
      shift: see `Shift`.
    """

    train: Moments
    held: Moments
    shift: Shift

    def plus(self, other: "Collected | None") -> "Collected":
        """The sums over the rows of both."""
        if other is None:
            return self
        train, held = self.train.plus(other.train), self.held.plus(other.held)
        return Collected(train, held, self.shift)

    def only_train(self) -> "Collected":
        """The same where no row is held out, without room for any."""
        return self._replace(held=self.held.of_no_input())


class Terms(NamedTuple):
    """What the errors of a fit are.

    Attributes:
      has_bias: a bias is fitted, too.
      held_out: the share of the rows of each batch, the last, that is held out.
      streams: by reader the other part of the sum that its result is added to: what it
        has lost is added to the target.
      aims: by reader what its errors are measured by; if not there, the result itself.
    """

    has_bias: bool
    held_out: float = 0.0
    streams: Mapping[Reader, int] = MappingProxyType({})
    aims: Mapping[Reader, Aim] = MappingProxyType({})


def collect(
    reader: Reader,
    full: LineRun,
    cut: LineRun,
    terms: Terms,
    shift: Shift | None = None,
    squares: bool = True,
) -> Collected:
    """Sum over all batches what a fit of the reader needs.

    Args:
      reader: the reader, at whose step both networks stand.
      full: the full network: the targets are its results.
      cut: the network that gives the inputs.
      terms: what the errors are.
      shift: of the sums; None for one that suits the first batch.
      squares: sum the inputs' squares, too; they are known if False.
    """
    stream, aim = terms.streams.get(reader), terms.aims.get(reader, Aim.SAME)
    names = [reader.source] if stream is None else [reader.source, stream]
    key = (reader, tuple(names), terms.has_bias, terms.held_out, aim, squares)
    made = full.passes.programs.kept
    if key not in made:
        sums = _Sums(terms.has_bias, terms.held_out, squares)
        made[key] = _program(reader, full.passes, names, aim, sums)
    run, used = made[key]
    keep_x, keep_z = reader.kept_inputs, reader.kept_outputs
    split_x = reader.product.split(keep_x)
    there = reader.has_input[:, keep_x], reader.has_output[:, keep_z]
    found, program = None, None
    for ours, theirs in zip(full.values, cut.values, strict=True):
        networks = [
            ([run.params[k] for k in used], [values[name] for name in names])
            for run, values in ((full, ours), (cut, theirs))
        ]
        args = (*networks, (split_x, keep_z, there), shift, jnp.asarray(cut.mask))
        if program is None:
            own = (*key, shift is None)
            if own not in made:
                made[own] = full.passes.programs.prepare(run, *args)
            program = made[own]
        sums = Collected(*jax.device_get(program(*args)))
        if shift is None:
            shift, program = sums.shift, None
        found = sums if found is None else found.plus(sums)
    assert found is not None
    return Collected(found.train.exact(), found.held.exact(), found.shift)


def collect_shared(
    shared: Shared,
    full: LineRun,
    cut: LineRun | None,
    mask: Bool[np.ndarray, " N"],
    terms: Terms,
    known: Collected | None = None,
    shift: Shift | None = None,
) -> Collected:
    """The sums of all readers of one matrix.

    Args:
      shared: the readers.
      full: the full network, at or before the first of them.
      cut: the network that gives the inputs; None for the full one.
      mask: whose inputs are read there.
      terms: what the errors are.
      known: sums of before, of the same inputs: their squares are not summed again.
      shift: of the sums, which other batches have already; None for a new one, or that
        of `known`.

    Raises:
      InputError: what they read is not finite.
    """
    found, shift = None, shift if known is None else known.shift
    for reader in shared.readers:
        full = full.at(full.passes.position[reader.step])
        cut = None if cut is None else cut.at(full.position)
        own = full.under(mask) if cut is None else cut
        sums = collect(reader, full, own, terms, shift, squares=known is None)
        found, shift = sums.plus(found), sums.shift
    assert found is not None
    if known is not None:
        train = found.train.with_squares_of(known.train)
        held = found.held.with_squares_of(known.held)
        found = Collected(train, held, found.shift)
    if not (found.train.is_finite() and found.held.is_finite()):
        raise InputError(
            f"what {shared.path!r} reads is not finite on the calibration examples "
            "(NaN or infinite): look for NaN in the inputs and parameters"
        )
    return found


class _Sums(NamedTuple):
    """Which sums: see `Terms` and `collect`."""

    has_bias: bool
    held_out: float
    squares: bool


def _program(
    reader: Reader,
    passes: Passes,
    names: Sequence[int],
    aim: Aim,
    wanted: _Sums,
):
    """The sums of one batch as a function to compile, and the parameters it reads."""
    step, product, runner = reader.step, reader.product, passes.runner
    chain = reader.chain
    is_corrected = len(names) > 1 and chain.stream is not None
    links = chain.links if is_corrected or aim is not Aim.SAME else ()
    way = [step, *(link.step for link in links)] if aim is not Aim.SAME else [step]
    if aim is not Aim.SAME and chain.stream is not None:
        way.append(chain.stream.step)
    others = [link.other for link in links if link.has_other]
    constants = runner.constants([step.ins[product.weights], *others])
    used = passes.used([*constants, *way, *(link.step for link in links)])

    def result(network, mask) -> tuple[Any, Values]:
        leaves, values = network
        env = passes.env(used, leaves)
        runner.run(constants, env, mask)
        env.update(zip(names, values, strict=True))
        runner.run(way, env, mask)
        return env[step.outs[0]], env

    def lost(env: Values, change: Any) -> Any:
        """A change at the end of the way as a change of the reader's result."""
        for link in reversed(links):
            change = link.backward(change, runner.factor(env, link))
        return change

    def run(full, cut, kept, shift, mask):
        split_x, keep_z, there = kept
        target, env = result(full, jnp.ones_like(mask))
        ours, own = result(cut, mask)
        if aim is not Aim.SAME:
            change = wide(aim.change(env[chain.end], own[chain.end]))
            target = wide(ours) + lost(env, change)
        elif is_corrected:
            target = wide(target) + lost(env, wide(full[1][1]) - wide(cut[1][1]))
        x = product.some_rows(cut[1][0], *split_x)
        target = product.results(target)[:, :, keep_z]
        error = target - product.results(ours)[:, :, keep_z]
        x, target, error = map(wide, (x, target, error))
        has_x, has_z = (each[:, None] for each in there)
        target, error = (jnp.where(has_z, each, 0) for each in (target, error))
        x = jnp.where(has_x, x, 0)
        if shift is None:
            level = x.mean(axis=1) if wanted.has_bias else jnp.zeros_like(x[:, 0])
            shift = Shift(level, target.mean(axis=1))
        x = jnp.where(has_x, x - shift.x[:, None], 0)
        target = target - shift.target[:, None]
        cuts = max(1, round(x.shape[1] * (1 - wanted.held_out)))
        parts = [
            sum_moments(x[:, r], error[:, r], target[:, r], wanted.squares)
            for r in (slice(None, cuts), slice(cuts, None))
        ]
        return (*parts, shift)

    return run, used
