"""The groups of settings that several commands share, and what training makes of them.

`settle` decides what the user left open.
"""

import dataclasses
import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from tyro.conf import DisallowNone, arg

from gamepruning.errors import InputError
from gamepruning.spelling import flag_of
from gamepruning.workbench.settings.base import Settings, Within

DEFAULT_MODEL = "mlp"
LEAST_STEPS = 5000  # gates need steps to travel; small data sets get more epochs
MAX_EPOCHS = 2000  # chosen at most, for data of which an epoch is a step or two
GATE_TRAVEL = 5.0  # least product of steps and the gates' learning rate
LEAVE_STEPS = 100  # of a gate from one to zero under a budget, at most
SGD_MODELS = ("mlp", "lenet_300_100", "text_mlp")


def flag(metavar: str) -> Any:
    """A flag; where nothing is the default, its help says what is done then."""

    def hint(default: str) -> str:
        return "" if default in ("None", "") else f"(default: {default})"

    return arg(metavar=metavar, help_behavior_hint=hint)


N, X, NS, XS = flag("N"), flag("X"), flag("N ..."), flag("X ...")
NAMES, COLUMNS = flag("NAME ..."), flag("COLUMN ...")
FOLDER = flag("FOLDER")
AT_LEAST_ONE = Within(1, 10**9)
Share = Within(0, 1, is_open=True)
Above = Within(0, is_open=True)

