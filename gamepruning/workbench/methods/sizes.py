"""How many players stay."""

import numpy as np

from gamepruning.errors import InputError
from gamepruning.players import Players
from gamepruning.selection import top_n
from gamepruning.selection.curves import possible_sizes
from gamepruning.selection.top_n import as_count
from gamepruning.workbench.settings.prune import SizeSettings
from gamepruning.workbench.settings.studies import SIZES


def fit_sizes(
    sizes: tuple[float, ...], players: Players, *own: float
) -> tuple[float, ...]:
    """The sizes and one's own, without defaults that a small network cannot have."""
    if sizes == SIZES:
        sizes = possible_sizes((*SIZES, *own), players) or SIZES
    return tuple(sorted({*sizes, *own})) if own else sizes


def check_keep(players: Players, size: SizeSettings) -> int | tuple[int, ...]:
    """A count, or one for each family; raises `InputError` if it cannot be met."""
    check_round_to(players, size)
    keep, families = size.target, len(players.families)
    if isinstance(keep, float):
        keep = as_count(keep, players.num_players)
    least, nobody = size.round_to * families, np.zeros(players.num_players)
    if isinstance(keep, int) and keep < least:
        raise InputError(
            f"--keep {size.keep} keeps {keep}, fewer than the {least} that {families} "
            f"families keep with {size.round_to} each"
        )
    try:
        top_n(nobody, keep, players=players, round_to=size.round_to)
    except InputError as error:
        raise InputError(f"--keep {size.keep}: {error}") from error
    return keep


def check_round_to(players: Players, size: SizeSettings) -> None:
    """Raise `InputError` if a family has fewer players than --round-to keeps."""
    smallest = min(players.families, key=lambda family: family.size)
    if size.round_to > smallest.size:
        raise InputError(
            f"--round-to {size.round_to} is more than the {smallest.size} players of "
            f"{smallest.name}"
        )


def counts_of(players: Players, mask: np.ndarray) -> tuple[int, ...]:
    """How many stay in each family."""
    return tuple(int(mask[f.start : f.stop].sum()) for f in players.families)
