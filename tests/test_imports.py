"""Imports run one way, and `import gamepruning` is light."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import gamepruning

PACKAGE = Path(gamepruning.__file__).parent
BASE = {"errors", "types", "metrics", "atomic"}
GAMES = {"equilibrium", "coalitions", "bandits", "baselines"}
# What each part of the package may import, apart from itself.
MAY_IMPORT = {
    "__init__": set(),
    "errors": set(),
    "types": {"errors"},
    "metrics": {"types"},
    "atomic": {"types"},
    "players": BASE,
    **{game: BASE | {"players"} for game in GAMES},
    "selection": BASE | {"players"} | GAMES,
    "compaction": BASE | {"players", "selection"} | GAMES,
    "workbench": BASE | {"players", "selection", "compaction"} | GAMES,
}
HEAVY = {
    "flax",
    "matplotlib",
    "orbax",
    "safetensors",
    "sklearn",
    "tensorflow",
    "tensorflow_datasets",
    "tyro",
}
# Heavy libraries that a file outside the workbench may import inside a function.
MAY_IMPORT_LATE = {
    "players/adapters.py": {"flax"},
    "compaction/export.py": {"safetensors", "orbax"},
}


class Import(NamedTuple):
    """One imported module, by its full name."""

    file: str
    part: str
    module: str
    line: int
    late: bool


def read_imports() -> list[Import]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        part = file.split("/")[0].removesuffix(".py")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        late = {
            inner
            for outer in ast.walk(tree)
            if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
            for inner in ast.walk(outer)
        }
        package = ["gamepruning", *file.split("/")[:-1]]
        for node in ast.walk(tree):
            for module in modules_of(node, package):
                found.append(Import(file, part, module, node.lineno, node in late))
    return found


def modules_of(node: ast.AST, package: list[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = package[: len(package) - node.level + 1] if node.level else []
    base = [*base, *([node.module] if node.module else [])]
    return [".".join([*base, alias.name]) for alias in node.names]


IMPORTS = read_imports()


def where(item: Import) -> str:
    return f"gamepruning/{item.file}:{item.line} imports {item.module}"


def test_imports_run_one_way():
    wrong = []
    for item in IMPORTS:
        names = item.module.split(".")
        if names[0] != "gamepruning" or len(names) < 2 or names[1] == item.part:
            continue
        if names[1] in MAY_IMPORT and names[1] not in MAY_IMPORT[item.part]:
            wrong.append(where(item))
    assert not wrong, "\n".join(wrong)


def test_the_library_imports_neither_tests_nor_experiments():
    outside = {"tests", "experiments", "notebooks"}
    wrong = [where(i) for i in IMPORTS if i.module.split(".")[0] in outside]
    assert not wrong, "\n".join(wrong)


def test_heavy_libraries_stay_in_the_workbench():
    wrong = []
    for item in IMPORTS:
        root = item.module.split(".")[0]
        allowed = item.late and root in MAY_IMPORT_LATE.get(item.file, ())
        if item.part != "workbench" and root in HEAVY and not allowed:
            wrong.append(where(item))
    assert not wrong, "\n".join(wrong)


def test_every_part_of_the_package_has_a_rule():
    parts = {i.part for i in IMPORTS} | {
        path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()
    }
    assert parts <= set(MAY_IMPORT), parts - set(MAY_IMPORT)


LIGHT = "import gamepruning"
EVERY_NAME = "import gamepruning as gp; [getattr(gp, name) for name in gp.__all__]"


@pytest.mark.parametrize("code", [LIGHT, EVERY_NAME], ids=["package", "every name"])
def test_import_is_light(code):
    report = "import sys; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(run.stdout.split())
    assert not loaded & HEAVY, f"{code!r} pulled in {sorted(loaded & HEAVY)}"
    assert "gamepruning" in loaded
