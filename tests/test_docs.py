"""Examples in docstrings and in the README run."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import jax
import pytest

import gamepruning

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
README = Path(__file__).parent.parent / "README.md"
MODULES = [
    module.name
    for module in pkgutil.walk_packages(gamepruning.__path__, "gamepruning.")
    if not module.name.endswith("__main__")
]


@pytest.fixture(autouse=True)
def users_settings():
    """Examples add a bias to a batch, as everybody does."""
    with jax.numpy_rank_promotion("allow"):
        yield


class Finder(doctest.DocTestFinder):
    """Finds examples in decorated functions too (jit, custom_vjp, type checks)."""

    def _from_module(self, module, object):
        return super()._from_module(module, inspect.unwrap(object))


@pytest.mark.parametrize("name", ["gamepruning", *MODULES])
def test_docstring_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in Finder().find(module, name):
        runner.run(test)
    assert not runner.failures


def test_readme_examples(tmp_path, monkeypatch):
    if not README.exists():
        pytest.skip("the README is not beside the tests: they run on the wheel")
    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding="utf-8")
    names: dict = {"__name__": "readme"}
    for block in re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S):
        if ">>> " in block:
            test = doctest.DocTestParser().get_doctest(block, names, "README", None, 0)
            runner = doctest.DocTestRunner(optionflags=FLAGS)
            runner.run(test, clear_globs=False)
            assert not runner.failures
            names.update(test.globs)
        else:
            exec(compile(block, "README.md", "exec"), names)
