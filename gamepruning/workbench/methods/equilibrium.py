"""Players chosen by the equilibrium of a game that is played while training."""

from typing import Any

import jax
import numpy as np

from gamepruning.compaction.gates import absorb_gates, gated_network
from gamepruning.equilibrium import EquilibriumState, MarketState, surviving_players
from gamepruning.players import Players
from gamepruning.selection import round_mask
from gamepruning.workbench.methods.subject import Choice, checked_inputs
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training.optimizers import make_game_step
from gamepruning.workbench.training.stages import Stage, Trainer, run_stage
from gamepruning.workbench.training.task import Prepared, Task


def play_equilibrium(
    made: Prepared, settings: PruneSettings, trainer: Trainer, stage="equilibrium"
) -> Choice:
    """Play the game while training; gates below the threshold leave.

    The weights start where those of the task do; `stage` names the checkpoint. See Shah
    and Khan, arXiv 2512.22106, Algorithm 1.
    """
    task, threshold = made.task, settings.game.threshold
    order_key, step_key = jax.random.split(made.keys.train)
    init, step = make_game_step(task, settings, made.training)
    families = task.players.families
    gated = gated_network(task.players)

    def record(state) -> dict[str, Any]:
        params, gates = state.game.params, state.game.gates
        alive = np.asarray(gates) >= threshold
        facts = {
            "validation": trainer.judge(gated, (params, gates)),
            "open": [int(alive[f.start : f.stop].sum()) for f in families],
            "mean_gate": float(gates.mean()),
        }
        if isinstance(state.game, MarketState):  # under a budget there is a price
            facts["price"] = float(state.game.price)
        return facts

    game = Stage(
        stage,
        "play the game",
        made.training.epochs,
        order_key,
        init(step_key, task.params),
        step,
        record,
        trace=lambda state: state.game.gates,
    )
    done = run_stage(game, trainer)
    return _choose(task, settings, done.state.game)._replace(trace=done.trace)


def _choose(
    task: Task, settings: PruneSettings, game: EquilibriumState | MarketState
) -> Choice:
    """The players whose gate stayed open, at least one in each family."""
    players, gates, size = task.players, game.gates, settings.size
    seats = gates * getattr(game, "demand", 1.0)  # whoever has none leaves, gate or not
    alive, mask = open_players(players, seats, settings.game.threshold, size.round_to)
    inputs = checked_inputs(task)
    full = absorb_gates(task.network.apply, players, game.params, gates, mask, inputs)
    spans = [slice(family.start, family.stop) for family in players.families]
    rescued = tuple(0 if alive[s].any() else int(mask[s].sum()) for s in spans)
    return Choice(mask, np.asarray(gates), full, game.params, rescued, gates)


def open_players(
    players: Players, gates: jax.Array, threshold: float, round_to: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Whose gate is open, and the mask that keeps at least one in each family."""
    alive = np.asarray(surviving_players(gates, threshold=threshold))
    return alive, np.asarray(round_mask(players, alive, gates, round_to, min_units=1))
