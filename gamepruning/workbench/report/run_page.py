"""The report of a pruning run, as one HTML page."""

from collections.abc import Mapping, Sequence

from gamepruning.workbench.report.page import render
from gamepruning.workbench.report.results import MAX_FAMILIES, RunResult
from gamepruning.workbench.report.tables import (
    contest_table,
    cost_table,
    family_table,
)


def render_report(
    result: RunResult, figures: Mapping[str, str], *, input_shape: Sequence[int]
) -> str:
    """The whole page: HTML text that refers to no other file.

    Args:
      result: what the run found.
      figures: SVG elements by the names that `draw_run` gives them.
      input_shape: shape of one example.
    """
    return render(
        "run.html",
        result=result,
        figures=figures,
        max_families=MAX_FAMILIES,
        contest=contest_table(result),
        families=family_table(result),
        costs=cost_table(result),
        seconds={name: f"{value:.1f} s" for name, value in result.seconds.items()},
        input_shape=input_shape,
    )
