"""Games under way: one for all devices, or one for each group of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from gamepruning.bandits.arms import RemovalArms
from gamepruning.bandits.game import BanditState, Plays, make_plays
from gamepruning.bandits.host import HostPlays
from gamepruning.bandits.policy import Policy
from gamepruning.trees.layout import WHOLE, Layout


class Games(NamedTuple):
    """Games of some keys, side by side.

    Attributes:
      init: (data, keys, is_open, horizon) -> their state after the first pulls.
      advance: (data, state, start, stop) -> the state after those turns.
      rows: state -> the `BanditState` of each game, the same on every process.
    """

    init: Callable[..., Any]
    advance: Callable[..., Any]
    rows: Callable[[Any], list[BanditState]]

    def __repr__(self) -> str:
        return "Games(init(data, keys, is_open, horizon), advance(...), rows(state))"


def one_game(plays: Plays | HostPlays, layout: Layout | None = None) -> Games:
    """The game of a single key; over several processes the first one tells of it."""

    def init(data: Any, keys: list[jax.Array], is_open: Any, horizon: int) -> Any:
        return plays.init(data, keys[0], jnp.asarray(is_open), horizon)

    def rows(state: BanditState) -> list[BanditState]:
        if layout is None or layout.processes is None:
            return [state]
        return [layout.processes.first(_fetch(state))]

    return Games(init, plays.advance, rows)


def game_of_all_groups(
    policy: Policy, arms: RemovalArms, most_pulls: int, at_once: int
) -> Games:
    """A single game, whose first pulls the groups of devices share."""
    plays, layout = _plays(policy, arms, most_pulls, at_once), arms.layout
    advance = jax.jit(plays.advance)

    def run(*arguments: Any) -> BanditState:
        return layout.launch(advance, *arguments, is_shared=at_once > 1)

    return one_game(plays._replace(advance=run), layout)


def game_of_each_group(
    policy: Policy, arms: RemovalArms, most_pulls: int, at_once: int
) -> Games:
    """As many games as there are groups of devices, each in one of them."""
    layout = arms.layout
    plays = _plays(policy, arms.alone(), most_pulls, at_once)
    whole, split = NamedSharding(layout.mesh, WHOLE), layout.split

    def begin(data: Any, numbers: jax.Array, is_open: jax.Array, horizon: Any) -> Any:
        key = jax.random.wrap_key_data(numbers[0])
        return _stacked(plays.init(data, key, is_open, horizon))

    def move(data: Any, states: BanditState, start: Any, stop: Any) -> Any:
        own = jax.tree.map(lambda leaf: leaf[0], states)
        return _stacked(plays.advance(data, own, start, stop))

    begin, move = (
        jax.jit(
            layout.by_group(fn, (WHOLE, split, WHOLE, WHOLE), split),
            out_shardings=whole,
        )
        for fn in (begin, move)
    )

    def init(data: Any, keys: list[jax.Array], is_open: Any, horizon: int) -> Any:
        numbers = np.stack([np.asarray(jax.random.key_data(key)) for key in keys])
        own = layout.put(numbers, split)
        return layout.launch(begin, data, own, is_open, horizon, is_shared=True)

    def advance(data: Any, states: Any, start: int, stop: int) -> Any:
        return layout.launch(move, data, states, start, stop, is_shared=True)

    def rows(states: BanditState) -> list[BanditState]:
        found, numbers = _fetch(states), range(layout.num_groups)
        return [jax.tree.map(lambda x, k=k: x[k], found) for k in numbers]

    return Games(init, advance, rows)


def _plays(policy: Policy, arms: RemovalArms, most_pulls: int, at_once: int) -> Plays:
    return make_plays(policy, arms, num_pulls=most_pulls, pulls_at_once=at_once)


def _stacked(state: BanditState) -> BanditState:
    """The state of one game as a row of those of all."""
    return jax.tree.map(lambda leaf: leaf[None], state)


def _fetch(state: BanditState) -> BanditState:
    """The state here, as arrays of NumPy; of the key its numbers."""
    return jax.device_get(state._replace(key=jax.random.key_data(state.key)))
