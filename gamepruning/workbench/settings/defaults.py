"""From what was asked for to what training does: every number decided."""

from typing import Literal, NamedTuple

from gamepruning.errors import InputError
from gamepruning.workbench.settings.parts import RateSettings, TrainingSettings

LEAST_STEPS = 5000  # gates need steps to travel; small data sets get more epochs
MAX_EPOCHS = 2000  # chosen at most, for data of which an epoch is a step or two
GATE_TRAVEL = 5.0  # least product of steps and the gates' learning rate
LEAVE_STEPS = 100  # of a gate from one to zero under a budget, at most
SGD_MODELS = ("mlp", "lenet_300_100", "text_mlp")
NO_RATES = RateSettings()


class SettledTraining(NamedTuple):
    """How a network is trained, with nothing left to choose.

    Attributes:
      epochs: passes over the training data.
      batch_size: examples a step.
      optimizer: of the weights.
      learning_rate: of the weights.
      gate_learning_rate: of the gates.
      fine_tune: passes over the training data after removal.
    """

    epochs: int
    batch_size: int
    optimizer: Literal["sgd", "adam"]
    learning_rate: float
    gate_learning_rate: float
    fine_tune: int


def settle(
    asked: TrainingSettings,
    rates: RateSettings = NO_RATES,
    *,
    network: str,
    num_train: int,
    task: str,
    has_budget: bool = False,
) -> SettledTraining:
    """Choose what was left open, by rules that depend on the data's size only.

    Args:
      asked: epochs and batch size, as asked for.
      rates: learning rates and fine-tuning, as asked for.
      network: name of the network.
      num_train: training examples.
      task: "classification" or "regression".
      has_budget: the equilibrium game is to end at a given size.

    Returns:
      All numbers of training.

    Raises:
      InputError: the batch is larger than the training data.

    Example:
      >>> asked = TrainingSettings(batch_size=32)
      >>> found = settle(asked, network="mlp", num_train=1_200, task="classification")
      >>> found.batch_size, found.epochs, found.fine_tune, found.learning_rate
      (32, 136, 34, 0.1)
    """
    batch = asked.batch_size or min(num_train, 128 if num_train >= 10_000 else 64)
    if batch > num_train:
        raise InputError(
            f"expected --batch-size at most {num_train}, the number of training "
            f"examples, got {batch}"
        )
    steps = num_train // batch
    epochs = asked.epochs or min(max(20, -(-LEAST_STEPS // steps)), MAX_EPOCHS)
    gate_rate = rates.gate_learning_rate or _gate_rate(epochs * steps, has_budget)
    optimizer = _optimizer(rates, network, task)
    usual = {"sgd": 0.1, "adam": 1e-3}
    return SettledTraining(
        epochs=epochs,
        batch_size=batch,
        optimizer=optimizer,
        learning_rate=rates.learning_rate or usual[optimizer],
        gate_learning_rate=float(f"{gate_rate:.2g}"),
        fine_tune=max(1, epochs // 4) if rates.fine_tune is None else rates.fine_tune,
    )


def _optimizer(rates: RateSettings, network: str, task: str) -> Literal["sgd", "adam"]:
    if rates.optimizer != "auto":
        return rates.optimizer
    is_plain = network in SGD_MODELS and task == "classification"
    return "sgd" if is_plain else "adam"


def _gate_rate(num_steps: int, has_budget: bool) -> float:
    """Under a budget gates leave within a fiftieth of the steps (a fifth is left)."""
    if has_budget:
        return min(max(1 / LEAVE_STEPS, 50 / num_steps), 0.5)
    return max(1e-3, GATE_TRAVEL / num_steps)
