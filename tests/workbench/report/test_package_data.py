"""What the report needs beside its Python files is in the package and in its wheel."""

import importlib.resources
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3] / "pyproject.toml"
REPORT = "workbench/report"
PAGES = "compare page parts run table".split()
TEMPLATES = [*(f"{name}.html" for name in PAGES), "data_hints.txt", "notes.txt"]
NAMES = ["figures.mplstyle", *(f"templates/{n}" for n in (*TEMPLATES, "style.css"))]


@pytest.mark.parametrize("name", ["py.typed", *(f"{REPORT}/{name}" for name in NAMES)])
def test_the_package_holds_its_data(name):
    assert importlib.resources.files("gamepruning").joinpath(name).is_file()


def test_the_wheel_takes_the_package_whole():
    hatch = tomllib.loads(PROJECT.read_text())["tool"]["hatch"]["build"]
    assert hatch["targets"]["wheel"] == {"packages": ["gamepruning"]}
    assert not {"exclude", "only-include", "artifacts"} & set(hatch)
    ignored = (PROJECT.parent / ".gitignore").read_text().split()  # hatch leaves out
    assert not {"*.html", "*.css", "*.txt", "*.mplstyle", "*.typed"} & set(ignored)
