"""The optimizers and the step of a run's stages."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from gamepruning.equilibrium import (
    EQUILIBRIUM_PRESETS,
    Budget,
    EquilibriumState,
    MarketState,
    UtilityConfig,
    joint_optimizer,
    make_equilibrium_step,
    make_market_step,
    projected_gate_ascent,
)
from gamepruning.workbench.settings.defaults import SettledTraining
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training.loop import Split, TrainInfo, keep_statistics
from gamepruning.workbench.training.task import Task

MOMENTUM = 0.9
FINE_TUNE_RATE = 0.2  # of the training's learning rate, falling to zero by a cosine


class GameState(NamedTuple):
    """What the next step of the game needs.

    Attributes:
      game: weights, gates and the optimizers' states.
      key: for networks that train with one.
    """

    game: EquilibriumState | MarketState
    key: jax.Array


class GameStep(NamedTuple):
    """A pair of pure functions.

    Attributes:
      init: (key, params) -> state, with every gate at one.
      step: (state, batch) -> (state, info).
    """

    init: Callable[[jax.Array, Any], GameState]
    step: Callable[[GameState, Split], tuple[GameState, TrainInfo]]


def weight_optimizer(training: SettledTraining) -> optax.GradientTransformation:
    """The optimizer of the weights at a constant rate, the same for all contenders."""
    return optimizer_at(training, training.learning_rate)


def fine_tuning_optimizer(
    training: SettledTraining, num_steps: int
) -> optax.GradientTransformation:
    """The optimizer after removal: a lower rate that falls to zero.

    Args:
      training: how the network is trained.
      num_steps: steps of fine-tuning in all.
    """
    start = FINE_TUNE_RATE * training.learning_rate
    return optimizer_at(training, optax.cosine_decay_schedule(start, max(num_steps, 1)))


def optimizer_at(training: SettledTraining, rate) -> optax.GradientTransformation:
    """The optimizer of the weights at another rate, a number or a schedule."""
    if training.optimizer == "sgd":
        return optax.sgd(rate, MOMENTUM)
    return optax.adam(rate)


def make_game_step(
    task: Task, settings: PruneSettings, training: SettledTraining
) -> GameStep:
    """Algorithm 1 on the task's network, in the form that a training loop runs.

    Args:
      task: data, network, players.
      settings: the rules of the game.
      training: how long, and at which rates.

    Returns:
      `GameStep(init, step)`.

    Raises:
      InputError: --keep cannot be met.

    References:
      Shah and Khan, arXiv 2512.22106, Algorithm 1.
    """
    plain = task.network.is_plain
    gate_tx = projected_gate_ascent(
        training.gate_learning_rate,
        None if settings.has_budget else optax.scale_by_adam(),
    )
    tx = joint_optimizer(weight_optimizer(training), gate_tx)

    def loss_fn(outputs, labels):
        return task.loss(outputs if plain else outputs[0], labels)

    def merge_fn(params, outputs):
        return keep_statistics(params, outputs[1])

    merge = None if plain else merge_fn
    players = task.train_players
    if settings.has_budget:
        num_steps = training.epochs * count_steps(task, training)
        game: Any = make_market_step(
            players,
            loss_fn,
            tx,
            make_budget(settings),
            num_steps=num_steps,
            every=max(1, min(20, num_steps // 100)),
            merge_fn=merge,
        )
    else:
        game = make_equilibrium_step(
            players,
            loss_fn,
            tx,
            game_config(settings),
            threshold=settings.game.threshold,
            merge_fn=merge,
        )

    def init(key, params) -> GameState:
        return GameState(game.init(params), key)

    def step(state: GameState, batch: Split) -> tuple[GameState, TrainInfo]:
        key, own = jax.random.split(state.key)
        keys = () if plain else (own,)
        inner, info = game.step(state.game, (batch.inputs, *keys, batch.labels))
        return GameState(inner, key), TrainInfo(info.loss)

    return GameStep(jax.jit(init), step)


def count_steps(task: Task, training: SettledTraining) -> int:
    """Steps of an epoch."""
    return len(task.dataset.train.labels) // training.batch_size


def make_budget(settings: PruneSettings) -> Budget:
    """What --keep and --unit ask for."""
    return Budget(keep=settings.size.target, unit=settings.size.unit)


def game_config(settings: PruneSettings) -> UtilityConfig:
    """The game's prices: a preset, read as the settings say."""
    preset = EQUILIBRIUM_PRESETS[settings.prices.preset]
    return UtilityConfig(
        alpha=preset.alpha,
        beta=settings.prices.price * preset.number("beta"),
        gamma=settings.prices.price * preset.number("gamma"),
        eta=settings.prices.price * preset.number("eta"),
        benefit=settings.game.benefit,
        norm=settings.game.norm,
    )
