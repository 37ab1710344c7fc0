"""The engine behind all sampled indices: rounds, checkpoints, when to stop."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Unpack

import numpy as np
from jaxtyping import Float

from gamepruning.coalitions.estimators import (
    Estimate,
    Estimator,
    Problem,
    stopping,
)
from gamepruning.coalitions.estimators.base import State
from gamepruning.coalitions.estimators.budget import (
    SamplingConfig,
    SamplingOptions,
    Schedule,
    check_budget,
    make_schedule,
    settings_of,
)
from gamepruning.coalitions.estimators.select import choose_method
from gamepruning.coalitions.games import (
    evaluation_seconds,
    is_deterministic,
    is_incremental,
    processes_of,
)
from gamepruning.coalitions.same_game import check_game, first_values
from gamepruning.coalitions.semivalues import SemivalueLike, semivalue_for
from gamepruning.files import npz
from gamepruning.options import make_options
from gamepruning.trees.keys import as_threefry
from gamepruning.trees.processes import Processes
from gamepruning.types import InputError, KeyLike, Scores, ValueFn

_PASSES = 2
_GAME = "game"
_SCARCE = 4  # samples that carry an error: below, 95 % intervals had 80 to 90 %


@dataclasses.dataclass(frozen=True, kw_only=True)
class IndexEstimate:
    """An estimate, and how far to trust it.

    Attributes:
      scores: the `Scores`: value +- 1.96 stderr is a 95 % interval for each player. A
        stderr of 0 says that all samples of a player agreed to rounding, an infinite
        one that all values were equal.
      method: the estimator that was used.
      agreement: the expected rank correlation with the exact index, predicted from two
        halves of the samples.
      cut_overlap: which share of the `cut` lowest players is expected to be right; nan
        if no cut was named.
      status: "settled" (the target was reached) or "budget" (the evaluations were
        used up).
      support: how many samples carry the stderr of each player, float [N]: about a
        third of them where values are spread as usual, and few where the value changes
        seldom, but then much.
      noise: the standard deviation of a value that is computed again, from the repeats
        of nobody and everybody; 0 where they were equal, nan where nothing was repeated
        because the method or the game does not need it.
      is_shrunk: True if there were too few evaluations for an unbiased fit.
    """

    scores: Scores
    method: str
    agreement: float
    cut_overlap: float
    status: str
    support: Float[np.ndarray, " N"]
    noise: float
    is_shrunk: bool

    def __repr__(self) -> str:
        note = ", see note" if self.note else ""
        return (
            f"IndexEstimate({self.method}, {len(self.scores.value)} players, "
            f"{self.scores.num_evaluations} evaluations, {self.status}{note})"
        )

    @property
    def note(self) -> str:
        """Why the intervals may not hold; "" if nothing speaks against them.

        Example: swings are too rare for 60 coalitions.
          >>> import jax
          >>> from gamepruning.coalitions import banzhaf, voting_game
          >>> jury = voting_game(12, [1] * 12)
          >>> estimate_indices(
          ...     jax.random.key(0), jury, banzhaf, num_evaluations=60
          ... ).note
          'all values were equal: nothing is known of the errors'
        """
        stderr = np.asarray(self.scores.stderr)
        if np.isinf(stderr).all():
            return "all values were equal: nothing is known of the errors"
        if self.is_shrunk:
            return (
                "too few evaluations for an unbiased fit: the intervals hold on "
                "average over games, not for each"
            )
        same = int((self.support == 0).sum())
        if same:
            return (
                f"all samples of {same} players agree: their stderr of 0 is no proof, "
                "a change may be too rare to be seen"
            )
        scarce = float(np.median(self.support))
        if scarce < _SCARCE:
            return (
                f"the errors rest on few samples, about {max(scarce, 1):.0f}: the "
                "intervals may be too narrow"
            )
        return ""


def estimate_indices(
    key: KeyLike,
    value_fn: ValueFn,
    semivalue: SemivalueLike,
    *,
    num_evaluations: int,
    method: str = "auto",
    **options: Unpack[SamplingOptions],
) -> IndexEstimate:
    """Estimate a power index, and stop early once the ranking is settled, if wanted.

    The value function may be noisy, with errors that are independent from one
    evaluation to the next: they are part of the standard errors. One that remembers its
    values is a game of its own, whose noise cannot be told from what players add. Where
    a value function has an attribute `is_deterministic = True`, nothing is spent on
    finding out.

    Sample j depends on the key and j only. So a run that was killed resumes
    bit-identically from its checkpoint, and a larger budget goes on where a smaller one
    ended.

    Args:
      key: the random key.
      value_fn: the game: coalitions bool [S, N] -> values [S]; its methods `prefixes`
        and `toggles` are used where it has them.
      semivalue: the power index, made by `shapley`, `banzhaf` or `beta_semivalue`. A
        function of the number of players, such as `shapley` itself, will do where the
        value function knows that number.
      num_evaluations: the budget.
      method: a name in `ESTIMATORS`, or "auto" (see `choose_method`).
      **options: fields of `SamplingConfig`: target_agreement, cut, checkpoint,
        round_size, progress.

    Returns:
      `IndexEstimate`.

    Raises:
      InputError: a budget too small for the method, an unknown method or one that does
        not fit the index, values that are not finite or of the wrong shape, another
        number of players than the value function has, a checkpoint of other settings
        or of another game.
      TypeError: an unknown keyword.

    Cost: at most `num_evaluations` evaluations, and with a checkpoint 8 more when it is
    begun and 16 when it is resumed (8 if the game is deterministic); memory of 8 bytes
    an evaluation or less, and a few N x N matrices for regressions of up to 4096
    players.

    Example:
      >>> import jax, numpy as np
      >>> from gamepruning.coalitions.semivalues import banzhaf
      >>> worth = np.arange(20.0)
      >>> game = lambda masks: np.sqrt(masks @ worth)
      >>> estimate = estimate_indices(
      ...     jax.random.key(0),
      ...     game,
      ...     banzhaf(20, 0.5),
      ...     num_evaluations=200_000,
      ...     target_agreement=0.95,
      ... )
      >>> estimate
      IndexEstimate(paired_regression, 20 players, 106 evaluations, settled, see note)
    """
    config = make_options(SamplingConfig, options, estimate_indices)
    problem = Problem(as_threefry(key), semivalue_for(semivalue, value_fn))
    check_budget(num_evaluations)
    file = _file_of(config, value_fn)
    found = None if file is None else file.load()
    if method == "auto":
        method = _resolve_auto(problem, value_fn, num_evaluations, found)
    schedule = make_schedule(method, problem, value_fn, num_evaluations, config)
    settings = settings_of(problem, schedule)
    known = {}
    if file is None or found is None:
        at = _Position(0, 0, False)
        if file is not None:
            known = {_GAME: first_values(problem, value_fn)}
        state = schedule.estimator.init(problem, value_fn, schedule.num_samples)
    else:
        npz.check_settings(file.path, found.settings, settings)
        if _GAME in found.arrays:  # older files do not say it
            known = {_GAME: found.arrays.pop(_GAME)}
            check_game(file.path, problem, value_fn, known[_GAME])
        at, state = _resume(file.path, found.arrays, schedule)
    finish = _finishing(schedule.estimator, problem, processes_of(value_fn))
    while at.done < schedule.num_samples and not at.is_settled:
        start, stop = at.done, schedule.next_stop(at.done)
        state = schedule.estimator.update(problem, value_fn, state, start, stop)
        at = _check(schedule, finish, state, at._replace(done=stop))
        if file is not None:
            progress = {"progress": np.array(at, np.int64)}
            file.save(settings, {**state, **known, **progress})
        if config.progress is not None:
            config.progress(schedule.cost.evaluations(stop), schedule.num_evaluations)
    return _verdict(schedule, finish(state), at)


class _Position(NamedTuple):
    done: int  # samples
    passes: int  # checks in a row that found the ranking settled
    is_settled: bool


def _file_of(config: SamplingConfig, value_fn: ValueFn) -> npz.CheckpointFile | None:
    """The checkpoint, if there is to be one."""
    if config.checkpoint is None:
        return None
    return npz.CheckpointFile(Path(config.checkpoint), processes_of(value_fn))


def _resolve_auto(
    problem: Problem, value_fn: ValueFn, num_evaluations: int, found: npz.Stored | None
) -> str:
    """The method of the checkpoint, or the one that fits best."""
    if found is not None and "method" in found.settings:
        return found.settings["method"]
    return choose_method(
        problem.semivalue,
        problem.num_players,
        num_evaluations,
        is_incremental(value_fn),
        is_deterministic=is_deterministic(value_fn),
        evaluation_seconds=evaluation_seconds(value_fn),
    )


def _resume(path: Path, arrays: State, schedule: Schedule) -> tuple[_Position, State]:
    done, passes, is_settled = arrays.pop("progress").tolist()
    if done > schedule.num_samples:
        raise InputError(
            f"checkpoint {path} holds {schedule.cost.evaluations(done)} evaluations "
            f"already, more than the budget of {schedule.num_evaluations}: ask for at "
            "least as many, or use another file"
        )
    return _Position(done, passes, bool(is_settled)), arrays


def _finishing(
    estimator: Estimator, problem: Problem, processes: Processes | None
) -> Callable[[State], Estimate]:
    """state -> its estimate: that of the first process, where several share the work.

    Each has a BLAS of its own, whose last bits could settle it here and not there.
    """

    def finish(state: State) -> Estimate:
        found = estimator.finish(problem, state)
        return found if processes is None else processes.first(found)

    return finish


def _check(
    schedule: Schedule,
    finish: Callable[[State], Estimate],
    state: State,
    at: _Position,
) -> _Position:
    """Look at the ranking, where it is due."""
    if schedule.target is None or not schedule.is_check(at.done):
        return at
    found = finish(state)
    is_good = _looks_settled(found, schedule.target, schedule.cut)
    passes = at.passes + 1 if is_good else 0
    return at._replace(passes=passes, is_settled=passes >= _PASSES)


def _looks_settled(found: Estimate, target: float, cut: int | None) -> bool:
    """Both predictions have to reach the target: from halves, and from errors.

    The errors alone would do for all rankings but those that a few large scores
    dominate; the halves alone can agree by luck where players are few.
    """
    sure = stopping.reliability(found.value, found.stderr)
    half_a, half_b = found.halves
    if cut is None:
        return min(stopping.predicted_agreement(half_a, half_b), sure) >= target
    overlap = stopping.predicted_overlap(half_a, half_b, cut)
    return overlap >= target and sure >= min(target, 0.8)


def _verdict(schedule: Schedule, found: Estimate, at: _Position) -> IndexEstimate:
    half_a, half_b = found.halves
    overlap = math.nan
    if schedule.cut is not None:
        overlap = stopping.predicted_overlap(half_a, half_b, schedule.cut)
    num_evaluations = schedule.cost.evaluations(at.done)
    return IndexEstimate(
        scores=Scores(found.value, found.stderr, num_evaluations),
        method=schedule.method,
        agreement=stopping.predicted_agreement(half_a, half_b),
        cut_overlap=overlap,
        status="settled" if at.is_settled else "budget",
        support=found.support,
        noise=found.noise,
        is_shrunk=found.is_shrunk,
    )
