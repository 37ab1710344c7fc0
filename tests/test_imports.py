"""Imports run one way, without circles, and `import gamepruning` is light."""

import ast
import functools
import graphlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest

import gamepruning

PACKAGE = Path(gamepruning.__file__).parent
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
# The house, from the ground up. A part imports from the floors below its own; parts of
# one floor do not import each other.
FLOORS = (
    {"errors", "spelling"},
    {"types"},
    {"metrics", "options", "stats", "trees"},
    {"files"},
    {"tabular", "images"},
    {"trace"},
    {"run"},
    {"players"},
    {"distillation", "reconstruction"},
    {"bandits", "baselines", "equilibrium", "uncertainty"},
    {"coalitions"},
    {"selection"},
    {"compaction"},
    {"export", "huggingface"},
    {"workbench"},
    {"__main__"},
)
# Those of the workbench: its folders, and the registry of methods.
WORKBENCH = (
    {"datasets", "networks", "registry"},
    {"settings"},
    {"training", "report"},
    {"methods"},
    {"jobs"},
    {"cli"},
)
FLOOR_OF = {part: k for k, parts in enumerate(FLOORS) for part in parts}
HEAVY = {
    "flax",
    "jinja2",
    "matplotlib",
    "orbax",
    "pandas",
    "safetensors",
    "sklearn",
    "tensorflow",
    "tensorflow_datasets",
    "tyro",
}
# A part whose files import heavy libraries at the top, and why it may.
MAY_IMPORT = {
    "workbench": (HEAVY, "the command line, which nothing else loads"),
    "tabular": (
        {"pandas", "sklearn"},
        "a namespace about tables, whose names are loaded when they are first used",
    ),
}
MAY_IMPORT["images"] = (
    {"flax", "tensorflow_datasets"},
    "a namespace whose names are loaded when they are first used",
)
# Heavy libraries that a file outside the workbench may import inside a function.
MAY_IMPORT_LATE = {
    "coalitions/estimators/proxies.py": {"sklearn"},
    "players/adapters.py": {"flax"},
    "compaction/export.py": {"safetensors", "orbax"},
    "compaction/to_module.py": {"flax"},
    "huggingface/files.py": {"safetensors"},
}
COMMAND = "a command loads what it runs: --help and a typing error answer at once"
FIGURES = "matplotlib is loaded when there is something to draw"
TABLES = "known names and --help need no JAX, which comes with the library's tables"
# (file, folder): why the file imports from the folder inside a function.
LATE = {
    ("workbench/cli/commands.py", "files"): COMMAND,
    ("workbench/cli/commands.py", "workbench/datasets"): COMMAND,
    ("workbench/cli/commands.py", "workbench/jobs"): COMMAND,
    ("workbench/cli/commands.py", "workbench/report"): COMMAND,
    ("workbench/cli/commands.py", "workbench/settings"): COMMAND,
    ("workbench/cli/console.py", ""): COMMAND,
    ("workbench/settings/parts.py", "workbench/datasets"): COMMAND,
    ("workbench/registry.py", "bandits/policies"): TABLES,
    ("workbench/registry.py", "baselines"): TABLES,
    ("workbench/jobs/bands.py", "workbench/report"): FIGURES,
    ("workbench/jobs/curve.py", "workbench/report"): FIGURES,
    ("workbench/jobs/run.py", "workbench/report"): FIGURES,
    ("workbench/jobs/sweep.py", "workbench/report"): FIGURES,
}
# Pairs of modules that import each other, the first the second inside a function.
CIRCLES: set[tuple[str, str]] = set()
# Files that import from outside what is built on the library.
OUTSIDE: dict[str, set[str]] = {}


class Import(NamedTuple):
    """One imported name, in full.

    Attributes:
      file: the importing file, from the package's folder.
      module: the module of the package that it imports, None for another library.
      name: the full name that stands in the import.
      late: True if it stands inside a function.
    """

    file: str
    module: str | None
    name: str
    line: int
    late: bool


