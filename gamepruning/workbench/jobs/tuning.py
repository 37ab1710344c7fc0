"""Fine-tuning: alike for all networks that are compared, compiled once for each."""

from collections.abc import Callable
from typing import Any

import jax

from gamepruning.workbench.training.loop import TrainStep, make_train_step
from gamepruning.workbench.training.optimizers import fine_tuning_optimizer
from gamepruning.workbench.training.stages import Trainer, train_weights
from gamepruning.workbench.training.task import Task


class Tuner:
    """Fine-tunes networks alike; those that share `apply` share a compiled step.

    Args:
      key: random key, the same for all networks.
      task: with the loss.
      trainer: with what, and for how long.
    """

    def __init__(self, key: jax.Array, task: Task, trainer: Trainer):
        self.key, self.loss, self.trainer = key, task.loss, trainer
        self.epochs = trainer.training.fine_tune
        steps = len(trainer.train.labels) // trainer.training.batch_size
        self.tx = fine_tuning_optimizer(trainer.training, steps * self.epochs)
        self._steps: dict[Callable, TrainStep] = {}

    def __call__(self, name: str, label: str, network: Any, params: Any) -> Any:
        """The parameters after fine-tuning; None where there is none.

        Args:
          name: of the checkpoint, after "fine_tune_".
          label: what the progress bar says, after "fine-tune ".
          network: has apply and train_apply.
          params: where to start.
        """
        if not self.epochs:
            return None
        if network.apply not in self._steps:
            made = make_train_step(network, self.loss, self.tx)
            self._steps[network.apply] = made
        return train_weights(
            f"fine_tune_{name}",
            f"fine-tune {label}",
            epochs=self.epochs,
            key=self.key,
            made=self._steps[network.apply],
            apply=network.apply,
            params=params,
            trainer=self.trainer,
        )
