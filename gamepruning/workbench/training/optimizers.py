"""The optimizers and the step of a run's stages."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from gamepruning import equilibrium
from gamepruning.equilibrium import EquilibriumState, MarketState, UtilityConfig
from gamepruning.workbench.settings.parts import SettledTraining
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training import loop
from gamepruning.workbench.training.loop import Split, TrainInfo
from gamepruning.workbench.training.sizes import game_budget
from gamepruning.workbench.training.task import Task

MOMENTUM = 0.9
FINE_TUNE_RATE = 0.2  # of the training's learning rate, falling to zero by a cosine
CLIP = 1.0  # of the gradient's norm: repaired weights, and teachers, are steep at first


class GameState(NamedTuple):
    """What the next step of the game needs."""

    game: EquilibriumState | MarketState  # weights, gates and the optimizers' states
    key: jax.Array  # for networks that train with one


def weight_optimizer(training: SettledTraining) -> optax.GradientTransformation:
    """The optimizer of the weights at a constant rate, the same for all contenders."""
    return optimizer_at(training, training.learning_rate)


def fine_tuning_optimizer(
    training: SettledTraining, num_steps: int
) -> optax.GradientTransformation:
    """The optimizer after removal: a lower rate that falls to zero over all steps."""
    start = FINE_TUNE_RATE * training.learning_rate
    tx = optimizer_at(training, optax.cosine_decay_schedule(start, max(num_steps, 1)))
    if training.repair or training.distil:
        return optax.chain(optax.clip_by_global_norm(CLIP), tx)
    return tx


def optimizer_at(training: SettledTraining, rate) -> optax.GradientTransformation:
    """The optimizer of the weights at another rate, a number or a schedule."""
    if training.optimizer == "sgd":
        return optax.sgd(rate, MOMENTUM)
    return optax.adam(rate)


def make_game_step(
    task: Task, settings: PruneSettings, training: SettledTraining
) -> loop.TrainStep:
    """Algorithm 1 of arXiv 2512.22106 on the task's network, for a training loop.

    Every gate starts at one. It is an InputError if --keep cannot be met.
    """
    ascent = None if settings.has_budget else optax.scale_by_adam()
    gate_tx = equilibrium.projected_gate_ascent(training.gate_learning_rate, ascent)
    tx = equilibrium.joint_optimizer(weight_optimizer(training), gate_tx)
    make: Any
    if settings.has_budget:
        make = equilibrium.make_market_step
        rules = game_budget(task, settings.size)
        num_epoch = len(task.dataset.train.labels) // training.batch_size
        num_steps = training.epochs * num_epoch
        options = {"num_steps": num_steps, "every": max(1, min(20, num_steps // 100))}
    else:
        make, rules = equilibrium.make_equilibrium_step, _game_config(settings)
        options = {"threshold": settings.game.threshold}
    game = game_for_training(
        task,
        lambda loss_fn, merge_fn: make(
            task.train_players, loss_fn, tx, rules, merge_fn=merge_fn, **options
        ),
    )
    return game._replace(init=jax.jit(game.init))


def game_for_training(task: Task, make: Callable[..., Any]) -> loop.TrainStep:
    """The game make(loss_fn, merge_fn) -> (init, step) on the task's network."""
    plain = task.network.is_plain

    def loss_fn(outputs, labels):
        return task.loss(outputs if plain else outputs[0], labels)

    def merge_fn(params, outputs):
        return loop.keep_state(params, outputs[1], task.network.state)

    game_init, game_step = make(loss_fn, None if plain else merge_fn)

    def init(key, params) -> GameState:
        return GameState(game_init(params), key)

    def step(state: GameState, batch: Split) -> tuple[GameState, TrainInfo]:
        key, own = jax.random.split(state.key)
        keys = () if plain else (own,)
        inner, info = game_step(state.game, (batch.inputs, *keys, batch.labels))
        loss = info.loss.mean(where=info.loss < float("inf"))  # some may diverge
        return GameState(inner, key), TrainInfo(loss)

    return loop.TrainStep(init, step)


def _game_config(settings: PruneSettings) -> UtilityConfig:
    """The game's prices: a preset, read as the settings say."""
    preset = equilibrium.EQUILIBRIUM_PRESETS[settings.prices.preset]
    price = settings.prices.price
    return UtilityConfig(
        alpha=preset.alpha,
        beta=price * preset.number("beta"),
        gamma=price * preset.number("gamma"),
        eta=price * preset.number("eta"),
        benefit=settings.game.benefit,
        norm=settings.game.norm,
    )
