"""Predictions for raw rows by the small network of a run."""

from pathlib import Path

from rich.console import Console

from gamepruning.errors import InputError
from gamepruning.files.atomic import new_file
from gamepruning.tabular.predictor import load_predictor
from gamepruning.tabular.read import naming, scan_table


def predict_rows(run: Path, rows: Path, out: Path | None) -> None:
    """Predict each row of a file; write CSV to `out`, or to the standard output.

    The accuracy or R^2 of the rows that have a target is told on stderr.

    Raises:
      InputError: a file is missing or damaged, `out` exists, a column is missing, or a
        cell is not a number where one must be.
    """
    if out is not None and out.exists():
        raise InputError(f"{out} exists: name another file with --out")
    predictor, (frame, *_, notes) = load_predictor(run), scan_table(rows)
    console = Console(stderr=True)
    with naming(rows):
        made, told = predictor(frame), predictor.unseen(frame)
    for note in (*notes, *told):
        console.print(f"{rows}: {note}", markup=False, style="yellow", soft_wrap=True)
    made.index.name = "row"
    if out is None:
        print(made.to_csv(), end="")
    else:
        with new_file(out) as temporary:
            temporary.write_text(made.to_csv(), encoding="utf-8")
        told = f"{out}: {len(made):,} predictions"
        console.print(told, markup=False, soft_wrap=True)
    if predictor.preprocessing.target.name not in frame:
        return
    try:
        if quality := predictor.quality(frame):
            console.print(quality, markup=False)
    except InputError as error:  # some rows have a target that is new
        console.print(f"no score: {error}", markup=False, style="yellow")
