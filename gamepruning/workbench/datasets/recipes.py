"""What the columns of known tables mean where the file itself does not say."""

import dataclasses
import json
from pathlib import Path
from typing import Literal

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
      rare_classes: what to do with classes too small to split: "error" or "drop".
      why: the reason for what was dropped or regrouped, for the report.
    """

    task: Literal["auto", "classification", "regression"] = "auto"
    target: str = "target"
    group: str | None = None
    rare_classes: Literal["error", "drop"] = "error"
    why: str = ""


_FILE = Path(__file__).with_suffix(".json")
RECIPES = {
    name: Recipe().but(**fields)
    for name, fields in json.loads(_FILE.read_text(encoding="utf-8")).items()
}
