"""The n best players, within what a network allows: scopes, floors, multiples."""

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack, get_args

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Bool

from gamepruning.options import make_options
from gamepruning.selection.alike import Group, RoundTo, bundles_of, steps_of
from gamepruning.trees.processes import to_host
from gamepruning.types import InputError, Scores, is_share

Scope = Literal["global", "family", "proportions"]
Size = Any  # a number, a share in (0, 1], or counts by family; see `top_n`


class LimitKeywords(TypedDict, total=False):
    """What widths `top_n` allows; see there."""

    min_units: int
    round_to: RoundTo
    protect: Sequence[str]
    uniform: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What widths `top_n` allows; see there."""

    min_units: int = 1
    round_to: RoundTo = 1
    protect: Sequence[str] = ()
    uniform: bool = False


def top_n(
    scores: Scores | ArrayLike,
    n: Size,
    *,
    players=None,
    scope: Scope = "global",
    proportions_from: Scores | ArrayLike | None = None,
    **limits: Unpack[LimitKeywords],
) -> Bool[jax.Array, " N"]:
    """Keep the n players with the highest scores.

    Scopes say which players are compared with each other:

    - "global": all of them.
    - "family": each family keeps the same share of its players.
    - "proportions": each family keeps as many as a global choice by the scores
      `proportions_from` would, and chooses them by `scores`: GTAP's rule for AlexNet,
      whose power indices cannot be compared across layers.

    Args:
      scores: `Scores`, or float [N]; higher means keep. Ties go to the lower index.
      n: how many players stay in all, protected ones included, 0 < n < N; or a
        fraction of them, such as 0.5 (1 is one player, 1.0 all); or a count or
        such a fraction for each family, in their order or by name, kept as they are,
        without scope or floors.
      players: the `Players`; needed for all but the plain global choice. Without it
        the N scores count as one family.
      scope: "global", "family" or "proportions".
      proportions_from: the other ranking, [N], with scope="proportions".
      min_units: players that every family keeps at least (all of a smaller family).
      round_to: every family keeps a multiple of it (or all its players), such as 8; or
        a multiple for each family by name (`layers/up` for that family of all scanned
        layers), or for each kind of players (`{"units": 128, "heads": 4}`, as
        `players.kinds` has them). Then fewer than n may stay: as many as whole blocks
        allow.
      protect: names of families of which nobody leaves.
      uniform: families of equal size whose names differ in numbers alone keep equally
        many, each its own best: the layers of a stack, which one scan runs over, or
        blocks that one configuration describes.

    Returns:
      The mask, bool [N], True = kept. A warning says so where all `Scores` are
      equal.

    Raises:
      InputError: nothing would be pruned, the request cannot be met, or the scores are
        not N finite numbers.
      TypeError: an unknown keyword.

    Example:
      >>> import jax.numpy as jnp
      >>> top_n(jnp.array([3.0, 1.0, 2.0]), 2).tolist()
      [True, False, True]
      >>> top_n(jnp.array([3.0, 1.0, 2.0, 4.0]), 0.5).tolist()
      [True, False, False, True]

    References:
      Diaz-Ortiz et al., arXiv 2311.10468, top-n pruning; section IV-C1 (proportions).
    """
    allowed = make_options(Limits, limits, top_n)
    value = check_scores(scores, players)
    warn_if_blind(scores)
    groups = make_groups(
        players, len(value), allowed.min_units, allowed.round_to, allowed.protect
    )
    if is_by_family(n):
        return take_best(value, groups, family_counts(n, groups, len(value)))
    n = as_count(n, len(value))
    bundles = bundles_of(groups, allowed.uniform)
    _check_request(n, len(value), groups, bundles, scope, players, proportions_from)
    ranked = value
    if scope == "proportions":
        ranked = check_scores(proportions_from, players, name="proportions_from")
    worth = _share if scope == "family" else _worth(ranked)
    quotas = _fill(groups, n, bundles, worth)
    return take_best(value, groups, quotas)


def is_by_family(n: Any) -> bool:
    """True for a size that says how many players of each family stay."""
    return isinstance(n, Mapping | tuple | list) or (
        isinstance(n, np.ndarray) and n.ndim == 1
    )


def as_count(n: Any, num_players: int) -> int:
    """A whole number of players; a float in (0, 1] is a share of all, one at least.

    Raises:
      InputError: it is neither.

    Example:
      >>> as_count(0.5, 9), as_count(3, 9), as_count(1, 9), as_count(1.0, 9)
      (4, 3, 1, 9)
    """
    if isinstance(n, np.ndarray | np.generic | jax.Array) and n.size == 1:
        n = n.item()
    if isinstance(n, bool) or not isinstance(n, int | float):
        raise InputError(
            "expected a number of players, a fraction in (0, 1], or a count for each "
            f"family, got {type(n).__name__} {n!r:.60}"
        )
    if is_share(n):
        return max(round(n * num_players), 1)
    if not math.isfinite(n) or n != int(n):
        raise InputError(
            f"expected n as a number of players or a fraction in (0, 1], got {n}"
        )
    return int(n)


def family_counts(n: Any, groups: Sequence[Group], num_players: int) -> list[int]:
    """A count for each family; nobody else knows how many are to stay.

    Args:
      n: counts, or shares of the family, in the order of the families or by their
        names. Of a share above 0 at least one stays.
      groups: the families.
      num_players: of all families.

    Raises:
      InputError: a family is missing or too small, or nobody would leave.
    """
    names = [group.name for group in groups]
    told = ", ".join(f"{group.name} {group.size}" for group in groups)
    if isinstance(n, Mapping):
        if set(n) != set(names):
            lists = {"missing": set(names) - set(n), "unknown": set(n) - set(names)}
            odd = "; ".join(
                f"{what}: {', '.join(map(str, sorted(odd, key=str)))}"
                for what, odd in lists.items()
                if odd
            )
            raise InputError(
                f"expected a count for each family by its name ({odd}): the families "
                f"and their sizes are {told}"
            )
        n = [n[name] for name in names]
    if len(n) == len(groups):
        pairs = zip(n, groups, strict=True)
        n = [max(1, round(k * g.size)) if is_share(k) else k for k, g in pairs]
    whole = all(isinstance(count, int | np.integer) for count in n)
    fits = [0 <= count <= g.size for count, g in zip(n, groups, strict=False)]
    if not whole or len(n) != len(groups) or not all(fits):
        raise InputError(
            "expected a count for each family, none above its size, or a fraction of "
            f"it, got {list(n)}: the families and their sizes are {told}"
        )
    counts = [int(count) for count in n]
    if sum(counts) == num_players:
        raise InputError(f"nothing would be pruned: {counts} keeps everyone")
    return counts


def check_scores(scores, players, *, name: str = "scores") -> np.ndarray:
    """The numbers of `scores`, [N], or a clear error."""
    value = scores.value if isinstance(scores, Scores) else scores
    if isinstance(value, jax.core.Tracer):
        raise InputError(
            f"the {name} are traced (by jit, vmap or grad), but who stays has to be "
            "known before: call this outside of it"
        )
    value = to_host(value)
    num_players = value.size if players is None else players.num_players
    if value.shape != (num_players,):
        raise InputError(
            f"expected {name} of shape ({num_players},), one number a player, got "
            f"{value.shape}: score the same players that you select from"
        )
    value = value.astype(float)
    if not np.isfinite(value).all():
        bad = np.flatnonzero(~np.isfinite(value))
        raise InputError(
            f"expected finite {name}, got {value[bad[0]]} for player {bad[0]} (and "
            f"{len(bad) - 1} more): look at the scorer's inputs for NaN or infinity"
        )
    return value


def warn_if_blind(scores: Any) -> None:
    """Warn where a scorer gave everybody the same, so that order alone decides.

    Args:
      scores: `Scores`; a user's own numbers are not judged.
    """
    value = to_host(scores.value) if isinstance(scores, Scores) else np.arange(2)
    if value.size > 1 and (value == value[0]).all():
        warnings.warn(
            f"all {value.size} scores are {value[0]:.4g}, so the players' order alone "
            "decides who stays: look at what the scorer measures (dead or quantised "
            "weights, a metric that never changes), or use another one",
            stacklevel=3,
        )


def make_groups(
    players,
    num_players: int,
    min_units: int,
    round_to: RoundTo,
    protect: Sequence[str],
) -> list[Group]:
    """Families with the fewest players each may keep; one group where there is none."""
    if min_units < 0:
        raise InputError(f"expected min_units >= 0, got {min_units}")
    protect = (protect,) if isinstance(protect, str) else tuple(protect)
    families = [] if players is None else players.families
    unknown = sorted(set(protect) - {family.name for family in families})
    if unknown:
        known = ", ".join(family.name for family in families) or "none without players="
        raise InputError(f"cannot protect {unknown}: the families are {known}")
    spans = [(f.name, f.start, f.stop) for f in families] or [("all", 0, num_players)]
    kinds: Sequence[str] = ()
    if players is not None and not isinstance(round_to, int):
        kinds = players.kinds
    steps = steps_of(round_to, [name for name, _, _ in spans], kinds)
    groups = []
    for (name, start, stop), step in zip(spans, steps, strict=True):
        size, least = stop - start, -(-min_units // step) * step
        floor = size if name in protect else min(least, size)
        groups.append(Group(name, start, stop, floor, step))
    return groups


def take_best(
    value: np.ndarray, groups: Sequence[Group], quotas: Sequence[int]
) -> Bool[jax.Array, " N"]:
    """The mask that keeps the `quota` best players of each group."""
    mask = np.zeros(len(value), bool)
    for group, quota in zip(groups, quotas, strict=True):
        best = np.argsort(-value[group.start : group.stop], kind="stable")[:quota]
        mask[group.start + best] = True
    return jnp.asarray(mask)


def _worth(value: np.ndarray) -> Callable[[Group, np.ndarray, np.ndarray], np.ndarray]:
    """A block of a family's ranking is worth the mean score of its players."""

    def worth(group, lo, hi):
        ranked = -np.sort(-value[group.start : group.stop])
        means = np.add.reduceat(ranked, lo) / (hi - lo)
        return np.minimum.accumulate(means)  # rounding must not put a later block first

    return worth


