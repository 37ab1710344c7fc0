"""The settings of compression curves, checked before anything is done."""

import dataclasses
from typing import Annotated, ClassVar, NamedTuple, get_args

from tyro.conf import arg

from gamepruning.types import InputError
from gamepruning.workbench.settings.common import (
    BatchSize,
    DataDir,
    DatasetName,
    Epochs,
    ModelName,
    Pulls,
    RareClasses,
    Standardise,
    Target,
    Widths,
)
from gamepruning.workbench.settings.prune import BANDITS, PruneSettings, Value
from gamepruning.workbench.settings.spelling import closest
from gamepruning.workbench.settings.stored import StoredSettings

BASELINE_METHODS = (
    "magnitude",
    "magnitude_l1",
    "weight_gradient",
    "taylor",
    "taylor_second",
    "activation",
    "random",
    "loss_oracle",
)
FAMILY = "-family"
FAMILY_METHODS = tuple(f"{name}{FAMILY}" for name in BASELINE_METHODS)
INDICES = ("shapley", "banzhaf", "biased_banzhaf")
ITERATED = ("pruning", "building")
SIZES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6)


class CurveMethod(NamedTuple):
    """How players are chosen.

    Attributes:
      name: as it was asked for.
      selection: "top_n", "family" (the best of each family), "pruning" or "building".
      scorer: a baseline, a power index, "greedy", or a bandit.
    """

    name: str
    selection: str
    scorer: str

    @property
    def is_game(self) -> bool:
        """Whether coalitions are evaluated."""
        return self.scorer in (*INDICES, "greedy")

    @property
    def is_bandit(self) -> bool:
        """Whether a bandit plays in each round."""
        return self.scorer in BANDITS


def parse_method(name: str) -> CurveMethod:
    """What the name of a method means.

    Args:
      name: a baseline, followed by "-family" if the same share of every family is to
        stay; a power index, by which the best of one estimate stay; or
        "building" and "pruning", round by round, by Shapley values or by the index (or
        "greedy") that follows a hyphen; or a bandit, which removes round by round.

    Raises:
      InputError: it means nothing.

    Example:
      >>> parse_method("building-banzhaf")[1:], parse_method("taylor")[1:]
      (('building', 'banzhaf'), ('top_n', 'taylor'))
    """
    known = method_names()
    if name not in known:
        raise InputError(f"no method {name!r}{closest(name, known)}")
    if name in (*BASELINE_METHODS, *INDICES):
        return CurveMethod(name, "top_n", name)
    if name in FAMILY_METHODS:
        return CurveMethod(name, "family", name.removesuffix(FAMILY))
    if name in BANDITS:
        return CurveMethod(name, "pruning", name)
    selection, _, scorer = name.partition("-")
    return CurveMethod(name, selection, scorer or "shapley")


