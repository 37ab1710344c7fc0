"""The settings of `gamepruning compare`, checked before anything is done."""

import dataclasses
from typing import Annotated, ClassVar

from tyro.conf import arg

from gamepruning.errors import InputError
from gamepruning.workbench.methods.registry import compared_names, find_method
from gamepruning.workbench.settings import parts
from gamepruning.workbench.settings.base import CommandSettings, Within
from gamepruning.workbench.settings.curve import CurveSettings, check_methods
from gamepruning.workbench.settings.prune import PruneSettings, SizeSettings

EQUILIBRIUM = "equilibrium"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareSettings(CommandSettings):
    """What `gamepruning compare` was asked to do.

    Attributes:
      methods: Methods to compare; gamepruning methods lists all (default: those that
        are told apart best).
      keep: Size at which the methods are compared: a fraction of the players (0.1), a
        count (77), or a count for each family (51/26).
      sizes: More sizes for the curves before fine-tuning, as fractions of the players.
      seeds: Number of networks to train on each data set, with the seeds 0 to N - 1.
      fine_tune: Passes over the training data after removal.
      alpha: Significance level of the critical difference, in (0, 1).

    Raises:
      InputError: a setting is out of range.
    """

    COMMAND: ClassVar[str] = "compare"

    datasets: Annotated[
        tuple[str, ...],
        arg(
            metavar="NAME|FILE.csv ...",
            help="Data sets, by name (see gamepruning datasets) or as CSV files. Two "
            "or more are the blocks of the tests; of a single one, its seeds are.",
        ),
    ] = ("digits",)
    network: parts.NetworkSettings = parts.NetworkSettings()
    methods: Annotated[
        tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="")
    ] = compared_names()
    keep: Annotated[str, arg(metavar="SIZE")] = "0.2"
    sizes: parts.Shares = parts.SIZES
    seeds: parts.Seeds = 3
    fine_tune: Annotated[int, parts.N, Within(0, 10**5)] = 10
    alpha: Annotated[float, parts.X, parts.Share] = 0.05
    scoring: parts.ScoringSettings = parts.ScoringSettings()
    data: parts.DataSettings = parts.DataSettings()
    training: parts.TrainingSettings = parts.TrainingSettings()

    def __post_init__(self):
        super().__post_init__()
        if not self.datasets or len(set(self.datasets)) < len(self.datasets):
            raise InputError("--datasets needs a name, and each only once")
        check_methods(self.methods, least=2)
        iterated = [name for name in self.methods if find_method(name).is_iterated]
        if self.counts is not None and iterated:
            raise InputError(
                f"--keep {self.keep} counts each family, but {', '.join(iterated)} "
                "compare all players with each other: give one number, or leave them "
                "out of --methods"
            )

    @property
    def counts(self) -> tuple[int, ...] | None:
        """Players of each family that --keep keeps; None where it is one number."""
        keep = parts.parse_keep(self.keep)
        return keep if isinstance(keep, tuple) else None

    @property
    def size(self) -> str:
        """The size that is compared, in words."""
        keep = parts.parse_keep(self.keep)
        return f"{100 * keep:g} %" if isinstance(keep, float) else self.keep

    def share_of(self, num_players: int) -> float:
        """The size that is compared, as a fraction of so many players."""
        keep = parts.parse_keep(self.keep)
        if isinstance(keep, float):
            return keep
        return (sum(keep) if isinstance(keep, tuple) else keep) / num_players

    def as_curve(self, dataset: str, num_players: int | None = None) -> CurveSettings:
        """The part that `gamepruning curve` does, on one data set.

        Args:
          dataset: its name.
          num_players: of its network, for the size that is compared; without it there
            are only the other sizes.
        """
        own = set() if num_players is None else {self.share_of(num_players)}
        scored = tuple(name for name in self.methods if name != EQUILIBRIUM)
        return CurveSettings(
            dataset=dataset,
            network=self.network,
            methods=scored or ("random",),
            sizes=tuple(sorted({*self.sizes, *own})),
            seeds=self.seeds,
            scoring=self.scoring,
            fine_tune=self.fine_tune,
            data=self.data.fit_for(dataset),
            training=self.training,
        )

    def as_equilibrium(self, dataset: str, seed: int) -> PruneSettings:
        """The part that `gamepruning prune --keep` does, on one data set."""
        return PruneSettings(
            dataset=dataset,
            network=self.network,
            size=SizeSettings(keep=self.keep),
            data=self.data.fit_for(dataset),
            training=self.training,
            rates=parts.RateSettings(fine_tune=self.fine_tune),
            seed=seed,
        )
