"""The settings of `gamepruning bands`, checked before anything is done."""

import dataclasses
from pathlib import Path
from typing import Annotated, ClassVar, get_args

from tyro.conf import arg

from gamepruning.types import InputError
from gamepruning.uncertainty.outputs import McueOutput
from gamepruning.workbench.settings.common import DatasetName, Standardise
from gamepruning.workbench.settings.prune import DEFAULT_MODEL, PruneSettings
from gamepruning.workbench.settings.stored import StoredSettings

RANGES = {
    "points": (3, 500),
    "samples": (4, 10**6),
    "sizes": (3, 10**4),
    "examples": (1, 10**6),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class BandsSettings(StoredSettings):
    """What `gamepruning bands` was asked to do.

    Raises:
      InputError: a setting is out of range.
    """

    COMMAND: ClassVar[str] = "bands"

    dataset: DatasetName = "digits"
    model: Annotated[
        str | None,
        arg(
            metavar="NAME",
            help="Network to train.",
            help_behavior_hint=f"(default: {DEFAULT_MODEL})",
        ),
    ] = None
    widths: Annotated[
        tuple[int, ...],
        arg(
            metavar="N ...",
            help="Hidden units of each layer.",
            help_behavior_hint="(default: the model's)",
        ),
    ] = ()
    output: Annotated[
        McueOutput,
        arg(
            help="What the variance is of: the predicted class as a number (label) or "
            "as a vote, its correctness, the softmax, or the logits (outputs). Within "
            "an input, or over inputs too (total)."
        ),
    ] = "label"
    points: Annotated[
        int, arg(metavar="N", help="Points of the grid of p and of q; more are free.")
    ] = 20
    samples: Annotated[
        int, arg(metavar="N", help="Random sub-networks of each size.")
    ] = 100
    sizes: Annotated[
        int, arg(metavar="N", help="Sizes of sub-networks, of which all are made up.")
    ] = 64
    examples: Annotated[
        int, arg(metavar="N", help="Validation examples to look at, drawn at random.")
    ] = 200
    families: Annotated[
        tuple[str, ...],
        arg(
            metavar="NAME ...",
            help="Families of players to take out of; see gamepruning explain.",
            help_behavior_hint="(default: all)",
        ),
    ] = ()
    standardise: Standardise = False
    epochs: Annotated[
        int | None,
        arg(
            metavar="N",
            help="Passes over the training data.",
            help_behavior_hint="(default: 20, more for small data)",
        ),
    ] = None
    batch_size: Annotated[
        int | None,
        arg(
            metavar="N",
            help="Examples a step.",
            help_behavior_hint="(default: 64, or 128 from 10000 examples on)",
        ),
    ] = None
    seed: Annotated[
        int, arg(metavar="N", help="All that is random follows from it.")
    ] = 0
    load: Annotated[
        Path | None,
        arg(
            metavar="CHECKPOINT",
            help="Take these weights instead of training: a .safetensors file or a "
            "run folder.",
            help_behavior_hint="",
        ),
    ] = None
    data_dir: Annotated[
        Path | None,
        arg(
            metavar="FOLDER",
            help="Where data lie that are not built in.",
            help_behavior_hint="",
        ),
    ] = None

    def __post_init__(self):
        if self.output not in get_args(McueOutput):
            raise InputError(
                f"expected --output to be one of {', '.join(get_args(McueOutput))}, "
                f"got {self.output!r}"
            )
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise InputError(f"expected --{name} in [{least}, {most}], got {value}")
        self.as_prune()

    def as_prune(self) -> PruneSettings:
        """The part that a pruning run has, too."""
        return PruneSettings(
            dataset=self.dataset,
            model=self.model,
            widths=self.widths,
            standardise=self.standardise,
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=self.seed,
            load=self.load,
            data_dir=self.data_dir,
        )
