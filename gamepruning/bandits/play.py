"""Play a bandit: which player is safe to take out?"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypedDict, Unpack

import jax

from gamepruning.bandits.arms import RemovalArms
from gamepruning.bandits.game import BLOCKS, BanditState, count_turns
from gamepruning.bandits.games import (
    Games,
    game_of_all_groups,
    game_of_each_group,
    one_game,
)
from gamepruning.bandits.host import HostArms, HostPlays
from gamepruning.bandits.policies import PolicyLike, as_policy
from gamepruning.bandits.policy import Policy
from gamepruning.bandits.result import BanditResult, Status, are_separated, make_result
from gamepruning.options import make_options
from gamepruning.trees.keys import as_threefry
from gamepruning.types import InputError, KeyLike, Scores, ValueFn

PULLS_AN_ARM = 10  # where no budget is given


class BanditKeywords(TypedDict, total=False):
    """The keywords of `play_bandit`; see there."""

    num_pulls: int | None
    num_arms: int | None
    pulls_at_once: int
    stop_at: int | None
    caution: float
    progress: Callable[[int, int], Any] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class BanditOptions:
    """How a bandit is played; see `play_bandit`.

    Raises:
      InputError: caution is below 0.
    """

    num_pulls: int | None = None
    num_arms: int | None = None
    pulls_at_once: int = 1
    stop_at: int | None = None
    caution: float = 0.0
    progress: Callable[[int, int], Any] | None = None

    def __post_init__(self):
        if not 0 <= self.caution < math.inf:
            raise InputError(f"expected caution >= 0, got {self.caution}")

    def budget(self, num_open: int) -> int:
        """The number of pulls of a game with so many open arms.

        Raises:
          InputError: the options do not fit the number of arms.
        """
        budget = PULLS_AN_ARM * num_open if self.num_pulls is None else self.num_pulls
        if budget < num_open:
            raise InputError(
                f"expected num_pulls >= {num_open}, one pull for each arm, got {budget}"
            )
        if not 1 <= self.pulls_at_once <= num_open:
            raise InputError(
                f"expected pulls_at_once in [1, {num_open}], the number of arms, got "
                f"{self.pulls_at_once}"
            )
        if self.stop_at is not None and not 0 < self.stop_at < num_open:
            raise InputError(
                f"expected stop_at in (0, {num_open}), some but not all arms, got "
                f"{self.stop_at}"
            )
        return budget

    def report(self, done: int, total: int) -> None:
        """Tell `progress`, if there is one."""
        if self.progress is not None:
            self.progress(done, total)


def play_bandit(
    key: KeyLike,
    policy: PolicyLike,
    value_or_loss: RemovalArms | ValueFn,
    **options: Unpack[BanditKeywords],
) -> Scores:
    """Score players by bandit pulls: what is the loss without each of them?

    Every arm is pulled once; the median size of these loss changes is the spread. Then
    the policy chooses, and earns for a pull

    reward = 1 / (1 + exp(loss change / spread))

    which is 1/2 for a player whose removal changes nothing, more where the loss falls.
    An arm goes through the mini-batches in turn from one of its own, so that no two of
    its first M pulls see the same examples. Players are scored by their mean loss
    change, not by how often they were pulled: the policy decides where to look.

    Args:
      key: random key, or a seed.
      policy: such as `gp.ucb1()`, or its name.
      value_or_loss: `gp.removal_arms`, whose pulls run compiled, or a value function:
        coalitions, bool [S, N] -> values [S], higher is better.
      num_pulls: budget, at least one pull an open arm; 10 an open arm if None. The last
        turn is played whole: up to `pulls_at_once` - 1 pulls come on top.
      num_arms: N, where a value function does not say.
      pulls_at_once: pulls between two looks at the results.
      stop_at: stop once this many players of the lowest loss change are apart from the
        others: the 95 % intervals of all arms together (Student's t, Bonferroni) leave
        a gap there; never, if None.
      caution: standard errors to add to the mean loss change. The lowest means of few
        pulls are those of noisy players, some of them important; with 2 the first
        tenth removed from an MLP on MNIST has a quarter of the regret
        (`experiments/bandits`).
      progress: called with (pulls done, pulls in all).

    Returns:
      `Scores`: the mean loss change (or loss of value) without the player. Cost:
      num_pulls pulls, each a fraction `arms.share` of a pass over a mini-batch. The
      standard error is 0 after whole walks through the mini-batches, and for a value
      function that gives the same value each time.

    Raises:
      InputError: a budget below one pull an open arm, more pulls at once than arms, a
        `stop_at` outside (0, K), caution below 0, or a loss that is not finite.
      TypeError: an unknown keyword.

    Example: players of different worth, and no noise.
      >>> import jax, numpy as np
      >>> from gamepruning.bandits import ucb1
      >>> worth = np.array([3.0, 1.0, 2.0])
      >>> scores = play_bandit(
      ...     jax.random.key(0), ucb1(), lambda m: m @ worth, num_arms=3
      ... )
      >>> scores.value.tolist()
      [3.0, 1.0, 2.0]

    References:
      arXiv 2606.07615, of which the abstract is known: the form of the reward, the
      first pulls and the scoring by loss change are choices of this library.
    """
    chosen = make_options(BanditOptions, options, play_bandit)
    return _record(key, policy, value_or_loss, chosen).scores


def record_bandit(
    key: KeyLike,
    policy: PolicyLike,
    value_or_loss: RemovalArms | ValueFn,
    **options: Unpack[BanditKeywords],
) -> BanditResult:
    """Play a bandit and keep the record of the game: every pull, and how it ended.

    Args:
      key: random key.
      policy: such as `gp.ucb1()`.
      value_or_loss: see `play_bandit`.
      **options: the keywords of `play_bandit`.

    Returns:
      `BanditResult`, whose `scores` are those of `play_bandit`.

    Raises:
      InputError: see `play_bandit`.
      TypeError: an unknown keyword.

    Example:
      >>> import jax, numpy as np
      >>> from gamepruning.bandits import record_bandit, ucb1
      >>> worth = np.array([3.0, 1.0, 2.0])
      >>> value_fn = lambda masks: masks @ worth
      >>> record_bandit(jax.random.key(0), ucb1(), value_fn, num_arms=3)
      BanditResult('budget' after 30 pulls of 3 arms; safest to remove: 1, 1 +- 0)
    """
    chosen = make_options(BanditOptions, options, record_bandit)
    return _record(key, policy, value_or_loss, chosen)


def record_bandits(
    keys: Iterable[KeyLike],
    policy: PolicyLike,
    value_or_loss: RemovalArms | ValueFn,
    **options: Unpack[BanditKeywords],
) -> list[BanditResult]:
    """Play the same bandit with several keys, such as for the spread over seeds.

    Over the mesh of the arms each group of devices plays a game of its own; else games
    are played in turn.

    Args:
      keys: random keys or seeds.
      policy: such as `gp.ucb1()`.
      value_or_loss: see `play_bandit`.
      **options: the keywords of `play_bandit`.

    Returns:
      The `BanditResult` of each key, that of `record_bandit`.

    Raises:
      InputError: see `play_bandit`.
      LostProcess: another process of the mesh has ended.
      TypeError: an unknown keyword.

    Example:
      >>> import numpy as np
      >>> from gamepruning.bandits import record_bandits, ucb1
      >>> worth = np.array([3.0, 1.0, 2.0])
      >>> found = record_bandits(range(4), ucb1(), lambda m: m @ worth, num_arms=3)
      >>> [result.scores.value.tolist() for result in found[:2]]
      [[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]]
    """
    chosen = make_options(BanditOptions, options, record_bandits)
    given, found = [as_threefry(key) for key in keys], []
    arms, policy = _as_arms(value_or_loss, chosen), as_policy(policy)
    at_once = arms.layout.fewest_groups if isinstance(arms, RemovalArms) else 1
    for start in range(0, len(given), at_once):
        some = given[start : start + at_once]
        filled = [*some, *[some[-1]] * (at_once - len(some))]

        report = functools.partial(_report, chosen, (start, len(some), len(given)))
        found += _play(filled, policy, arms, chosen, report)[: len(some)]
    return found


def _report(
    options: BanditOptions, games: tuple[int, int, int], done: int, total: int
) -> None:
    """Tell of some games among others: played before, at hand, and in all."""
    before, at_hand, in_all = games
    options.report(before * total + at_hand * done, in_all * total)


def _record(
    key: KeyLike,
    policy: PolicyLike,
    value_or_loss: RemovalArms | ValueFn,
    options: BanditOptions,
) -> BanditResult:
    keys, arms = [as_threefry(key)], _as_arms(value_or_loss, options)
    (found,) = _play(keys, as_policy(policy), arms, options, options.report)
    return found


def _as_arms(
    value_or_loss: RemovalArms | ValueFn, options: BanditOptions
) -> RemovalArms | HostArms:
    if isinstance(value_or_loss, RemovalArms):
        return value_or_loss
    return HostArms(value_or_loss, options.num_arms)


def _play(
    keys: list[jax.Array],
    policy: Policy,
    arms: RemovalArms | HostArms,
    options: BanditOptions,
    report: Callable[[int, int], None],
) -> list[BanditResult]:
    """The games of some keys side by side, one in each group of devices; or one."""
    num_open = int(arms.is_open.sum())
    budget = options.budget(num_open)
    games = _make_games(len(keys), policy, arms, budget, options)
    state = games.init(arms.data, keys, arms.is_open, budget)
    ended: dict[int, BanditState] = {}
    report(num_open, budget)
    for start, stop in _blocks(budget, num_open, options):
        if options.stop_at is not None:
            for number, one in enumerate(games.rows(state)):
                if are_separated(one, arms.num_batches, options.stop_at):
                    ended.setdefault(number, one)
            if len(ended) == len(keys):
                break
        state = games.advance(arms.data, state, start, stop)
        report(min(num_open + stop * options.pulls_at_once, budget), budget)

    def result(number: int, last: BanditState) -> BanditResult:
        status: Status = "separated" if number in ended else "budget"
        own = ended.get(number, last)
        return make_result(own, policy, arms.num_batches, status, options.caution)

    return [result(number, one) for number, one in enumerate(games.rows(state))]


def _blocks(
    budget: int, num_open: int, options: BanditOptions
) -> Iterator[tuple[int, int]]:
    """The turns of a game, (start, stop), in the blocks between which one looks up."""
    num_turns = count_turns(budget, num_open, options.pulls_at_once)
    is_watched = options.progress is not None or options.stop_at is not None
    length = max(1, math.ceil(num_turns / BLOCKS) if is_watched else num_turns)
    for start in range(0, num_turns, length):
        yield start, min(start + length, num_turns)


def _make_games(
    num_games: int,
    policy: Policy,
    arms: RemovalArms | HostArms,
    budget: int,
    options: BanditOptions,
) -> Games:
    at_once = options.pulls_at_once
    if isinstance(arms, HostArms):
        return one_game(HostPlays(policy, arms, budget, at_once))
    # One program for all rounds of a removal, whose budgets shrink by themselves.
    most = PULLS_AN_ARM * arms.num_arms if options.num_pulls is None else budget
    known = (policy, most, at_once, arms.num_batches, num_games > 1)
    if known not in arms.compiled:
        make = game_of_each_group if num_games > 1 else game_of_all_groups
        arms.compiled[known] = make(policy, arms, most, at_once)
    return arms.compiled[known]
