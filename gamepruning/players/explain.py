"""Players as a table for people and as data for programs."""

import dataclasses
import io
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from gamepruning.players.nothing import by_cause, held
from gamepruning.trace.units import AxisSlice, Family, Frozen
from gamepruning.trees.paths import Shapes

WIDTH = 100
_SHOWN = 4  # places of a row
_PARTS = re.compile(r"(\[axis \d+\]|#\d+|\d+)")  # numbers that count layers, and others


class ExplainedRow(NamedTuple):
    """A row of the table: a family, or one that each layer of a stack has.

    Attributes:
      name: of the family.
      kind: what its players are.
      players: how many, in words.
      slices: what they touch.
    """

    name: str
    kind: str
    players: str
    slices: Sequence[AxisSlice]


class Told(NamedTuple):
    """What a table is about.

    Attributes:
      rows: the families.
      slices: what all players touch.
      num_players: N.
      shapes: of the parameters, by path.
      frozen: what stays.
      opaque: primitives that are not understood.
      notes: lines below the table.
      first: the title of the first column.
    """

    rows: Sequence[ExplainedRow]
    slices: Sequence[AxisSlice]
    num_players: int
    shapes: Shapes
    frozen: Sequence[Frozen]
    opaque: Sequence[str] = ()
    notes: Sequence[str] = ()
    first: str = "family"


def explain(told: Told) -> str:
    """The families, what each touches, and what stays and why, in 100 columns.

    Layers that are equal up to the numbers in their names are one row.
    """
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, markup=False)
    total = sum(map(prod, told.shapes.values()))
    share = f"{100 * _share(told.slices, told.shapes):.1f} %"
    console.print(
        f"{told.num_players} players; {share} of the {total:,} parameters can leave"
    )
    console.print(_family_table(told))
    lines = [*told.notes, *_what_stays(told)]
    if told.opaque:
        lines.append("not understood, so left whole: " + ", ".join(told.opaque))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    text = "\n".join(line.rstrip() for line in text.splitlines())
    return "\n".join([text, *map(_wrapped, lines), ""])


def _wrapped(line: str) -> str:
    start = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(
        line, WIDTH, subsequent_indent=start + "  ", break_on_hyphens=False
    )


# -- who plays -------------------------------------------------------------------------


