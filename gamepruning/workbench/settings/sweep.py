"""The settings of a sweep, checked before anything is done."""

import dataclasses
import math
from typing import Annotated, ClassVar

from tyro.conf import arg

from gamepruning.types import InputError
from gamepruning.workbench.settings.common import (
    BatchSize,
    DataDir,
    DatasetName,
    Epochs,
    ModelName,
    Standardise,
    Widths,
)
from gamepruning.workbench.settings.prune import Benefit, Norm, PruneSettings
from gamepruning.workbench.settings.stored import StoredSettings, flag_of

MOST_POINTS = 256
LISTS = ("alpha", "beta", "gamma", "eta", "learning_rate", "gate_learning_rate")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepSettings(StoredSettings):
    """What `gamepruning sweep` was asked to do: every combination of the lists.

    Raises:
      InputError: a setting is out of range.
    """

    COMMAND: ClassVar[str] = "sweep"

    dataset: DatasetName = "digits"
    model: ModelName = None
    widths: Widths = ()
    alpha: Annotated[
        tuple[float, ...], arg(metavar="X ...", help="Weights of the benefit.")
    ] = (1.0,)
    beta: Annotated[
        tuple[float, ...], arg(metavar="X ...", help="Weights of the quadratic cost.")
    ] = (0.01, 0.05)
    gamma: Annotated[
        tuple[float, ...], arg(metavar="X ...", help="Weights of the linear cost.")
    ] = (0.005, 0.02, 0.05, 0.1)
    eta: Annotated[
        tuple[float, ...], arg(metavar="X ...", help="Weights of the competition.")
    ] = (0.0,)
    learning_rate: Annotated[
        tuple[float, ...],
        arg(metavar="RATE ...", help="Of the weights; as for prune where none given."),
    ] = ()
    gate_learning_rate: Annotated[
        tuple[float, ...],
        arg(metavar="RATE ...", help="Of the gates; as for prune where none given."),
    ] = ()
    seeds: Annotated[
        int, arg(metavar="N", help="Random starts of each combination: 0 to N - 1.")
    ] = 1
    norm: Annotated[Norm, arg(help="A player's size in the quadratic cost.")] = "mean"
    benefit: Annotated[Benefit, arg(help="What the game rewards.")] = "descent"
    threshold: Annotated[
        float, arg(metavar="S", help="Players whose gate is smaller leave.")
    ] = 0.01
    standardise: Standardise = False
    epochs: Epochs = None
    batch_size: BatchSize = None
    data_dir: DataDir = None

    def __post_init__(self):
        if not 1 <= self.seeds <= MOST_POINTS:
            raise InputError(f"expected --seeds in [1, {MOST_POINTS}]")
        for name in LISTS:
            values, positive = getattr(self, name), name.endswith("rate")
            if not values and not positive:
                raise InputError(f"{flag_of(name)} needs a value")
            for value in values:
                if not (value > 0 if positive else value >= 0) or value == math.inf:
                    bound = "> 0" if positive else ">= 0"
                    raise InputError(f"expected {flag_of(name)} {bound}, got {value}")
        count = math.prod(max(len(getattr(self, name)), 1) for name in LISTS)
        if count * self.seeds > MOST_POINTS:
            raise InputError(
                f"{count * self.seeds} combinations are more than {MOST_POINTS} at "
                "once: give fewer values, or sweep in parts"
            )
        self.as_prune()

    def as_prune(self) -> PruneSettings:
        """The part that a single run has, too."""
        return PruneSettings(
            dataset=self.dataset,
            model=self.model,
            widths=self.widths,
            norm=self.norm,
            benefit=self.benefit,
            threshold=self.threshold,
            standardise=self.standardise,
            epochs=self.epochs,
            batch_size=self.batch_size,
            data_dir=self.data_dir,
        )