def method_names() -> tuple[str, ...]:
    """All names that `parse_method` knows."""
    iterated = [
        f"{way}{suffix}"
        for way in ITERATED
        for suffix in ("", *(f"-{index}" for index in (*INDICES, "greedy")))
    ]
    return (*INDICES, *iterated, *BANDITS, *BASELINE_METHODS, *FAMILY_METHODS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurveSettings(StoredSettings):
    """What `gamepruning curve` was asked to do.

    Raises:
      InputError: a setting is out of range.
    """

    COMMAND: ClassVar[str] = "curve"

    dataset: DatasetName = "digits"
    model: ModelName = None
    module: Annotated[
        str | None,
        arg(metavar="FILE.py:FACTORY", help="A network of your own instead."),
    ] = None
    widths: Widths = ()
    methods: Annotated[
        tuple[str, ...],
        arg(
            metavar="NAME ...",
            help="How to choose who stays: a power index (shapley, banzhaf, "
            "biased_banzhaf: the best of one estimate), building or pruning round by "
            "round (by Shapley values; building-banzhaf or pruning-greedy by another), "
            "a bandit (ucb1, thompson, thompson_beta, epsilon_greedy, softmax, hedge, "
            "exp3, or uniform pulls), or a baseline (magnitude, magnitude_l1, "
            "weight_gradient, taylor, taylor_second, activation, random, "
            "loss_oracle; magnitude-family and so on keep the same share of every "
            "family instead of the best of all).",
        ),
    ] = ("building", "shapley", "banzhaf", "magnitude", "random")
    sizes: Annotated[
        tuple[float, ...],
        arg(metavar="SHARE ...", help="Fractions of the players to keep."),
    ] = SIZES
    seeds: Annotated[
        int,
        arg(
            metavar="N", help="Networks to train and prune, from the seeds 0 to N - 1."
        ),
    ] = 2
    evaluations: Annotated[
        int | None,
        arg(
            metavar="N",
            help="Coalitions evaluated for each estimate of a power index, in each "
            "round of building and pruning.",
            help_behavior_hint="(default: 10 for each player, 2 in rounds)",
        ),
    ] = None
    step: Annotated[
        float,
        arg(
            metavar="N|SHARE",
            help="Players decided on in a round, or a fraction of those who are in.",
        ),
    ] = 0.1
    swaps: Annotated[
        int,
        arg(
            metavar="N",
            help="Players exchanged at most after every round of building or pruning, "
            "while that raises the value.",
        ),
    ] = 16
    bias: Annotated[
        float,
        arg(
            metavar="D",
            help="Of biased_banzhaf: the probability with which a player is in a "
            "coalition; gamepruning bands finds one.",
        ),
    ] = 0.2
    value: Annotated[
        Value,
        arg(
            help="What a coalition is worth on the validation data: the metric, the "
            "negative loss, or that at the best of five temperatures (classes only); "
            "auto is the loss."
        ),
    ] = "auto"
    rows: Annotated[
        int, arg(metavar="N", help="Validation examples that coalitions are valued on.")
    ] = 2000
    fine_tune: Annotated[
        int,
        arg(metavar="EPOCHS", help="Passes over the data after removal, at each size."),
    ] = 0
    pulls: Pulls = None
    target: Target = None
    rare_classes: RareClasses = "error"
    standardise: Standardise = False
    epochs: Epochs = None
    batch_size: BatchSize = None
    data_dir: DataDir = None

    def __post_init__(self):
        _check_lists(self)
        for name, least in {
            "seeds": 1,
            "rows": 1,
            "evaluations": 1,
            "pulls": 1,
        }.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"expected --{name} >= {least}, got {value}")
        if not (0 < self.step < 1 or (self.step >= 1 and self.step == int(self.step))):
            raise InputError(
                "expected --step as a number of players, or as a fraction in (0, 1) of "
                f"those who are in, got {self.step:g}"
            )
        if self.swaps < 0:
            raise InputError(f"expected --swaps >= 0, got {self.swaps}")
        if not 0 < self.bias < 1:
            raise InputError(f"expected --bias in (0, 1), got {self.bias:g}")
        if self.value not in get_args(Value):
            choices = ", ".join(get_args(Value))
            raise InputError(f"expected --value as one of {choices}, got {self.value}")
        self.as_prune(0)

    def as_prune(self, seed: int) -> PruneSettings:
        """The part that the run of one seed has, too: the same network comes of it."""
        return PruneSettings(
            dataset=self.dataset,
            model=self.model,
            module=self.module,
            widths=self.widths,
            target=self.target,
            rare_classes=self.rare_classes,
            standardise=self.standardise,
            epochs=self.epochs,
            batch_size=self.batch_size,
            fine_tune=self.fine_tune,
            data_dir=self.data_dir,
            seed=seed,
        )


def _check_lists(settings: CurveSettings) -> None:
    for name in ("methods", "sizes"):
        values = getattr(settings, name)
        if not values:
            raise InputError(f"--{name} needs a value")
        if len(set(values)) < len(values):
            raise InputError(f"--{name} names something twice: {values}")
    for method in settings.methods:
        parse_method(method)
    for size in settings.sizes:
        if not 0 < size < 1:
            raise InputError(f"expected --sizes as fractions in (0, 1), got {size:g}")
