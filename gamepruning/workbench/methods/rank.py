"""One way from a method to a ranking of the players of a trained network."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gamepruning import selection
from gamepruning.bandits import POLICIES, play_bandit, removal_arms
from gamepruning.baselines import BASELINES, Baseline
from gamepruning.coalitions.estimators.select import choose_method
from gamepruning.coalitions.indices import banzhaf_values, shapley_values
from gamepruning.coalitions.semivalues import banzhaf, shapley
from gamepruning.errors import InputError
from gamepruning.files.together import shared_mesh
from gamepruning.reconstruction import reconstruction_scores
from gamepruning.selection import SelectionTrace, safe_removal
from gamepruning.spelling import closest
from gamepruning.trees.examples import draw_rows
from gamepruning.types import Scores
from gamepruning.workbench.methods.subject import Rounds, Subject
from gamepruning.workbench.registry import Kind, Method
from gamepruning.workbench.settings.parts import ScoringSettings

SCORED = 2000  # training examples that a baseline looks at
LAWS = ("shapley", "banzhaf", "biased_banzhaf")  # greedy and new scorers have none
PER_PLAYER, PER_PLAYER_IN_ROUNDS = 10, 2  # evaluations of an estimate
HALF = 0.5  # the bias of the Banzhaf value
RARE = 1e-9  # chance that a player is in no coalition of an estimate, or in all
PULL_ROWS = 10_000  # training examples that pulls draw mini-batches from, at most
PULL_BATCH = 64
VALUE_ROWS = 2000  # validation examples that say whether bandits go on removing
STEP = 0.1  # of the players that are left, removed by bandits in a round
# Standard errors: the lowest means of few pulls are those of noisy players.
CAUTION = 2.0
ON_INPUTS = ("players", "params", "inputs")  # what elimination looks at
ELIMINATION = {"elimination": Baseline(reconstruction_scores, ON_INPUTS)}
Source = Scores | SelectionTrace  # what `masks_at` takes


def count_evaluations(method: Method, source: Source) -> int:
    """Coalitions evaluated, or pulls without the value of each round."""
    rounds = source.rounds if isinstance(source, SelectionTrace) else ()
    valued = {"baseline": source.num_evaluations, "bandit": len(rounds)}
    return source.num_evaluations - valued.get(method.kind, 0)


def rank_by_baseline(
    key: jax.Array, method: Method, subject: Subject, rounds: Rounds
) -> Scores:
    """Scores of a baseline on training examples."""
    score = _scorer_of(method, ELIMINATION | BASELINES)
    if score is ELIMINATION["elimination"]:  # seconds for each family of a deep network
        told = {"progress": lambda _, number, count: rounds.progress(number, count)}
        score = Baseline(reconstruction_scores, ON_INPUTS, told)
    inputs, labels = _training_rows(subject, SCORED)
    task = subject.task
    scores = score(key, task.players, subject.params, task.loss, inputs, labels)
    rounds.progress(1, 1)
    return scores


def rank_by_index(
    key: jax.Array, method: Method, subject: Subject, rounds: Rounds
) -> Source:
    """Scores of one estimate, or the trace of building or pruning.

    Rounds build up to the largest size, or prune down to the smallest. See Diaz-Ortiz
    et al., arXiv 2311.10468.
    """
    game, scoring, total = subject.game, subject.scoring, subject.game.num_players
    if not method.is_iterated:
        scorer = _make_scorer(method, subject, PER_PLAYER * total)
        return scorer(key, game, total, progress=rounds.progress)
    building, fits = method.selection == "building", rounds.fits
    n = rounds.largest if building else rounds.smallest
    start, decisions = (0, n) if building else (total, total - n)

    def make(now):
        rounds.progress(abs(int(now.kept.sum()) - start), decisions)
        return _make_scorer(method, subject, PER_PLAYER_IN_ROUNDS * now.num_free)

    play = selection.iterated_building if building else selection.iterated_pruning
    trace = play(
        key,
        game,
        n,
        step=scoring.step,
        swaps=scoring.swaps,
        swaps_at_once=max(scoring.swaps // 2, 1),
        make_scorer=make,
        players=subject.task.players,
        checkpoint=rounds.checkpoint,
        until=fits and (lambda kept: fits(kept) != building),
    )
    rounds.progress(decisions, decisions)
    return trace


def rank_by_bandit(
    key: jax.Array, method: Method, subject: Subject, rounds: Rounds
) -> Source:
    """Scores of one game for all players, or the trace of a game in each round.

    In rounds a tenth of the players leaves, and the rest is played for anew, until the
    smallest size is reached or the validation metric has dropped. See arXiv 2606.07615.
    """
    arms_key, play_key = jax.random.split(key)
    task, (inputs, labels) = subject.task, _training_rows(subject, PULL_ROWS)
    arms = removal_arms(
        task.players,
        subject.params,
        task.loss,
        inputs,
        labels,
        batch_size=PULL_BATCH,
        key=arms_key,
        mesh=shared_mesh(),
    )
    make = _scorer_of(method, POLICIES)
    pulls: dict[str, Any] = {"num_pulls": subject.scoring.pulls, "caution": CAUTION}
    if not method.is_iterated:
        return play_bandit(play_key, make(), arms, progress=rounds.progress, **pulls)
    total, n = task.players.num_players, rounds.smallest
    trace = safe_removal(
        play_key,
        make(),
        arms,
        subject.game_on(task.metric, VALUE_ROWS),
        n,
        step=STEP,
        max_drop=rounds.max_drop,
        players=task.players,
        checkpoint=rounds.checkpoint,
        callback=lambda now: rounds.progress(total - int(now.kept.sum()), total - n),
        until=rounds.fits,
        **pulls,
    )
    rounds.progress(total - n, total - n)
    return trace


RANKERS: dict[Kind, Callable[[jax.Array, Method, Subject, Rounds], Source]] = {
    "baseline": rank_by_baseline,
    "index": rank_by_index,
    "bandit": rank_by_bandit,
}


def rank(method: Method, subject: Subject, rounds: Rounds) -> Source:
    """The ranking by a method, the same for every command."""
    source = RANKERS[method.kind](subject.key, method, subject, rounds)
    if not isinstance(source, Source):
        told = f"the scorer of {method.name} to return gp.Scores"
        raise InputError(f"expected {told}, got {type(source).__name__}")
    return source


def _scorer_of(method: Method, table: Mapping[str, Callable]) -> Callable[..., Any]:
    name = method.scorer
    if isinstance(name, str) and name not in table:
        raise InputError(f"{method.name} has no scorer {name!r}{closest(name, table)}")
    return table[name] if isinstance(name, str) else name


def _training_rows(subject: Subject, most: int) -> tuple[jax.Array, jax.Array]:
    inputs, labels = draw_rows(subject.task.dataset.train, most)
    return jnp.asarray(inputs), jnp.asarray(labels)


def _make_scorer(method: Method, subject: Subject, usual: int) -> Callable[..., Scores]:
    """(key, value_fn, num_players) -> `Scores`, with the usual budget or the given."""
    if method.scorer == "greedy":
        base = "empty" if method.selection == "building" else "full"
        return lambda *game, progress=None: selection.greedy_scores(*game, base=base)
    bias = subject.bias if method.scorer == "biased_banzhaf" else HALF
    if method.scorer in ("banzhaf", "biased_banzhaf"):
        usual = max(usual, math.ceil(math.log(RARE) / math.log1p(-min(bias, 1 - bias))))
    scorer = method.scorer
    if scorer == "shapley":  # two orders bring nobody and everybody along
        scorer, usual = shapley_values, usual + 4
    budget = subject.scoring.evaluations or usual
    if callable(scorer):
        return functools.partial(scorer, num_evaluations=budget)
    return functools.partial(banzhaf_values, bias=bias, num_evaluations=budget)


def check_scoring(method: Method, scoring: ScoringSettings, num_players: int) -> None:
    """Raise `InputError` if a budget is too small, before anything is trained."""
    pulls, evaluations = scoring.pulls, scoring.evaluations
    if method.kind == "bandit" and pulls is not None and pulls < num_players:
        raise InputError(
            f"--pulls {pulls} is fewer than the {num_players} players, each of which "
            "is pulled once"
        )
    if evaluations is None or method.kind != "index" or method.scorer not in LAWS:
        return
    law = shapley(num_players)
    if method.scorer != "shapley":
        given = scoring.bias if method.scorer == "biased_banzhaf" else None
        law = banzhaf(num_players, HALF if given is None else given)
    try:
        choose_method(law, num_players, evaluations, False)
    except InputError as error:
        raise InputError(f"--evaluations {evaluations}: {error}") from None
