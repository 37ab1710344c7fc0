"""The scan that plays a bandit: which player is safe to take out?"""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int
from scipy import stats

from gamepruning.bandits.arms import RemovalArms
from gamepruning.bandits.policies import Policy, PolicyState
from gamepruning.types import InputError, Scores

PULLS_AN_ARM = 10  # where no budget is given
BLOCKS = 50  # that a game is played in, between reports of progress
FEWEST_TURNS, MOST_TURNS = 16, 256  # that random numbers are drawn for together
MOST_DRAWS = 2**18
SIDE_BY_SIDE = 32  # pulls that are one product, where many are asked for at once
CONFIDENCE = 0.95  # that all arms are on their side of the cut, when a game stops
Status = Literal["budget", "separated"]


class Game(NamedTuple):
    """A bandit game under way; K arms, T pulls.

    Attributes:
      policy: the policy's state.
      shift: the first loss change of each arm, float [K].
      sums: of loss change - shift, float [K].
      squares: of (loss change - shift)^2, float [K].
      spread: the loss change at which a reward is 1/2 +- 0.23; a scalar.
      offset: the mini-batch that each arm starts with, int [K].
      key: random key.
      arms: who was pulled, in order, int [T]; -1 where nobody was yet.
      changes: the loss changes, float [T].
    """

    policy: PolicyState
    shift: Float[Array, " K"]
    sums: Float[Array, " K"]
    squares: Float[Array, " K"]
    spread: Float[Array, ""]
    offset: Int[Array, " K"]
    key: Array
    arms: Int[Array, " T"]
    changes: Float[Array, " T"]


class Plays(NamedTuple):
    """A game as pure functions of `RemovalArms.data`; for jit, vmap and loops.

    Attributes:
      init: (data, key, is_open, horizon=None) -> `Game` after the first pull of every
        open arm; horizon is the number of pulls that policies expect, at most what
        the game was made for, and that if None.
      advance: (data, game, start, stop) -> `Game` after those turns, of
        `pulls_at_once` pulls each.
    """

    init: Callable[..., Game]
    advance: Callable[..., Game]


class BanditResult(NamedTuple):
    """What a game found.

    Attributes:
      scores: mean loss change without each player (plus `caution` standard errors),
        and its standard error: higher means keep; -inf for a player that is out.
      pulls: how often each arm was pulled, int [K].
      rewards: the mean reward of each arm, float [K].
      preference: how safe to remove each arm seems to the policy itself, float [K].
      arms: who was pulled, in order, int [T].
      changes: the loss changes, float [T].
      status: "budget" if all pulls were spent, "separated" if those to remove were
        told apart before.
    """

    scores: Scores
    pulls: np.ndarray
    rewards: np.ndarray
    preference: np.ndarray
    arms: np.ndarray
    changes: np.ndarray
    status: Status


def play_bandit(
    key: Array,
    policy: Policy,
    value_or_loss: Any,
    *,
    num_pulls: int | None = None,
    num_arms: int | None = None,
    pulls_at_once: int = 1,
    stop_at: int | None = None,
    caution: float = 0.0,
    progress: Callable[[int, int], Any] | None = None,
) -> Scores:
    """Score players by bandit pulls: what is the loss without each of them?

    `play` with its result cut down to the scores; see there for what is played.

    Args:
      key: random key.
      policy: such as `gp.ucb1()`.
      value_or_loss: `gp.removal_arms`, whose pulls run compiled, or a value function:
        coalitions, bool [S, N] -> values [S], higher is better.
      num_pulls: budget, at least one pull an open arm; 10 an open arm if None.
      num_arms: N, where a value function does not say.
      pulls_at_once: pulls between two looks at the results.
      stop_at: see `play`.
      caution: see `play`.
      progress: called with (pulls done, pulls in all).

    Returns:
      `Scores`: the mean loss change (or loss of value) without the player.

    Raises:
      InputError: see `play`.

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
      arXiv 2606.07615.
    """
    return play(
        key,
        policy,
        value_or_loss,
        num_pulls=num_pulls,
        num_arms=num_arms,
        pulls_at_once=pulls_at_once,
        stop_at=stop_at,
        caution=caution,
        progress=progress,
    ).scores


