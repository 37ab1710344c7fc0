"""Iterated pruning and iterated building: decide on a few players, then look again."""

import dataclasses
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

import jax
import numpy as np

from gamepruning.coalitions.games import coalition_values, count_players, processes_of
from gamepruning.coalitions.indices import shapley_values
from gamepruning.files.npz import CheckpointFile
from gamepruning.options import make_options
from gamepruning.players import Players
from gamepruning.selection.floors import Floors, make_floors
from gamepruning.selection.rounds import RoundRules, play_round
from gamepruning.selection.settings import (
    GameScorer,
    IterationKeywords,
    IterationOptions,
    Pace,
    Progress,
    PruningKeywords,
    PruningOptions,
)
from gamepruning.selection.top_n import Size, as_count, is_by_family
from gamepruning.selection.trace import (
    Method,
    SelectionTrace,
    load_trace,
    save_trace,
)
from gamepruning.trees.keys import as_threefry
from gamepruning.types import InputError, KeyLike, ValueFn


def iterated_pruning(
    key: KeyLike,
    value_fn: ValueFn,
    n: Size,
    *,
    step: int | float = 1,
    scorer: GameScorer | None = None,
    num_evaluations: int | None = None,
    players: Players | None = None,
    **options: Unpack[PruningKeywords],
) -> SelectionTrace:
    """Take out the `step` players of the lowest scores, score again, and so on.

    Those taken out are in no coalition from then on: round k scores the game of those
    who are left, v(C) for C among them.

    Args:
      key: random key; round k uses `fold_in(key, k)`.
      value_fn: coalitions, bool [S, N] -> values [S]: a `gp.value_function`, whose free
        players are then the N, or any other callable.
      n: players left at the end, 0 < n < N; or a fraction of them, such as 0.5; or,
        with players=, a count for each family, in their order or by name.
      step: players decided on in a round, or a fraction in (0, 1] of those who are in,
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
      checkpoint: file to write after every round, and to resume from if it is there.
      about: JSON-able settings of the scorer: a checkpoint resumes only under the
        same ones.
      callback: called with every new `Round`.
      until: who is in, bool [N] -> True to end after this round, though n are not
        reached; see `most_within`.

    Returns:
      `SelectionTrace`. Cost: that of the scorer and one evaluation a round, and
      2 (N + 1) evaluations an exchange.

    Raises:
      InputError: bad settings, scores or values that are not finite, or a checkpoint
        of another selection.
      TypeError: an unknown keyword.

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
    chosen = make_options(PruningOptions, options, iterated_pruning)
    selection = _Selection("pruning", as_threefry(key), value_fn, Pace(n, step), chosen)
    return selection.run(scorer, num_evaluations, players)


def iterated_building(
    key: KeyLike,
    value_fn: ValueFn,
    n: Size,
    *,
    step: int | float = 1,
    scorer: GameScorer | None = None,
    num_evaluations: int | None = None,
    players: Players | None = None,
    **options: Unpack[IterationKeywords],
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
      n: players in at the end, 0 < n < N; or a fraction of them, such as 0.5; or,
        with players=, a count for each family, in their order or by name.
      step: players decided on in a round, or a fraction in (0, 1] of those who are in,
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
      swaps: exchanges after every round at most; `iterated_pruning` says more of these.
      swaps_at_once: players exchanged together to begin with.
      checkpoint: file to write after every round, and to resume from.
      about: JSON-able settings of the scorer, which a checkpoint must share.
      callback: called with every new `Round`.
      until: who is in, bool [N] -> True to end after this round.

    Returns:
      `SelectionTrace`. Cost and errors are those of `iterated_pruning`.

    Raises:
      InputError: bad settings or values, or a checkpoint of another selection.
      TypeError: an unknown keyword.

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
    chosen = make_options(IterationOptions, options, iterated_building)
    selection = _Selection(
        "building", as_threefry(key), value_fn, Pace(n, step), chosen
    )
    return selection.run(scorer, num_evaluations, players)


@dataclasses.dataclass(frozen=True)
class _Selection:
    """What both ways share: the checks, the rounds and the checkpoint."""

    method: Method
    key: jax.Array
    value_fn: ValueFn
    pace: Pace
    options: IterationOptions

    def run(
        self,
        scorer: GameScorer | None,
        num_evaluations: int | None,
        players: Players | None,
    ) -> SelectionTrace:
        """Decide round by round until n players are in, or the value fell too far."""
        options, value_fn = self.options, self.value_fn
        total = count_players(value_fn, options.num_players)
        make_scorer = _scorers(scorer, options.make_scorer, num_evaluations)
        floors = make_floors(
            value_fn, total, players, options.min_units, options.protect
        )
        if is_by_family(self.pace.n):
            floors = floors.exactly(self.pace.n)
            pace = Pace(int(floors.least.sum()), self.pace.step)
        else:
            pace = Pace(as_count(self.pace.n, total), self.pace.step)
        pace.check(self.method, total)
        floors.check(pace.n)
        return dataclasses.replace(self, pace=pace)._play(
            make_scorer, floors, num_evaluations, players
        )

    def _play(
        self,
        make_scorer: Callable[[Progress], GameScorer],
        floors: Floors,
        num_evaluations: int | None,
        players: Players | None,
    ) -> SelectionTrace:
        """The rounds of a selection whose size is settled."""
        options, value_fn, total = self.options, self.value_fn, len(floors.family)
        budget = {} if num_evaluations is None else {"num_evaluations": num_evaluations}
        rules = RoundRules(
            value_fn, self.key, self.pace, make_scorer, budget, floors, options
        )
        facts = self._facts(total, num_evaluations, players)
        if int(floors.least.sum()) == self.pace.n:  # counts by family
            facts["least"] = floors.least.tolist()
        trace, least = self._load(total, facts), self._least(total)
        while int(trace.mask.sum()) != self.pace.n and not self._is_over(trace):
            new = play_round(rules, trace)
            if new.value < least:
                break
            trace = SelectionTrace(self.method, total, (*trace.rounds, new))
            if self._file is not None:
                save_trace(self._file, trace, facts)
            if options.callback is not None:
                options.callback(new)
        _warn_if_blind(trace)
        return trace

    def _is_over(self, trace: SelectionTrace) -> bool:
        until = self.options.until
        return until is not None and len(trace.rounds) > 0 and until(trace.mask)

    @property
    def _max_drop(self) -> float | None:
        options = self.options
        return options.max_drop if isinstance(options, PruningOptions) else None

    def _least(self, num_players: int) -> float:
        """The value below which no round may bring the network."""
        if self._max_drop is None:
            return -math.inf
        everybody = np.ones((1, num_players), bool)
        return float(coalition_values(self.value_fn, everybody)[0]) - self._max_drop

    def _facts(
        self, total: int, num_evaluations: int | None, players: Players | None
    ) -> dict[str, Any]:
        """What a checkpoint must agree with."""
        options, drop = self.options, self._max_drop
        return {
            **(options.about or {}),
            "method": self.method,
            "num_players": total,
            "n": self.pace.n,
            "step": self.pace.step,
            "swaps": options.swaps,
            "swaps_at_once": options.swaps_at_once,
            "num_evaluations": num_evaluations,
            "min_units": options.min_units if players is not None else 0,
            "protect": list(options.protect),
            **({} if drop is None else {"max_drop": drop}),
            "key": np.asarray(jax.random.key_data(self.key)).tolist(),
        }

    def _load(self, num_players: int, facts: dict[str, Any]) -> SelectionTrace:
        """The rounds of the checkpoint; none where there is none."""
        if self._file is None:
            return SelectionTrace(self.method, num_players, ())
        trace = load_trace(self._file, self.method, num_players, facts)
        _check_same_game(trace, self.value_fn, self._file.path)
        return trace

    @property
    def _file(self) -> CheckpointFile | None:
        path = self.options.checkpoint
        processes = processes_of(self.value_fn)
        return None if path is None else CheckpointFile(Path(path), processes)


def _warn_if_blind(trace: SelectionTrace) -> None:
    """Warn where the scores never told anybody from anybody."""
    rounds = [r for r in trace.rounds if len(r.decided) < len(r.players)]
    chosen = [np.asarray(r.scores.value) for r in rounds]
    if chosen and not any(map(np.any, chosen)):
        warnings.warn(
            f"in all {len(chosen)} rounds all scores were 0, so the players' order "
            "alone decided: give the scorer more evaluations, or use another value "
            "function",
            stacklevel=4,
        )


def _scorers(
    scorer: GameScorer | None,
    make_scorer: Callable[[Progress], GameScorer] | None,
    num_evaluations: int | None,
) -> Callable[[Progress], GameScorer]:
    """`Progress` -> the scorer of a round.

    Raises:
      InputError: there are two, or none and no budget for Shapley values.
    """
    if scorer is not None and make_scorer is not None:
        raise InputError("expected scorer or make_scorer, got both: leave one out")
    for name, given in (("scorer", scorer), ("make_scorer", make_scorer)):
        if given is not None and not callable(given):
            raise InputError(f"expected {name} as a function, got {given!r:.60}")
    if make_scorer is not None:
        return make_scorer
    if scorer is None and num_evaluations is None:
        raise InputError(
            "expected num_evaluations=, the budget of Shapley values in each round, or "
            "a scorer= of your own"
        )
    return lambda progress: shapley_values if scorer is None else scorer


def _check_same_game(trace: SelectionTrace, value_fn, path: Path) -> None:
    """Check that the last coalition of a checkpoint is still worth the same."""
    if not trace.rounds:
        return
    stored = trace.rounds[-1].value
    now = float(coalition_values(value_fn, trace.mask[None])[0])
    if math.isclose(now, stored, rel_tol=1e-3, abs_tol=1e-5):
        return
    if now == float(coalition_values(value_fn, trace.mask[None])[0]):  # not noise
        raise InputError(
            f"checkpoint {path} is of another game: its last coalition was worth "
            f"{stored:.6g} and is worth {now:.6g} now; delete it, or name another file"
        )