Seed = Annotated[int, N, Within(0, 2**32 - 1)]  # larger ones would repeat these
Load = Annotated[Path | None, flag("CHECKPOINT")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings(Settings):
    """How the data set is read.

    Attributes:
      target: Column of a table to predict (default: target).
      task: Task of a table; auto infers it from the target column.
      drop: Columns of a table to leave out.
      keep_column: Columns of a table to read although they look like names of the rows.
      categorical: Columns of a table whose numbers or dates are codes of categories.
      numeric: Columns of a table that are numbers although they look like dates
        (20240131) or codes (0123).
      missing: Cells of a table that mean that a value is missing, as empty ones do
        (default: NA, N/A, nan, null, ?, -).
      decimal: How a table's numbers are read where 1,138 may be a thousand or about
        one; auto infers it from all numbers of the table.
      dates: How a table's dates are read where the day or the month may come first.
      test_file: Another file of the same columns that is the test data.
      rare_classes: What to do with classes of a table that are too small to split.
      missing_target: What to do with rows of a table whose target is missing.
      standardise: Give image pixels mean 0 and variance 1 instead of [0, 1].
      pixel_mean: Subtracted from image pixels in [0, 1]: one number, or one per
        channel.
      pixel_scale: Divisor of the pixels after that, one number or one per channel.
      image_size: Side to which images are resized, in pixels (default: images of one
        size keep it).
      data_dir: Folder of the data sets that are not built in.
    """

    target: Annotated[str | None, flag("COLUMN")] = None
    task: Literal["auto", "classification", "regression"] = "auto"
    drop: Annotated[tuple[str, ...], COLUMNS] = ()
    keep_column: Annotated[tuple[str, ...], COLUMNS] = ()
    categorical: Annotated[tuple[str, ...], COLUMNS] = ()
    numeric: Annotated[tuple[str, ...], COLUMNS] = ()
    missing: Annotated[tuple[str, ...], flag("CELL ...")] = ()
    decimal: Literal["auto", "point", "comma"] = "auto"
    dates: Literal["auto", "day-first", "month-first"] = "auto"
    test_file: Annotated[Path | None, flag("FILE.csv")] = None
    rare_classes: Literal["error", "drop"] = "error"
    missing_target: Literal["error", "drop"] = "error"
    standardise: bool = False
    pixel_mean: Annotated[tuple[float, ...], XS, Within(-1000, 1000)] = ()
    pixel_scale: Annotated[tuple[float, ...], XS, Above] = ()
    image_size: Annotated[int | None, N, Within(1, 4096)] = None
    data_dir: Annotated[Path | None, FOLDER] = None

    def options(self) -> dict[str, Any]:
        """The options of `load_dataset` that differ from their defaults."""
        return {
            name: value for name, value in self.given().items() if name != "data_dir"
        }

    def fit_for(self, dataset: str) -> "DataSettings":
        """The same without what goes with tables, where the data set is none."""
        from gamepruning.workbench.datasets import image_kind, places

        is_other = dataset in ("digits", *places.TEXTS)
        if not is_other and image_kind(dataset, self.data_dir) is None:
            return self
        fields = ("standardise", "pixel_mean", "pixel_scale", "image_size", "data_dir")
        return DataSettings(**{name: getattr(self, name) for name in fields})

    def for_published(self) -> "DataSettings":
        """The same with the pixels that weights with PyTorch's names mostly expect."""
        if self.standardise or self.pixel_mean or self.pixel_scale:
            return self
        mean, scale = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
        return self.but(pixel_mean=mean, pixel_scale=scale)

    def problems(self) -> Iterator[str]:
        if self.standardise and (self.pixel_mean or self.pixel_scale):
            yield "--standardise and --pixel-mean both scale pixels: leave one out"


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSettings(Settings):
    """The network that is trained and pruned.

    Attributes:
      model: One of mlp, lenet_300_100, lenet_5, alexnet, text_mlp, resnet, transformer,
        and for images of 32 x 32 resnet20, 32, 44, 56, 110 (resnet20_b has convolutions
        as shortcuts) and vgg19 (default: mlp).
      module: A network of your own instead of --model: a Python file, and a function in
        it that takes nothing and returns (apply, params, inputs).
      widths: Hidden units of each layer of a fully connected --model (default: as the
        model was published).
    """

    model: Annotated[str | None, flag("NAME")] = None
    module: Annotated[str | None, flag("FILE.py:FACTORY")] = None
    widths: Annotated[tuple[int, ...], NS, Within(1, 10**6)] = ()

    def problems(self) -> Iterator[str]:
        if self.module is not None and (self.model or self.widths):
            yield (
                "--module is a network of your own, which "
                f"{'--model' if self.model else '--widths'} does not change: leave one "
                "of them out"
            )

    @property
    def name(self) -> str:
        """The model's name, or that of the user's module."""
        return self.module or self.model or DEFAULT_MODEL


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """How the dense network is trained, and what networks are judged by.

    Attributes:
      epochs: Passes over the training data (default: 20, more for small data sets).
      batch_size: Examples per step (default: 64, or 128 from 10,000 examples on).
      metric: Metric that networks are judged and chosen by, and, if it is named here,
        the value of a coalition under --value auto; auto is accuracy for classes and r2
        for numbers.
      class_weights: Weights of the classes in the loss; balanced lets rare ones count
        as much as frequent ones.
      augment: Train on random crops of the images, shifted by up to an eighth of the
        side, and mirror images of half of them.
    """

    epochs: Annotated[int | None, N, Within(1, 10**5)] = None
    batch_size: Annotated[int | None, N, AT_LEAST_ONE] = None
    metric: Literal["auto", "accuracy", "balanced_accuracy", "macro_f1", "r2"] = "auto"
    class_weights: Literal["none", "balanced"] = "none"
    augment: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class RateSettings(Settings):
    """Learning rates, and training after removal.

    Attributes:
      optimizer: Optimizer of the weights; auto takes sgd (momentum 0.9) for fully
        connected classifiers, and adam for all other networks.
      learning_rate: Learning rate of the weights (default: 0.1 for sgd, 0.001 for
        adam).
      gate_learning_rate: Learning rate of the gates (default: 0.001, more if training
        has fewer than 5000 steps; 0.01 or more with --keep).
      fine_tune: Passes over the training data after removal; 0 turns fine-tuning off
        (default: a quarter of --epochs).
      repair: After removal, before fine-tuning, fit the weights that read removed
        players to what the full network computed: closed form, no labels (default: for
        all methods but the equilibrium game, which trains while it prunes).
      refine: Gauss-Newton steps of the repair, at most: each weight that reads removed
        players is fitted together with those that lead to it, then all of them to what
        the full network says. No labels.
      distil: Fine-tune with the full trained network as teacher: 0.9 of the loss is the
        distance from its outputs, for classes at temperature 4, and 0.1 that on labels.
    """

    optimizer: Literal["auto", "sgd", "adam"] = "auto"
    learning_rate: Annotated[float | None, X, Above] = None
    gate_learning_rate: Annotated[float | None, X, Above] = None
    fine_tune: Annotated[int | None, N, Within(0, 10**5)] = None
    repair: Annotated[DisallowNone[bool | None], flag("")] = None
    refine: Annotated[int, N, Within(0, 1000)] = 0
    distil: bool = False

    def problems(self) -> Iterator[str]:
        if self.distil and self.fine_tune == 0:
            yield "--distil is a way to fine-tune: leave --fine-tune 0 out"


NO_RATES = RateSettings()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoringSettings(Settings):
    """How power indices and bandits score the players.

    Attributes:
      value: Value of a coalition on the validation data: the metric, the negative loss,
        or the negative loss at the best of five temperatures (calibrated, for classes
        only); auto is the loss, or the metric that --metric names.
      rows: Validation examples on which coalitions are evaluated.
      bias: Probability with which a player is in a coalition, for biased_banzhaf
        (default: where the outputs are least certain).
      evaluations: Coalitions evaluated for each estimate of a power index (default: 10
        per player, or 2 per player in each round of building and pruning).
      step: Players decided on in each round: a count such as 1, or a fraction such as
        0.1 or 1.0 of those that are still in.
      swaps: Players exchanged at most after each round of building or pruning, as long
        as that raises the value.
      pulls: Pulls of a bandit in each round; a pull removes one player on one
        mini-batch (default: 10 per player that is left).
    """

    value: Literal["auto", "metric", "loss", "calibrated"] = "auto"
    rows: Annotated[int, N, AT_LEAST_ONE] = 2000
    bias: Annotated[float | None, X, Share] = None
    evaluations: Annotated[int | None, N, AT_LEAST_ONE] = None
    step: Annotated[int | float, flag("N|SHARE")] = 0.1
    swaps: Annotated[int, N, Within(0, 10**9)] = 16
    pulls: Annotated[int | None, N, AT_LEAST_ONE] = None

    def problems(self) -> Iterator[str]:
        is_count = 1 <= self.step < math.inf and self.step == int(self.step)
        if not (is_count or 0 < self.step <= 1):
            yield (
                "expected --step as a number of players such as 1, or as a fraction in "
                f"(0, 1] of those that are in such as 1.0, got {self.step:g}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandSettings(Settings):
    """The settings of a command that writes a run folder.

    The docstring of each class is the help of its command.
    """

    COMMAND: ClassVar[str]

    network: NetworkSettings = NetworkSettings()
    data: DataSettings = DataSettings()
    training: TrainingSettings = TrainingSettings()

    def command(self) -> str:
        """The command line that does this again: only what is not the default."""
        words = ["gamepruning", self.COMMAND]
        for name, value in self.given().items():
            if isinstance(value, bool):
                words.append(flag_of(name) if value else f"--no-{flag_of(name)[2:]}")
            elif value is not None:
                values = value if isinstance(value, tuple) else (value,)
                words += [flag_of(name), *map(str, values)]
        return shlex.join(words)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetCommandSettings(CommandSettings):
    """The settings of a command that reads one data set.

    Attributes:
      dataset: Data set, by name (see gamepruning datasets), as a CSV file, or as a
        folder of images with one sub-folder a class.
    """

    dataset: Annotated[str, flag("NAME|FILE.csv|FOLDER")] = "digits"


class SettledTraining(NamedTuple):
    """How a network is trained, with nothing left to choose; as in the settings."""

    epochs: int
    batch_size: int
    optimizer: Literal["sgd", "adam"]
    learning_rate: float
    gate_learning_rate: float
    fine_tune: int
    repair: bool = False
    refine: int = 0
    distil: bool = False
    augment: bool = False


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

    Under a budget the equilibrium game is to end at a given size.

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
    num_steps = epochs * steps
    gate_rate = max(1e-3, GATE_TRAVEL / num_steps)
    if has_budget:  # gates leave within a fiftieth of the steps, which leaves a fifth
        gate_rate = min(max(1 / LEAVE_STEPS, 50 / num_steps), 0.5)
    gate_rate = rates.gate_learning_rate or float(f"{gate_rate:.2g}")
    optimizer = rates.optimizer
    if optimizer == "auto":
        is_plain = network in SGD_MODELS and task == "classification"
        optimizer = "sgd" if is_plain else "adam"
    return SettledTraining(
        epochs=epochs,
        batch_size=batch,
        optimizer=optimizer,
        learning_rate=rates.learning_rate or {"sgd": 0.1, "adam": 1e-3}[optimizer],
        gate_learning_rate=gate_rate,
        fine_tune=max(1, epochs // 4) if rates.fine_tune is None else rates.fine_tune,
        repair=bool(rates.repair),
        refine=rates.refine,
        distil=rates.distil,
        augment=asked.augment,
    )