def play(
    key: Array,
    policy: Policy,
    arms: Any,
    *,
    num_pulls: int | None = None,
    num_arms: int | None = None,
    pulls_at_once: int = 1,
    stop_at: int | None = None,
    caution: float = 0.0,
    progress: Callable[[int, int], Any] | None = None,
) -> BanditResult:
    """Play the safe-removal bandit.

    Every arm is pulled once; the median size of these loss changes is the spread. Then
    the policy chooses, and earns for a pull

    reward = 1 / (1 + exp(loss change / spread))

    which is 1/2 for a player whose removal changes nothing, more where the loss falls.
    An arm goes through the mini-batches in turn from one of its own, so that no two of
    its first M pulls see the same examples. Players are scored by their mean loss
    change, not by how often they were pulled: the policy decides where to look.

    Args:
      key: random key.
      policy: such as `gp.ucb1()`.
      arms: `gp.removal_arms`, or a value function; see `play_bandit`.
      num_pulls: budget, at least one pull an open arm; 10 an open arm if None.
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
      `BanditResult`.

    Raises:
      InputError: a budget below one pull an open arm, more pulls at once than arms, a
        `stop_at` outside (0, K), caution below 0, or a loss that is not finite.

    Cost: num_pulls pulls, each a fraction `arms.share` of a pass over a mini-batch.

    References:
      arXiv 2606.07615, of which the abstract is known: the form of the reward, the
      first pulls and the scoring by loss change are choices of this library.
    """
    if not isinstance(arms, RemovalArms):
        arms = _HostArms(arms, num_arms)
    total = int(arms.is_open.sum())
    budget = PULLS_AN_ARM * total if num_pulls is None else num_pulls
    _check(budget, total, pulls_at_once, stop_at, caution)
    if isinstance(arms, _HostArms):
        run = _HostPlays(policy, arms, budget, pulls_at_once)
    else:
        # One program for all rounds of a removal, whose budgets shrink by themselves.
        most = PULLS_AN_ARM * arms.num_arms if num_pulls is None else budget
        run = _compiled(policy, arms, most, pulls_at_once)
    game = run.init(arms.data, key, jnp.asarray(arms.is_open), budget)
    done, status = 0, "budget"
    num_turns = count_turns(budget, total, pulls_at_once)
    is_watched = progress is not None or stop_at is not None
    block = max(1, math.ceil(num_turns / BLOCKS) if is_watched else num_turns)
    _report(progress, total, budget)
    while done < num_turns:
        if stop_at is not None and _are_separated(game, arms.num_batches, stop_at):
            status = "separated"
            break
        stop = min(done + block, num_turns)
        game = run.advance(arms.data, game, done, stop)
        done = stop
        _report(progress, min(total + done * pulls_at_once, budget), budget)
    return _result(game, policy, arms.num_batches, status, caution)


