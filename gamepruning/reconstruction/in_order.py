"""Elimination and repair in one pass: each family is chosen from what reaches it.

One-shot elimination sees every family as it is in the full network. Here a family is
decided when its reader is reached: by what the network, cut and repaired before that
place, really gives the reader. So whoever can no longer be computed well from what is
left is worth less.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Bool, Int, PyTree

from gamepruning.options import as_config
from gamepruning.players import Players
from gamepruning.reconstruction.collect import Terms, collect_shared
from gamepruning.reconstruction.eliminate import eliminate
from gamepruning.reconstruction.gram import RIDGE, Gram, make_gram
from gamepruning.reconstruction.passes import LineRun, check_units
from gamepruning.reconstruction.readers import Alone, Shared, find_readers
from gamepruning.reconstruction.repair import Progress, RepairConfig, Repairing
from gamepruning.reconstruction.report import RepairReport
from gamepruning.reconstruction.sensitivity import Metrics, sensitivities
from gamepruning.reconstruction.write import bias_places
from gamepruning.trees.examples import as_inputs
from gamepruning.types import InputError, Params, brief_repr


class Eliminated(NamedTuple):
    """A network cut and repaired in the order of its program.

    Attributes:
      mask: who stays, bool [N].
      params: the parameters, at full shape, as `gp.repair` leaves them.
      report: what was fitted, how well, and what was left alone.
    """

    mask: Bool[np.ndarray, " N"]
    params: Params
    report: RepairReport

    __repr__ = brief_repr


def eliminate_in_order(
    players: Players,
    params: Params,
    mask: ArrayLike,
    inputs: PyTree,
    *,
    config: RepairConfig | None = None,
    progress: Progress | None = None,
    metrics: Metrics | None = None,
) -> Eliminated:
    """Choose anew who stays in each family, and repair, in one pass.

    As many players stay in each family as the mask keeps. A family that one matrix of
    weights reads is decided there, by elimination from what the network repaired so far
    gives it; one that several read, or something that cannot be fitted, keeps those
    whom the mask keeps.

    Args:
      players: what `find_players` found, N players, units or layers; not those of
        layers="each".
      params: the full network's parameters.
      mask: how many stay, bool [N]: from `trade` or any other choice.
      inputs: calibration examples, [B, ...] or a tuple of inputs; no labels.
      config: see `RepairConfig`; `mode` is "sequential".
      progress: called with (parameter, number, of how many) before each reader.
      metrics: what an error of each reader's results counts, from `family_curves`; None
        to find out.

    Returns:
      `Eliminated(mask, params, report)`.

    Raises:
      InputError: see `gp.repair`; or mode="one-shot".

    Cost: that of `gp.repair` and of `reconstruction_scores(across="share")`.

    Example: every other player leaves, or another in its place.
      >>> import jax, jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return (jnp.tanh(x @ params["a"]) @ params["b"]) @ params["c"]
      >>> keys = jax.random.split(jax.random.key(0), 3)
      >>> shapes = {"a": (3, 8), "b": (8, 6), "c": (6, 2)}
      >>> params = {k: jax.random.normal(key, shapes[k]) for k, key in zip("abc", keys)}
      >>> x = jax.random.normal(jax.random.key(1), (99, 3))
      >>> players = gp.find_players(apply, params, x)
      >>> start = jnp.arange(players.num_players) % 2 == 0
      >>> found = eliminate_in_order(players, params, start, x)
      >>> [int(found.mask[f.start : f.stop].sum()) for f in players.families]
      [4, 3]

    References:
      Elimination: see `reconstruction_scores`; repair: see `gp.repair`.
    """
    config = as_config(config, RepairConfig)
    if config.mode != "sequential":
        raise InputError(f"mode={config.mode!r}: expected sequential")
    inputs = as_inputs(inputs)
    players = check_units(players, params, inputs)
    work = _InOrder(players, params, players.mask(mask), inputs, config, metrics)
    repaired = work.run(progress or (lambda *_: None))
    report = replace(repaired.report, alone=work.alone())
    return Eliminated(work.mask, repaired.params, report)


class _InOrder(Repairing):
    """A repair that decides who stays on its way."""

    def __init__(self, players, params, mask, inputs, config, metrics=None):
        super().__init__(players, params, None, inputs, config)
        if metrics is None:
            metrics = sensitivities(players, params, inputs)
        self._metrics: Metrics = metrics
        read_by = [self._read(shared) for shared in self._passes.shared]
        self._counts: dict[int, int] = {}
        elsewhere = self._read_elsewhere()
        self.mask = np.ones(players.num_players, bool)
        for number, family in enumerate(players.families):
            where = slice(family.start, family.stop)
            readers = sum(number in numbers for numbers in read_by)
            is_cut = not mask[where].all()
            if is_cut and readers == 1 and number not in elsewhere:
                self._counts[number] = int(mask[where].sum())
            else:
                self.mask[where] = mask[where]
        self._mask = self.mask  # of the network before its first reader

    def alone(self) -> tuple[Alone, ...]:
        """What reads an axis that the choice has cut, and cannot be fitted."""
        return find_readers(self._trace, self._players.paths, self.mask).alone

    def _read(self, shared: Shared) -> set[int]:
        """The families that a matrix reads."""
        return self._families(shared.readers[0].players)

    def _read_elsewhere(self) -> set[int]:
        """The families that something reads which cannot be fitted."""
        passes = self._passes
        fitted = {r.step: r for shared in passes.shared for r in shared.readers}
        steps = passes.readers.line.steps
        found: set[int] = set()
        for node, operand, dim in self._trace.analysis.sites:
            here = [fitted.get(step) for step in steps if step.node is node]
            if here and all(r and r.product.inputs == operand for r in here):
                continue
            label = self._trace.analysis.label(node.ins[operand])[dim]
            columns = self._trace.columns(label)
            found |= set() if columns is None else self._families(columns)
        return found

    def _families(self, columns: Int[np.ndarray, "..."]) -> set[int]:
        numbers = np.unique(columns)
        family_of = np.asarray(self._players.family_of)
        return set(family_of[numbers[numbers > 0] - 1].tolist())

    def _settle(
        self, shared: Shared, full: LineRun, cut: LineRun
    ) -> tuple[Shared | None, LineRun]:
        """Decide on the families that are read here and nowhere else."""
        cut = cut.under(self.mask)
        undecided = [n for n in self._read(shared) if n in self._counts]
        for number in sorted(undecided):
            family = self._players.families[number]
            numbers = list(range(family.start, family.stop))
            gram = self._gram(self._under_mask(shared), full, cut)
            left = self._counts.pop(number)
            found = eliminate(numbers, [gram], metrics=self._metrics, until=left)
            self.mask = self.mask.copy()  # a run may still read the last
            self.mask[found.order] = False
            cut = cut.under(self.mask)
        self._mask = self.mask  # the fit to the outputs begins anew, with these
        now = self._under_mask(shared)
        return (now if any(r.is_cut() for r in now.readers) else None), cut

    def _gram(self, shared: Shared, full: LineRun, cut: LineRun) -> Gram:
        """The moments of what reaches a reader, and its best weights there."""
        bias = bias_places(cut, shared)
        sums = collect_shared(
            shared,
            full,
            cut,
            self.mask,
            Terms(bias is not None, streams=self._streams),
        )
        gram = make_gram(shared, sums, cut, RIDGE, bias)
        rows, train = float(sums.train.rows), sums.train
        missing = train.xe / rows
        if bias is not None:
            missing = missing - train.x[:, :, None] * train.e[:, None, :] / rows**2
        change = np.linalg.solve(gram.moments, missing)
        return replace(gram, weights=gram.weights + change)

    def _under_mask(self, shared: Shared) -> Shared:
        there = np.append(True, self.mask)
        readers = []
        for reader in shared.readers:
            has_input = np.asarray(there[reader.players].all(axis=-1))
            readers.append(replace(reader, has_input=has_input))
            if reader in self._streams:
                self._streams[readers[-1]] = self._streams[reader]
        return Shared(shared.path, readers)
