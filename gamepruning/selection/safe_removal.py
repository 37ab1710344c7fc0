"""Bandit pruning: who is safe to take out, round by round."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import jax
import numpy as np

from gamepruning.bandits.arms import RemovalArms
from gamepruning.bandits.play import play_bandit
from gamepruning.bandits.policies import PolicyLike, as_policy
from gamepruning.bandits.policy import Policy
from gamepruning.options import make_options
from gamepruning.players import Players
from gamepruning.selection.iterated import iterated_pruning
from gamepruning.selection.settings import GameScorer, Progress
from gamepruning.selection.top_n import Size
from gamepruning.selection.trace import Round, SelectionTrace
from gamepruning.types import KeyLike, Scores, ValueFn


class RemovalKeywords(TypedDict, total=False):
    """The rarer keywords of `safe_removal`; see there."""

    num_pulls: int | None
    pulls_at_once: int
    caution: float
    max_drop: float | None
    min_units: int
    protect: Sequence[str]
    checkpoint: str | Path | None
    callback: Callable[[Round], None] | None
    until: Callable[[np.ndarray], bool] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemovalOptions:
    """The rarer settings of `safe_removal`; see there."""

    num_pulls: int | None = None
    pulls_at_once: int = 1
    caution: float = 0.0
    max_drop: float | None = None
    min_units: int = 1
    protect: Sequence[str] = ()
    checkpoint: str | Path | None = None
    callback: Callable[[Round], None] | None = None
    until: Callable[[np.ndarray], bool] | None = None


def safe_removal(
    key: KeyLike,
    policy: PolicyLike,
    arms: RemovalArms,
    value_fn: ValueFn,
    n: Size,
    *,
    step: int | float = 0.1,
    players: Players | None = None,
    **options: Unpack[RemovalKeywords],
) -> SelectionTrace:
    """Take out the players that a bandit finds safe, and play again among the rest.

    `iterated_pruning` whose scorer plays a game in every round, on the network as it
    then is.

    Args:
      key: random key; round k uses `fold_in(key, k)`.
      policy: such as `gp.ucb1()`.
      arms: `gp.removal_arms` of the N players.
      value_fn: coalitions, bool [S, N] -> values [S], on validation data; for the
        trace and for `max_drop`.
      n: players left at the end, 0 < n < N; a fraction, or a count for each family:
        see `iterated_pruning`.
      step: players removed in a round, or a fraction in (0, 1] of those who are in.
        N - n removes all of them by one game.
      num_pulls: pulls in each round; 10 for each player that is left if None.
      pulls_at_once: pulls between two looks at the results; fewer when fewer are left.
      caution: standard errors to add to the mean loss change; see `play_bandit`.
      max_drop: end before the round that makes the value fall further than this below
        that of the full network; never, if None.
      players: the `Players`, whose families keep at least `min_units` each.
      min_units: see players.
      protect: names of families of which nobody leaves.
      checkpoint: file to write after every round, and to resume from if it is there.
      callback: called with every new `Round`.
      until: who is in, bool [N] -> True to end after this round.

    Returns:
      `SelectionTrace`. Cost: `num_pulls` pulls, one pass over the arms' examples and
      one evaluation a round.

    Raises:
      InputError: see `iterated_pruning` and `play`.

    Example: f = 3 s_0 + s_1 / 50 + s_2, and the target is everybody's output.
      >>> import jax, jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {
      ...     "in": jnp.array([[3.0, 2.0, 1.0]]),
      ...     "out": jnp.array([[1.0], [0.01], [1.0]]),
      ... }
      >>> x, y = jnp.ones((4, 1)), jnp.full(4, 4.02)
      >>> players = gp.find_players(apply, params, x)
      >>> arms = gp.removal_arms(players, params, gp.squared_error, x, y)
      >>> metric = lambda out, y: -gp.squared_error(out, y)
      >>> value_fn = gp.value_function(players, params, metric, x, y)
      >>> key = jax.random.key(0)
      >>> trace = safe_removal(key, gp.ucb1(), arms, value_fn, 1, step=1)
      >>> trace.order.tolist()
      [1, 2]
      >>> trace = safe_removal(key, gp.ucb1(), arms, value_fn, 1, step=1, max_drop=0.5)
      >>> trace.order.tolist()
      [1]

    References:
      arXiv 2606.07615; rounds with scores made anew are a choice of this library.
    """
    chosen = make_options(RemovalOptions, options, safe_removal)
    policy = as_policy(policy)
    return iterated_pruning(
        key,
        value_fn,
        n,
        step=step,
        players=players,
        make_scorer=functools.partial(_scorer, policy, arms, chosen),
        num_players=arms.num_arms,
        max_drop=chosen.max_drop,
        min_units=chosen.min_units,
        protect=chosen.protect,
        checkpoint=chosen.checkpoint,
        about=_facts(policy, arms, chosen),
        callback=chosen.callback,
        until=chosen.until,
    )


def _scorer(
    policy: Policy, arms: RemovalArms, options: RemovalOptions, now: Progress
) -> GameScorer:
    """Play among those who are in, in the place of the game of the free players."""

    def score(key: jax.Array, game: Any, num_free: int) -> Scores:
        scores = play_bandit(
            key,
            policy,
            arms.without(now.kept),
            num_pulls=options.num_pulls,
            pulls_at_once=min(options.pulls_at_once, num_free),
            caution=options.caution,
        )
        value, stderr = np.asarray(scores.value), np.asarray(scores.stderr)
        return Scores(value[now.kept], stderr[now.kept], scores.num_evaluations)

    return score


def _facts(
    policy: Policy, arms: RemovalArms, options: RemovalOptions
) -> dict[str, Any]:
    """What a checkpoint must agree with."""
    return {
        "policy": policy.name,
        "rate": float(policy.init(arms.num_arms, arms.num_arms).rate),
        "num_pulls": options.num_pulls,
        "pulls_at_once": options.pulls_at_once,
        "caution": options.caution,
        "num_batches": arms.num_batches,
    }
