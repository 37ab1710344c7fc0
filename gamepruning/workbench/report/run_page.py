"""The report of a pruning run, as one HTML page."""

from collections.abc import Sequence

from gamepruning.workbench.report.page import Picture, render
from gamepruning.workbench.report.results import RunResult
from gamepruning.workbench.report.tables import (
    contest_table,
    cost_table,
    family_table,
)


def render_report(
    result: RunResult, pictures: Sequence[Picture], *, small_module: str
) -> str:
    """The whole page.

    Args:
      result: what the run found.
      pictures: its figures.
      small_module: Python that loads and calls the small model.

    Returns:
      HTML text that refers to no other file.
    """
    return render(
        "run.html",
        result=result,
        pictures=pictures,
        contest=contest_table(result),
        families=family_table(result),
        costs=cost_table(result),
        seconds={name: f"{value:.1f} s" for name, value in result.seconds.items()},
        small_module=small_module,
    )
