"""What the columns of known tables mean where the file itself does not say."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal, Self

from gamepruning.tabular.options import TableOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(TableOptions):
    """How to read one table, and what to predict.

    Attributes:
      task: "classification", "regression", or "auto": classification if the target is
        text, or whole numbers of at most 20 kinds with 5 rows or more of each.
      target: the column to predict.
      group: a column that is not an input; all rows with one value of it go to the same
        part of the split.
      test_file: another file of the same columns that is the test part.
      rare_classes: what to do with classes too small to split: "error" or "drop".
      missing_target: what to do with rows whose target is missing, likewise.
      why: the reason for what was dropped or regrouped, for the report.
    """

    task: Literal["auto", "classification", "regression"] = "auto"
    target: str = "target"
    group: str | None = None
    test_file: Path | None = None
    rare_classes: Literal["error", "drop"] = "error"
    missing_target: Literal["error", "drop"] = "error"
    why: str = ""

    def told(self, **fields: Any) -> Self:
        """The recipe with what a user says; columns to drop or keep add to its own."""
        kept = fields.get("keep_column", ())
        for name in ("drop", "categorical"):
            own = (column for column in getattr(self, name) if column not in kept)
            fields[name] = (*own, *fields.get(name, ()))
        return self.but(**fields)


_FILE = Path(__file__).with_suffix(".json")
RECIPES = {
    name: Recipe().but(**fields)
    for name, fields in json.loads(_FILE.read_text(encoding="utf-8")).items()
}