def find_modules() -> dict[str, str]:
    """The file of each module of the package."""
    files = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")]
    return {module_of(file): file for file in sorted(files)}


def module_of(file: str) -> str:
    parts = ["gamepruning", *file.removesuffix(".py").split("/")]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def read_imports() -> tuple[Import, ...]:
    found: list[Import] = []
    for file in MODULES.values():
        tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
        late = {
            inner
            for outer in ast.walk(tree)
            if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
            for inner in ast.walk(outer)
        }
        package = ["gamepruning", *file.split("/")[:-1]]
        for node in ast.walk(tree):
            loaded = loaded_by_name(node)
            for name in [*names_of(node, package), *loaded]:
                module = name if name in MODULES else name.rpartition(".")[0]
                module = module if module in MODULES else None
                is_late = node in late or bool(loaded)
                found.append(Import(file, module, name, node.lineno, is_late))
    return tuple(found)


def loaded_by_name(node: ast.AST) -> list[str]:
    """What a command loads when it runs: "module:name" of the workbench, as text."""
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return []
    match = re.fullmatch(r"([a-z_]+(?:\.[a-z_]+)+):(\w+)", node.value)
    module = f"gamepruning.workbench.{match[1]}" if match else ""
    return [f"{module}.{match[2]}"] if match and module in MODULES else []


