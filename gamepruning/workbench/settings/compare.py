"""The settings of a comparison, checked before anything is done."""

import dataclasses
from typing import Annotated, ClassVar

from tyro.conf import arg

from gamepruning.types import InputError
from gamepruning.workbench.settings.common import (
    BatchSize,
    DataDir,
    Epochs,
    ModelName,
    Pulls,
    RareClasses,
    Standardise,
    Target,
    Widths,
)
from gamepruning.workbench.settings.curve import (
    BASELINE_METHODS,
    INDICES,
    ITERATED,
    SIZES,
    CurveSettings,
    parse_method,
)
from gamepruning.workbench.settings.prune import BANDITS, PruneSettings
from gamepruning.workbench.settings.stored import StoredSettings

EQUILIBRIUM = "equilibrium"
IN_FAMILIES = ("magnitude-family", "activation-family", "taylor-family")
ALL = (EQUILIBRIUM, *INDICES, *ITERATED, *BANDITS, *BASELINE_METHODS, *IN_FAMILIES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareSettings(StoredSettings):
    """What `gamepruning compare` was asked to do.

    Raises:
      InputError: a setting is out of range.
    """

    COMMAND: ClassVar[str] = "compare"

    datasets: Annotated[
        tuple[str, ...],
        arg(
            metavar="NAME|FILE.csv ...",
            help="Data sets; see gamepruning datasets. Two or more are the blocks of "
            "the tests; with one its seeds are.",
        ),
    ] = ("digits",)
    model: ModelName = None
    widths: Widths = ()
    methods: Annotated[
        tuple[str, ...],
        arg(
            metavar="NAME ...",
            help="Equilibrium, and what gamepruning curve takes: power indices, "
            "building and pruning, bandits, baselines.",
            help_behavior_hint="(default: all of them)",
        ),
    ] = ALL
    keep: Annotated[
        float, arg(metavar="SHARE", help="Of the players: the size that is compared.")
    ] = 0.2
    sizes: Annotated[
        tuple[float, ...],
        arg(
            metavar="SHARE ...", help="Other sizes, for the curves before fine-tuning."
        ),
    ] = SIZES
    seeds: Annotated[
        int,
        arg(metavar="N", help="Networks to train on each data set: seeds 0 to N - 1."),
    ] = 3
    fine_tune: Annotated[
        int, arg(metavar="EPOCHS", help="Passes over the data after removal.")
    ] = 10
    alpha: Annotated[
        float, arg(metavar="P", help="The level of the critical difference.")
    ] = 0.05
    pulls: Pulls = None
    target: Target = None
    rare_classes: RareClasses = "error"
    standardise: Standardise = False
    epochs: Epochs = None
    batch_size: BatchSize = None
    data_dir: DataDir = None

    def __post_init__(self):
        if not self.datasets or len(set(self.datasets)) < len(self.datasets):
            raise InputError("--datasets needs a name, and each only once")
        if len(self.methods) < 2 or len(set(self.methods)) < len(self.methods):
            raise InputError("--methods needs two names or more, and each only once")
        for method in self.methods:
            if method != EQUILIBRIUM:
                parse_method(method)
        if not 0 < self.keep < 1:
            raise InputError(f"expected --keep in (0, 1), got {self.keep:g}")
        if not 0 < self.alpha < 1:
            raise InputError(f"expected --alpha in (0, 1), got {self.alpha:g}")
        for dataset in self.datasets:
            self.as_curve(dataset)
            self.as_equilibrium(dataset, 0)

    def as_curve(self, dataset: str) -> CurveSettings:
        """The part that `gamepruning curve` does, on one data set."""
        is_table = dataset.endswith(".csv")
        scored = tuple(name for name in self.methods if name != EQUILIBRIUM)
        return CurveSettings(
            dataset=dataset,
            model=self.model,
            widths=self.widths,
            methods=scored or ("random",),
            sizes=tuple(sorted({*self.sizes, self.keep})),
            seeds=self.seeds,
            fine_tune=self.fine_tune,
            pulls=self.pulls,
            target=self.target if is_table else None,
            rare_classes=self.rare_classes if is_table else "error",
            standardise=self.standardise,
            epochs=self.epochs,
            batch_size=self.batch_size,
            data_dir=self.data_dir,
        )

    def as_equilibrium(self, dataset: str, seed: int) -> PruneSettings:
        """The part that `gamepruning prune --keep` does, on one data set."""
        return dataclasses.replace(
            self.as_curve(dataset).as_prune(seed),
            method=EQUILIBRIUM,
            keep=f"{self.keep:.6f}",
        )
