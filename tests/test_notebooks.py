"""Notebooks run from top to bottom, and stay paired with their scripts."""

from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

from tests.xla import quick_to_compile

FOLDER = Path(__file__).parent.parent / "notebooks"
SCRIPTS = [
    pytest.param(path, id=path.stem) for path in sorted(FOLDER.glob("[0-9]*.py"))
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_notebook_runs(script: Path, tmp_path: Path, monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)  # else pictures are not shown
    # They compute more than tests do: some optimisation is faster.
    monkeypatch.setenv("XLA_FLAGS", quick_to_compile(level=1))
    notebook = jupytext.read(script)
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert pictures


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_notebook_is_paired_with_its_script(script: Path):
    notebook = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    cells = [(cell.cell_type, cell.source) for cell in jupytext.read(script).cells]
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == cells
