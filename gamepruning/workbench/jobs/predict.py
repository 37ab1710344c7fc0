"""Predictions for raw rows by the small network of a run."""

from pathlib import Path

from rich.console import Console

from gamepruning.errors import InputError
from gamepruning.files.atomic import new_file
from gamepruning.tabular.predictor import load_predictor
from gamepruning.tabular.read import naming, scan_table
from gamepruning.workbench.report.formats import format_metric


def predict_rows(run: Path, rows: Path, out: Path | None) -> None:
    """Predict each row of a file; write CSV to `out`, or to the standard output.

    The accuracy or R^2 of the rows that have a target is told on stderr.

    Raises:
      InputError: a file is missing or damaged, `out` exists, a column is missing, or a
        cell is no number where one must be.
    """
    if out is not None and out.exists():
        raise InputError(f"{out} exists: name another file with --out")
    predictor, (frame, *_, notes) = load_predictor(run), scan_table(rows)
    target, console = predictor.preprocessing.target, Console(stderr=True)
    for note in notes:
        console.print(f"{rows}: {note}", markup=False, style="yellow", soft_wrap=True)
    with naming(rows):
        made = predictor(frame)
    made.index.name = "row"
    if out is None:
        print(made.to_csv(), end="")
    else:
        with new_file(out) as temporary:
            temporary.write_text(made.to_csv(), encoding="utf-8")
        console.print(f"{out}: {len(made):,} predictions", markup=False)
    if target.name not in frame:
        return
    metric = "accuracy" if target.task == "classification" else "R^2"
    try:
        known = predictor.with_target(frame)
        which = "these rows" if len(known) == len(frame) else f"{len(known):,} of them"
        if len(known):
            value = format_metric(predictor.score(known), metric)
            console.print(f"{metric} on {which}: {value}", markup=False)
    except InputError as error:  # some rows have a target that is new
        console.print(f"no {metric}: {error}", markup=False, style="yellow")
