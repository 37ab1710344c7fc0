"""The groups of settings that several commands share, each checked once."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from gamepruning.errors import InputError
from gamepruning.workbench.settings.base import Settings, Within, flag_of

DEFAULT_MODEL = "mlp"
SIZES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6)
Preset = Literal["very_high_beta", "extreme_beta", "l1_strong", "l1_l2"]


def _hint(default: str) -> str:
    """Where nothing is the default, the help text says what is done then."""
    return "" if default in ("None", "") else f"(default: {default})"


N = arg(metavar="N", help_behavior_hint=_hint)
X = arg(metavar="X", help_behavior_hint=_hint)
NS = arg(metavar="N ...", help_behavior_hint=_hint)
XS = arg(metavar="X ...", help_behavior_hint=_hint)
NAMES = arg(metavar="NAME ...", help_behavior_hint=_hint)
FOLDER = arg(metavar="FOLDER", help_behavior_hint=_hint)
COLUMN = arg(metavar="COLUMN", help_behavior_hint=_hint)
FACTORY = arg(metavar="FILE.py:FACTORY", help_behavior_hint=_hint)
AT_LEAST_ONE = Within(1, 10**9)
Share = Within(0, 1, is_open=True)

DatasetName = Annotated[
    str,
    arg(
        metavar="NAME|FILE.csv",
        help="Data set, by name (see gamepruning datasets) or as a CSV file.",
    ),
]
Shares = Annotated[
    tuple[float, ...],
    arg(metavar="SHARE ...", help_behavior_hint=_hint),
    Share,
]
Seed = Annotated[
    int,
    arg(metavar="N", help="Seed of everything random."),
    Within(0, 2**32 - 1),  # larger ones would repeat these
]
Seeds = Annotated[int, N, Within(1, 2**32)]
Load = Annotated[Path | None, arg(metavar="CHECKPOINT", help_behavior_hint="")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings(Settings):
    """How the data set is read.

    Attributes:
      target: Column of a table to predict (default: target).
      task: Task of a table; auto tells it by the values of the target column.
      rare_classes: What to do with classes of a table that are too small to split.
      standardise: Give image pixels mean 0 and variance 1 instead of [0, 1].
      data_dir: Folder of the data sets that are not built in.
    """

    target: Annotated[str | None, arg(metavar="COLUMN", help_behavior_hint=_hint)] = (
        None
    )
    task: Literal["auto", "classification", "regression"] = "auto"
    rare_classes: Literal["error", "drop"] = "error"
    standardise: bool = False
    data_dir: Annotated[Path | None, FOLDER] = None

    def options(self) -> dict[str, Any]:
        """The options of `load_dataset` that differ from their defaults."""
        return {name: value for name, value in self.given() if name != "data_dir"}

    def fit_for(self, dataset: str) -> "DataSettings":
        """The same without what goes with tables, where the data set is none."""
        if dataset.endswith(".csv"):
            return self
        return dataclasses.replace(self, target=None, task="auto", rare_classes="error")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSettings(Settings):
    """The network that is trained and pruned.

    Attributes:
      model: One of mlp, lenet_300_100, lenet_5, alexnet, text_mlp, resnet, transformer
        (default: mlp).
      module: A network of your own instead of --model: a Python file, and a function in
        it that takes nothing and returns (apply, params, inputs).
      widths: Hidden units of each layer of a fully connected --model (default: as the
        model was published).
    """

    model: Annotated[str | None, arg(metavar="NAME", help_behavior_hint=_hint)] = None
    module: Annotated[str | None, FACTORY] = None
    widths: Annotated[tuple[int, ...], NS, Within(1, 10**6)] = ()

    def __post_init__(self):
        super().__post_init__()
        for name in ("model", "widths"):
            if self.module is not None and getattr(self, name):
                raise InputError(
                    f"--module is a network of your own, which {flag_of(name)} does "
                    "not change: leave one of them out"
                )

    @property
    def name(self) -> str:
        """The model's name, or that of the user's module."""
        return self.module or self.model or DEFAULT_MODEL


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """How the dense network is trained.

    Attributes:
      epochs: Passes over the training data (default: 20, more for small data sets).
      batch_size: Examples per step (default: 64, or 128 from 10,000 examples on).
    """

    epochs: Annotated[int | None, N, Within(1, 10**5)] = None
    batch_size: Annotated[int | None, N, AT_LEAST_ONE] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RateSettings(Settings):
    """Learning rates, and training after removal.

    Attributes:
      optimizer: Optimizer of the weights; auto takes sgd (momentum 0.9) for fully
        connected classifiers, and adam for all other networks.
      learning_rate: Learning rate of the weights (default: 0.1 for sgd, 0.001 for
        adam).
      gate_learning_rate: Learning rate of the gates (default: 0.001, more if training
        has fewer than 5000 steps).
      fine_tune: Passes over the training data after removal; 0 turns fine-tuning off
        (default: a quarter of --epochs).
    """

    optimizer: Literal["auto", "sgd", "adam"] = "auto"
    learning_rate: Annotated[float | None, X, Within(0, is_open=True)] = None
    gate_learning_rate: Annotated[float | None, X, Within(0, is_open=True)] = None
    fine_tune: Annotated[int | None, N, Within(0, 10**5)] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class GameSettings(Settings):
    """The equilibrium game.

    Attributes:
      norm: Size of a player in the quadratic cost: the mean of its squared weights,
        their sum (as the paper prints it), or 1.
      benefit: What the game rewards: a lower loss (descent), or what the paper's sign
        says literally.
      threshold: Players whose gate ends below this number leave, in (0, 1).
    """

    norm: Literal["mean", "sum", "unit"] = "mean"
    benefit: Literal["descent", "literal"] = "descent"
    threshold: Annotated[float, X, Share] = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoringSettings(Settings):
    """How power indices and bandits score the players.

    Attributes:
      value: Value of a coalition on the validation data: the metric, the negative loss,
        or the negative loss at the best of five temperatures (calibrated, for classes
        only); auto is the loss.
      rows: Validation examples on which coalitions are evaluated.
      evaluations: Coalitions evaluated for each estimate of a power index (default: 10
        per player, or 2 per player in each round of building and pruning).
      step: Players decided on in each round: a count, or a fraction of those that are
        still in.
      swaps: Players exchanged at most after each round of building or pruning, as long
        as that raises the value.
      pulls: Pulls of a bandit in each round; a pull removes one player on one
        mini-batch (default: 10 per player that is left).
    """

    value: Literal["auto", "metric", "loss", "calibrated"] = "auto"
    rows: Annotated[int, N, AT_LEAST_ONE] = 2000
    evaluations: Annotated[int | None, N, AT_LEAST_ONE] = None
    step: Annotated[float, arg(metavar="N|SHARE")] = 0.1
    swaps: Annotated[int, N, Within(0, 10**9)] = 16
    pulls: Annotated[int | None, N, AT_LEAST_ONE] = None

    def __post_init__(self):
        super().__post_init__()
        if not (0 < self.step < 1 or (self.step >= 1 and self.step == int(self.step))):
            raise InputError(
                "expected --step as a number of players, or as a fraction in (0, 1) of "
                f"those that are in, got {self.step:g}"
            )


Keep = float | int | tuple[int, ...]
KeepText = Annotated[str | None, arg(metavar="SIZE", help_behavior_hint=_hint)]


def parse_keep(keep: str) -> Keep:
    """What --keep means: a fraction, a count, or a count for each family.

    Raises:
      InputError: it is none of them.

    Example:
      >>> parse_keep("0.1"), parse_keep("77"), parse_keep("51/26")
      (0.1, 77, (51, 26))
    """
    try:
        if "/" in keep:
            counts = tuple(int(part) for part in keep.split("/"))
            if min(counts) >= 1:
                return counts
        elif "." in keep or "e" in keep:
            if 0 < float(keep) < 1:
                return float(keep)
        elif int(keep) >= 1:
            return int(keep)
    except ValueError:
        pass
    raise InputError(
        f"expected --keep as a fraction in (0, 1) such as 0.1, a count such as 77, or "
        f"a count for each family such as 51/26, got {keep!r}"
    )
