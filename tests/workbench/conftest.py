"""What the tests of the workbench share."""

from pathlib import Path

import pytest

from gamepruning.workbench.jobs import results as summary
from gamepruning.workbench.report import theme


@pytest.fixture(autouse=True)
def hasty_latencies(monkeypatch):
    """A tenth of a second to time networks whose latency nobody asks about."""
    monkeypatch.setattr(summary, "LATENCY_BUDGET", 0.1)


@pytest.fixture(autouse=True)
def blank_pictures(request, monkeypatch):
    """Empty pictures: drawing would take a third of a run that is not about them.

    What a module shares is made before, with pictures; so are those of `report`.
    """
    if "report" in request.path.parts:
        return
    monkeypatch.setattr(theme, "save_png", lambda figure, path: Path(path).touch())
    monkeypatch.setattr(theme, "to_html", lambda figure, *, name: "<svg></svg>")
