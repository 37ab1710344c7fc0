"""As many players as a budget allows: parameters, multiply-adds, bytes or time."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool

from gamepruning.players import Players
from gamepruning.selection.top_n import top_n
from gamepruning.selection.trace import SelectionTrace
from gamepruning.types import InputError, Scores, is_share

Mask = Bool[np.ndarray, " N"]
MaskSize = Callable[[Mask], float]  # such as `size_of(players, "macs").count`


class SizeLimit(NamedTuple):
    """How large a network may be.

    Attributes:
      size: who stays, bool [N] -> the size of their network.
      whole: the size of the full network.
      limit: the largest size.
    """

    size: MaskSize
    whole: float
    limit: float

    def __repr__(self) -> str:
        return f"SizeLimit({self.limit:g} of {self.whole:g})"

    def fits(self, mask: Mask) -> bool:
        """Return True if a network is within the limit."""
        return self.size(mask) <= self.limit


def limit_size(
    players: Players, size: MaskSize, keep: float, *, round_to: int = 1
) -> SizeLimit:
    """A limit that these players can meet.

    Args:
      players: the `Players`.
      size: who stays, bool [N] -> the size of their network.
      keep: a fraction of the whole in (0, 1), or a size.
      round_to: players that each family keeps at least.

    Raises:
      InputError: not even `round_to` players a family are within the limit, or
        everybody is.

    Example: four hidden units of five parameters each.
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> apply = lambda params, x: jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.ones((3, 4)), "out": jnp.ones((4, 2))}
      >>> players = gp.find_players(apply, params, jnp.ones((1, 3)))
      >>> limit = limit_size(players, gp.players.size_of(players).count, 0.6)
      >>> limit.whole, limit.limit, limit.fits(np.arange(4) < 3)
      (20, 12.0, False)
    """
    whole = size(np.ones(players.num_players, bool))
    least = np.zeros(players.num_players, bool)
    for family in players.families:
        least[family.start : min(family.start + round_to, family.stop)] = True
    limit, smallest = keep * whole if is_share(keep) else keep, size(least)
    if not smallest <= limit < whole:
        raise InputError(
            f"expected a size from {_told(smallest)} ({round_to} in each family, "
            f"{smallest / whole:.3g} of the whole) to below {_told(whole)} "
            f"(everybody), got {_told(limit)} ({limit / whole:.3g})"
        )
    return SizeLimit(size, whole, limit)


def _told(size: float) -> str:
    return f"{size:,.0f}" if size >= 100 else f"{size:.3g}"


def most_within(
    source: SelectionTrace | Scores,
    fits: Callable[[Mask], bool],
    *,
    players: Players,
    scope: Literal["global", "family"] = "global",
    round_to: int = 1,
    uniform: bool = False,
) -> Mask:
    """The best players, as many as fit.

    Players come in the order of their scores, or as a trace had them, until the next
    one would not fit. The size is taken to grow with their number. By scores of all
    players, those of other families then come as long as they fit, which may be
    smaller; a family is full when one of it does not.

    Args:
      source: `Scores`, or the trace of a selection that went past the limit.
      fits: who stays, bool [N] -> True if they are within the limit.
      players: the `Players`; each family keeps one.
      scope: of scores: see `top_n`.
      round_to: of scores: every family keeps a multiple of it.
      uniform: of scores: layers of a stack keep equally many, see `top_n`.

    Returns:
      The mask, bool [N]. Cost: log2 N calls of `fits`; then one for each player that
      comes in late, and one for each family.

    Raises:
      InputError: not even the fewest players fit.

    Example:
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> apply = lambda params, x: jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.ones((3, 4)), "out": jnp.ones((4, 2))}
      >>> players = gp.find_players(apply, params, jnp.ones((1, 3)))
      >>> limit = limit_size(players, gp.players.size_of(players).count, 0.6)
      >>> scores = gp.Scores(np.array([1.0, 4.0, 2.0, 3.0]), np.zeros(4), 0)
      >>> most_within(scores, limit.fits, players=players).tolist()
      [False, True, False, True]
    """
    low = max(round_to, 1) * len(players.families)
    if isinstance(source, SelectionTrace):
        counts = [int(r.kept.sum()) for r in source.rounds]
        counts.append(low if source.method == "building" else players.num_players)
        low, high = max(min(counts), low), max(counts)
    else:
        high = players.num_players - 1

    def mask_at(count: int) -> Mask:
        if isinstance(source, SelectionTrace):
            return source.mask_at(count)
        return np.asarray(
            top_n(
                source,
                count,
                players=players,
                scope=scope,
                round_to=round_to,
                uniform=uniform,
            )
        )

    best = mask_at(low)
    if not fits(best):
        raise InputError(
            f"not even the best {int(best.sum())} players are within the limit: allow "
            "more"
        )
    while low < high:
        middle = (low + high + 1) // 2
        mask = mask_at(middle)
        if fits(mask):
            best, low = mask, middle
        else:
            high = middle - 1
    if (
        isinstance(source, Scores)
        and scope == "global"
        and round_to == 1
        and not uniform
    ):
        return _filled(best, np.asarray(source.value), fits, players)
    return best


def _filled(mask: Mask, value: np.ndarray, fits, players: Players) -> Mask:
    """Let more players in, the best first, until every family is full."""
    family = np.repeat(
        np.arange(len(players.families)), [f.size for f in players.families]
    )
    is_full = np.zeros(len(players.families), bool)
    for player in np.argsort(-value, kind="stable"):
        if mask[player] or is_full[family[player]]:
            continue
        wider = mask.copy()
        wider[player] = True
        is_full[family[player]] = not fits(wider)
        mask = mask if is_full[family[player]] else wider
    return mask
