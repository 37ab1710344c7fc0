"""The house is in order: its size, its picture, and what no file of it may do."""

import ast
import inspect
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.test_imports import FLOORS, PACKAGE

ROOT = PACKAGE.parent
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 7500  # of the workbench; what Python users call, too, stands below it
MOST_FILES = 38  # of the workbench that `gamepruning prune` imports, without __init__
MOST_PARAMETERS = 8  # rare keywords are fields of a dataclass: see `options`
MOST_EQUAL = 12  # lines in a row


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_the_workbench_is_thin():
    files = (PACKAGE / "workbench").rglob("*.py")
    lines = sum(len(p.read_text(encoding="utf-8").splitlines()) for p in files)
    assert lines <= MOST_LINES


def test_prune_takes_few_files_of_the_workbench(tmp_path):
    code = """
        import sys
        from gamepruning.workbench.cli.console import main
        words = "prune --epochs 1 --widths 6 4 --fine-tune 1 --no-rivals --keep 0.5"
        assert main(f"{words} --method magnitude --out run".split()) == 0
        inside = [m for n, m in sys.modules.items() if ".workbench" in n]
        files = {m.__file__ for m in inside} - {None}
        print("files", sum(not name.endswith("__init__.py") for name in files))
    """
    run = subprocess.run(
        [sys.executable, "-c", inspect.cleandoc(code)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert int(run.stdout.split()[-1]) <= MOST_FILES


def test_contributing_draws_the_floors():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    picture = text.partition("**Imports**")[2].partition("A part imports only")[0]
    picture = re.sub(r"\([^)]*\)", "", picture.partition("\n\n")[2])
    drawn = [set(re.findall(r"\w+", floor)) for floor in picture.split("<-")]
    assert drawn[:-1] == [floor for floor in FLOORS if floor != {"__main__"}]


def functions() -> list[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [
        (path, node)
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, kinds)
    ]


def test_no_function_takes_many_parameters():
    for path, node in functions():
        given = node.args
        names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
        count = len([name for name in names if name not in ("self", "cls")])
        assert count <= MOST_PARAMETERS, where(path, node.lineno)


def test_a_name_is_one_class():
    """Private classes aside: "_Parts" is what its own file says."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(where(path, node.lineno))
    assert not [places for places in found.values() if len(places) > 1]


@pytest.mark.parametrize(
    "pattern",
    [r"\*\*locals\(\)", r"(?<![\w.])id\("],
    ids=["all locals", "identity as a key"],
)
def test_no_trick(pattern):
    beside = (ROOT / folder for folder in ("experiments", "benchmarks"))
    for path in [*FILES, *(file for each in beside for file in each.rglob("*.py"))]:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            assert not re.search(pattern, line), where(path, number)


def test_nothing_stands_twice():
    """No more than 12 equal lines in a row, with blank lines or without."""
    seen: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for path in FILES:
        texts = path.read_text(encoding="utf-8").splitlines()
        lines = [(k, text.strip()) for k, text in enumerate(texts, 1)]
        for own in (lines, [line for line in lines if line[1]]):
            for k in range(len(own) - MOST_EQUAL):
                window = own[k : k + MOST_EQUAL + 1]
                seen[tuple(text for _, text in window)].add(where(path, window[0][0]))
    twice = [" and ".join(sorted(p)) for p in seen.values() if len(p) > 1]
    assert not twice, "equal lines:\n" + "\n".join(twice)
