"""The settings of `gamepruning curve`, `compare`, `bands` and `sweep`."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar

from gamepruning.spelling import flag_of
from gamepruning.uncertainty.names import McueOutput
from gamepruning.workbench.registry import (
    COMPARED,
    EQUILIBRIUM,
    Kind,
    find_method,
    names_of,
)
from gamepruning.workbench.settings import parts, prune
from gamepruning.workbench.settings.base import Within

MOST_POINTS = 256
SHARED = "network training scoring sizes seeds fine_tune repair".split()
SIZES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6)
Shares = Annotated[tuple[float, ...], parts.flag("SHARE ..."), parts.Share]
Seeds = Annotated[int, parts.N, Within(1, 2**32)]
Weights = Annotated[tuple[float, ...], parts.XS, Within(0)]
Rates = Annotated[tuple[float, ...], parts.XS, parts.Above]


def _once(
    flag: str, values: Sequence[object], needs: str, *, least: int = 1
) -> Iterator[str]:
    if len(values) < least or len(set(values)) < len(values):
        yield f"{flag} needs {needs}, and each only once"


def _all_of(methods: tuple[str, ...], *kinds: Kind) -> tuple[str, ...]:
    """The methods, or all of these kinds in the place of the word all."""
    return names_of(*kinds) if "all" in methods else methods


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurveSettings(parts.DatasetCommandSettings):
    """Compare methods of pruning at many sizes: compression curves.

    Examples:
      gamepruning curve
      gamepruning curve --methods building pruning-banzhaf taylor --sizes 0.05 0.1 0.2
      gamepruning curve --dataset mnist --data-dir DATA --model lenet_300_100 --seeds 5
      gamepruning curve --methods building random --repair --fine-tune 5
      gamepruning curve --resume --out runs/mine

    Attributes:
      methods: Methods to compare, or all; gamepruning methods lists them.
      sizes: Sizes to prune to, as fractions of the players.
      seeds: Number of networks to train and prune, with the seeds 0 to N - 1.
      fine_tune: Passes over the training data after removal, at each size.
      repair: After removal, fit the weights that read removed players in closed form.
    """

    COMMAND: ClassVar[str] = "curve"
    methods: Annotated[tuple[str, ...], parts.NAMES] = (
        *("building", "shapley", "banzhaf", "magnitude", "random"),
    )
    sizes: Shares = SIZES
    seeds: Seeds = 2
    scoring: parts.ScoringSettings = parts.ScoringSettings()
    fine_tune: Annotated[int, parts.N, Within(0, 10**5)] = 0
    repair: bool = False

    def __post_init__(self):
        kinds: tuple[Kind, ...] = ("index", "bandit", "baseline")
        object.__setattr__(self, "methods", _all_of(self.methods, *kinds))
        super().__post_init__()

    def problems(self) -> Iterator[str]:
        methods = [find_method(name) for name in self.methods]
        yield from _once("--methods", methods, "a name")
        yield from _once("--sizes", self.sizes, "a value")
        yield from prune.misfits(self, "--methods", methods)
        if EQUILIBRIUM in self.methods:
            yield (
                "equilibrium has no curve; it ends at one size: take gamepruning "
                "compare, or prune with --keep"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareSettings(parts.CommandSettings):
    """Compare methods of pruning at one size: results, ranks, tests, a report.

    Examples:
      gamepruning compare
      gamepruning compare --keep 0.1 --seeds 5 --methods ucb1 building magnitude random
      gamepruning compare --datasets wine glass vehicle sonar --data-dir DATA
      gamepruning compare --resume --out runs/mine

    Attributes:
      datasets: Data sets, by name (see gamepruning datasets) or as CSV files. Two or
        more are the blocks of the tests; of a single one, its seeds are.
      methods: Methods to compare, or all; gamepruning methods lists them.
      keep: Size at which the methods are compared: a fraction of the players (0.1), a
        count (77), or a count for each family (51/26).
      sizes: More sizes for the curves before fine-tuning, as fractions of the players.
      seeds: Number of networks to train on each data set, with the seeds 0 to N - 1.
      fine_tune: Passes over the training data after removal.
      repair: After removal, fit the weights that read removed players in closed form.
      alpha: Significance level of the critical difference, in (0, 1).
    """

    COMMAND: ClassVar[str] = "compare"
    datasets: Annotated[tuple[str, ...], parts.flag("NAME|FILE.csv ...")] = ("digits",)
    methods: Annotated[tuple[str, ...], parts.NAMES] = COMPARED
    keep: Annotated[str, parts.flag("SIZE")] = "0.2"
    sizes: Shares = SIZES
    seeds: Seeds = 3
    fine_tune: Annotated[int, parts.N, Within(0, 10**5)] = 10
    repair: bool = False
    alpha: Annotated[float, parts.X, parts.Share] = 0.05
    scoring: parts.ScoringSettings = parts.ScoringSettings()

    def __post_init__(self):
        object.__setattr__(self, "methods", _all_of(self.methods))
        super().__post_init__()

    def problems(self) -> Iterator[str]:
        methods = [find_method(name) for name in self.methods]
        yield from _once("--datasets", self.datasets, "a name")
        yield from _once("--methods", methods, "two names or more", least=2)
        yield from prune.misfits(self, "--methods", methods)
        iterated = [name for name in self.methods if find_method(name).is_iterated]
        if self.counts is not None and iterated:
            yield (
                f"--keep {self.keep} counts each family, but {', '.join(iterated)} "
                "compare all players with each other: give one number, or leave them "
                "out of --methods"
            )

    @property
    def counts(self) -> tuple[int, ...] | None:
        """Players of each family that --keep keeps; None where it is one number."""
        keep = prune.parse_keep(self.keep)
        return keep if isinstance(keep, tuple) else None

    @property
    def size(self) -> str:
        """The size that is compared, in words."""
        keep = prune.parse_keep(self.keep)
        return f"{100 * keep:g} %" if isinstance(keep, float) else self.keep

    def share_of(self, num_players: int) -> float:
        """The size that is compared, as a fraction of so many players."""
        keep = prune.parse_keep(self.keep)
        if isinstance(keep, float):
            return keep
        return (sum(keep) if isinstance(keep, tuple) else keep) / num_players

    def as_curve(self, dataset: str) -> CurveSettings:
        """The part that `gamepruning curve` does, on one data set, but for --keep."""
        scored = tuple(name for name in self.methods if name != EQUILIBRIUM)
        shared: dict[str, Any] = {name: getattr(self, name) for name in SHARED}
        data, methods = self.data.fit_for(dataset), scored or ("random",)
        return CurveSettings(dataset=dataset, data=data, methods=methods, **shared)

    def as_equilibrium(self, dataset: str, seed: int) -> prune.PruneSettings:
        """The part that `gamepruning prune --keep` does, on one data set."""
        rates = parts.RateSettings(fine_tune=self.fine_tune, repair=self.repair or None)
        return prune.PruneSettings(
            dataset=dataset,
            network=self.network,
            size=prune.SizeSettings(keep=self.keep),
            data=self.data.fit_for(dataset),
            training=self.training,
            rates=rates,
            seed=seed,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BandsSettings(parts.DatasetCommandSettings):
    """Show where a network is least certain as random parts of it leave.

    Two stages take players out (arXiv 2311.10468, Algorithm 1): a share q of them, then
    each of the others with probability p. The variance of the output peaks somewhere on
    p = q = t*; d = 1 - t* is the bias of the power index beta_d. What counts as the
    output decides where the peak is, so a table shows it for every definition.

    Examples:
      gamepruning bands
      gamepruning bands --output vote --samples 400
      gamepruning bands --dataset mnist --data-dir DATA --model lenet_300_100
      gamepruning bands --load runs/mine --families hidden_0
      gamepruning bands --resume --out runs/mine

    Attributes:
      output: Whose variance is measured: the predicted class as a number (label) or as
        a vote, whether it is correct, the softmax (probabilities), or the logits
        (outputs); within each input, or (total_...) over the inputs as well.
      points: Points of the grid of p and of q; more of them cost nothing.
      samples: Random sub-networks of each size.
      sizes: Number of sizes of sub-networks from which all points are computed.
      examples: Validation examples to look at, drawn at random.
      families: Families of players to take out of (default: all); gamepruning explain
        names them.
      seed: Seed of everything random.
      load: Weights to take instead of training: a .safetensors file or a run folder.
    """

    COMMAND: ClassVar[str] = "bands"
    output: McueOutput = "label"
    points: Annotated[int, parts.N, Within(3, 500)] = 20
    samples: Annotated[int, parts.N, Within(4, 10**6)] = 100
    sizes: Annotated[int, parts.N, Within(3, 10**4)] = 64
    examples: Annotated[int, parts.N, Within(1, 10**6)] = 200
    families: Annotated[tuple[str, ...], parts.NAMES] = ()
    seed: parts.Seed = 0
    load: parts.Load = None

    def problems(self) -> Iterator[str]:
        for name in self.training.given() if self.load is not None else ():
            if name != "metric":
                yield f"{flag_of(name)} is for training, which --load leaves out"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepSettings(parts.DatasetCommandSettings):
    """Play many equilibrium games at once, and show which are worth having.

    Examples:
      gamepruning sweep
      gamepruning sweep --gamma 0.05 0.1 0.2 --seeds 3
      gamepruning sweep --dataset mnist --data-dir DATA --beta 0.05 --epochs 10
      gamepruning sweep --resume --out runs/mine

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
    """

    COMMAND: ClassVar[str] = "sweep"
    alpha: Weights = (1.0,)
    beta: Weights = (0.01, 0.05)
    gamma: Weights = (0.005, 0.02, 0.05, 0.1)
    eta: Weights = (0.0,)
    learning_rate: Rates = ()
    gate_learning_rate: Rates = ()
    seeds: Annotated[int, parts.N, Within(1, MOST_POINTS)] = 1
    game: prune.GameSettings = prune.GameSettings()

    def problems(self) -> Iterator[str]:
        weights = {"alpha": self.alpha, "beta": self.beta}
        weights |= {"gamma": self.gamma, "eta": self.eta}
        for name, values in weights.items():
            if not values:
                yield f"--{name} needs a value"
        lists = (*weights.values(), self.learning_rate, self.gate_learning_rate)
        count = self.seeds * math.prod(max(len(values), 1) for values in lists)
        if count > MOST_POINTS:
            yield (
                f"{count} combinations are more than {MOST_POINTS} at once: give fewer "
                "values, or sweep in parts"
            )
