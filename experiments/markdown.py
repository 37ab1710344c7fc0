"""Tables in Markdown, and one spelling of the numbers in them."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Table = Callable[[], list[str]]
HERE = Path(__file__).parent


def read(name: str) -> Any:
    """What a JSON file of the experiments says, such as "peers/results.json"."""
    return json.loads((HERE / name).read_text(encoding="utf-8"))


def table(heads: Sequence[str], align: str, rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; `align` has "l" or "r" for each column."""
    marks = {"l": "---", "r": "---:"}
    lines = [heads, [marks[side] for side in align], *rows]
    return [_line(cells) for cells in lines]


def _line(cells: Sequence[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def percent(share: float | None, digits: int = 1) -> str:
    """A share in percent without its sign; nothing for a missing one."""
    return "" if share is None else f"{100 * share:.{digits}f}"


def percents(spread: Sequence[float] | None, digits: int = 1) -> str:
    """Mean and deviation of shares in percent."""
    return "" if spread is None else " ± ".join(percent(v, digits) for v in spread)


def plus_minus(entry: Mapping[str, float], digits: int = 2) -> str:
    """Mean and deviation as they stand in the file."""
    return f"{entry['mean']:.{digits}f} ± {entry['std']:.{digits}f}"


def shape(kept: Iterable[int]) -> str:
    return "/".join(map(str, kept))
