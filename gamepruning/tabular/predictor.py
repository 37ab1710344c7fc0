"""Predictions of a run's small network for raw rows, by its files alone."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float

from gamepruning.files.atomic import checksum
from gamepruning.files.exported import check_platform, from_bytes
from gamepruning.metrics import r2
from gamepruning.tabular.preprocessing import Preprocessing
from gamepruning.types import InputError

MODEL, PREPROCESSING = "model.stablehlo", "preprocessing.json"
BATCH = 2000  # rows at a time


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictor:
    """A network that reads rows of a table as they are.

    Attributes:
      preprocessing: from rows to the network's inputs.
      call: the network, from inputs float32 [rows, ...] to outputs.
      input_shape: the shape of one example, which holds all features.
      batch: the rows that the network reads at a time; None for any number.
    """

    preprocessing: Preprocessing
    call: Callable[[np.ndarray], Any]
    input_shape: tuple[int, ...]
    batch: int | None = None

    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Predict the target of each row.

        Args:
          rows: cells as text or numbers, columns in any order, with the target or
            without. Missing cells and new categories are treated as in training.

        Returns:
          The column "prediction": a class, or a value in the target's units; for
          classes "probability of CLASS", too. The index is that of the rows. `unseen`
          says what is new in them.

        Raises:
          InputError: a column is missing, or a cell is not a number where one must be.
        """
        outputs, target = self.outputs(rows), self.preprocessing.target
        if target.task == "regression":
            values = outputs.reshape(len(rows)) * target.scale + target.mean
            return pd.DataFrame({"prediction": values}, index=rows.index)
        shares = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        named = np.array(target.classes, object)[outputs.argmax(axis=1)]
        made = {"prediction": named}
        for name, share in zip(target.classes, shares.T, strict=True):
            made[f"probability of {name}"] = share
        return pd.DataFrame(made, index=rows.index)

    def outputs(self, rows: pd.DataFrame) -> Float[np.ndarray, "rows ..."]:
        """The outputs of the network: logits, or standardised targets."""
        inputs = self.preprocessing.transform(self._checked(rows))
        inputs = inputs.reshape(len(rows), *self.input_shape)
        batch = self.batch or min(BATCH, max(len(rows), 1))
        made = []
        for start in range(0, max(len(rows), 1), batch):
            part = inputs[start : start + batch]
            fill = [(0, batch - len(part))] + [(0, 0)] * len(self.input_shape)
            made.append(np.asarray(self.call(np.pad(part, fill)))[: len(part)])
        return np.concatenate(made).astype(float)

    def with_target(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows that have a target."""
        target = self.preprocessing.target_in(self._checked(rows))
        return rows[target.is_known(rows[target.name])]

    def unseen(self, rows: pd.DataFrame) -> list[str]:
        """What these rows have that the training rows had not, and what is done."""
        return self.preprocessing.unseen(self._checked(rows))

    def _checked(self, rows: object) -> pd.DataFrame:
        if isinstance(rows, pd.DataFrame):
            return rows
        raise InputError(
            "expected rows as a pandas DataFrame with the columns of training, got "
            f"{type(rows).__name__}: pd.DataFrame(rows) makes one of a list of "
            "dictionaries or of lists by column, row.to_frame().T of a single row"
        )

    def quality(self, rows: pd.DataFrame) -> str:
        """The score of the rows that have a target, in words; empty if none has."""
        known, target = self.with_target(rows), self.preprocessing.target
        if not len(known):
            return ""
        which = "these rows" if len(known) == len(rows) else f"{len(known):,} of them"
        score = self.score(known)
        if target.task == "classification":
            return f"accuracy on {which}: {100 * score:.1f} %"
        return f"R^2 on {which}: {score:.3f}"

    def score(self, rows: pd.DataFrame) -> float:
        """The accuracy on rows with their targets, or R^2 for a regression."""
        target, outputs = self.preprocessing.target_in(rows), self.outputs(rows)
        known = target.read(rows[target.name])
        if target.task == "classification":
            return float((outputs.argmax(axis=1) == known).mean())
        said = outputs.reshape(len(rows)) * target.scale + target.mean
        return float(r2(said, known))


def load_predictor(run: str | os.PathLike[str]) -> Predictor:
    """Read the small network of a run on a table, with its preprocessing.

    It needs jax, flatbuffers, NumPy and pandas, and none of the code that made the
    network.

    Args:
      run: the folder of the run, or its folder `model`.

    Raises:
      InputError: a file is missing or damaged, or the run was not on a table.

    Example:
      >>> predictor = load_predictor("runs/mine")  # doctest: +SKIP
      >>> predictor(gp.tabular.read_table("rows.csv"))  # doctest: +SKIP
    """
    folder = Path(run)
    folder = folder / "model" if (folder / "model").is_dir() else folder
    if not any((folder / name).is_file() for name in (PREPROCESSING, MODEL)):
        raise InputError(f"no run in {run}: expected the folder of `gamepruning prune`")
    preprocessing = Preprocessing.from_json(_text(folder / PREPROCESSING))
    program = _read(folder / MODEL)
    try:
        wanted = json.loads(_text(folder / f"{MODEL}.json"))["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / MODEL}.json is damaged") from error
    if checksum(program) != wanted:  # it might compute something else
        raise InputError(f"{folder / MODEL} is damaged: its checksum is wrong")
    exported = from_bytes(program)
    (aval,) = exported.in_avals
    batch = aval.shape[0] if isinstance(aval.shape[0], int) else None

    def call(inputs):
        check_platform(exported, folder / MODEL)
        return exported.call(inputs)

    return Predictor(
        preprocessing=preprocessing,
        call=jax.jit(call),
        input_shape=tuple(aval.shape[1:]),
        batch=batch,
    )


def _text(path: Path) -> str:
    try:
        return _read(path).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is damaged: it is no text") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
