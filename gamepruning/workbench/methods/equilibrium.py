"""Players chosen by the equilibrium of a game that is played while training."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.equilibrium import EquilibriumState, MarketState, surviving_players
from gamepruning.players import Players
from gamepruning.selection import round_mask
from gamepruning.workbench.methods.gates import absorb_gates
from gamepruning.workbench.methods.subject import CHECKED, Choice
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training.optimizers import make_game_step
from gamepruning.workbench.training.stages import Stage, Trainer, run_stage
from gamepruning.workbench.training.task import Task


def play_equilibrium(
    key: jax.Array,
    task: Task,
    settings: PruneSettings,
    trainer: Trainer,
    params: Any,
    *,
    stage: str = "equilibrium",
) -> Choice:
    """Play the game while training (Algorithm 1); gates below the threshold leave.

    Args:
      params: where the weights start.
      stage: the name of its checkpoint.

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
    done = run_stage(game, trainer)
    return _choose(task, settings, done.state.game)._replace(trace=done.trace)


def _choose(
    task: Task, settings: PruneSettings, game: EquilibriumState | MarketState
) -> Choice:
    """The players whose gate stayed open, at least one in each family."""
    gates, players = game.gates, task.players
    alive = np.asarray(surviving_players(gates, threshold=settings.game.threshold))
    mask = np.asarray(
        round_mask(players, alive, gates, settings.size.round_to, min_units=1)
    )
    inputs = jnp.asarray(task.dataset.validation.inputs[:CHECKED])
    full = absorb_gates(task.network.apply, players, game.params, gates, mask, inputs)
    return Choice(
        mask=mask,
        value=np.asarray(gates),
        full=full,
        params=game.params,
        rescued=_rescued(players, alive, mask),
        gates=gates,
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
