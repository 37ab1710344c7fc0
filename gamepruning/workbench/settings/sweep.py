"""The settings of `gamepruning sweep`, checked before anything is done."""

import dataclasses
import math
from typing import Annotated, ClassVar

from gamepruning.errors import InputError
from gamepruning.workbench.settings import parts
from gamepruning.workbench.settings.base import CommandSettings, Within, flag_of

MOST_POINTS = 256
WEIGHTS = ("alpha", "beta", "gamma", "eta")
LISTS = (*WEIGHTS, "learning_rate", "gate_learning_rate")
Weights = Annotated[tuple[float, ...], parts.XS, Within(0)]
Rates = Annotated[tuple[float, ...], parts.XS, Within(0, is_open=True)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepSettings(CommandSettings):
    """What `gamepruning sweep` was asked to do: every combination of the lists.

    Attributes:
      alpha: Weights of the benefit.
      beta: Weights of the quadratic cost.
      gamma: Weights of the linear cost.
      eta: Weights of the competition.
      learning_rate: Learning rates of the weights (default: one, as for gamepruning
        prune).
      gate_learning_rate: Learning rates of the gates (default: one, as for gamepruning
        prune).
      seeds: Number of random starts of each combination, with the seeds 0 to N - 1.

    Raises:
      InputError: a setting is out of range.
    """

    COMMAND: ClassVar[str] = "sweep"

    dataset: parts.DatasetName = "digits"
    network: parts.NetworkSettings = parts.NetworkSettings()
    alpha: Weights = (1.0,)
    beta: Weights = (0.01, 0.05)
    gamma: Weights = (0.005, 0.02, 0.05, 0.1)
    eta: Weights = (0.0,)
    learning_rate: Rates = ()
    gate_learning_rate: Rates = ()
    seeds: Annotated[int, parts.N, Within(1, MOST_POINTS)] = 1
    game: parts.GameSettings = parts.GameSettings()
    data: parts.DataSettings = parts.DataSettings()
    training: parts.TrainingSettings = parts.TrainingSettings()

    def __post_init__(self):
        super().__post_init__()
        for name in WEIGHTS:
            if not getattr(self, name):
                raise InputError(f"{flag_of(name)} needs a value")
        count = math.prod(max(len(getattr(self, name)), 1) for name in LISTS)
        if count * self.seeds > MOST_POINTS:
            raise InputError(
                f"{count * self.seeds} combinations are more than {MOST_POINTS} at "
                "once: give fewer values, or sweep in parts"
            )
