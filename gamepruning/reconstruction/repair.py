"""Closed-form repair: weights that read a cut axis are fitted to the full network."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, PyTree

from gamepruning.options import as_config
from gamepruning.players import Players
from gamepruning.players.layer_players import LayerPlayers
from gamepruning.players.unit_players import UnitPlayers
from gamepruning.players.unrolled import unroll
from gamepruning.reconstruction.aims import Aim, aim_of
from gamepruning.reconstruction.collect import Collected, Terms
from gamepruning.reconstruction.fit import RIDGES, ReaderFit
from gamepruning.reconstruction.fits import Fits
from gamepruning.reconstruction.joint import fit_jointly
from gamepruning.reconstruction.order import order_corrected
from gamepruning.reconstruction.passes import LineRun, Passes, check_units, split_calls
from gamepruning.reconstruction.readers import Reader, Shared, find_readers
from gamepruning.reconstruction.report import (
    ReaderReport,
    Repaired,
    RepairReport,
    make_report,
)
from gamepruning.reconstruction.stored import RepairFile, StoredRepair, repair_facts
from gamepruning.reconstruction.window import output_window, reader_window
from gamepruning.trees.examples import as_inputs
from gamepruning.types import InputError, Params

MODES = ("sequential", "one-shot")
Progress = Callable[[str, int, int], None]  # (parameter, number, of how many)


@dataclass(frozen=True, kw_only=True)
class RepairConfig:
    """How to repair.

    Attributes:
      mode: "sequential": each reader sees the inputs that the repaired network gives
        it, and a branch also makes up for what its residual stream has lost;
        "one-shot": all see those of the full network, which takes one pass.
      ridges: what held-out rows choose from, as multiples of an input's mean square.
      held_out: the share of the rows, the last of each batch, that choose the ridge.
      batch_size: the most examples a pass. All batches have one size, so some last
        examples are left out where it does not come out even: fewer than there are
        batches. Examples that depend on each other are one batch.
      rounds: how often a reader in front of max(z, 0) is fitted again, when what is
        negative in the full network may be anything negative; "sequential" only. Each
        costs what the first fit does.
      classes: the model's output is logits of classes along its last axis, and the
        reader that makes it is fitted to the full network's probabilities, by the
        Kullback-Leibler divergence, in up to 60 further fits of that reader;
        "sequential" only. Nothing changes where there are several outputs, or
        something other than a bias stands behind the reader.
      gauss_newton: the most Gauss-Newton steps (Levenberg 1944, Marquardt 1963) for
        each reader together with the weights that lead to it from the reader before;
        "sequential" only. Those who stay then change to make up for those who leave.
        Left as the closed form has them are weights that several products read, and
        readers whose residual stream is not known at their place. Each step costs up
        to 36 passes forward and back through that part of the network, and steps are
        made twice where rows are held out. The first batches are taken, as many as
        there is use for: 600 entries of the result for each entry that is free.
      last: how many readers, the last ones, are then fitted together with the weights
        that lead to them from the reader before, to the outputs of the full network:
        their probabilities with `classes`, else themselves. With all readers it is
        Gauss-Newton distillation of the whole network. Nothing is fitted where there
        are several outputs, or one of whole numbers.
      last_steps: the most steps of that fit; defaults to `gauss_newton`.

    Example:
      >>> RepairConfig(held_out=1.0)
      Traceback (most recent call last):
      gamepruning.types.InputError: held_out=1.0: expected a share of the rows from 0 \
