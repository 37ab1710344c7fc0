"""Fits of one matrix of weights, again and again: to its result, then to an aim."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool

from gamepruning.reconstruction.aims import Aim
from gamepruning.reconstruction.collect import Collected, Terms, collect_shared
from gamepruning.reconstruction.fit import ReaderFit, Solver
from gamepruning.reconstruction.passes import LineRun
from gamepruning.reconstruction.readers import Reader, Shared
from gamepruning.reconstruction.write import bias_places, stored_change, write_fit

CLASS_ROUNDS = 60  # of the last reader: they are many, and it is small
Aims = Mapping[Reader, Aim]


class Fits:
    """The readers of one matrix, which the cut network's parameters get.

    One reader's inputs stay the same from fit to fit, so that their squares are summed
    and diagonalised once. Several change each other's.
    """

    def __init__(
        self,
        shared: Shared,
        full: LineRun,
        cut: LineRun,
        mask: Bool[np.ndarray, " N"],
        terms: Terms,
        *,
        ridges: Sequence[float],
        sees_cut: bool,
    ):
        """Nothing is fitted yet.

        Args:
          shared: the readers.
          full: the full network, at or before the first of them.
          cut: the network whose parameters change.
          mask: whose inputs are read there.
          terms: what the errors are; whether there is a bias is found out here.
          ridges: what held-out rows choose from.
          sees_cut: the readers see what the cut network gives them; else the full one.
        """
        self._shared, self._full, self._cut, self._mask = shared, full, cut, mask
        self._bias = bias_places(cut, shared)
        self._terms = terms._replace(has_bias=self._bias is not None)
        self._ridges = ridges
        self._inputs = cut if sees_cut else None
        self._known: tuple[Collected, Solver] | None = None

    def to(self, aims: Aims) -> tuple[Collected, ReaderFit]:
        """Fit to what the readers' results should be, and write it."""
        sums, solver = self._sums(self._terms._replace(aims=aims))
        found = solver.fit(sums.train, sums.held)
        if np.isfinite(found.ridge):
            weights = stored_change(self._cut, self._shared.readers[0], found)
            if weights is not None:
                every = sums.train.plus(sums.held)
                found = solver.rounded(found, every, weights)
        if np.isfinite(found.ridge):
            self._write(found, sums)
        return sums, found

    def to_classes(self, aims: Aims) -> None:
        """Fit to probabilities: each fit starts ahead of the last (Nesterov, 1983)."""
        ahead, moved, last = 0.0, None, []
        for number in range(CLASS_ROUNDS):
            sums, found = self.to(aims)
            if np.isfinite(found.ridge):
                moved = found if moved is None else found.plus(moved, ahead)
                ahead = number / (number + 3)
            elif moved is None or not ahead:
                return
            else:  # too far: go back to where the last fit ended
                self._cut.params[:] = last
                ahead = 0.0
                continue
            if number < CLASS_ROUNDS - 1:
                last = list(self._cut.params)
                self._write(moved.times(ahead), sums)

    def _sums(self, terms: Terms) -> tuple[Collected, Solver]:
        if self._known is None:
            sums = self._collect(terms, None)
            has_bias = self._bias is not None
            level = sums.shift.x if has_bias else None
            solver = Solver(sums.train, sums.held, has_bias, self._ridges, level)
            if len(self._shared.readers) == 1:
                self._known = sums, solver
            return sums, solver
        known, solver = self._known
        return self._collect(terms, known), solver

    def _collect(self, terms: Terms, known: Collected | None) -> Collected:
        return collect_shared(
            self._shared, self._full, self._inputs, self._mask, terms, known
        )

    def _write(self, found: ReaderFit, sums: Collected) -> None:
        write_fit(self._cut, self._shared.readers[0], found, sums.shift, self._bias)
