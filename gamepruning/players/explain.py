"""Players as a table for people and as data for programs."""

import dataclasses
import io


def explain(players) -> str:
    """The families, what each touches, and what stays and why, as text."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{players.num_players} players", title_justify="left")
    for column in ("family", "players", "produced by", "read by", "also"):
        justify = "right" if column == "players" else "left"
        table.add_column(column, justify=justify, overflow="fold")
    for family in players.families:
        roles = _by_role(family)
        also = [role for role in roles if role not in ("out", "bias", "in")]
        table.add_row(
            family.name,
            str(family.size),
            _join(roles.get("out", []) + roles.get("bias", [])),
            _join(roles.get("in", [])),
            _join([f"{place} ({role})" for role in also for place in roles[role]]),
        )
    console = Console(file=io.StringIO(), width=118, color_system=None, markup=False)
    console.print(table)
    stays = Table(title="what stays", title_justify="left")
    for column in ("parameter", "axis", "entries", "because"):
        stays.add_column(column, overflow="fold")
    for row in players.frozen:
        stays.add_row(row.path, str(row.axis), str(row.count), row.reason)
    if players.frozen:
        console.print(stays)
    if players.opaque:
        console.print("not understood, so left whole: " + ", ".join(players.opaque))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _by_role(family) -> dict[str, list[str]]:
    roles: dict[str, list[str]] = {}
    for piece in family.slices:
        roles.setdefault(piece.role, []).append(f"{piece.path}[{piece.axis}]")
    return roles


def _join(places: list[str]) -> str:
    shown = places[:4]
    more = [f"and {len(places) - 4} more"] if len(places) > 4 else []
    return "\n".join(shown + more)


def to_dict(players) -> dict:
    """JSON-able: families with their slices, frozen axes, opaque primitives."""
    return {
        "num_players": players.num_players,
        "granularity": players.granularity,
        "families": [
            {
                "name": family.name,
                "start": family.start,
                "stop": family.stop,
                "slices": [
                    {
                        "path": piece.path,
                        "axis": piece.axis,
                        "role": piece.role,
                        "index": [ks.tolist() for ks in piece.index],
                    }
                    for piece in family.slices
                ],
            }
            for family in players.families
        ],
        "frozen": [dataclasses.asdict(row) for row in players.frozen],
        "opaque": list(players.opaque),
    }
