"""The settings of `gamepruning curve`, checked before anything is done."""

import dataclasses
from typing import Annotated, ClassVar

from gamepruning.errors import InputError
from gamepruning.workbench.methods.registry import find_method
from gamepruning.workbench.settings import parts
from gamepruning.workbench.settings.base import CommandSettings, Within


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurveSettings(CommandSettings):
    """What `gamepruning curve` was asked to do.

    Attributes:
      methods: Methods to compare; gamepruning methods lists all.
      sizes: Sizes to prune to, as fractions of the players.
      seeds: Number of networks to train and prune, with the seeds 0 to N - 1.
      bias: Probability with which a player is in a coalition, for biased_banzhaf;
        gamepruning bands finds one.
      fine_tune: Passes over the training data after removal, at each size.

    Raises:
      InputError: a setting is out of range.
    """

    COMMAND: ClassVar[str] = "curve"

    dataset: parts.DatasetName = "digits"
    network: parts.NetworkSettings = parts.NetworkSettings()
    methods: Annotated[tuple[str, ...], parts.NAMES] = (
        *("building", "shapley", "banzhaf", "magnitude", "random"),
    )
    sizes: parts.Shares = parts.SIZES
    seeds: parts.Seeds = 2
    bias: Annotated[float, parts.X, parts.Share] = 0.2
    scoring: parts.ScoringSettings = parts.ScoringSettings()
    fine_tune: Annotated[int, parts.N, Within(0, 10**5)] = 0
    data: parts.DataSettings = parts.DataSettings()
    training: parts.TrainingSettings = parts.TrainingSettings()

    def __post_init__(self):
        super().__post_init__()
        check_methods(self.methods, least=1)
        if not self.sizes or len(set(self.sizes)) < len(self.sizes):
            raise InputError("--sizes needs a value, and each only once")
        if "equilibrium" in self.methods:
            raise InputError(
                "equilibrium has no curve, it ends at one size: take gamepruning "
                "compare, or prune with --keep"
            )


def check_methods(names: tuple[str, ...], *, least: int) -> None:
    """Raise `InputError` unless there are so many methods, each named once."""
    found = [find_method(name).name for name in names]
    if len(found) < least or len(set(found)) < len(found):
        count = "a name" if least == 1 else "two names or more"
        raise InputError(f"--methods needs {count}, and each only once")
