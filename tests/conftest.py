"""Settings for all tests. The environment is set before jax is imported."""

import atexit
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.xla import forget_lowered, quick_to_compile, share_contexts

NUM_DEVICES = 4
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    f"--xla_force_host_platform_device_count={NUM_DEVICES} {quick_to_compile()} "
    + os.environ.get("XLA_FLAGS", "")
)
# XLA and BLAS take every core unless told otherwise; workers share them.
_threads = str(max(1, (os.cpu_count() or 1) // _WORKERS))
for _name in ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, _threads)
os.environ.setdefault("MPLBACKEND", "Agg")
# Where in the source an operation stands is written into each program, for nobody.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
# What several tests or workers compile is compiled once in a run: the first process to
# come here makes the folder, and its workers and the commands under test inherit it.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _programs = tempfile.mkdtemp(prefix="gamepruning-programs-")
    atexit.register(shutil.rmtree, _programs, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _programs
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

# Tests start many processes, and each would compile all modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Imports and programs make little garbage and much to look through.
gc.set_threshold(50_000, 20, 50)

import jax  # noqa: E402
import pytest  # noqa: E402

from tests import typecheck  # noqa: E402
from tests.tiers import function_of, read_slow  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
share_contexts()

# The inner loops of tracing: a check would cost more than what it checks, and what they
# pass on are not arrays; pyright checks them all the same.
UNCHECKED = set(
    """
    trace.atoms trace.call trace.flatten trace.labels trace.program trace.propagate
    trace.rules.elementwise trace.rules.registry trace.rules.shape trace.units
    trace.usage run.calls run.interpret run.shrunk trees.arrays
    """.split()
)


def checked_modules() -> list[str]:
    """The modules whose annotations are checked as the tests run."""
    root = Path(__file__).parent.parent
    found = (root / "gamepruning").rglob("*.py")
    files = [path for path in found if path.stem != "__init__"]
    names = [".".join(p.relative_to(root).with_suffix("").parts) for p in files]
    return [name for name in names if name.partition(".")[2] not in UNCHECKED]


if os.environ.get("GAMEPRUNING_TYPECHECK", "1") != "0":
    typecheck.install(checked_modules())


SLOW = read_slow()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the fast tier."""
    if function_of(item.nodeid) not in SLOW:
        item.add_marker(pytest.mark.fast)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all tests of a zoo model in a row: they share it."""
    places = [k for k, item in enumerate(items) if model_of(item)]
    by_model = sorted((items[k] for k in places), key=model_of)
    for place, item in zip(places, by_model, strict=True):
        items[place] = item


def pytest_runtest_teardown() -> None:
    """Keep lowering as quick for the last test as for the first."""
    forget_lowered()


def pytest_collection_finish() -> None:
    """Never look for garbage among the modules."""
    gc.collect()
    gc.freeze()


def model_of(item: pytest.Item) -> str:
    """The name of the zoo model that a test is about, or ""."""
    callspec = getattr(item, "callspec", None)
    bench = callspec.params.get("bench") if callspec else None
    return f"{bench[0].name} {bench[1]}" if bench else ""


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data; the test is skipped where there is none."""
    named = os.environ.get("GAMEPRUNING_DATA")
    if not named:
        pytest.skip("needs real data: GAMEPRUNING_DATA is not set")
    folder = Path(named).expanduser()
    if not folder.is_dir():
        pytest.skip(f"needs real data: GAMEPRUNING_DATA={named} is not a folder")
    return folder


@pytest.fixture(scope="session", autouse=True)
def quick_latencies() -> Iterator[None]:
    """Latencies are measured for a shorter time: no test depends on their precision."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gamepruning.compaction.measure.SECONDS", 0.02)
        yield


@pytest.fixture
def key() -> jax.Array:
    """A random key for tests that must hold for any key."""
    return jax.random.key(20260131)
