"""The command `python -m benchmarks.device`: what an accelerator makes of the library.

Parts with a budget of seconds each. Every entry is printed and written down as soon as
it is measured, an error is a line in it, and nothing runs beyond the limit.
"""

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from benchmarks.bench import result_table
from benchmarks.cases import FULL, SMALL, Sizes
from benchmarks.device_games import banzhaf_part, gating_part, prefixes_part
from benchmarks.device_parts import (
    Entries,
    Figures,
    coalitions_part,
    find_players_part,
    products_part,
    tiles_part,
)
from gamepruning.files.atomic import new_file
from gamepruning.files.versions import versions
from gamepruning.types import InputError

LIMIT = 465.0
GIB = 2**30


class Part(NamedTuple):
    """A part of the benchmark.

    Attributes:
      entries: sizes -> what is measured, by name.
      seconds: after which no further entry begins.
    """

    entries: Callable[[Sizes], Entries]
    seconds: float


PARTS = {
    "find_players": Part(find_players_part, 30.0),
    "products": Part(products_part, 45.0),
    "coalitions": Part(coalitions_part, 200.0),
    "gpt2_banzhaf": Part(banzhaf_part, 100.0),
    "prefixes": Part(prefixes_part, 45.0),
    "gating": Part(gating_part, 60.0),
    "tiles": Part(tiles_part, 75.0),
}


class Record:
    """What is known so far: printed, and on file if there is one."""

    def __init__(self, command: str, out: Path | None, is_small: bool):
        self._out = out
        self._start = time.perf_counter()
        self.data: dict[str, Any] = {
            "command": command,
            "card": jax.devices()[0].device_kind,
            "platform": jax.default_backend(),
            "jax": jax.__version__,
            "machine": versions() | {"load average": f"{os.getloadavg()[0]:.1f}"},
            "small": is_small,
            "seconds": {},
            "parts": {},
        }
        self._write()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._start

    def add(self, part: str, name: str, figures: Figures) -> None:
        """Print an entry and write it down."""
        self.data["parts"].setdefault(part, {})[name] = figures
        rows = [": ".join(row.cells) for row in result_table(name, figures).rows]
        print(f"[{self.seconds:.0f} s] {part}, {name}: {'; '.join(rows)}", flush=True)
        self._write()

    def close(self, part: str, seconds: float) -> None:
        """Write down what a part took."""
        self.data["seconds"][part] = seconds
        self._write()

    def stop(self, why: str) -> None:
        """Say why the rest is missing."""
        self.data["stopped"] = why
        print(f"[{self.seconds:.0f} s] {why}", flush=True)
        self._write()

    def _write(self) -> None:
        if self._out is not None:
            with new_file(self._out) as temporary:
                text = json.dumps(self.data, indent=2) + "\n"
                temporary.write_text(text, encoding="utf-8")


def run_parts(
    names: Sequence[str], sizes: Sizes, record: Record, *, limit: float = LIMIT
) -> None:
    """Measure parts, one after the other.

    Args:
      names: of `PARTS`.
      sizes: how large everything is.
      record: where results go.
      limit: seconds after which no entry begins.
    """
    for name in names:
        start = record.seconds
        _run_part(name, sizes, record, min(start + PARTS[name].seconds, limit))
        record.close(name, record.seconds - start)


def _run_part(name: str, sizes: Sizes, record: Record, end: float) -> None:
    try:
        entries = PARTS[name].entries(sizes)
    except Exception as error:
        record.add(name, "error", {"error": _one_line(error)})
        return
    for entry, measure in entries.items():
        if record.seconds > end:
            record.add(name, entry, {"left out": "the part's time is spent"})
            continue
        try:
            figures = measure() | _memory()
        except Exception as error:
            figures = {"error": _one_line(error)}
        record.add(name, entry, figures)


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


def _memory() -> Figures:
    """The most memory of the device that was in use so far, where it tells."""
    stats = jax.devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")
    return {} if peak is None else {"GiB in use at most so far": peak / GIB}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Args:
      argv: the words after `python -m benchmarks.device`; None for the process's own.

    Returns:
      The exit code: 0, 1 if an entry failed, or 2 after bad input.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(words)
    command = " ".join(["python -m benchmarks.device", *words])
    try:
        record = Record(command, options.out, options.small)
        watch = threading.Timer(options.limit + 15, _give_up, [record])
        watch.daemon = True
        watch.start()
        try:
            names = [name for name in PARTS if name in (options.part or PARTS)]
            sizes = SMALL if options.small else FULL
            run_parts(names, sizes, record, limit=options.limit)
        finally:
            watch.cancel()
    except InputError as error:
        print(f"benchmarks.device: {error}", file=sys.stderr)
        return 2
    parts = record.data["parts"].values()
    return int(any("error" in entry for part in parts for entry in part.values()))


def _give_up(record: Record) -> None:
    """End the process: one entry takes all the time that is left."""
    record.stop("an entry took longer than the limit allows; the rest is left out")
    os._exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.device",
        description="Measure gamepruning on an accelerator, from a checkout.",
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    parser.add_argument(
        "--small", action="store_true", help="tiny sizes, for a CPU: does it run?"
    )
    parser.add_argument("--part", nargs="+", choices=PARTS, help="some parts only")
    parser.add_argument(
        "--limit", type=float, default=LIMIT, metavar="SECONDS", help="for all parts"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