def names_of(node: ast.AST, package: list[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = package[: len(package) - node.level + 1] if node.level else []
    base = [*base, *([node.module] if node.module else [])]
    return [".".join([*base, alias.name]) for alias in node.names]


MODULES = find_modules()


def within() -> list[Import]:
    """The imports of one part of the package by another."""
    outside = (None, "gamepruning")
    return [item for item in read_imports() if item.module not in outside]


def part_of(file: str) -> str:
    """The first folder of a file of the package, or the file itself."""
    return file.split("/")[0].removesuffix(".py")


def folder_of(file: str) -> str:
    return file.rpartition("/")[0]


def where(item: Import) -> str:
    return f"gamepruning/{item.file}:{item.line} imports {item.name}"


def test_imports_run_one_way():
    wrong = []
    for item in within():
        part, other = part_of(item.file), part_of(MODULES[item.module])
        floor = len(FLOORS) if part == "__init__" else FLOOR_OF[part]
        if part != other and FLOOR_OF[other] >= floor:
            wrong.append(where(item))
    assert not wrong, "\n".join(wrong)


def test_imports_of_the_workbench_run_one_way():
    floor_of = {part: k for k, parts in enumerate(WORKBENCH) for part in parts}
    parts, wrong = set(), []
    for item in within():
        both = [item.file, MODULES[item.module]]
        if not all(file.startswith("workbench/") for file in both):
            continue
        part, other = (part_of(file.removeprefix("workbench/")) for file in both)
        parts |= {part, other}
        if part != other and floor_of[other] >= floor_of[part]:
            wrong.append(where(item))
    assert not wrong, "\n".join(wrong)
    assert parts == set(floor_of)


def test_every_part_of_the_package_has_a_floor():
    parts = {part_of(file) for file in MODULES.values()} - {"__init__"}
    assert parts == set(FLOOR_OF), parts ^ set(FLOOR_OF)


def test_no_module_imports_itself_through_others():
    """Late imports count: one that hides a circle is a circle."""
    above = defaultdict(set)
    for item in within():
        above[module_of(item.file)].add(item.module)
    for one, two in CIRCLES:
        is_circle = two in above[one] and one in above[two]
        assert is_circle, f"take out of CIRCLES: {one}, {two}"
        above[one].discard(two)
    try:
        graphlib.TopologicalSorter(above).prepare()
    except graphlib.CycleError as error:
        pytest.fail("modules import each other: " + " <- ".join(error.args[1]))


def test_imports_across_folders_stand_at_the_top():
    late = {
        (item.file, folder_of(MODULES[item.module])): where(item)
        for item in within()
        if item.late and folder_of(item.file) != folder_of(MODULES[item.module])
    }
    wrong = [text for key, text in late.items() if key not in LATE]
    assert not wrong, "move to the top:\n" + "\n".join(wrong)
    needless = [key for key in LATE if key not in late]
    assert not needless, f"take out of LATE: {needless}"


def test_nothing_imports_from_the_public_face():
    """`from gamepruning import name` would hide where the name lives, and circles."""
    found = [item for item in read_imports() if item.module == "gamepruning"]
    known = ("gamepruning", "gamepruning.__version__")
    wrong = [item for item in found if item.late or item.name not in known]
    assert not wrong, "\n".join(map(where, wrong))


def test_modules_are_loaded_by_text_in_few_places():
    """Imports that a reader of the code, and the tests above, cannot see."""
    asks = re.compile(r"import_module|__import__|exec_module|runpy")
    texts = {file: (PACKAGE / file).read_text("utf-8") for file in MODULES.values()}
    found = {file for file, text in texts.items() if asks.search(text)}
    assert found == {
        "coalitions/estimators/proxies.py",  # scikit-learn, for its thread pools
        "files/python.py",  # the user's own file
        "workbench/cli/commands.py",  # the commands, all of them "module:name"
    }


def test_the_library_imports_nothing_that_is_built_on_it():
    outside = {"tests", "experiments", "notebooks", "benchmarks"}
    found = defaultdict(set)
    for item in read_imports():
        if (root := item.name.split(".")[0]) in outside:
            found[item.file].add(root)
    assert found == OUTSIDE


def test_only_the_workbench_is_built_on_tables():
    """What loads pandas must not be loaded by the rest of the library."""
    for item in within():
        if part_of(MODULES[item.module]) == "tabular":
            assert part_of(item.file) in MAY_IMPORT, where(item)


def test_heavy_libraries_stay_in_the_workbench():
    wrong = []
    for item in read_imports():
        root = item.name.split(".")[0]
        allowed = item.late and root in MAY_IMPORT_LATE.get(item.file, ())
        whole, _ = MAY_IMPORT.get(part_of(item.file), ((), ""))
        if root in HEAVY and root not in whole and not allowed:
            wrong.append(where(item))
    assert not wrong, "\n".join(wrong)


def test_what_is_required_is_imported_and_what_is_imported_is_required():
    """By the names of distributions: scikit-learn is imported as sklearn."""
    asked = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    required = {
        re.match(r"[\w.-]+", line)[0].lower().replace("_", "-")
        for line in asked["dependencies"]
    }
    roots = {item.name.split(".")[0] for item in read_imports()}
    roots -= {"gamepruning", *sys.stdlib_module_names}
    homes = importlib.metadata.packages_distributions()
    # A namespace such as orbax is in several distributions: one of them is required.
    found = {
        root: {home.lower().replace("_", "-") for home in homes[root]} for root in roots
    }
    unknown = [root for root, names in found.items() if not names & required]
    assert not unknown, f"imported, but not in pyproject.toml: {unknown}"
    unused = required - set().union(*found.values())
    assert not unused, f"in pyproject.toml, but never imported: {unused}"


LIGHT = "import gamepruning"
EVERY_NAME = "import gamepruning as gp; [getattr(gp, name) for name in gp.__all__]"


@pytest.mark.parametrize(
    ("code", "without"),
    [(LIGHT, HEAVY | {"jax", "chex", "scipy"}), (EVERY_NAME, HEAVY)],
    ids=["package", "every name"],
)
def test_import_is_light(code, without):
    report = "import sys; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(run.stdout.split())
    assert not loaded & without, f"{code!r} pulled in {sorted(loaded & without)}"
    assert "gamepruning" in loaded
