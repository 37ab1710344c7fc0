"""Iterated pruning and iterated building: decide on a few players, then look again."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool

from gamepruning.coalitions.games import coalition_values
from gamepruning.coalitions.restrict import restrict
from gamepruning.selection.floors import Floors, make_floors
from gamepruning.selection.greedy import local_search
from gamepruning.selection.trace import (
    Method,
    Round,
    SelectionTrace,
    load_trace,
    save_trace,
)
from gamepruning.types import InputError, Scores

Scorer = Callable[..., Scores]


class Progress(NamedTuple):
    """Where an iterated selection stands before a round.

    Attributes:
      number: of the round, from 0.
      kept: who is in, bool [N].
      num_free: players that the round scores: those still in (pruning) or still out
        (building).
      num_fixed: players who are in every coalition of the round: 0 when pruning.
      target: how many will be in at the end.
    """

    number: int
    kept: Bool[np.ndarray, " N"]
    num_free: int
    num_fixed: int
    target: int

    def bias_for(self, size: int) -> float:
        """With what probability free players join coalitions of `size` on average.

        When building, coalitions of a fixed bias grow with what is retained; with this
        one their mean size stays, (size - fixed) / free, until the retained alone are
        that many. It is kept in [1 / (M + 1), M / (M + 1)] for M free players.

        Example:
          >>> Progress(3, np.ones(4, bool), 10, 4, 7).bias_for(9)
          0.5
        """
        free = self.num_free
        share = (size - self.num_fixed) / free
        return float(min(max(share, 1 / (free + 1)), free / (free + 1)))


def iterated_pruning(
    key: jax.Array,
    value_fn: Callable[..., Any],
    n: int,
    *,
    step: int | float = 1,
    scorer: Scorer | None = None,
    make_scorer: Callable[[Progress], Scorer] | None = None,
    num_evaluations: int | None = None,
    num_players: int | None = None,
    players: Any = None,
    min_units: int = 1,
    protect: Sequence[str] = (),
    swaps: int = 0,
    swaps_at_once: int = 1,
    max_drop: float | None = None,
    checkpoint: str | Path | None = None,
    about: Mapping[str, Any] | None = None,
    callback: Callable[[Round], None] | None = None,
) -> SelectionTrace:
    """Take out the `step` players of the lowest scores, score again, and so on.

    Those taken out are in no coalition from then on: round k scores the game of those
    who are left, v(C) for C among them.

    Args:
      key: random key; round k uses `fold_in(key, k)`.
      value_fn: coalitions, bool [S, N] -> values [S]: a `gp.value_function`, whose free
        players are then the N, or any other callable.
      n: players left at the end, 0 < n < N.
      step: players decided on in a round, or a fraction in (0, 1) of those who are in,
        at least one.
      scorer: (key, value_fn, num_players) -> `Scores`, called in each round with the
        game of the free players, such as `gp.banzhaf_values`; `gp.shapley_values` if
        neither it nor make_scorer is given.
      make_scorer: `Progress` -> scorer, where it depends on the round.
      num_evaluations: passed on to the scorer in every round, if given.
      num_players: N, where `value_fn` does not say.
      players: the `Players`, whose families keep at least `min_units` each.
      min_units: see players.
      protect: names of families of which nobody leaves.
      swaps: exchanges that `local_search` may make after every round.
      swaps_at_once: players that it exchanges together to begin with.
      max_drop: end before the round that makes the value fall further than this below
        the value of everybody, though more than n are left; never, if None.
      checkpoint: file to write after every round, and to go on from if it is there.
      about: JSON-able settings of the scorer: a checkpoint goes on under the same ones
        alone.
      callback: called with every new `Round`.

    Returns:
      `SelectionTrace`. Cost: that of the scorer and one evaluation a round, and
      2 (N + 1) evaluations an exchange.

    Raises:
      InputError: bad settings, scores or values that are not finite, or a checkpoint
        of another selection.

    Example: players 0 and 1 are copies of each other, and 2 is worth less than one.
      >>> import functools
      >>> from gamepruning.selection import greedy_scores
      >>> v = lambda masks: 2.0 * (masks[:, 0] | masks[:, 1]) + masks[:, 2]
      >>> scorer = functools.partial(greedy_scores, base="full")
      >>> key = jax.random.key(0)
      >>> trace = iterated_pruning(key, v, 2, num_players=3, scorer=scorer)
      >>> trace.order.tolist(), trace.mask.tolist(), trace.rounds[-1].value
      ([1], [True, False, True], 3.0)

    References:
      Diaz-Ortiz et al., arXiv 2311.10468, section III-B b), iterated pruning.
    """
    return _select("pruning", **locals())


def iterated_building(
    key: jax.Array,
    value_fn: Callable[..., Any],
    n: int,
    *,
    step: int | float = 1,
    scorer: Scorer | None = None,
    make_scorer: Callable[[Progress], Scorer] | None = None,
    num_evaluations: int | None = None,
    num_players: int | None = None,
    players: Any = None,
    min_units: int = 1,
    protect: Sequence[str] = (),
    swaps: int = 0,
    swaps_at_once: int = 1,
    checkpoint: str | Path | None = None,
    about: Mapping[str, Any] | None = None,
    callback: Callable[[Round], None] | None = None,
) -> SelectionTrace:
    """Start with nobody, take in the `step` players of the highest scores, and so on.

    Those taken in are in every coalition from then on: round k scores the game of the
    others, v(C + retained) for C among the others. A bias d of the scorer is then the
    probability with which the others join; see `Progress.bias_for` for coalitions
    whose size does not grow.

    Args:
      key: random key; round k uses `fold_in(key, k)`.
      value_fn: coalitions, bool [S, N] -> values [S]: a `gp.value_function`, whose free
        players are then the N, or any other callable.
      n: players in at the end, 0 < n < N.
      step: players decided on in a round, or a fraction in (0, 1) of those who are in,
        at least one.
      scorer: (key, value_fn, num_players) -> `Scores`, called in each round with the
        game of the free players, such as `gp.banzhaf_values`; `gp.shapley_values` if
        neither it nor make_scorer is given.
      make_scorer: `Progress` -> scorer, where it depends on the round.
      num_evaluations: passed on to the scorer in every round, if given.
      num_players: N, where `value_fn` does not say.
      players: the `Players`, whose families get at least `min_units` each, and get
        them first, so that no coalition larger than that has an empty family.
      min_units: see players.
      protect: names of families of which everybody comes, first of all.
      swaps: exchanges that `local_search` may make after every round.
      swaps_at_once: players that it exchanges together to begin with.
      checkpoint: file to write after every round, and to go on from if it is there.
      about: JSON-able settings of the scorer: a checkpoint goes on under the same ones
        alone.
      callback: called with every new `Round`.

    Returns:
      `SelectionTrace`. Cost: that of the scorer and one evaluation a round, and
      2 (N + 1) evaluations an exchange.

    Raises:
      InputError: bad settings, scores or values that are not finite, or a checkpoint
        of another selection.

    Example: with player 0 in, its copy 1 adds nothing, and 2 comes.
      >>> import functools
      >>> from gamepruning.selection import greedy_scores
      >>> v = lambda masks: 2.0 * (masks[:, 0] | masks[:, 1]) + masks[:, 2]
      >>> scorer = functools.partial(greedy_scores, base="empty")
      >>> key = jax.random.key(0)
      >>> trace = iterated_building(key, v, 2, num_players=3, scorer=scorer)
      >>> trace.order.tolist(), trace.mask.tolist(), trace.num_evaluations
      ([0, 2], [True, False, True], 9)

    References:
      Diaz-Ortiz et al., arXiv 2311.10468, section III-B b), iterated building.
    """
    return _select("building", max_drop=None, **locals())


def _select(
    method: Method,
    *,
    key,
    value_fn,
    n,
    step,
    scorer,
    make_scorer,
    num_evaluations,
    num_players,
    players,
    min_units,
    protect,
    swaps,
    swaps_at_once,
    max_drop,
    checkpoint,
    about,
    callback,
) -> SelectionTrace:
    total = _num_players(value_fn, num_players)
    _check_settings(
        method,
        n,
        total,
        step,
        swaps,
        swaps_at_once,
        max_drop,
        scorer,
        make_scorer,
        num_evaluations,
    )
    floors = make_floors(value_fn, total, players, min_units, protect)
    floors.check(n)
    make = make_scorer or _same_scorer(scorer)
    facts = {
        **(about or {}),
        "method": method,
        "num_players": total,
        "n": n,
        "step": step,
        "swaps": swaps,
        "swaps_at_once": swaps_at_once,
        "num_evaluations": num_evaluations,
        "min_units": min_units if players is not None else 0,
        "protect": list(protect),
        **({} if max_drop is None else {"max_drop": max_drop}),
        "key": np.asarray(jax.random.key_data(key)).tolist(),
    }
    path = None if checkpoint is None else Path(checkpoint)
    trace = SelectionTrace(method, total, ())
    if path is not None:
        trace = load_trace(path, method, total, facts)
        _check_same_game(trace, value_fn, path)
    least = -math.inf
    if max_drop is not None:
        least = float(coalition_values(value_fn, np.ones((1, total), bool))[0])
        least -= max_drop
    while int(trace.mask.sum()) != n:
        search = (swaps, swaps_at_once)
        new = _play(
            trace, value_fn, n, key, step, make, num_evaluations, floors, search
        )
        if new.value < least:
            break
        trace = SelectionTrace(method, total, (*trace.rounds, new))
        if path is not None:
            save_trace(path, trace, facts)
        if callback is not None:
            callback(new)
    return trace


def _play(
    trace: SelectionTrace,
    value_fn,
    n: int,
    key: jax.Array,
    step: int | float,
    make_scorer: Callable[[Progress], Scorer],
    num_evaluations: int | None,
    floors: Floors,
    search: tuple[int, int],
) -> Round:
    """One round: score the free players, decide, search, and value what is left."""
    number, kept = len(trace.rounds), trace.mask.copy()
    building = trace.method == "building"
    free = np.flatnonzero(kept != building)
    game = restrict(
        value_fn,
        len(kept),
        always_in=kept if building else None,
        always_out=None if building else ~kept,
    )
    fixed = int(kept.sum()) if building else 0
    scorer = make_scorer(Progress(number, kept.copy(), len(free), fixed, n))
    budget = {} if num_evaluations is None else {"num_evaluations": num_evaluations}
    scores = scorer(jax.random.fold_in(key, number), game, len(free), **budget)
    scores = _checked(scores, len(free), number)
    count = min(_count(step, int(kept.sum())), abs(n - int(kept.sum())))
    order = np.argsort(-np.asarray(scores.value), kind="stable")
    if building:
        decided = floors.choose_in(kept, free[order], count)
    else:
        decided = floors.choose_out(kept, free[order[::-1]], count)
    kept[decided] = building
    exchanges, cost = (), 0
    if search[0]:
        found = local_search(
            value_fn,
            kept,
            max_exchanges=search[0],
            at_once=search[1],
            may_exchange=floors.may_exchange,
        )
        kept, exchanges, cost = found.mask, found.exchanges, found.num_evaluations
    value = float(coalition_values(value_fn, kept[None])[0])
    cost += scores.num_evaluations + 1
    return Round(number, free, scores, decided, exchanges, kept, value, cost)


def _count(step: int | float, size: int) -> int:
    return max(int(step * size), 1) if step < 1 else int(step)


def _same_scorer(scorer: Scorer | None) -> Callable[[Progress], Scorer]:
    return lambda progress: scorer or _shapley()


def _shapley() -> Scorer:
    from gamepruning.coalitions.indices import shapley_values

    return shapley_values


def _checked(scores: Any, num_free: int, number: int) -> Scores:
    """The scores as NumPy arrays, one finite number for each free player."""
    if not isinstance(scores, Scores):
        raise InputError(
            f"expected the scorer to return gp.Scores, got {type(scores).__name__}"
        )
    value = np.asarray(scores.value, float)
    stderr = np.broadcast_to(np.asarray(scores.stderr, float), value.shape)
    if value.shape != (num_free,):
        raise InputError(
            f"expected the scorer to return {num_free} scores in round {number}, one "
            f"for each free player, got shape {value.shape}"
        )
    if not np.isfinite(value).all():
        bad = int(np.flatnonzero(~np.isfinite(value))[0])
        raise InputError(
            f"the scorer returned {value[bad]} for player {bad} of the {num_free} in "
            f"round {number}: give it more evaluations, or look for NaN in the values"
        )
    return Scores(value, stderr, int(scores.num_evaluations))


def _num_players(value_fn, num_players: int | None) -> int:
    known = getattr(value_fn, "num_players", None)
    if num_players is None and known is None:
        raise InputError(
            "expected num_players=, the number of players: this value function does "
            "not say it"
        )
    if None not in (num_players, known) and num_players != known:
        raise InputError(
            f"num_players is {num_players}, but the value function has {known} players"
        )
    return int(known if num_players is None else num_players)  # type: ignore[arg-type]


def _check_settings(
    method,
    n,
    total,
    step,
    swaps,
    swaps_at_once,
    max_drop,
    scorer,
    make_scorer,
    evaluations,
) -> None:
    if n != int(n) or not 0 < n < total:
        raise InputError(
            f"expected 0 < n < {total}, the number of players left by {method}, got {n}"
        )
    if not (0 < step < 1 or (step >= 1 and step == int(step) and math.isfinite(step))):
        raise InputError(
            "expected step to be a number of players >= 1, or a fraction in (0, 1) of "
            f"those who are in, got {step}"
        )
    if swaps < 0:
        raise InputError(f"expected swaps >= 0, got {swaps}")
    if max_drop is not None and not 0 <= max_drop < math.inf:
        raise InputError(f"expected max_drop >= 0, got {max_drop}")
    if swaps_at_once < 1:
        raise InputError(f"expected swaps_at_once >= 1, got {swaps_at_once}")
    if scorer is not None and make_scorer is not None:
        raise InputError("expected scorer or make_scorer, got both: leave one out")
    if scorer is make_scorer is None and evaluations is None:
        raise InputError(
            "expected num_evaluations=, the budget of Shapley values in each round, or "
            "a scorer= of your own"
        )


def _check_same_game(trace: SelectionTrace, value_fn, path: Path) -> None:
    """Whether the last coalition of a checkpoint is still worth the same."""
    if not trace.rounds:
        return
    stored = trace.rounds[-1].value
    now = float(coalition_values(value_fn, trace.mask[None])[0])
    if not math.isclose(now, stored, rel_tol=1e-3, abs_tol=1e-5):
        raise InputError(
            f"checkpoint {path} is of another game: its last coalition was worth "
            f"{stored:.6g} and is worth {now:.6g} now; delete it or name another"
        )
