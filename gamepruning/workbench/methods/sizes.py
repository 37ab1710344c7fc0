"""How many players stay, and the mask of that many."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gamepruning.errors import InputError
from gamepruning.players import Players
from gamepruning.selection import SelectionTrace, top_n
from gamepruning.selection.top_n import Group, take_best
from gamepruning.workbench.settings.prune import SizeSettings


def check_keep(players: Players, size: SizeSettings) -> int | tuple[int, ...]:
    """A count, or one for each family; raises `InputError` if it cannot be met."""
    check_round_to(players, size)
    keep = size.target
    if isinstance(keep, tuple):
        _check_counts(players, size, keep)
        return keep
    if isinstance(keep, float):
        keep = max(round(keep * players.num_players), 1)
    families = len(players.families)
    least = size.round_to * families
    if keep < least:
        raise InputError(
            f"--keep {size.keep} keeps {keep}, fewer than the {least} that {families} "
            f"families keep with {size.round_to} each"
        )
    take(players, np.arange(players.num_players, dtype=float), keep, size)
    return keep


def _check_counts(players: Players, size: SizeSettings, keep: Sequence[int]) -> None:
    families = players.families
    if len(keep) != len(families):
        names = ", ".join(f"{f.name} {f.size}" for f in families)
        raise InputError(
            f"--keep {size.keep} gives {len(keep)} counts, there are "
            f"{len(families)} families: {names}"
        )
    for count, family in zip(keep, families, strict=True):
        if count > family.size:
            raise InputError(
                f"--keep {size.keep} asks for {count} of the {family.size} players "
                f"of {family.name}"
            )
    if sum(keep) == players.num_players:
        raise InputError(f"--keep {size.keep} keeps everyone: nothing to prune")


def check_round_to(players: Players, size: SizeSettings) -> None:
    """Raise `InputError` if a family has fewer players than --round-to keeps."""
    smallest = min(players.families, key=lambda family: family.size)
    if size.round_to > smallest.size:
        raise InputError(
            f"--round-to {size.round_to} is more than the {smallest.size} players of "
            f"{smallest.name}"
        )


def take(
    players: Players, scores: Any, keep: int | Sequence[int], size: SizeSettings
) -> np.ndarray:
    """The mask of the best by `Scores`, as --scope and --round-to ask for."""
    if isinstance(keep, int):
        scope, round_to = size.scope, size.round_to
        mask = top_n(scores, keep, players=players, scope=scope, round_to=round_to)
        return np.asarray(mask)
    return best_of_each(players, np.asarray(scores.value), keep)


def best_of_each(
    players: Players, value: np.ndarray, counts: Sequence[int]
) -> np.ndarray:
    """The mask that keeps the best `counts[f]` players of each family f."""
    groups = [Group(f.name, f.start, f.stop, 0) for f in players.families]
    return np.asarray(take_best(value, groups, counts))


def counts_of(players: Players, mask: np.ndarray) -> tuple[int, ...]:
    """How many stay in each family."""
    return tuple(int(mask[f.start : f.stop].sum()) for f in players.families)


def order_of(trace: SelectionTrace) -> np.ndarray:
    """When each player was decided on: last to leave or first to enter is highest."""
    mask, order = np.asarray(trace.mask), np.asarray(trace.order)
    rank = np.zeros(len(mask))
    if trace.method == "building":
        rank[order] = np.arange(len(order), 0, -1)
    else:
        rank[mask] = len(order)
        rank[order] = np.arange(len(order))
    return rank
