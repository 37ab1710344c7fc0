"""The fast tier covers every folder, and names no test that is gone."""

import ast
from pathlib import Path

import pytest

from tests.tiers import BUDGET, HERE, choose_slow, read_slow

FUNCTIONS = {
    f"{path.relative_to(HERE.parent).as_posix()}::{node.name}"
    for path in HERE.rglob("test_*.py")
    for node in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(node, ast.ClassDef)
    or (isinstance(node, ast.FunctionDef) and node.name.startswith("test"))
}
FOLDERS = sorted({Path(name.split("::")[0]).parent.as_posix() for name in FUNCTIONS})


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_has_fast_tests(folder):
    own = {
        name for name in FUNCTIONS if Path(name.split("::")[0]).parent == Path(folder)
    }
    assert own - read_slow()


def test_slow_tests_exist():
    assert read_slow() <= FUNCTIONS


def test_what_does_not_fit_into_the_budget_is_slow():
    log = (
        f"{BUDGET}s call     tests/a/test_b.py::test_long[x]\n"
        "0.50s setup    tests/a/test_b.py::test_short[x-1]\n"
        "0.25s call     tests/a/test_b.py::test_short[x-2]\n"
        "3 passed in 1.0s\n"
    )
    assert choose_slow(log) == ["tests/a/test_b.py::test_long"]
    other = log.replace(f"{BUDGET}s", "1.0s").replace("0.25s", f"{BUDGET}s")
    assert choose_slow(log, other) == ["tests/a/test_b.py::test_short"]
