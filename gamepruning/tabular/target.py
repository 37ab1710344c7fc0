"""What is predicted: one of some classes, or a number."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false, reportGeneralTypeIssues=false

import dataclasses
from typing import Literal

import numpy as np
import pandas as pd

from gamepruning.tabular.columns import Column
from gamepruning.tabular.numerals import to_numbers
from gamepruning.tabular.understand import Understood
from gamepruning.types import InputError

Task = Literal["classification", "regression"]
MAX_CODES = 20  # whole numbers of more kinds are quantities
ROWS_A_CODE = 5


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Target:
    """The target column, and what a network's outputs mean.

    Attributes:
      column: how its cells are read.
      task: "classification" or "regression".
      classes: the name of each output; empty for a regression.
      mean: regression: target = output * scale + mean.
      scale: see `mean`.
    """

    column: Column
    task: Task
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0

    def __repr__(self) -> str:
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"Target({self.name!r}, {self.task}{classes})"

    @property
    def name(self) -> str:
        """The name of its column."""
        return self.column.name

    def is_known(self, cells: pd.Series) -> pd.Series:
        """Return True for each row that has a target."""
        return ~is_untold(self.column.parse(cells))

    def read(self, cells: pd.Series) -> np.ndarray:
        """The class of each row, int32, or its target in the units of the table.

        Raises:
          InputError: a target is missing, no number, or of an unknown class.
        """
        parsed = self.column.parse(cells)
        check_targets(cells, parsed)
        if self.task == "regression":
            return parsed.to_numpy()
        labels = pd.Index(self.classes).get_indexer(parsed)
        for row, name in parsed[labels < 0][:1].items():
            known = ", ".join(self.classes[:20])
            raise InputError(f"row {row}: class {name!r} is new: there are {known}")
        return labels.astype(np.int32)

    def fit(self, targets: np.ndarray) -> "Target":
        """The target with the mean and scale of its training rows."""
        if self.task == "classification":
            return self
        mean, scale = float(targets.mean()), float(targets.std()) or 1.0
        return dataclasses.replace(self, mean=mean, scale=scale)

    def to_labels(self, targets: np.ndarray) -> np.ndarray:
        """What a network is trained on: classes, or standardised targets, float32."""
        if self.task == "classification":
            return targets
        return ((targets - self.mean) / self.scale).astype(np.float32)


def understand_target(
    cells: pd.Series, found: Understood, task: Task | Literal["auto"]
) -> Target:
    """Tell the task and the classes by the cells of the target, a column of `found`.

    Numbers are classes if they are whole, of at most 20 kinds, with 5 rows or more of
    each. Classes that are numbers come first, in their order.

    Raises:
      InputError: a target is missing, all are the same, or a regression has no numbers.
    """
    parsed = found.parsed[cells.name]
    (column,) = (own for own in found.columns if own.name == cells.name)
    check_targets(cells, parsed)
    if parsed.nunique() == 1:
        raise InputError(f"every target is {cells.iloc[0]}: there is nothing to learn")
    if task == "auto":
        task = _task_of(parsed, column)
    if task == "regression":
        for row, cell in cells[:1].items() if column.kind == "category" else ():
            numbers = to_numbers(cells).isna()
            row, cell = next(iter(cells[numbers].items()), (row, cell))
            raise InputError(
                f"row {row}: the target of a regression must be a number, got {cell!r}"
            )
        return Target(column=column, task=task)
    column = dataclasses.replace(column, kind="category")
    return Target(column=column, task=task, classes=classes_of(column.parse(cells)))


def classes_of(names: pd.Series) -> tuple[str, ...]:
    """The classes, numbers in their order first."""
    names = names.drop_duplicates()
    kinds = pd.DataFrame({"name": names, "number": to_numbers(names)})
    return tuple(kinds.sort_values(["number", "name"])["name"])


def is_untold(parsed: pd.Series) -> pd.Series:
    """Return True for each row whose target is missing."""
    return parsed.isna() | (parsed == "")


def check_targets(cells: pd.Series, parsed: pd.Series) -> None:
    """Raise InputError if a target is missing."""
    gone = cells[is_untold(parsed)]
    for row, cell in gone[:1].items():
        count = f"{len(gone)} of {len(cells)} rows have no target, the first is row "
        mark = f", or name other markers than {cell!r} with --missing" if cell else ""
        raise InputError(
            f"{count if len(gone) > 1 else 'row '}{row}: the target is "
            f"{cell or 'missing'}: fill it in{mark}, or leave such rows out with "
            "--missing-target drop"
        )


def _task_of(parsed: pd.Series, column: Column) -> Task:
    if column.kind == "category":
        return "classification"
    kinds = parsed.drop_duplicates()
    is_few = len(kinds) <= MAX_CODES and len(parsed) >= ROWS_A_CODE * len(kinds)
    is_code = column.kind == "number" and bool((kinds % 1 == 0).all())
    return "classification" if is_few and is_code else "regression"
