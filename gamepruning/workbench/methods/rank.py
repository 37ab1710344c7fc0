"""One way from a method to a ranking of the players of a trained network."""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gamepruning.baselines import BASELINES
from gamepruning.selection import SelectionTrace
from gamepruning.types import Scores
from gamepruning.workbench.methods.bandits import check_pulls, rank_by_bandit
from gamepruning.workbench.methods.indices import check_evaluations, rank_by_index
from gamepruning.workbench.methods.registry import Kind, Method
from gamepruning.workbench.methods.subject import Rounds, Subject
from gamepruning.workbench.settings.parts import ScoringSettings

SCORED = 2000  # training examples that a baseline looks at
Source = Scores | SelectionTrace


class Ranking(NamedTuple):
    """The players that stay, at every size.

    Attributes:
      source: what `masks_at` takes.
      num_evaluations: coalitions evaluated, or pulls; 0 for baselines.
      seconds: wall-clock time.
    """

    source: Source
    num_evaluations: int
    seconds: float


def rank(key: jax.Array, method: Method, subject: Subject, rounds: Rounds) -> Ranking:
    """Rank the players of a trained network by any method but the equilibrium."""
    start = time.perf_counter()
    source = RANKERS[method.kind](key, method, subject, rounds)
    seconds = time.perf_counter() - start
    return Ranking(source, _count(method, source), seconds)


def rank_by_baseline(
    key: jax.Array, method: Method, subject: Subject, rounds: Rounds
) -> Scores:
    """Scores of a baseline on training examples."""
    task, split = subject.task, subject.task.dataset.train
    score = method.scorer if callable(method.scorer) else BASELINES[method.scorer]
    inputs, labels = (jnp.asarray(x[:SCORED]) for x in (split.inputs, split.labels))
    scores = score(key, task.players, subject.params, task.loss, inputs, labels)
    rounds.progress(1, 1)
    return scores


RANKERS: dict[Kind, Callable[[jax.Array, Method, Subject, Rounds], Source]] = {
    "baseline": rank_by_baseline,
    "index": rank_by_index,
    "bandit": rank_by_bandit,
}


def _count(method: Method, source: Source) -> int:
    """Coalitions evaluated, or pulls: without the value of each round."""
    if method.kind == "baseline":
        return 0
    if method.kind == "bandit" and isinstance(source, SelectionTrace):
        return source.num_evaluations - len(source.rounds)
    return source.num_evaluations


def check_scoring(
    method: Method, scoring: ScoringSettings, bias: float, num_players: int
) -> None:
    """Raise `InputError` if a budget is too small, before anything is trained."""
    if method.kind == "bandit":
        check_pulls(scoring.pulls, num_players)
    if method.kind == "index":
        check_evaluations(method, scoring.evaluations, bias, num_players)
