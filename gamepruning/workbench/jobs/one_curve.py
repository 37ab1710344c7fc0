"""The curve of one method on one network: choose, take out, judge on test data."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.progress import Progress

from gamepruning.coalitions.values import ValueFunction
from gamepruning.compaction.measure import count_params
from gamepruning.selection import Curve, compression_curve, masks_at
from gamepruning.workbench.methods.equilibrium import CHECKED
from gamepruning.workbench.methods.gates import without_gates
from gamepruning.workbench.methods.rank import choose, make_game
from gamepruning.workbench.methods.registry import Method
from gamepruning.workbench.methods.small_networks import SmallNetwork, make_small
from gamepruning.workbench.settings.curve import CurveSettings
from gamepruning.workbench.training.loop import evaluate, make_train_step
from gamepruning.workbench.training.optimizers import (
    fine_tuning_optimizer,
    weight_optimizer,
)
from gamepruning.workbench.training.stages import Trainer, train_weights
from gamepruning.workbench.training.task import Task

LOW, HIGH = 0.05, 0.6  # where the area under a curve is taken


@dataclasses.dataclass(frozen=True)
class Trained:
    """The network of one seed; what is compiled for it serves all methods.

    Attributes:
      seed: of data, start and training.
      task: data, network, players.
      asked: what the curves are to be.
      params: its weights.
      choose_key: for the methods.
      tune_key: for fine-tuning.
      label: of its checkpoints.
    """

    seed: int
    task: Task
    asked: CurveSettings
    params: Any
    choose_key: jax.Array
    tune_key: jax.Array
    label: str

    def judge(self, apply: Callable, params: Any) -> float:
        """The test metric."""
        return evaluate(apply, params, self.task.dataset.test, self.task.metric)

    @functools.cached_property
    def game(self) -> ValueFunction:
        """The game of its players, on validation data."""
        return make_game(self.task, self.params, self.asked)

    @functools.cached_property
    def judge_masks(self) -> Callable[[np.ndarray], np.ndarray]:
        """Masks [K, N] -> the test metric without the players left out, [K]."""
        players = self.task.players

        def gated(joint, inputs):
            return players.gated(*joint, inputs)

        def judge(masks: np.ndarray) -> np.ndarray:
            gates = [jnp.asarray(mask, jnp.float32) for mask in masks]
            return np.array([self.judge(gated, (self.params, g)) for g in gates])

        return judge


def train_network(
    seed: int,
    task: Task,
    asked: CurveSettings,
    trainer: Trainer,
    *,
    label: str | None = None,
) -> Trained:
    """The same dense network as that of `gamepruning prune` with this seed.

    Args:
      seed: of everything.
      task: made with this seed.
      asked: what the curves are to be.
      trainer: with what.
      label: of its checkpoints; the seed if None.
    """
    label = str(seed) if label is None else label
    keys = jax.random.split(jax.random.key(seed), 4)
    tx = weight_optimizer(trainer.training)
    params = train_weights(
        f"dense_{label}",
        f"train network {seed}",
        epochs=trainer.training.epochs,
        key=keys[1],
        made=make_train_step(task.network, task.loss, tx),
        apply=task.network.apply,
        params=task.params,
        trainer=trainer,
    )
    return Trained(seed, task, asked, params, keys[2], keys[3], label)


def draw_curve(
    method: Method,
    network: Trained,
    trainer: Trainer,
    *,
    tuned: Sequence[float] | None = None,
) -> dict[str, Any]:
    """The curve of one method on one network, as a row of `curve.json`.

    Args:
      method: how players are chosen.
      network: the trained network.
      trainer: with what to fine-tune.
      tuned: the sizes to fine-tune at, if there is fine-tuning; all if None.

    Returns:
      JSON-able facts; "values" are test metrics right after removal, and "tuned" those
      after fine-tuning, where there is some.
    """
    settings, players = network.asked, network.task.players
    name = f"{method.name}-{network.label}"
    chosen = choose(
        network.choose_key,
        method,
        network.task,
        network.params,
        settings,
        checkpoint=trainer.folder.checkpoints / f"{name}.npz",
        progress=_bar(trainer.progress, name),
        game=network.game if method.kind == "index" else None,
    )
    scope = "family" if method.selection == "family" else "global"
    masks = masks_at(chosen.source, settings.sizes, players=players, scope=scope)
    curve = compression_curve(masks, network.judge_masks, settings.sizes)
    row = {
        "method": method.name,
        "seed": network.seed,
        "evaluations": chosen.num_evaluations,
        "seconds": round(chosen.seconds, 3),
        "area": _area(curve),
        **curve.to_dict(),
        "compacted": check_removal(network, masks[0], float(curve.values[0])),
    }
    if settings.fine_tune:
        shares = sorted(settings.sizes)
        row["tuned"] = [
            tune(network, cut(network, mask), name, trainer)
            for share, mask in zip(shares, masks, strict=True)
            if tuned is None or share in tuned
        ]
    return row


def check_removal(network: Trained, mask: np.ndarray, expected: float) -> float:
    """Take the players out for real and judge what is left.

    `compact` compares all outputs; the metric may still differ where rounding decides
    between two classes, in one example of a thousand.

    Args:
      network: the trained network.
      mask: who stays, bool [N].
      expected: the metric with the others gated off.

    Returns:
      The metric of the small network.

    Raises:
      RuntimeError: it is another one.
    """
    small = cut(network, mask)
    found = network.judge(small.apply, small.params)
    if abs(found - expected) > max(1e-3, 1.5 / len(network.task.dataset.test.labels)):
        raise RuntimeError(
            f"a network of {int(mask.sum())} players has {network.task.metric_name} "
            f"{found}, and {expected} with the others gated off"
        )
    return found


def cut(network: Trained, mask: np.ndarray) -> SmallNetwork:
    """The network of those who stay, bool [N]; `compact` compares it."""
    task = network.task
    inputs = jnp.asarray(task.dataset.validation.inputs[:CHECKED])
    full = without_gates(task.network.apply, task.players, network.params, mask)
    return make_small(task, full, inputs)


def tune(network: Trained, small: SmallNetwork, name: str, trainer: Trainer) -> float:
    """The test metric after fine-tuning, alike for all methods and sizes."""
    epochs = trainer.training.fine_tune
    size = count_params(small.params)
    steps = len(trainer.train.labels) // trainer.training.batch_size
    tx = fine_tuning_optimizer(trainer.training, steps * epochs)
    params = train_weights(
        f"fine_tune_{name}-{size}",
        f"fine-tune {name}, {size}",
        epochs=epochs,
        key=network.tune_key,
        made=make_train_step(small, network.task.loss, tx),
        apply=small.apply,
        params=small.params,
        trainer=trainer,
    )
    return network.judge(small.apply, params)


def _area(curve: Curve) -> float | None:
    """The mean height from 5 to 60 %, as far as the curve reaches."""
    low, high = curve.fractions[[0, -1]]
    low, high = max(LOW, low), min(HIGH, high)
    return curve.area(low, high) if low < high else None


def _bar(progress: Progress, label: str) -> Callable[[int, int], None]:
    """(done, total) -> None, shown as a bar."""
    bar = progress.add_task(label, total=None, note="")

    def show(done: int, total: int) -> None:
        progress.update(bar, completed=done, total=total)

    return show