def _share(group: Group, lo: np.ndarray, hi: np.ndarray) -> np.ndarray:
    """Lower shares of a family come first: Webster's rule for whole seats."""
    return -(lo + hi) / (2 * group.size)


def _fill(
    groups: Sequence[Group],
    n: int,
    bundles: Sequence[Sequence[int]],
    worth: Callable[[Group, np.ndarray, np.ndarray], np.ndarray],
) -> list[int]:
    """How many each group keeps: its floor, then the best blocks while there is room.

    A group's blocks become worse with their rank, so taking the best first never takes
    one before a better one of the same group. The groups of a bundle get a block each,
    or none.
    """
    lows, sizes, owners, worths = [], [], [], []
    for index, bundle in enumerate(bundles):
        members = [groups[k] for k in bundle]
        step, size = max(g.step for g in members), members[0].size
        lo = np.arange(_floor(groups, bundle), size, step)
        hi = np.minimum(lo + step, size)
        if lo.size:
            lows.append(lo)
            sizes.append(hi - lo)
            owners.append(np.full(lo.shape, index))
            worths.append(np.mean([worth(g, lo, hi) for g in members], axis=0))
    quotas = [_floor(groups, bundle) for bundle in bundles]
    room = n - sum(q * len(b) for q, b in zip(quotas, bundles, strict=True))
    low, size, owner = map(np.concatenate, (lows, sizes, owners))
    for block in np.lexsort((low, owner, -np.concatenate(worths))):
        bundle, count = int(owner[block]), int(size[block])
        needs = count * len(bundles[bundle])
        if quotas[bundle] == low[block] and needs <= room:
            quotas[bundle] += count
            room -= needs
    found = [0] * len(groups)
    for bundle, quota in zip(bundles, quotas, strict=True):
        for k in bundle:
            found[k] = quota
    return found


