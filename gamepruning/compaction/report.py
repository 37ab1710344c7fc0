"""What compaction saved: a table of costs before and after, and who stayed."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, SupportsFloat

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.compaction.measure import (
    Call,
    Latency,
    count_bytes,
    count_params,
    measure_latency,
    tally_macs,
)
from gamepruning.trees.arrays import map_arrays

_MAX_ROWS = 24
GATED = "the gated full model"
# Where norms divide by what stays: not the full model with zeros in their place.
WIDTH = "the full model with its means taken over what stays (another function)"


class Change(NamedTuple):
    """A cost before and after compaction."""

    before: int | float
    after: int | float

    @property
    def ratio(self) -> float:
        """How many times less it is now."""
        if self.after == 0:
            return 1.0 if self.before == 0 else float("inf")
        return self.before / self.after


class LatencyChange(NamedTuple):
    """The seconds of one call before and after, timed in turns in one run."""

    before: Latency
    after: Latency

    @property
    def ratio(self) -> float:
        """How many times faster it is now, median by median."""
        return self.before.median / self.after.median


class FamilyCount(NamedTuple):
    """How many players of a family there were, and how many stay."""

    name: str
    before: int
    after: int


@dataclasses.dataclass(frozen=True, repr=False)
class CompactionReport:
    """What compaction saved, and how far the small model is from the gated full one.

    `print(report)` shows everything as a table, and so measures the latency, if that
    was not done before.

    Attributes:
      params: entries of all parameters.
      bytes: bytes of all parameters.
      macs: multiply-adds of one call.
      families: the players that were and that stay, family by family.
      max_error: the largest difference of the outputs of the small model and those of
        `reference`, divided by the largest output.
      notes: what the numbers leave out, one line each.
      reference: what `max_error` is the difference from; see `WIDTH`.
      calls: the two models as (fn, args), for the latency; of the full one's
        parameters the shapes alone. Not kept by pickle.
    """

    params: Change
    bytes: Change
    macs: Change
    families: tuple[FamilyCount, ...]
    max_error: float
    notes: tuple[str, ...] = ()
    reference: str = GATED
    calls: tuple[Call, Call] | None = dataclasses.field(
        default=None, repr=False, compare=False
    )

    @functools.cached_property
    def latency(self) -> LatencyChange | None:
        """Measured on first use, about two seconds; None if the models are gone."""
        if self.calls is None:
            return None
        before, after = self.calls
        return LatencyChange(**measure_latency({"before": before, "after": after}))

    @property
    def small_inputs(self) -> tuple | None:
        """The inputs, or their shapes, of the small model; None if it is gone."""
        if self.calls is None:
            return None
        _, (_, (_, *inputs)) = self.calls
        return tuple(inputs)

    @property
    def players(self) -> Change:
        """The number of players."""
        return Change(
            sum(family.before for family in self.families),
            sum(family.after for family in self.families),
        )

    def to_dict(self, *, measure: bool = True) -> dict[str, Any]:
        """The report as JSON-able data.

        Args:
          measure: measure the latency if that was not done before; else leave it out.
        """
        data: dict[str, Any] = {
            name: {**getattr(self, name)._asdict(), "ratio": getattr(self, name).ratio}
            for name in ("params", "bytes", "macs", "players")
        }
        data["families"] = [family._asdict() for family in self.families]
        data["max_error"] = self.max_error
        data["reference"] = self.reference
        data["notes"] = list(self.notes)
        latency = self.latency if measure else self.__dict__.get("latency")
        if latency is not None:
            data["latency"] = {
                "before": latency.before._asdict(),
                "after": latency.after._asdict(),
                "ratio": latency.ratio,
            }
        return data

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"calls": None}

    def __repr__(self) -> str:
        costs = [
            f"{name} {_less(getattr(self, name).ratio)}" for name in ("params", "macs")
        ]
        players = self.players
        return (
            f"CompactionReport({players.after} of {players.before} players, "
            f"{', '.join(costs)}, max_error={self.max_error:.0e})"
        )

    def __str__(self) -> str:
        parts = [
            _align(_cost_rows(self)),
            _align(_family_rows(self)),
            f"largest difference from {self.reference}: {self.max_error:.1e} of "
            "the largest output",
            *(f"note: {note}" for note in self.notes),
        ]
        return "\n\n".join(parts[:2]) + "\n\n" + "\n".join(parts[2:])


def make_report(
    before: Call,
    after: Call,
    *,
    families: Sequence[tuple[str, int, int]],
    max_error: SupportsFloat,
    notes: Sequence[str] = (),
    reference: str = GATED,
) -> CompactionReport:
    """Measure two models, the full and the small one.

    Args:
      before: the full model as (apply, (params, *inputs)). Inputs may be
        `jax.ShapeDtypeStruct`.
      after: the small model, likewise.
      families: (name, players before, players after), family by family.
      max_error: the largest difference of their outputs over the largest output.
      notes: what else to tell, one line each.
      reference: what they were compared with, `GATED` or `WIDTH`.

    Returns:
      The report. The latency is measured on first use.

    Example:
      >>> import jax.numpy as jnp
      >>> before = jnp.dot, (jnp.ones((8, 10)), jnp.ones((10, 8)))
      >>> after = jnp.dot, (jnp.ones((8, 5)), jnp.ones((5, 8)))
      >>> families = [("hidden", 10, 5)]
      >>> report = make_report(before, after, families=families, max_error=0.0)
      >>> report.macs.before, report.macs.after, report.macs.ratio
      (640, 320, 2.0)
      >>> report
      CompactionReport(5 of 10 players, params 2 x smaller, macs 2 x smaller, \
max_error=0e+00)
    """
    macs = [tally_macs(fn, *args) for fn, args in (before, after)]
    params = [args[0] for _, args in (before, after)]
    return CompactionReport(
        params=Change(*map(count_params, params)),
        bytes=Change(*map(count_bytes, params)),
        macs=Change(*(tally.total for tally in macs)),
        families=tuple(FamilyCount(*family) for family in families),
        max_error=float(max_error),
        notes=tuple(
            dict.fromkeys([*notes, *(n for tally in macs for n in tally.notes)])
        ),
        reference=reference,
        calls=(_without_values(before), after),
    )


def _without_values(call: Call) -> Call:
    """The call with shapes for its parameters, which a report would keep in memory."""
    fn, (params, *inputs) = call
    return fn, (map_arrays(_shape, params), *inputs)


def _shape(array: Any) -> Any:
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return array
    sharding = getattr(array, "sharding", None)
    return jax.ShapeDtypeStruct(np.shape(array), array.dtype, sharding=sharding)


def _cost_rows(report: CompactionReport) -> list[list[str]]:
    rows = [["", "before", "after", ""]]
    costs = [
        ("parameters", report.params, _count),
        ("bytes", report.bytes, _bytes),
        ("multiply-adds", report.macs, _count),
    ]
    for name, cost, text in costs:
        rows.append([name, text(cost.before), text(cost.after), _less(cost.ratio)])
    if report.latency is not None:
        before, after = report.latency
        medians = [_seconds(before.median), _seconds(after.median)]
        rows.append(["latency, median", *medians, _less(report.latency.ratio)])
        for name in ("p10", "p90"):
            times = [_seconds(getattr(latency, name)) for latency in (before, after)]
            rows.append([f"latency, {name}", *times, ""])
    return rows


def _family_rows(report: CompactionReport) -> list[list[str]]:
    rows = [["players", "before", "after", "kept"]]
    for name, before, after in report.families[:_MAX_ROWS]:
        rows.append([name, _count(before), _count(after), _share(before, after)])
    hidden = len(report.families) - _MAX_ROWS
    if hidden > 0:
        rows.append([f"{hidden} more families", "", "", ""])
    total = report.players
    shares = _share(total.before, total.after)
    return [*rows, ["all", _count(total.before), _count(total.after), shares]]


def _align(rows: list[list[str]]) -> str:
    """The first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [
                cell.rjust(width)
                for cell, width in zip(row[1:], widths[1:], strict=True)
            ]
        ).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def _count(number: int | float) -> str:
    return f"{number:,}"


def _bytes(number: int | float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            break
        number /= 1000
    return f"{number:.4g} {unit}"


def _seconds(seconds: float) -> str:
    for scale, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if seconds * scale >= 1 or unit == "us":
            break
    return f"{seconds * scale:.3g} {unit}"


def _less(ratio: float) -> str:
    return f"{ratio:.3g} x smaller" if ratio >= 1 else f"{1 / ratio:.3g} x larger"


def _share(before: int | float, after: int | float) -> str:
    return f"{100 * after / before:.1f} %" if before else "-"
