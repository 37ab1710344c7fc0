"""What a repair did."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from gamepruning.reconstruction.collect import Collected
from gamepruning.reconstruction.fit import ReaderFit
from gamepruning.reconstruction.readers import Alone, Shared
from gamepruning.types import Params, brief_repr


@dataclass(frozen=True, kw_only=True)
class ReaderReport:
    """One reader's fit.

    Attributes:
      path: the parameter.
      num_inputs: inputs left, K.
      num_outputs: outputs left.
      num_rows: examples times places that it was fitted to.
      before: its error as cut, as a share of the variance of its target.
      after: the same after the repair; in front of a rectifier what counts of it,
        without what is negative in both networks.
      ridge: the ridge that held-out rows chose; infinite where all stays as it was.
      condition: largest over smallest eigenvalue of its inputs' second moments.
      seconds: how long it took.
      joint: what Gauss-Newton steps left of the loss at the end of its affine way; 1
        where there were none.
    """

    path: str
    num_inputs: int
    num_outputs: int
    num_rows: int
    before: float
    after: float
    ridge: float
    condition: float
    seconds: float
    joint: float = 1.0


@dataclass(frozen=True, repr=False)
class RepairReport:
    """What was fitted, and what was left alone.

    Attributes:
      readers: those that were fitted, in the order of the program.
      alone: those that read a cut axis and stay as they are, with the reason.

    Example:
      >>> RepairReport((), (Alone("out/kernel", "its weights are int8"),))
      RepairReport: 0 readers repaired, 1 left alone
        out/kernel: left alone, its weights are int8
    """

    readers: tuple[ReaderReport, ...]
    alone: tuple[Alone, ...]

    @property
    def seconds(self) -> float:
        """How long all readers took."""
        return sum(reader.seconds for reader in self.readers)

    @property
    def few_rows(self) -> str:
        """A warning where readers saw fewer rows than they have inputs, or ""."""
        few = [r for r in self.readers if r.num_rows < r.num_inputs]
        if not few:
            return ""
        worst = min(few, key=lambda r: r.num_rows / r.num_inputs)
        return (
            f"{worst.path!r} has {worst.num_inputs} inputs and saw {worst.num_rows} "
            f"rows ({len(few)} readers have fewer rows than inputs): the ridge keeps "
            "their weights near those given; more calibration examples help"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the results must know, a sentence each.

        Example:
          >>> alone = Alone("out/kernel", "its weights are int8")
          >>> RepairReport((), (alone,)).notes
          ('Repair left out/kernel alone: its weights are int8.',)
        """
        found = [f"Repair: {self.few_rows}."] if self.few_rows else []
        ordered = sorted(self.alone, key=lambda row: row.reason)
        for reason, rows in groupby(ordered, lambda row: row.reason):
            paths = [row.path for row in rows]
            more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
            found.append(f"Repair left {', '.join(paths[:3])}{more} alone: {reason}.")
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-able data; what is infinite is None."""
        return {
            "readers": [_finite(vars(reader)) for reader in self.readers],
            "alone": [row._asdict() for row in self.alone],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "RepairReport":
        """The inverse of `to_dict`."""
        readers = tuple(ReaderReport(**_infinite(row)) for row in data["readers"])
        return cls(readers, tuple(Alone(**row) for row in data["alone"]))

    def __repr__(self) -> str:
        num = len(self.readers)
        head = f"RepairReport: {num} reader{'s' * (num != 1)} repaired"
        rows = [f"{head}, {len(self.alone)} left alone"]
        for r in self.readers:
            rows.append(
                f"  {r.path}: {r.num_inputs} inputs, error {r.before:.3g} -> "
                f"{r.after:.3g} (ridge {r.ridge:.0e}, {r.num_rows} rows)"
            )
        rows += [f"  {path}: left alone, {reason}" for path, reason in self.alone]
        return "\n".join(rows)


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if value == np.inf else value for name, value in row.items()}


def _infinite(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: np.inf if value is None else value for name, value in row.items()}


class Repaired(NamedTuple):
    """A network whose weights make up for the players that leave.

    Attributes:
      params: the parameters, at full shape; only the weights that read axes of cut
        players, and the bias or batch-norm mean behind them, differ from those given,
        and with Gauss-Newton steps what leads to them.
      report: what was fitted, how well, and what was left alone.
    """

    params: Params
    report: RepairReport

    __repr__ = brief_repr


def make_report(
    shared: Shared, sums: Collected, found: ReaderFit, joint: float, seconds: float
) -> ReaderReport:
    """What the fit of a reader, or of several of one matrix, came to."""
    every = sums.train.plus(sums.held)
    energy = every.target_energy()
    if energy <= 0:  # constant targets: errors are told as they are
        energy = 1.0
    return ReaderReport(
        path=shared.path,
        num_inputs=len(shared.readers[0].kept_inputs),
        num_outputs=len(shared.readers[0].kept_outputs),
        num_rows=int(every.rows),
        before=max(found.before, 0.0) / energy,  # below 0 by rounding
        after=max(found.after, 0.0) / energy,
        ridge=found.ridge,
        condition=found.condition,
        seconds=seconds,
        joint=joint,
    )