def make_plays(
    policy: Policy, arms: RemovalArms, *, num_pulls: int, pulls_at_once: int = 1
) -> Plays:
    """A game as pure functions, for many seeds by `vmap` or a loop of one's own.

    Args:
      policy: such as `gp.ucb1()`.
      arms: `gp.removal_arms`; `arms.data` is an argument of the functions.
      num_pulls: budget, at least one pull an arm.
      pulls_at_once: pulls between two looks at the results.

    Returns:
      `Plays`.

    Example: five seeds side by side.
      >>> import jax, jax.numpy as jnp, gamepruning as gp
      >>> from gamepruning.bandits import count_turns, make_plays, ucb1
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.array([[3.0, 1.0]]), "out": jnp.ones((2, 1))}
      >>> x, y = jnp.ones((4, 1)), jnp.full(4, 4.0)
      >>> players = gp.find_players(apply, params, x)
      >>> arms = gp.removal_arms(players, params, gp.squared_error, x, y)
      >>> plays = make_plays(ucb1(), arms, num_pulls=10)
      >>> def whole(key):
      ...     game = plays.init(arms.data, key, jnp.ones(2, bool))
      ...     return plays.advance(arms.data, game, 0, count_turns(10, 2))
      >>> jax.vmap(whole)(jax.random.split(jax.random.key(0), 5)).arms.shape
      (5, 12)
    """
    num_arms, num_batches = arms.num_arms, arms.num_batches
    begin = jax.jit(functools.partial(_begin, policy, num_pulls, pulls_at_once))

    def pull_all(data, offset, is_open):
        order = jnp.argsort(~is_open, stable=True)  # open arms first

        def body(number, found):
            arm = order[number]
            return found.at[arm].set(arms.pull(data, arm, offset[arm]))

        zeros = jnp.zeros(num_arms, data["losses"].dtype)
        return lax.fori_loop(0, is_open.sum(), body, zeros)

    # Compiled once for all policies.
    first_pulls = arms.compile_once(("first", num_batches), lambda: pull_all)

    def init(data, key, is_open, horizon=None) -> Game:
        start_key, key = jax.random.split(key)
        offset = jax.random.randint(start_key, (num_arms,), 0, num_batches)
        first = first_pulls(data, offset, is_open)
        expected = num_pulls if horizon is None else horizon
        return begin(first, offset, key, is_open, expected)

    def turn(data, game, number, drawn) -> Game:
        chosen = policy.choose(game.policy, drawn, pulls_at_once)
        batch = _next_batches(game, chosen, num_batches)
        if pulls_at_once == 1:
            changes = arms.pull(data, chosen[0], batch[0])[None]
        else:
            changes = lax.map(
                lambda at: arms.pull(data, *at),
                (chosen, batch),
                batch_size=SIDE_BY_SIDE,
            )
        return _learn(policy, game, number, chosen, changes)

    def draw(key, number):
        own = jax.random.fold_in(key, number)
        return policy.draw(own, num_arms, pulls_at_once)

    block = math.ceil(count_turns(num_pulls, num_arms, pulls_at_once) / BLOCKS)
    at_once = min(max(block, FEWEST_TURNS), MOST_TURNS)
    at_once = max(1, min(at_once, MOST_DRAWS // (num_arms * pulls_at_once)))

    def some_turns(carry):
        """As many turns as numbers are drawn for together."""
        data, game, start, stop = carry
        numbers = start + jnp.arange(at_once)
        drawn = jax.vmap(draw, (None, 0))(game.key, numbers)

        def body(number, game):
            own = jax.tree.map(lambda leaf: leaf[number - start], drawn)
            return turn(data, game, number, own)

        end = jnp.minimum(start + at_once, stop)
        return data, lax.fori_loop(start, end, body, game), end, stop

    def advance(data, game, start, stop) -> Game:
        carry = (data, game, jnp.asarray(start), jnp.asarray(stop))
        return lax.while_loop(lambda c: c[2] < c[3], some_turns, carry)[1]

    return Plays(init, advance)


def count_turns(num_pulls: int, num_arms: int, pulls_at_once: int = 1) -> int:
    """How many turns a budget allows after one pull of each of `num_arms`.

    Example:
      >>> count_turns(100, 40, 8)
      8
    """
    return math.ceil((num_pulls - num_arms) / pulls_at_once)


def safe_reward(change: Array, spread: Array) -> Array:
    """1 / (1 + exp(loss change / spread)): 1/2 where nothing changes, in [0, 1]."""
    return jax.nn.sigmoid(-change / jnp.maximum(spread, 1e-30))


# -- a turn ------------------------------------------------------------------------


def _begin(
    policy: Policy, most_pulls: int, at_once: int, first, offset, key, is_open, horizon
) -> Game:
    """The game after one pull of every open arm."""
    num_arms = len(first)
    length = num_arms + count_turns(most_pulls, 0, at_once) * at_once
    first = jnp.where(is_open, first, 0.0)
    sizes = jnp.where(is_open & (first != 0), jnp.abs(first), jnp.nan)
    spread = jnp.nan_to_num(jnp.nanmedian(sizes), nan=1.0)
    state = policy.init(num_arms, horizon, is_open)
    state = _count_first(state, safe_reward(first, spread), is_open)
    zeros = jnp.zeros_like(first)
    arms = jnp.full(length, -1, jnp.int32)
    arms = arms.at[:num_arms].set(jnp.where(is_open, jnp.arange(num_arms), -1))
    changes = jnp.zeros(length, first.dtype).at[:num_arms].set(first)
    return Game(state, first, zeros, zeros, spread, offset, key, arms, changes)


def _count_first(state: PolicyState, rewards: Array, is_open: Array) -> PolicyState:
    """Count the first pulls; weights stay, for no policy chose these pulls."""
    return state._replace(
        counts=is_open.astype(state.counts.dtype),
        totals=jnp.where(is_open, rewards, 0.0).astype(state.totals.dtype),
    )


def _next_batches(game: Game, chosen: Array, num_batches: int) -> Array:
    """The mini-batches that the chosen arms have not seen for longest.

    An arm that was chosen twice in one turn sees two of them.
    """
    seen = game.policy.counts[chosen].astype(int)
    if len(chosen) > 1:
        seen += jnp.tril(chosen[:, None] == chosen[None], -1).sum(axis=1)
    return (game.offset[chosen] + seen) % num_batches


def _learn(policy: Policy, game: Game, number, chosen: Array, changes: Array) -> Game:
    apart = changes - game.shift[chosen]
    place = len(game.shift) + number * len(chosen)
    rewards = safe_reward(changes, game.spread)
    chosen_32 = chosen.astype(game.arms.dtype)
    return game._replace(
        policy=policy.update(game.policy, chosen, rewards),
        sums=game.sums.at[chosen].add(apart),
        squares=game.squares.at[chosen].add(jnp.square(apart)),
        arms=lax.dynamic_update_slice(game.arms, chosen_32, (place,)),
        changes=lax.dynamic_update_slice(game.changes, changes, (place,)),
    )


# -- running it --------------------------------------------------------------------


def _compiled(policy: Policy, arms: RemovalArms, budget: int, at_once: int) -> Plays:
    """The game of these arms, compiled once for all rounds of a removal."""
    known = (policy, budget, at_once, arms.num_batches)
    if known not in arms.compiled:
        plays = make_plays(policy, arms, num_pulls=budget, pulls_at_once=at_once)
        arms.compiled[known] = plays._replace(advance=jax.jit(plays.advance))
    return arms.compiled[known]


class _HostArms:
    """A value function as arms: the value of everybody minus that without a player."""

    num_batches = 1
    data = None

    def __init__(self, value_fn: Callable[..., Any], num_arms: int | None):
        known = getattr(value_fn, "num_players", None)
        if not callable(value_fn) or (num_arms is None and known is None):
            raise InputError(
                "expected gp.removal_arms, or a value function and num_arms=, the "
                f"number of its players; got {type(value_fn).__name__}"
            )
        self.num_arms = int(known if num_arms is None else num_arms)  # type: ignore[arg-type]
        self.is_open = np.ones(self.num_arms, bool)
        self._value_fn = value_fn

    def pull(self, chosen: np.ndarray) -> np.ndarray:
        masks = np.ones((len(chosen) + 1, self.num_arms), bool)
        masks[np.arange(len(chosen)), chosen] = False
        values = np.asarray(self._value_fn(masks), float)
        return values[-1] - values[:-1]


class _HostPlays:
    """The same game with pulls that are calls of a value function."""

    def __init__(self, policy: Policy, arms: _HostArms, num_pulls: int, at_once: int):
        self.policy, self.arms, self.num_pulls = policy, arms, num_pulls
        self.at_once = at_once
        self.select = jax.jit(functools.partial(policy.select_many, num=at_once))
        self.learn = jax.jit(functools.partial(_learn, policy))

    def init(self, data, key, is_open, horizon=None) -> Game:
        num = self.arms.num_arms
        first = jnp.asarray(self.arms.pull(np.arange(num)))
        offset = jnp.zeros(num, int)
        args = (first, offset, key, is_open, horizon or self.num_pulls)
        return _begin(self.policy, self.num_pulls, self.at_once, *args)

    def advance(self, data, game: Game, start: int, stop: int) -> Game:
        for number in range(start, stop):
            chosen = self.select(game.policy, jax.random.fold_in(game.key, number))
            changes = jnp.asarray(self.arms.pull(np.asarray(chosen)))
            game = self.learn(game, number, chosen, changes)
        return game


def _estimates(game: Game, num_batches: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean loss change of each arm, and its standard error."""
    counts = np.maximum(np.asarray(game.policy.counts, float), 1)
    sums, squares = np.asarray(game.sums, float), np.asarray(game.squares, float)
    mean = np.asarray(game.shift, float) + sums / counts
    repeated = counts > 1
    spare = np.maximum(squares - sums**2 / counts, 0) / np.maximum(counts - 1, 1)
    pooled = spare[repeated].mean() if repeated.any() else np.mean(mean**2)
    variance = np.where(repeated, spare, pooled)
    # Whole walks through the mini-batches are exact; the rest are drawn from M.
    rest = counts % num_batches
    return mean, np.sqrt(variance * rest * (1 - rest / num_batches)) / counts


def _are_separated(game: Game, num_batches: int, count: int) -> bool:
    is_open = np.asarray(game.policy.is_open)
    mean, stderr = (x[is_open] for x in _estimates(game, num_batches))
    freedom = np.asarray(game.policy.counts)[is_open] - 1
    if freedom.min() < 1:
        return False
    level = (1 - CONFIDENCE) / (2 * len(mean))
    radius = stderr * stats.t.isf(level, freedom)
    order = np.argsort(mean, kind="stable")
    low, high = order[:count], order[count:]
    return bool((mean + radius)[low].max() < (mean - radius)[high].min())


def _result(
    game: Game, policy: Policy, num_batches: int, status: Status, caution: float
) -> BanditResult:
    is_open = np.asarray(game.policy.is_open)
    mean, stderr = _estimates(game, num_batches)
    pulled = np.asarray(game.arms)
    used = pulled >= 0
    changes = np.asarray(game.changes)[used]
    if not np.isfinite(changes).all():
        bad = int(np.flatnonzero(~np.isfinite(changes))[0])
        raise InputError(
            f"the loss change of player {pulled[used][bad]} is {changes[bad]}: look "
            "for NaN in the inputs, or a label outside the classes"
        )
    counts = np.asarray(game.policy.counts).astype(int)
    value = np.where(is_open, mean + caution * stderr, -np.inf)
    return BanditResult(
        Scores(value, np.where(is_open, stderr, 0.0), int(counts.sum())),
        counts,
        np.asarray(game.policy.totals) / np.maximum(counts, 1),
        np.asarray(policy.preference(game.policy)),
        pulled[used],
        changes,
        status,
    )


def _check(
    budget: int, num_arms: int, at_once: int, stop_at: int | None, caution: float
) -> None:
    if not 0 <= caution < math.inf:
        raise InputError(f"expected caution >= 0, got {caution}")
    if budget < num_arms:
        raise InputError(
            f"expected num_pulls >= {num_arms}, one pull for each arm, got {budget}"
        )
    if not 1 <= at_once <= num_arms:
        raise InputError(
            f"expected pulls_at_once in [1, {num_arms}], the number of arms, got "
            f"{at_once}"
        )
    if stop_at is not None and not 0 < stop_at < num_arms:
        raise InputError(
            f"expected stop_at in (0, {num_arms}), some but not all arms, got {stop_at}"
        )


def _report(progress: Callable[[int, int], Any] | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
