"""What one has to know about known tables, so that no trap is stepped into.

A recipe says what the columns mean where the file itself does not: which are codes of
categories, which zeros mean "missing", which would give the target away.
"""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to read one table.

    Attributes:
      task: "classification", "regression", or "auto": classification where the target
        is text, or where it is whole numbers of at most 20 kinds with 5 rows a kind.
      target: the column to predict.
      drop: columns to leave out.
      categorical: columns of numbers that are codes of categories.
      zero_is_missing: columns whose zeros mean that nothing was measured.
      group: a column whose rows of one value stay in one part of the split; it is not
        an input.
      rare_classes: "error" or "drop": what to do with classes too small to split.
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


RECIPES = {
    "australian": _classes(categorical=("a4", "a5", "a6", "a12")),
    "banknote": _classes(),
    "breast_cancer_wisconsin": _classes(),
    "car": _classes(
        categorical=("buying", "maint", "doors", "persons", "lug_boot", "safety"),
        why="all columns are codes of categories",
    ),
    "dermatology": _classes(),
    "ecoli": _classes(rare_classes="drop"),
    "german_credit": _classes(),
    "glass": _classes(),
    "haberman": _classes(),
    "ionosphere": _classes(),
    "new_thyroid": _classes(),
    "phoneme": _classes(),
    "pima_diabetes": _classes(
        zero_is_missing=("glucose", "blood_pressure", "skin_thickness", "insulin")
        + ("bmi",),
        why="zeros of measurements mean missing",
    ),
    "satimage": _classes(),
    "segmentation": _classes(),
    "sonar": _classes(),
    "vehicle": _classes(),
    "vowel": _classes(
        drop=("train_or_test",),
        group="speaker_number",
        why="no speaker is in two parts; the mark of the old split is left out",
    ),
    "wheat_seeds": _classes(),
    "wine": _classes(),
    "abalone": _numbers(),
    "airfoil": _numbers(),
    "auto_mpg": _numbers(categorical=("origin",)),
    "auto_price": _numbers(),
    "bodyfat": _numbers(
        drop=("density",), why="the target is computed from the density: left out"
    ),
    "boston_housing": _numbers(drop=("b",), why="column b encodes race: left out"),
    "california_housing": _numbers(),
    "concrete": _numbers(),
    "cpu_performance": _numbers(),
    "energy_heating": _numbers(categorical=("orientation", "glazing_distribution")),
    "kin8nm": _numbers(),
    "power_plant": _numbers(),
    "servo": _numbers(),
    "wine_quality_red": _numbers(),
    "wine_quality_white": _numbers(),
    "yacht": _numbers(),
}
