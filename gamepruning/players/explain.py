"""Players as a table for people and as data for programs."""

import dataclasses
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from gamepruning.trace.units import AxisSlice, Family, Frozen


class Row(NamedTuple):
    """A row of the table: a family, or one that each layer of a stack has.

    Attributes:
      name: of the family.
      players: how many, in words.
      slices: what they touch.
    """

    name: str
    players: str
    slices: Sequence[AxisSlice]


def explain(
    rows: Sequence[Row],
    num_players: int,
    frozen: Sequence[Frozen],
    opaque: Sequence[str] = (),
    notes: Sequence[str] = (),
    *,
    columns: Sequence[str] = ("family", "produced by", "read by", "also"),
) -> str:
    """The families, what each touches, and what stays and why, as text."""
    console = Console(file=io.StringIO(), width=118, color_system=None, markup=False)
    console.print(_family_table(rows, num_players, columns))
    for note in notes:
        console.print(note)
    if frozen:
        console.print(_frozen_table(frozen))
    if opaque:
        console.print("not understood, so left whole: " + ", ".join(opaque))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _family_table(
    rows: Sequence[Row], num_players: int, columns: Sequence[str]
) -> Table:
    table = Table(title=f"{num_players} players", title_justify="left")
    first, *others = columns
    for column in (first, "players", *others):
        justify = "right" if column == "players" else "left"
        table.add_column(column, justify=justify, overflow="fold")
    for row in rows:
        if len(others) == 1:
            own = _join([piece.path for piece in row.slices])
            table.add_row(row.name, row.players, own)
            continue
        roles = _by_role(row.slices)
        also = [role for role in roles if role not in ("out", "bias", "in")]
        table.add_row(
            row.name,
            row.players,
            _join(roles.get("out", []) + roles.get("bias", [])),
            _join(roles.get("in", [])),
            _join([f"{place} ({role})" for role in also for place in roles[role]]),
        )
    return table


def _frozen_table(frozen: Sequence[Frozen]) -> Table:
    table = Table(title="what stays", title_justify="left")
    for column in ("parameter", "axis", "entries", "because"):
        table.add_column(column, overflow="fold")
    for row in frozen:
        table.add_row(row.path, str(row.axis), str(row.count), row.reason)
    return table


def _by_role(slices: Sequence[AxisSlice]) -> dict[str, list[str]]:
    roles: dict[str, list[str]] = {}
    for piece in slices:
        roles.setdefault(piece.role, []).append(f"{piece.path}[{piece.axis}]")
    return roles


def _join(places: list[str]) -> str:
    shown = places[:4]
    more = [f"and {len(places) - 4} more"] if len(places) > 4 else []
    return "\n".join(shown + more)


def to_dict(
    families: Sequence[Family], frozen: Sequence[Frozen], opaque: Sequence[str]
) -> dict[str, Any]:
    """The same as JSON-able data."""
    return {
        "families": [_family_to_dict(family) for family in families],
        "frozen": [dataclasses.asdict(row) for row in frozen],
        "opaque": list(opaque),
    }


def _family_to_dict(family: Family) -> dict[str, Any]:
    """A family and its slices, JSON-able."""
    return {
        "name": family.name,
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
