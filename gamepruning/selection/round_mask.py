"""Mend a mask: widths that hardware likes, and no family emptied."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import ArrayLike, Bool

from gamepruning.selection.alike import Group, RoundTo, bundles_of
from gamepruning.selection.top_n import (
    check_scores,
    make_groups,
    take_best,
    warn_if_blind,
)
from gamepruning.trees.masks import as_mask
from gamepruning.types import Scores


def round_mask(
    players,
    mask: ArrayLike,
    scores: Scores | ArrayLike,
    round_to: RoundTo = 1,
    min_units: int = 1,
    *,
    protect: Sequence[str] = (),
    uniform: bool = False,
) -> Bool[jax.Array, " N"]:
    """The nearest mask whose families keep a multiple of `round_to`, and are not empty.

    Every family moves to the nearest allowed size (up, where two are equally near): the
    best of those who were out come back, or the worst of those who were in leave.

    Args:
      players: the `Players`.
      mask: who was to stay, bool [N].
      scores: `Scores`, gates or other numbers [N] that rank the players; higher stays.
      round_to: sizes allowed are its multiples, and the family's full size; by family
        as in `top_n`.
      min_units: players that every family keeps at least (all of a smaller family);
        with round_to > 1 the next multiple of it.
      protect: names of families that get everybody back.
      uniform: layers of a stack, and the like, move to the size nearest to their mean:
        see `top_n`.

    Returns:
      The mask, bool [N]. It may keep more players than before, even all.

    Raises:
      InputError: mask or scores do not have one entry a player, or settings are out of
        range.

    Example: survivors of an equilibrium, with no layer emptied.

        alive = gp.equilibrium.surviving_players(gates)
        mask = gp.selection.round_mask(players, alive, gates)
    """
    keep = as_mask(mask, players.num_players)
    value = check_scores(scores, players)
    groups = make_groups(players, len(value), min_units, round_to, protect)
    counts = [int(keep[group.start : group.stop].sum()) for group in groups]
    quotas = [0] * len(groups)
    for bundle in bundles_of(groups, uniform):
        mean = sum(counts[k] for k in bundle) / len(bundle)
        strictest = max((groups[k] for k in bundle), key=lambda g: (g.floor, g.step))
        for k in bundle:
            quotas[k] = _nearest(mean, strictest)
    if sum(quotas) != keep.sum():
        warn_if_blind(scores)
    rank = np.argsort(np.argsort(-value, kind="stable"), kind="stable")  # 0 is best
    return take_best(keep * len(rank) - rank, groups, quotas)


def _nearest(count: float, group: Group) -> int:
    allowed = [*range(group.floor, group.size, group.step), group.size]
    return min(allowed, key=lambda size: (abs(size - count), -size))
