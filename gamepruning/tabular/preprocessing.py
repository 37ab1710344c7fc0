"""What a network reads from a table, as data: fitted once, used on any rows."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from jaxtyping import Float

from gamepruning.files.atomic import new_file
from gamepruning.tabular.columns import MAX_CATEGORIES, Column, fit_column
from gamepruning.tabular.target import Target
from gamepruning.tabular.unseen import unseen
from gamepruning.types import InputError

FORMAT, VERSION = "gamepruning preprocessing", 1
OTHER = "gamepruning inputs"  # of images and texts


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Preprocessing:
    """From rows of a table to the inputs of a network.

    Attributes:
      columns: the columns that are read, in the order of their features.
      target: what the network predicts.
    """

    columns: tuple[Column, ...]
    target: Target

    def __repr__(self) -> str:
        return f"Preprocessing({len(self.columns)} columns -> {self.target!r})"

    @classmethod
    def fit(
        cls,
        columns: Sequence[Column],
        parsed: pd.DataFrame,
        train: np.ndarray,
        target: Target,
    ) -> Self:
        """Take every statistic from the training rows.

        Args:
          columns: what each column holds.
          parsed: their parsed cells, see `Column.parse`.
          train: positions of the training rows.
          target: what is to be predicted.

        Raises:
          InputError: no column varies.
        """
        known = parsed.iloc[train]
        fitted = tuple(fit_column(column, known[column.name]) for column in columns)
        made = cls(columns=fitted, target=target)
        if not made.features:
            raise InputError("no column is left to learn from")
        return made

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the network's inputs, in their order."""
        return tuple(name for column in self.columns for name in column.features)

    def notes(self) -> list[str]:
        """What was done to columns and cells, a line for each kind of thing."""
        own = self.columns
        filled = [f"{c.name} ({c.median:.4g})" for c in own if c.marks_missing]
        lines = {
            "columns that do not vary in training, left out":
                [c.name or "(no name)" for c in own if not c.features],
            "missing numbers replaced by the training median, and marked": filled,
            "missing texts taken as a category of their own":
                [c.name for c in own if "" in c.categories],
            f"all but the {MAX_CATEGORIES} most frequent categories merged":
                [f"{c.name} ({c.num_merged} others)" for c in own if c.num_merged],
        }  # fmt: skip
        return [f"{what}: {', '.join(which)}" for what, which in lines.items() if which]

    def encode(self, parsed: pd.DataFrame) -> Float[np.ndarray, "rows features"]:
        """The inputs of a network for parsed cells, float32 [rows, features]."""
        made = [column.encode(parsed[column.name]) for column in self.columns]
        return np.concatenate(made, axis=1, dtype=float).astype(np.float32)

    def transform(self, frame: pd.DataFrame) -> Float[np.ndarray, "rows features"]:
        """The inputs of a network for rows of a table, float32 [rows, features].

        Args:
          frame: cells as text, as `read_table` returns them, or as numbers; columns in
            any order, with the target or without. It need not be written as the
            training rows are: see `as_written`.

        Raises:
          InputError: a column is missing, or a cell is not a number where one must be.
        """
        frame = _of_single_rows(frame)
        used = self._used(frame)
        here = as_written(used, frame)
        made = [column.encode(column.parse(frame[column.name])) for column in here]
        return np.concatenate(made, axis=1, dtype=float).astype(np.float32)

    def unseen(self, frame: pd.DataFrame) -> list[str]:
        """What these rows have that the training rows had not, a line for each kind.

        Categories, missing cells, numbers far off, and other ways of writing. What was
        done with them is told, too.

        Raises:
          InputError: as `transform` does.
        """
        frame = _of_single_rows(frame)
        used = self._used(frame)
        return unseen(used, as_written(used, frame), frame)

    def _used(self, frame: pd.DataFrame) -> list[Column]:
        """The columns with features, all of which must be there."""
        used = [column for column in self.columns if column.features]
        twice = frame.columns[frame.columns.duplicated()]
        if len(again := [c.name for c in used if c.name in twice]):
            raise InputError(f"the column {again[0]!r} is there more than once")
        gone = [column.name for column in used if column.name not in frame]
        if gone:
            raise InputError(
                f"no column {', '.join(map(repr, gone))}: expected "
                f"{', '.join(column.name for column in used)}; got "
                f"{', '.join(map(str, frame.columns))}"
            )
        return used

    def target_in(self, frame: pd.DataFrame) -> Target:
        """The target, read as these rows are written; see `as_written`."""
        here = [column for column in self.columns if column.name in frame]
        *_, column = as_written([*here, self.target.column], frame)
        return dataclasses.replace(self.target, column=column)

    def read(self, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """The inputs of a network, as of `transform`, and what it is to say of them."""
        if self.target.name not in frame:
            raise InputError(f"no column {self.target.name!r}, which is the target")
        targets = self.target_in(frame).read(frame[self.target.name])
        return self.transform(frame), self.target.to_labels(targets)

    def to_json(self) -> str:
        """The preprocessing as JSON text; the inverse of `from_json`."""
        data: dict[str, Any] = {"format": FORMAT, "version": VERSION}
        data |= {"features": self.features, **dataclasses.asdict(self)}
        return json.dumps(data, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
          InputError: it is something else, or of a later version.
        """
        try:
            data = json.loads(text)
            if data["format"] == OTHER:
                raise InputError(
                    f"the run was on {data['kind']}s, not on a table: README.md beside "
                    "its model says how to use it"
                )
            if data["format"] != FORMAT or data["version"] != VERSION:
                raise ValueError(f"{data['format']} {data['version']}")
            columns = tuple(Column(**_tuples(column)) for column in data["columns"])
            target = _tuples(data["target"])
            target["column"] = Column(**_tuples(target["column"]))
            return cls(columns=columns, target=Target(**target))
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"this is no {FORMAT}: {error!r:.100}") from error

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the JSON text to a file."""
        with new_file(path) as temporary:
            temporary.write_text(self.to_json() + "\n", encoding="utf-8")
        return Path(path)


def _of_single_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows, numbered anew where two have one number, as after `pd.concat`."""
    return frame if frame.index.is_unique else frame.reset_index(drop=True)


def as_written(columns: Sequence[Column], frame: pd.DataFrame) -> list[Column]:
    """The columns, with the decimal mark and the order of dates of these rows.

    A column with one reading only says how all numbers, or all dates, of its rows are
    written, whatever the training rows were like. Where none does, or two differ, those
    with two readings are read as in training.

    Example:
      >>> a, b = (Column(name=name, kind="number", hint="comma") for name in "ab")
      >>> rows = pd.DataFrame({"a": ["2.075"], "b": ["0.97"]})
      >>> [column.hint for column in as_written([a, b], rows)]
      ['point', 'point']
    """
    found = list(columns)
    for kind in ("number", "date"):
        own = [column for column in columns if column.kind == kind]
        told = {column.hint_of(frame[column.name]) for column in own} - {None}
        if len({column.hint for column in own}) == 1 == len(told):
            (hint,) = told
            found = [
                dataclasses.replace(column, hint=hint)
                if column.kind == kind
                else column
                for column in found
            ]
    return found


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