to below 1
    """

    mode: str = "sequential"
    ridges: Sequence[float] = RIDGES
    held_out: float = 0.25
    batch_size: int = 256
    rounds: int = 5
    classes: bool = False
    gauss_newton: int = 0
    last: int = 0
    last_steps: int | None = None

    def __post_init__(self):
        if self.mode not in MODES:
            raise InputError(f"mode={self.mode!r}: expected sequential or one-shot")
        if not 0 <= self.held_out < 1:
            raise InputError(
                f"held_out={self.held_out}: expected a share of the rows from 0 to "
                "below 1"
            )
        ridges = np.asarray(self.ridges)
        is_list = ridges.ndim == 1 and ridges.dtype.kind in "if" and ridges.size
        if not is_list or not (ridges > 0).all():
            raise InputError(
                f"ridges={self.ridges}: expected a list of numbers above 0"
            )
        for name in ("batch_size", "rounds", "gauss_newton", "last", "last_steps"):
            value, least = getattr(self, name), int(name == "batch_size")
            if name == "last_steps" and value is None:
                continue
            if not isinstance(value, int | np.integer) or value < least:
                raise InputError(
                    f"{name}={value}: expected at least {least}, a whole number"
                )
        for name in ("classes", "gauss_newton", "last", "last_steps"):
            if self.mode == "one-shot" and getattr(self, name):
                raise InputError(
                    f"{name}={getattr(self, name)} goes with mode='sequential': "
                    "one-shot repair fits all readers in closed form, as they are"
                )
        if self.last and not self.gauss_newton:
            raise InputError(
                f"last={self.last} says whom Gauss-Newton steps fit together, and "
                "there are none: give gauss_newton, such as 15"
            )
        is_last = self.gauss_newton and (self.last or self.classes)
        if self.last_steps is not None and not is_last:
            raise InputError(
                f"last_steps={self.last_steps} says how the last readers are fitted to "
                "the outputs, and none are: give gauss_newton and last, as 15 and 9"
            )


def repair(
    players: Players,
    params: Params,
    mask: ArrayLike,
    inputs: PyTree,
    *,
    config: RepairConfig | None = None,
    start: Repaired | None = None,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
) -> Repaired:
    """Fit the weights that read cut axes to what the full network computed there.

    A product z = h W + b reads an axis, some of whose players leave. Its target is z
    in the full network; h is what the repaired network gives it. Least squares with a
    ridge gives W and, where there is one, b, in closed form and without gradients, but
    for `gauss_newton`. The shapes stay, and so do the weights of whoever leaves;
    `players.gated(repaired.params, mask, ...)` is the repaired network, and
    `gp.compact(players, repaired.params, mask)` makes it small.

    Args:
      players: what `find_players` found, N players, units or layers; scanned layers
        with players of their own are repaired one by one.
      params: the full network's parameters.
      mask: who stays, bool [N].
      inputs: calibration examples, [B, ...] or a tuple of inputs; no labels. Some
        hundreds do where a reader has tens of inputs; it should see more rows (examples
        times places) than it has inputs.
      config: see `RepairConfig`.
      start: a repair of the same network and mask (which is not checked). No reader is
        fitted anew; only the fit to the outputs is made, with `gauss_newton` and
        `last`, or `classes`. This step alone can use more inputs than a full repair
        could afford. The report is that of the start.
      progress: called with (parameter, number, of how many) before each reader.
      checkpoint: file to write as readers are fitted; a repair that was cut off
        resumes from it bit-identically, and a finished one is read.

    Returns:
      `Repaired(params, report)`. On the rows that it is fitted to, no reader's error is
      above that of the weights as they were, for the inputs that its mode gives it: in
      mode="one-shot" those of the full network, so that errors of several readers may
      add up to more than without repair (with classes=True, the last one's
      divergence is what falls, and its report is of the first fit). Gauss-Newton steps
      lower the loss at the end of each reader's affine way instead: `joint`.

    Raises:
      InputError: the mask or the inputs do not fit the network; the parameters are
        traced; the players are single weights or branches; an activation, or the loss
        of a fit, is not finite; the checkpoint is of another repair; or `start` is
        given and nothing is fitted to the outputs.

    Cost: about two passes over the examples, forward only, and K^2 multiply-adds a row
    and an eigendecomposition of [K, K] for each reader with K inputs left; the latter
    two again for each round of a reader that is fitted anew. Memory: the
    activations that are alive at one place of the network for all examples, twice; and
    on the host about ten matrices [K, K] in double precision, at the reader with the
    most inputs.

    Example: the second unit is three times the first; without it, the first stands in.
      >>> import jax, jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.array([[1.0, 3.0]]), "out": jnp.array([[1.0], [1.0]])}
      >>> x = jnp.linspace(0, 1, 64)[:, None]
      >>> players = gp.find_players(apply, params, x)
      >>> repaired = gp.repair(players, params, jnp.array([True, False]), x)
      >>> repaired.params["out"].round(3).tolist()
      [[4.0], [1.0]]

    References:
      He, Zhang, Sun, Channel Pruning for Accelerating Very Deep Neural Networks, 2017
      (least squares for the next layer); the sequence, the residual correction and the
      held-out ridge are choices of this library.
    """
    config = as_config(config, RepairConfig)
    inputs = as_inputs(inputs)
    if start is not None:
        _check_start(start, config)
    if isinstance(players, LayerPlayers):
        how = {
            "config": config,
            "start": start,
            "progress": progress,
            "checkpoint": checkpoint,
        }
        return _repair_layers(players, params, mask, inputs, how)
    players = check_units(players, params, inputs)
    mask = players.mask(mask)
    file = None
    if checkpoint is not None:
        facts = repair_facts(players, params, mask, inputs, config, start)
        file = RepairFile(Path(checkpoint), facts, params)
    stored = None if file is None else file.load()
    if stored is not None and stored.done is None:
        return stored.repaired
    if start is not None:
        players.model.check_params(start.params)
        stored = StoredRepair(start, None)
    work = Repairing(players, params, mask, inputs, config, file)
    return work.run(progress or (lambda *_: None), stored)


def _repair_layers(
    players: LayerPlayers, params: Params, mask: ArrayLike, inputs: tuple, how: Any
) -> Repaired:
    """Repair scanned layers one by one; layers may keep different numbers of units."""
    players.model.check_params(params)
    each = unroll(players, params)
    if (start := how["start"]) is not None:
        players.model.check_params(start.params)
        how = how | {"start": start._replace(params=each.params(start.params))}
    found = repair(each.players, each.params(params), each.mask(mask), inputs, **how)
    return found._replace(params=each.stacked(params, found.params))


def _check_start(start: Any, config: RepairConfig) -> None:
    """Say what is wrong with a start, or with a fit from there."""
    if not isinstance(start, Repaired):
        raise InputError(
            f"start={type(start).__name__}: expected what gp.repair returned"
        )
    if not config.gauss_newton or not (config.last or config.classes):
        raise InputError(
            "from `start` only the fit to the outputs is made, and there is none: give "
            "RepairConfig(gauss_newton=15, last=9), or classes=True in place of last"
        )


class Repairing:
    """A repair under way."""

    def __init__(self, players: UnitPlayers, params, mask, inputs, config, file=None):
        self._config: RepairConfig = config
        self._file: RepairFile | None = file
        calls = split_calls(players, params, inputs, config.batch_size)
        self._trace = trace = players.model.trace(calls[0])
        readers = find_readers(trace, players.paths, mask)
        self._is_sequential = config.mode == "sequential"
        self._streams = order_corrected(readers) if self._is_sequential else {}
        self._passes = Passes(trace, readers, calls, players.num_players)
        self._players = players
        everyone = np.ones(players.num_players, bool)
        self._mask = everyone if mask is None else mask

    def run(self, progress: Progress, stored: StoredRepair | None = None) -> Repaired:
        """Reader after reader, in the order of the program."""
        place, order = self._passes.position, self._passes.shared
        full = self._passes.start(np.ones_like(self._mask))
        cut = self._passes.start(self._mask)
        reports: list[ReaderReport] = []
        done = 0
        if stored is not None:
            done = len(order) if stored.done is None else stored.done
            reports = [*stored.repaired.report.readers]
            cut.params[:] = self._passes.leaves(stored.repaired.params)
        before = cut  # at the reader before
        for number, shared in enumerate(order if done < len(order) else ()):
            begin = time.perf_counter()
            start = place[shared.readers[0].step]
            full = full.at(start)
            if self._is_sequential:
                cut = cut.at(start)
            if number < done:
                before = cut
                continue
            progress(shared.path, number, len(order))
            shared, cut = self._settle(shared, full, cut)
            if shared is None:
                continue
            sums, found = self._fit(shared, full, cut)
            before = before.under(cut.mask)
            share = self._fit_jointly(shared, full, before)
            if share < 1:
                cut = before.at(start)
            before = cut
            seconds = time.perf_counter() - begin
            reports.append(make_report(shared, sums, found, share, seconds))
            self._save(cut, reports, number + 1)
        starts = stored is not None and stored.done is None
        self._fit_outputs(cut, starts)
        repaired = self._save(cut, reports, None)
        if (few_rows := repaired.report.few_rows) and not starts:
            warnings.warn(few_rows, stacklevel=3)
        return repaired

    def _save(
        self, cut: LineRun, reports: Sequence[ReaderReport], done: int | None
    ) -> Repaired:
        """The network as it is now, written where there is a file."""
        report = RepairReport(tuple(reports), self._passes.readers.alone)
        repaired = Repaired(self._passes.with_params(cut.params), report)
        if self._file is not None:
            self._file.save(StoredRepair(repaired, done))
        return repaired

    def _settle(
        self, shared: Shared, full: LineRun, cut: LineRun
    ) -> tuple[Shared | None, LineRun]:
        """Who stays of what is read here is given."""
        return shared, cut

    def _fit(
        self, shared: Shared, full: LineRun, cut: LineRun
    ) -> tuple[Collected, ReaderFit]:
        """Fit the readers of one matrix: to the result, then to what counts of it.

        Returns:
          The sums of the first fit, and it with the error of the last.
        """
        config = self._config
        fits = Fits(
            shared,
            full,
            cut,
            self._mask,
            Terms(False, config.held_out, self._streams),
            ridges=config.ridges,
            sees_cut=self._is_sequential,
        )
        sums, first = fits.to({})
        aims = self._aims(shared)
        if Aim.CLASSES in aims.values():
            fits.to_classes(aims)
            return sums, first
        best = first
        for _ in range(config.rounds if Aim.RECTIFIED in aims.values() else 0):
            _, found = fits.to(aims)
            if not np.isfinite(found.ridge):
                break
            best = found._replace(before=first.before)
        return sums, best

    def _fit_jointly(self, shared: Shared, full: LineRun, before: LineRun) -> float:
        """Fit a reader and what leads to it; the share of the loss that is left."""
        reader, number = shared.readers[0], self._config.gauss_newton
        is_known = reader.chain.stream is None or reader in self._streams
        if not number or not self._is_sequential or len(shared.readers) > 1:
            return 1.0
        if not is_known:
            return 1.0
        window = reader_window(
            reader,
            self._passes,
            before.position,
            self._aims(shared)[reader],
            self._config.held_out,
        )
        return fit_jointly(window, before, full.at(window.stop), number)

    def _fit_outputs(self, before: LineRun, starts: bool) -> None:
        """Fit the last readers, and what follows them, to the outputs.

        Raises:
          InputError: nothing else is done (`starts`), and there is no such output.
        """
        config, passes = self._config, self._passes
        wanted = config.gauss_newton and (config.classes or config.last)
        if not wanted or not self._is_sequential or not passes.shared:
            return
        first = len(passes.shared) - 1 - config.last
        step = passes.shared[first].readers[0].step if first >= 0 else None
        start = 0 if step is None else passes.position[step]
        aim = Aim.CLASSES if config.classes else Aim.SAME
        window = output_window(passes, start, aim, config.held_out)
        if window is None:
            if starts:
                raise InputError(
                    "from `start` only the fit to the outputs is made, and these "
                    "cannot be fitted to: expected one output of floats, [B, ...], and "
                    "with classes=True an axis of classes, [B, ..., C]"
                )
            return
        cut, full = passes.start(self._mask), passes.start(np.ones_like(self._mask))
        cut.params[:] = before.params
        steps = config.gauss_newton if config.last_steps is None else config.last_steps
        fit_jointly(window, cut.at(start), full.at(window.stop), steps)
        before.params[:] = cut.params

    def _aims(self, shared: Shared) -> dict[Reader, Aim]:
        if not self._is_sequential:
            return {}
        return {
            reader: aim_of(
                reader,
                self._passes,
                classes=self._config.classes,
                corrected=reader in self._streams,
            )
            for reader in shared.readers
        }