def _family_table(told: Told) -> Table:
    """A row for families that are equal up to numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(told.first, overflow="fold", max_width=29)
    table.add_column("what", no_wrap=True)
    table.add_column("players", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("parameters", overflow="fold")
    for rows in _equal(told.rows, _key):
        slices = [row.slices for row in rows]
        times = f"{len(rows)} x " if len(rows) > 1 else ""
        found = [piece for some in slices for piece in some]
        columns = zip(*slices, strict=True)
        table.add_row(
            _merged([row.name for row in rows]),
            rows[0].kind,
            times + rows[0].players,
            f"{100 * _share(found, told.shapes):.1f} %" if found else "",
            _join([_place(pieces) for pieces in columns]),
        )
    return table


def _key(row: ExplainedRow) -> tuple:
    slices = [(_pattern(p.path), p.axis, p.role) for p in row.slices]
    return _pattern(row.name), row.kind, row.players, tuple(slices)


def _place(pieces: Sequence[AxisSlice]) -> str:
    """`out:layer_{0-3}/kernel[1]`."""
    path, (first, *_) = _merged([piece.path for piece in pieces]), pieces
    return path if first.axis < 0 else f"{first.role}:{path}[{first.axis}]"


def _join(places: list[str]) -> str:
    order = {"out": 0, "bias": 1, "in": 2}
    places = sorted(places, key=lambda place: order.get(place.split(":")[0], 3))
    more = len(places) - _SHOWN
    return "\n".join([*places[:_SHOWN], *([f"and {more} more"] if more > 0 else [])])


def _share(slices: Iterable[AxisSlice], shapes: Shapes) -> float:
    """The share of the parameters that is gone when all these players leave."""
    gone: dict[str, dict[int, list[np.ndarray]]] = {}
    for piece in slices:
        if piece.path in shapes:
            axes = gone.setdefault(piece.path, {})
            axes.setdefault(piece.axis, []).extend(piece.index)
    total = sum(map(prod, shapes.values()))
    return sum(_gone(shapes[path], axes) for path, axes in gone.items()) / max(total, 1)


def _gone(shape: tuple[int, ...], axes: Mapping[int, list[np.ndarray]]) -> int:
    if -1 in axes:
        return prod(shape)
    rest = list(shape)
    for axis, rows in axes.items():
        rest[axis] -= len(np.unique(np.concatenate(rows)))
    return prod(shape) - prod(rest)


# -- who stays -------------------------------------------------------------------------


def _what_stays(told: Told) -> list[str]:
    """The reasons, those first that hold most parameters, and what they hold."""
    causes = by_cause(told.frozen, told.shapes)
    total = max(sum(map(prod, told.shapes.values())), 1)
    lines = (
        ["what stays, why, and the share of the parameters that have such an axis"]
        if causes
        else []
    )
    for cause in sorted(causes, key=lambda cause: -held(causes[cause])):
        reasons = {row.reason for row in causes[cause]}
        reason = reasons.pop() if len(reasons) == 1 else cause
        lines.append(f"{100 * held(causes[cause]) / total:5.1f} %  {reason}")
        places = [
            f"{_merged([row.path for row in rows])}[{rows[0].axis}] {rows[0].count}"
            for rows in _equal(causes[cause], _place_key)
        ]
        more = len(places) - _SHOWN
        end = f", and {more} more" if more > 0 else ""
        lines.append("        " + ", ".join(places[:_SHOWN]) + end)
    return lines


def _place_key(row: Frozen) -> tuple:
    return _pattern(row.path), row.axis, row.count


# -- names that differ in numbers ------------------------------------------------------


def _equal(rows: Iterable[Any], key: Any) -> list[list[Any]]:
    """Rows that are equal up to numbers, in the order of the first of each."""
    groups: dict[tuple, list[Any]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.values())


def _pattern(name: str) -> str:
    return "".join("{}" if k.isdecimal() else k for k in _PARTS.split(name))


def _merged(names: Sequence[str]) -> str:
    """`layer_{0-3}/kernel` for the kernels of four layers."""
    columns = zip(*(_PARTS.split(name) for name in names), strict=True)
    return "".join(_range(column) for column in columns)


def _range(parts: Sequence[str]) -> str:
    if len(set(parts)) == 1:
        return parts[0]
    numbers = sorted(set(map(int, parts)))
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{{{numbers[0]}-{numbers[-1]}}}"
    shown = [*map(str, numbers[:_SHOWN]), *(["..."] if len(numbers) > _SHOWN else [])]
    return "{" + ",".join(shown) + "}"


# -- for programs ----------------------------------------------------------------------


def to_dict(
    families: Sequence[Family],
    kinds: Sequence[str],
    frozen: Sequence[Frozen],
    opaque: Sequence[str],
) -> dict[str, Any]:
    """The same as JSON-able data."""
    pairs = zip(families, kinds, strict=True)
    return {
        "families": [_family_to_dict(family, kind) for family, kind in pairs],
        "frozen": [dataclasses.asdict(row) for row in frozen],
        "opaque": list(opaque),
    }


def _family_to_dict(family: Family, kind: str) -> dict[str, Any]:
    """A family and its slices, JSON-able."""
    return {
        "name": family.name,
        "kind": kind,
        "start": family.start,
        "stop": family.stop,
        "slices": [
            {
                "path": piece.path,
                "axis": piece.axis,
                "role": piece.role,
                "index": [indices.tolist() for indices in piece.index],
                **({} if piece.layer is None else {"layer": list(piece.layer)}),
            }
            for piece in family.slices
        ],
    }
