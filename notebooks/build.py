"""Run the notebooks' scripts and write the paired .ipynb files with their pictures.

python notebooks/build.py              # all of them
python notebooks/build.py 01_any_model
"""

import sys
from pathlib import Path

import jupytext
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def build(script: Path) -> None:
    """Execute one script as a notebook and save it beside the script."""
    notebook = jupytext.read(script)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # time stamps
    jupytext.write(notebook, script.with_suffix(".ipynb"))


if __name__ == "__main__":
    names = sys.argv[1:] or sorted(path.stem for path in FOLDER.glob("[0-9]*.py"))
    for name in names:
        print(f"running {name}")
        build(FOLDER / f"{name}.py")
