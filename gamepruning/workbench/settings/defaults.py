"""What a run chooses where nothing was asked for."""

import dataclasses

from gamepruning.types import InputError
from gamepruning.workbench.settings.prune import PruneSettings

LEAST_STEPS = 5000  # gates need steps to travel; small data sets get more epochs
MAX_EPOCHS = 2000  # chosen at most, for data of which an epoch is a step or two
GATE_TRAVEL = 5.0  # least product of steps and the gates' learning rate
LEAVE_STEPS = 100  # of a gate from one to zero under a budget, at most
SGD_MODELS = ("mlp", "lenet_300_100", "text_mlp")


def resolve(settings: PruneSettings, *, num_train: int, task: str) -> PruneSettings:
    """Fill in what was left to choose, by rules that depend on the data's size only.

    Args:
      settings: as asked.
      num_train: training examples.
      task: "classification" or "regression".

    Returns:
      The same settings with no automatic choice left open.

    Raises:
      InputError: the batch is larger than the training data.

    Example:
      >>> found = resolve(PruneSettings(), num_train=1_200, task="classification")
      >>> found.batch_size, found.epochs, found.fine_tune, found.learning_rate
      (64, 278, 69, 0.1)
    """
    batch = settings.batch_size or min(num_train, 128 if num_train >= 10_000 else 64)
    if batch > num_train:
        raise InputError(
            f"expected --batch-size at most {num_train}, the number of training "
            f"examples, got {batch}"
        )
    steps = num_train // batch
    epochs = settings.epochs or min(max(20, -(-LEAST_STEPS // steps)), MAX_EPOCHS)
    optimizer = settings.optimizer
    if optimizer == "auto":
        plain = settings.network in SGD_MODELS
        optimizer = "sgd" if plain and task == "classification" else "adam"
    gate_rate = settings.gate_learning_rate or _gate_rate(settings, epochs * steps)
    fine_tune = settings.fine_tune
    return dataclasses.replace(
        settings,
        batch_size=batch,
        epochs=epochs,
        optimizer=optimizer,
        learning_rate=settings.learning_rate or (0.1 if optimizer == "sgd" else 1e-3),
        gate_learning_rate=float(f"{gate_rate:.2g}"),
        fine_tune=max(1, epochs // 4) if fine_tune is None else fine_tune,
    )


def _gate_rate(settings: PruneSettings, num_steps: int) -> float:
    """Under a budget gates leave within a fiftieth of the steps (a fifth is left)."""
    if settings.has_budget:
        return min(max(1 / LEAVE_STEPS, 50 / num_steps), 0.5)
    return max(1e-3, GATE_TRAVEL / num_steps)
