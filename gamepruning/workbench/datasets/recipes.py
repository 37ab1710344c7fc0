"""What the columns of known tables mean where the file itself does not say."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to read one table.

    Attributes:
      task: "classification", "regression", or "auto": classification if the target is
        text, or whole numbers of at most 20 kinds with 5 rows or more of each.
      target: the column to predict.
      drop: columns to leave out.
      categorical: columns of numbers that are codes of categories.
      zero_is_missing: columns whose zeros mean that nothing was measured.
      group: a column that is not an input; all rows with one value of it go to the same
        part of the split.
      rare_classes: what to do with classes too small to split: "error" or "drop".
      why: the reason for what was dropped or regrouped, for the report.
    """

    task: Literal["auto", "classification", "regression"] = "auto"
    target: str = "target"
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    zero_is_missing: tuple[str, ...] = ()
    group: str | None = None
    rare_classes: Literal["error", "drop"] = "error"
    why: str = ""


def _classes(**fields) -> Recipe:
    return Recipe(task="classification", **fields)


def _numbers(**fields) -> Recipe:
    return Recipe(task="regression", **fields)


_PLAIN_CLASSES = """
    banknote breast_cancer_wisconsin dermatology german_credit glass haberman
    ionosphere new_thyroid phoneme satimage segmentation sonar vehicle wheat_seeds wine
"""
_PLAIN_NUMBERS = """
    abalone airfoil auto_price california_housing concrete cpu_performance kin8nm
    power_plant servo wine_quality_red wine_quality_white yacht
"""
RECIPES = {
    **dict.fromkeys(_PLAIN_CLASSES.split(), _classes()),
    **dict.fromkeys(_PLAIN_NUMBERS.split(), _numbers()),
    "australian": _classes(categorical=("a4", "a5", "a6", "a12")),
    "car": _classes(
        categorical=("buying", "maint", "doors", "persons", "lug_boot", "safety"),
        why="all columns are codes of categories",
    ),
    "ecoli": _classes(rare_classes="drop"),
    "pima_diabetes": _classes(
        zero_is_missing=("glucose", "blood_pressure", "skin_thickness", "insulin")
        + ("bmi",),
        why="zeros of measurements mean missing",
    ),
    "vowel": _classes(
        drop=("train_or_test",),
        group="speaker_number",
        why="no speaker is in two parts; the mark of the old split is left out",
    ),
    "auto_mpg": _numbers(categorical=("origin",)),
    "bodyfat": _numbers(
        drop=("density",), why="the target is computed from the density: left out"
    ),
    "boston_housing": _numbers(drop=("b",), why="column b encodes race: left out"),
    "energy_heating": _numbers(categorical=("orientation", "glazing_distribution")),
}
