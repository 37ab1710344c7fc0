"""Notebooks run from top to bottom, and stay paired with their scripts."""

from collections.abc import Iterator
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


FRESH = """\
%reset -f
import matplotlib.pyplot as plt
plt.close("all")
plt.rcdefaults()
from gamepruning.compaction import measure
measure.SECONDS = 0.02
%reset -f
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[NotebookClient]:
    """One kernel: what all notebooks import and compile is made once."""
    folder = tmp_path_factory.mktemp("notebooks")
    client = NotebookClient(
        nbformat.v4.new_notebook(),
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MPLBACKEND", raising=False)  # else pictures are not shown
        # They compute more than tests do: some optimisation is faster.
        environment.setenv("XLA_FLAGS", quick_to_compile(level=1))
        with client.setup_kernel():
            yield client


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_notebook_runs(script: Path, client: NotebookClient):
    notebook = jupytext.read(script)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(FRESH))
    client.nb = notebook
    client.execute(cleanup_kc=False)
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
