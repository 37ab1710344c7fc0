"""The settings of a pruning run, checked before anything is done."""

import dataclasses
import math
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from tyro.conf import arg

from gamepruning.types import InputError
from gamepruning.workbench.settings.common import (
    HandleRare,
    Pulls,
    RareClasses,
    Standardise,
    Target,
)
from gamepruning.workbench.settings.stored import StoredSettings, flag_of

Method = Literal[
    "equilibrium",
    "magnitude",
    "magnitude_l1",
    "weight_gradient",
    "taylor",
    "taylor_second",
    "activation",
    "random",
    "loss_oracle",
    "shapley",
    "banzhaf",
    "biased_banzhaf",
    "epsilon_greedy",
    "softmax",
    "ucb1",
    "thompson",
    "thompson_beta",
    "hedge",
    "exp3",
    "uniform",
]
POWER_INDICES = ("shapley", "banzhaf", "biased_banzhaf")
BANDITS = ("epsilon_greedy", "softmax", "ucb1", "thompson", "thompson_beta") + (
    "hedge",
    "exp3",
    "uniform",
)
Selection = Literal["auto", "top_n", "pruning", "building"]
Value = Literal["auto", "metric", "loss", "calibrated"]
Preset = Literal["very_high_beta", "extreme_beta", "l1_strong", "l1_l2"]
Scope = Literal["family", "global"]
DataTask = Literal["auto", "classification", "regression"]
Norm = Literal["mean", "sum", "unit"]
Benefit = Literal["descent", "literal"]
Optimizer = Literal["auto", "sgd", "adam"]
Unit = Literal["players", "params", "macs"]
DEFAULT_MODEL = "mlp"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PruneSettings(StoredSettings):
    """What `gamepruning prune` was asked to do; None where it chooses itself.

    Every setting is checked on its own here; what depends on the data is filled in and
    checked by `resolve`.

    Raises:
      InputError: a setting is out of range.
    """

    COMMAND: ClassVar[str] = "prune"

    dataset: Annotated[
        str,
        arg(
            metavar="NAME|FILE.csv",
            help="Data set: digits, mnist, emotion, topic, or the path of a CSV file.",
        ),
    ] = "digits"
    model: Annotated[
        str | None,
        arg(
            metavar="NAME",
            help="Network to train: mlp, lenet_300_100, lenet_5, alexnet, text_mlp, "
            "resnet or transformer.",
            help_behavior_hint=f"(default: {DEFAULT_MODEL})",
        ),
    ] = None
    module: Annotated[
        str | None,
        arg(
            metavar="FILE.py:FACTORY",
            help="A network of your own instead of --model: a function without "
            "arguments that returns (apply, params, inputs).",
        ),
    ] = None
    widths: Annotated[
        tuple[int, ...],
        arg(
            metavar="N ...",
            help="Hidden units of each layer, for the fully connected networks.",
            help_behavior_hint="(default: the model's)",
        ),
    ] = ()
    method: Annotated[Method, arg(help="How to choose who leaves.")] = "equilibrium"
    preset: Annotated[
        Preset, arg(help="Prices of the equilibrium game (arXiv 2512.22106, Table 2).")
    ] = "l1_l2"
    price: Annotated[
        float,
        arg(metavar="X", help="Factor on the preset's prices; less keeps more."),
    ] = 1.0
    norm: Annotated[
        Norm,
        arg(
            help="What the game's quadratic cost takes as a player's size: the mean of "
            "its squared weights, their sum (as the paper prints it), or one."
        ),
    ] = "mean"
    benefit: Annotated[
        Benefit,
        arg(help="What the game rewards: a lower loss, or the paper's literal sign."),
    ] = "descent"
    threshold: Annotated[
        float, arg(metavar="S", help="Players whose gate is smaller leave.")
    ] = 0.01
    keep: Annotated[
        str | None,
        arg(
            metavar="SIZE",
            help="How many stay: a fraction (0.1), a count (77), or a count for each "
            "family (51/26). In the equilibrium game the price of taking part then "
            "rises until the budget is met, in the place of --preset.",
            help_behavior_hint="(needed by baselines)",
        ),
    ] = None
    unit: Annotated[
        Unit,
        arg(
            help="Of --keep in the equilibrium game: players, their parameters, or "
            "multiply-adds."
        ),
    ] = "players"
    selection: Annotated[
        Selection,
        arg(
            help="By power indices and bandits: the best of one estimate stay (top_n), "
            "the worst leave round by round (pruning), or, by power indices, the best "
            "enter round by round (building). Auto builds by power indices and prunes "
            "by bandits, unless --keep counts each family."
        ),
    ] = "auto"
    bias: Annotated[
        float | None,
        arg(
            metavar="D",
            help="Of --method biased_banzhaf: the probability with which a player is "
            "in a coalition.",
            help_behavior_hint="(default: where the outputs are least certain)",
        ),
    ] = None
    value: Annotated[
        Value,
        arg(
            help="What a coalition is worth on the validation data: the metric, the "
            "negative loss, or that at the best of five temperatures (classes only); "
            "auto is the loss."
        ),
    ] = "auto"
    evaluations: Annotated[
        int | None,
        arg(
            metavar="N",
            help="Coalitions evaluated for each estimate of power indices.",
            help_behavior_hint="(default: 10 for each player)",
        ),
    ] = None
    scope: Annotated[
        Scope,
        arg(
            help="For baselines, and top_n of bandits: the same share of every family "
            "stays, or the best of all."
        ),
    ] = "family"
    round_to: Annotated[
        int, arg(metavar="N", help="Keep a multiple of N players in every family.")
    ] = 1
    target: Target = None
    pulls: Pulls = None
    max_drop: Annotated[
        float | None,
        arg(
            metavar="X",
            help="Of the bandits: remove players round by round until the validation "
            "metric would be this much lower, such as 0.01; instead of --keep.",
            help_behavior_hint="",
        ),
    ] = None
    task: Annotated[
        DataTask,
        arg(help="Of a table; auto tells classes from numbers by the column."),
    ] = "auto"
    rare_classes: RareClasses = "error"
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
    optimizer: Annotated[
        Optimizer,
        arg(
            help="Of the weights; auto is sgd (momentum 0.9) for fully connected "
            "classifiers, else adam."
        ),
    ] = "auto"
    learning_rate: Annotated[
        float | None,
        arg(
            metavar="RATE",
            help="Of the weights.",
            help_behavior_hint="(default: 0.1 for sgd, 0.001 for adam)",
        ),
    ] = None
    gate_learning_rate: Annotated[
        float | None,
        arg(
            metavar="RATE",
            help="Of the gates.",
            help_behavior_hint="(default: 0.001, more below 5000 steps)",
        ),
    ] = None
    fine_tune: Annotated[
        int | None,
        arg(
            metavar="EPOCHS",
            help="Passes over the data after removal; 0 turns fine-tuning off.",
            help_behavior_hint="(default: a quarter of --epochs)",
        ),
    ] = None
    seed: Annotated[
        int, arg(metavar="N", help="All that is random follows from it.")
    ] = 0
    load: Annotated[
        Path | None,
        arg(
            metavar="CHECKPOINT",
            help="Start from these weights: a .safetensors file or a run folder. A "
            "baseline then prunes them as they are.",
            help_behavior_hint="",
        ),
    ] = None
    data_dir: Annotated[
        Path | None,
        arg(
            metavar="FOLDER",
            help="Where data lie that are not built in (see gamepruning datasets).",
            help_behavior_hint="",
        ),
    ] = None
    rivals: Annotated[
        bool,
        arg(
            help="Also prune at random and by magnitude to the same size, and train "
            "that size from scratch."
        ),
    ] = True

    def __post_init__(self):
        for name, choices in _CHOICES.items():
            _check_choice(name, getattr(self, name), get_args(choices))
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                _check_range(name, number, least, most)
        for name in ("price", "learning_rate", "gate_learning_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"expected {flag_of(name)} > 0, got {value}")
        if not 0 < self.threshold < 1:
            raise InputError(f"expected --threshold in (0, 1), got {self.threshold}")
        self._check_indices()
        self._check_module()
        self._check_keep()

    def _check_module(self) -> None:
        for name in ("model", "widths"):
            if self.module is not None and getattr(self, name):
                raise InputError(
                    f"--module is a network of your own, which {flag_of(name)} does "
                    "not change: leave one of them out"
                )

    def _check_indices(self) -> None:
        default = {f.name: f.default for f in dataclasses.fields(self)}
        games = {
            "selection": (*POWER_INDICES, *BANDITS),
            **dict.fromkeys(("value", "evaluations", "bias"), POWER_INDICES),
            **dict.fromkeys(("pulls", "max_drop"), BANDITS),
        }
        for name, methods in games.items():
            is_asked = getattr(self, name) != default[name]
            if is_asked and self.method not in methods:
                raise InputError(
                    f"{flag_of(name)} goes with --method {', '.join(methods)}"
                )
        if self.method in BANDITS:
            self._check_bandit()
        if self.bias is not None and self.method != "biased_banzhaf":
            raise InputError("--bias goes with --method biased_banzhaf")
        if self.bias is not None and not 0 < self.bias < 1:
            raise InputError(f"expected --bias in (0, 1), got {self.bias}")
        if self.selection in ("pruning", "building"):
            self._check_rounds()

    def _check_bandit(self) -> None:
        if self.selection == "building":
            raise InputError(
                "--selection building does not go with bandits, which remove players: "
                "take pruning or top_n"
            )
        if self.max_drop is None:
            return
        if not 0 <= self.max_drop < math.inf:
            raise InputError(f"expected --max-drop >= 0, got {self.max_drop}")
        if self.keep is not None or self.selection == "top_n" or self.round_to != 1:
            raise InputError(
                "--max-drop says when to stop: leave --keep, --selection top_n and "
                "--round-to out"
            )

    def _check_rounds(self) -> None:
        if "/" in (self.keep or ""):
            raise InputError(
                f"--selection {self.selection} compares all players with each other: "
                f"give --keep one number instead of {self.keep}, or take top_n"
            )
        if self.round_to != 1:
            raise InputError(
                f"--round-to {self.round_to} goes with --selection top_n, not "
                f"{self.selection}"
            )

    def _check_keep(self) -> None:
        if self.has_budget:
            self._check_budget()
        elif self.unit != "players":
            raise InputError(
                f"--unit {self.unit} goes with --method equilibrium and --keep"
            )
        if self.max_drop is None and self.method != "equilibrium" and self.keep is None:
            raise InputError(
                f"--method {self.method} needs --keep: a fraction such as 0.1, a count "
                "such as 77, or a count for each family such as 51/26"
            )
        if self.keep is not None:
            parse_keep(self.keep)

    def _check_budget(self) -> None:
        default = {f.name: f.default for f in dataclasses.fields(self)}
        for name in ("preset", "price", "norm", "benefit", "round_to"):
            if getattr(self, name) != default[name]:
                raise InputError(
                    f"{flag_of(name)} does nothing where --keep says how many stay: "
                    "leave one of them out"
                )
        if "/" in (self.keep or "") and self.unit != "players":
            raise InputError(
                f"--keep {self.keep} counts players: leave --unit {self.unit} out"
            )

    @property
    def has_budget(self) -> bool:
        """Whether the equilibrium game is to end at a given size."""
        return self.method == "equilibrium" and self.keep is not None

    @property
    def network(self) -> str:
        """The model's name, or that of the user's module."""
        return self.module or self.model or DEFAULT_MODEL

    def data_options(self) -> dict[str, Any]:
        """Options of `load_dataset` that were asked for."""
        names = ("target", "task", "rare_classes", "standardise")
        default = PruneSettings()
        return {
            name: getattr(self, name)
            for name in names
            if getattr(self, name) != getattr(default, name)
        }


_CHOICES = {
    "method": Method,
    "preset": Preset,
    "norm": Norm,
    "scope": Scope,
    "task": DataTask,
    "rare_classes": HandleRare,
    "benefit": Benefit,
    "optimizer": Optimizer,
    "unit": Unit,
    "selection": Selection,
    "value": Value,
}
_RANGES = {
    "widths": (1, 10**6),
    "round_to": (1, 10**6),
    "epochs": (1, 10**5),
    "batch_size": (1, 10**9),
    "fine_tune": (0, 10**5),
    "evaluations": (1, 10**9),
    "pulls": (1, 10**9),
    "seed": (0, 2**32 - 1),  # larger ones would repeat these
}


def parse_keep(keep: str) -> float | int | tuple[int, ...]:
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


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(
            f"expected {flag_of(name)} to be one of {', '.join(choices)}, got {value!r}"
        )


def _check_range(name: str, value: int | None, least: int, most: int) -> None:
    if value is None:
        return
    if value < least:
        raise InputError(f"expected {flag_of(name)} >= {least}, got {value}")
    if value > most:
        raise InputError(f"expected {flag_of(name)} <= {most}, got {value}")
