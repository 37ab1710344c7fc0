"""Who stays: by the equilibrium of the game, or by a baseline's scores."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.baselines import BASELINES
from gamepruning.equilibrium import (
    EquilibriumState,
    MarketState,
    surviving_players,
)
from gamepruning.players import Players
from gamepruning.selection import SelectionTrace, round_mask, top_n
from gamepruning.types import InputError
from gamepruning.workbench.methods.gates import Absorbed, absorb_gates, without_gates
from gamepruning.workbench.methods.small_networks import best_of_each
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training.optimizers import make_game_step
from gamepruning.workbench.training.stages import Stage, Trainer, run_stage
from gamepruning.workbench.training.task import Task

SCORED = 2000  # training examples that a baseline looks at
CHECKED = 64  # validation examples on which exactness is checked


class Choice(NamedTuple):
    """Who stays, and the full network that says so.

    Attributes:
      mask: who stays, bool [N].
      value: what they were ranked by, gates or scores, float [N].
      full: the full network with the gates in its weights.
      gates: participation at the end, float [N]; None for baselines.
      params: the full network's weights without the gates.
      rescued: players of each family kept only because it would be empty.
      trace: participation after each epoch, float [E, N]; None for baselines.
      measure: what the value is, for an axis.
    """

    mask: np.ndarray
    value: np.ndarray
    full: Absorbed
    gates: jax.Array | None
    params: Any
    rescued: tuple[int, ...]
    trace: np.ndarray | None
    measure: str = "score"


def choose_by_equilibrium(
    key: jax.Array,
    task: Task,
    settings: PruneSettings,
    trainer: Trainer,
    params: Any,
    *,
    stage: str = "equilibrium",
) -> Choice:
    """Play the game while training (Algorithm 1); who ends below the threshold leaves.

    Args:
      key: random key.
      task: data, network, players.
      settings: resolved settings.
      trainer: with what.
      params: where the weights start.
      stage: the name of its checkpoint.

    Returns:
      The choice.

    References:
      Shah and Khan, arXiv 2512.22106, Algorithm 1.
    """
    order_key, step_key = jax.random.split(key)
    init, step = make_game_step(task, settings, trainer.training)
    game = Stage(
        stage,
        "play the game",
        trainer.training.epochs,
        order_key,
        init(step_key, params),
        step,
        _record_game(task, settings, trainer),
        trace=lambda state: state.game.gates,
    )
    state, trace = run_stage(game, trainer)
    gates = state.game.gates
    alive = np.asarray(surviving_players(gates, threshold=settings.game.threshold))
    mask = np.asarray(
        round_mask(task.players, alive, gates, settings.size.round_to, min_units=1)
    )
    inputs = jnp.asarray(task.dataset.validation.inputs[:CHECKED])
    full = absorb_gates(
        task.network.apply, task.players, state.game.params, gates, mask, inputs
    )
    return Choice(
        mask,
        np.asarray(gates),
        full,
        gates,
        state.game.params,
        _rescued(task.players, alive, mask),
        None if trace is None else np.asarray(trace),
    )


def _record_game(
    task: Task, settings: PruneSettings, trainer: Trainer
) -> Callable[[Any], dict]:
    players = task.players

    def gated(joint, inputs):
        return players.gated(*joint, inputs)

    def record(state) -> dict[str, Any]:
        params, gates = state.game.params, state.game.gates
        alive = np.asarray(gates) >= settings.game.threshold
        return {
            "validation": trainer.judge(gated, (params, gates)),
            "open": [int(alive[f.start : f.stop].sum()) for f in players.families],
            "mean_gate": float(gates.mean()),
            **_prices(state.game),
        }

    return record


def _prices(game: EquilibriumState | MarketState) -> dict[str, float]:
    """The price of taking part, where a budget makes one."""
    return {"price": float(game.price)} if isinstance(game, MarketState) else {}


def _rescued(players: Players, alive: np.ndarray, mask: np.ndarray) -> tuple[int, ...]:
    """Players given back to families that would have been empty."""
    spans = [slice(family.start, family.stop) for family in players.families]
    return tuple(0 if alive[s].any() else int(mask[s].sum()) for s in spans)


def choose_by_scores(
    key: jax.Array, task: Task, settings: PruneSettings, dense: Any
) -> Choice:
    """Rank the players of the trained network by a baseline; the best stay.

    Args:
      key: random key.
      task: data, network, players.
      settings: resolved settings.
      dense: the trained weights.

    Returns:
      The choice.

    Raises:
      InputError: the requested size cannot be met.
    """
    split = task.dataset.train
    name = {"magnitude": "magnitude_l2"}.get(settings.method, settings.method)
    scores = BASELINES[name](
        key,
        task.players,
        dense,
        task.loss,
        jnp.asarray(split.inputs[:SCORED]),
        jnp.asarray(split.labels[:SCORED]),
    )
    mask = select(task.players, scores, settings)
    full = without_gates(task.network.apply, task.players, dense, mask)
    nobody = (0,) * len(task.players.families)
    return Choice(mask, np.asarray(scores.value), full, None, dense, nobody, None)


def select(players: Players, scores: Any, settings: PruneSettings) -> np.ndarray:
    """The mask that --keep, --scope and --round-to ask for.

    Raises:
      InputError: the request cannot be met.
    """
    keep = check_keep(players, settings)
    if isinstance(keep, tuple):
        return best_of_each(players, np.asarray(scores.value), keep)
    mask = top_n(
        scores,
        keep,
        players=players,
        scope=settings.size.scope,
        round_to=settings.size.round_to,
    )
    return np.asarray(mask)


def check_round_to(players: Players, settings: PruneSettings) -> None:
    """Whether every family has as many players as --round-to asks it to keep.

    Raises:
      InputError: one has not.
    """
    smallest = min(players.families, key=lambda family: family.size)
    if settings.size.round_to > smallest.size:
        raise InputError(
            f"--round-to {settings.size.round_to} is more than the {smallest.size} "
            f"players of {smallest.name}"
        )


def check_keep(players: Players, settings: PruneSettings) -> int | tuple[int, ...]:
    """How many stay, for these players; checked before anything is trained.

    Args:
      players: the players.
      settings: settings of a baseline.

    Returns:
      A count, or one count for each family.

    Raises:
      InputError: the request cannot be met.
    """
    check_round_to(players, settings)
    size, keep = settings.size, settings.size.target
    families = players.families
    if isinstance(keep, float):
        keep = max(round(keep * players.num_players), 1)
    if isinstance(keep, int):
        least = size.round_to * len(families)
        if keep < least:
            raise InputError(
                f"--keep {size.keep} keeps {keep}, fewer than the {least} that "
                f"{len(families)} families keep with {size.round_to} each"
            )
        top_n(
            np.arange(players.num_players, dtype=float),
            keep,
            players=players,
            scope=size.scope,
            round_to=size.round_to,
        )
        return keep
    if len(keep) != len(families):
        names = ", ".join(f"{f.name} {f.size}" for f in families)
        raise InputError(
            f"--keep {size.keep} gives {len(keep)} counts, there are "
            f"{len(families)} families: {names}"
        )
    for count, family in zip(keep, families, strict=True):
        if count > family.size:
            raise InputError(
                f"--keep {size.keep} asks for {count} of the {family.size} players "
                f"of {family.name}"
            )
    if sum(keep) == players.num_players:
        raise InputError(f"--keep {size.keep} keeps everyone: nothing to prune")
    return keep


def compares_all(settings: PruneSettings) -> bool:
    """Whether --keep is one number, so that players can leave one by one."""
    one_number = not isinstance(settings.size.target, tuple)
    return one_number and settings.size.round_to == 1


def rank_of(trace: SelectionTrace) -> np.ndarray:
    """When each player was decided on: who stays longest or enters first is highest."""
    mask, order = np.asarray(trace.mask), np.asarray(trace.order)
    rank = np.zeros(len(mask))
    if trace.method == "building":
        rank[order] = np.arange(len(order), 0, -1)
    else:
        rank[mask] = len(order)
        rank[order] = np.arange(len(order))
    return rank


def measure_of(trace: SelectionTrace) -> str:
    """What `rank_of` counts."""
    how = "entered before" if trace.method == "building" else "outlasted"
    return f"{how} so many players"