def _floor(groups: Sequence[Group], bundle: Sequence[int]) -> int:
    """The fewest that each group of a bundle keeps: the largest floor of them."""
    return max(groups[k].floor for k in bundle)


def _check_request(
    n, num_players, groups, bundles, scope, players, proportions_from
) -> None:
    if scope not in get_args(Scope):
        raise InputError(
            f"expected scope to be one of {get_args(Scope)}, got {scope!r}"
        )
    if scope != "global" and players is None:
        raise InputError(f"scope={scope!r} needs players=, whose families it goes by")
    if (scope == "proportions") != (proportions_from is not None):
        raise InputError(
            "scope='proportions' and proportions_from= go together: pass the scores "
            "whose share of each family is to be taken"
        )
    if n >= num_players:
        raise InputError(
            f"nothing would be pruned: n={n} of {num_players} players are kept; ask "
            f"for fewer than {num_players}"
        )
    if n < 1:
        raise InputError(f"expected n >= 1 players to keep, got {n}")
    floors = {k: _floor(groups, bundle) for bundle in bundles for k in bundle}
    least = sum(floors.values())
    if n < least:
        told = ", ".join(f"{group.name} {floors[k]}" for k, group in enumerate(groups))
        raise InputError(
            f"cannot keep {n} players: min_units, round_to, protect and uniform "
            f"already keep {least} ({told}); "
            "ask for more or lower them"
        )
