"""Players ranked by bandits: which can be removed without harm."""

import jax
import jax.numpy as jnp

from gamepruning.bandits import POLICIES, Policy, play_bandit, removal_arms
from gamepruning.errors import InputError
from gamepruning.selection import SelectionTrace, safe_removal
from gamepruning.types import Scores
from gamepruning.workbench.methods.registry import Method
from gamepruning.workbench.methods.subject import Rounds, Subject

PULL_ROWS = 10_000  # training examples that pulls draw mini-batches from, at most
VALUE_ROWS = 2000
STEP = 0.1  # of the players that are left, removed in a round
# Standard errors: the lowest means of few pulls are those of noisy players.
CAUTION = 2.0


def rank_by_bandit(
    key: jax.Array, method: Method, subject: Subject, rounds: Rounds
) -> Scores | SelectionTrace:
    """Scores of one game for all players, or the trace of a game in each round.

    Pulls use mini-batches of training data. In rounds a tenth of the players leaves,
    and the rest is played for anew, until the smallest size is reached or the
    validation metric has dropped.

    Cost: 10 pulls per player (in rounds, per player that is left) unless the settings
    say otherwise, and one evaluation a round.

    References:
      arXiv 2606.07615.
    """
    arms_key, play_key = jax.random.split(key)
    task, split = subject.task, subject.task.dataset.train
    inputs, labels = (jnp.asarray(x[:PULL_ROWS]) for x in (split.inputs, split.labels))
    arms = removal_arms(
        task.players,
        subject.params,
        task.loss,
        inputs,
        labels,
        batch_size=64,
        key=arms_key,
    )
    make = method.scorer if callable(method.scorer) else POLICIES[method.scorer]
    pulls = {"num_pulls": subject.scoring.pulls, "caution": CAUTION}
    if not method.is_iterated:
        return play_bandit(play_key, make(), arms, progress=rounds.progress, **pulls)
    return _remove(play_key, make(), arms, subject, rounds, pulls)


def _remove(
    key: jax.Array, policy: Policy, arms, subject: Subject, rounds: Rounds, pulls
) -> SelectionTrace:
    players, n = subject.task.players, rounds.smallest
    total = players.num_players

    def tell(now):
        rounds.progress(total - int(now.kept.sum()), total - n)

    game = subject.game_on(subject.task.metric, VALUE_ROWS)
    trace = safe_removal(
        key,
        policy,
        arms,
        game,
        n,
        step=STEP,
        max_drop=rounds.max_drop,
        players=players,
        checkpoint=rounds.checkpoint,
        callback=tell,
        **pulls,
    )
    rounds.progress(total - n, total - n)
    return trace


def check_pulls(pulls: int | None, num_players: int) -> None:
    """Raise `InputError` unless there is a pull for each player."""
    if pulls is not None and pulls < num_players:
        raise InputError(
            f"--pulls {pulls} is fewer than the {num_players} players, each of which "
            "is pulled once"
        )
