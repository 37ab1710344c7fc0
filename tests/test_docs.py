"""Every example runs and every link leads somewhere: in docstrings and on all pages."""

import ast
import doctest
import importlib
import importlib.util
import inspect
import operator
import pkgutil
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

import gamepruning
from gamepruning.workbench.cli.commands import parse
from gamepruning.workbench.cli.console import main

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
ROOT = Path(__file__).parent.parent
PAGES = [
    pytest.param(path, id=path.relative_to(ROOT).as_posix())
    for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")))
    if path.exists()  # they are not beside the tests that run on the wheel
]
OTHER_PAGES = [
    pytest.param(path, id=path.relative_to(ROOT).as_posix())
    for path in (*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("experiments/*/*.md")))
    if path.name != "README.md" or path.parent != ROOT
]
LINK = re.compile(r"\]\(([^)#:\s]+)\)")
NAME = re.compile(r"\bgp\.([A-Za-z_]\w*(?:\.\w+)*)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", flags=re.M | re.S)
MODULES = [
    module.name
    for module in pkgutil.walk_packages(gamepruning.__path__, "gamepruning.")
    if not module.name.endswith("__main__")
]


@pytest.fixture(autouse=True)
def users_settings(tmp_path, monkeypatch):
    """Examples add a bias to a batch, as everybody does, and write files."""
    monkeypatch.chdir(tmp_path)
    with jax.numpy_rank_promotion("allow"):
        yield


class Finder(doctest.DocTestFinder):
    """Finds examples in decorated functions too (jit, custom_vjp, type checks)."""

    def _from_module(self, module, object):
        return super()._from_module(module, inspect.unwrap(object))


@pytest.mark.parametrize("name", ["gamepruning", *MODULES])
def test_docstring_examples(name):
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in Finder().find(module, name):
        runner.run(test)
    assert not runner.failures


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.id in ("README.md", "docs/guide/small-model.md")]
)
def test_exported_files_are_read_without_this_package(page: Path, tmp_path):
    """What follows an export on a page needs jax, safetensors or orbax alone."""
    text = "\n".join(blocks(page, "python"))
    lines = [example.source for example in doctest.DocTestParser().get_examples(text)]
    end = next(k for k, line in enumerate(lines) if "gp.export_model" in line) + 1
    exec("".join(lines[:end]), {})
    needs_us = re.compile(r"\b(gp|small)\.|\bapply\(|\bpaths\b")
    alone = [line for line in lines[end:] if not needs_us.search(line)]
    assert {"jax", "safetensors", "orbax"} <= set(re.findall(r"\w+", "".join(alone)))
    shape = re.search(r"x = .*?\((?:.*?\()?(\d+), (\d+)\)", "".join(lines))
    start = (
        "import sys; sys.modules['gamepruning'] = None; import jax.numpy as jnp\n"
        f"x = jnp.ones(({shape[1]}, {shape[2]}))\n"
    )
    (tmp_path / "alone.py").write_text(start + "".join(alone), encoding="utf-8")
    subprocess.run([sys.executable, "alone.py"], check=True, timeout=120)


def write_run() -> None:
    """`rows.csv` and a run on it, `runs/mine`: what a page reads."""
    rows = "".join(f"{k},{k % 7},{'ab'[k % 2]}\n" for k in range(200))
    Path("rows.csv").write_text(f"width,height,target\n{rows}", encoding="utf-8")
    words = "prune magnitude --keep 0.5 --dataset rows.csv --widths 4 --epochs 1"
    words += " --batch-size 32 --fine-tune 0 --no-rivals --out runs/mine"
    assert main(words.split()) == 0


@pytest.mark.parametrize("page", PAGES)
def test_python_examples_of_a_page_run(page: Path):
    """In their order; what one block defines the next ones see."""
    if page.stem == "tables":
        write_run()
    names: dict = {"__name__": page.stem}
    for block in blocks(page, "python"):
        if ">>> " not in block:
            exec(compile(block, page.name, "exec"), names)
            continue
        test = doctest.DocTestParser().get_doctest(block, names, page.name, None, 0)
        runner = doctest.DocTestRunner(optionflags=FLAGS)
        runner.run(test, clear_globs=False)
        assert not runner.failures
        names.update(test.globs)


@pytest.mark.parametrize("page", PAGES)
def test_what_cannot_run_here_is_python_at_least(page: Path):
    """Blocks of "py" need packages or processes that tests do not have."""
    text = page.read_text(encoding="utf-8")
    marks = re.findall(r"^```(\w+)$", text, flags=re.M)
    assert len(re.findall("^```", text, flags=re.M)) == 2 * len(marks)  # all have one
    assert set(marks) <= {"python", "py", "bash", "sh", "text", "yaml"}
    for block in blocks(page, "py"):
        tree = ast.parse(block)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and "experiments" in str(node.module):
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names)


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_make_sense(page: Path):
    """Every `gamepruning` command is parsed with all its flags, but not run."""
    for words in commands(page):
        if words[0] == "gamepruning":
            assert callable(parse(words[1:])), words
        elif words[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(words[2].split(".")[0]), words
        else:
            assert words[0] in ("pip", "mkdocs"), words


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES])
def test_links_of_a_page_lead_somewhere(page: Path):
    """To a file of the repository; `gen_pages.py` makes them links of the site."""
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert not [x for x in targets if not (page.parent / x).exists()]


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES])
def test_names_of_a_page_are_public(page: Path):
    """Every `gp.name` exists and stands where it is said to stand."""
    for name in NAME.findall(page.read_text(encoding="utf-8")):
        operator.attrgetter(name)(gamepruning)  # a name that has moved is a warning


def blocks(page: Path, language: str) -> Iterator[str]:
    for found, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if found == language:
            yield text


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command in a page's shell blocks."""
    for block in blocks(page, "bash"):
        for line in block.splitlines():
            for part in line.split("&&"):
                words = shlex.split(part, comments=True)
                if words:
                    yield words


def test_the_readme_is_short():
    if not (ROOT / "README.md").exists():
        pytest.skip("the README is not beside the tests that run on the wheel")
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
