"""What rows of a table have that the training rows did not have, in words."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false

from collections import defaultdict
from collections.abc import Sequence

import pandas as pd

from gamepruning.tabular.columns import Column, to_text

FAR = 20.0  # standard deviations
SHOWN = 3  # cells, as examples

NEW = "categories that training did not have, taken as none of those it had"
RARE = "categories new or too rare in training, taken as none of the frequent ones"
GAPS = "missing cells in columns where training had none, taken as the training median"
EMPTY = "missing cells in columns where training had none, taken as no category"
OTHERWISE = "written otherwise than in training"
DISTANT = f"over {FAR:g} standard deviations from the training mean, used as they are"
UNSURE = "with two readings, read as in training"


def unseen(
    columns: Sequence[Column], here: Sequence[Column], frame: pd.DataFrame
) -> list[str]:
    """What is new in these rows, a line for each kind of thing.

    Args:
      columns: as they were fitted.
      here: the same as these rows are written, see `as_written`.
      frame: the rows.

    Example:
      >>> known = Column(name="kind", kind="category", categories=("a", "b"))
      >>> (told,) = unseen([known], [known], pd.DataFrame({"kind": ["a", "c", "d"]}))
      >>> print(told.replace(": ", ":\\n"))
      categories that training did not have, taken as none of those it had:
      kind in 2 of 3 rows ('c', 'd')
    """
    found: dict[str, list[str]] = defaultdict(list)
    for column, own in zip(columns, here, strict=True):
        cells = frame[column.name]
        parsed = own.parse(cells)
        if column.kind == "category":
            _note_categories(column, parsed, found)
        else:
            _note_numbers(column, cells, parsed, found)
            _note_writing(column, own, cells, parsed, found)
    return [f"{what}: {', '.join(which)}" for what, which in found.items()]


def _note_categories(
    column: Column, parsed: pd.Series, found: dict[str, list[str]]
) -> None:
    is_new = ~parsed.isin(column.categories)
    is_gap = is_new & (parsed == "")
    named = is_new & ~is_gap
    if named.any():
        found[RARE if column.num_merged else NEW].append(_where(column, named, parsed))
    if is_gap.any():
        found[EMPTY].append(_where(column, is_gap))


def _note_numbers(
    column: Column, cells: pd.Series, parsed: pd.Series, found: dict[str, list[str]]
) -> None:
    gone = parsed.isna()
    if column.scale is None:
        return
    if gone.any() and not column.marks_missing:
        found[GAPS].append(_where(column, gone))
    is_far = (parsed - column.mean).abs() > FAR * column.scale
    if is_far.any():
        what = "numbers" if column.kind == "number" else "dates"
        found[f"{what} {DISTANT}"].append(_where(column, is_far, cells))


def _note_writing(
    column: Column,
    own: Column,
    cells: pd.Series,
    parsed: pd.Series,
    found: dict[str, list[str]],
) -> None:
    style = own.hint_of(cells)
    is_new = style is not None and column.hint not in (style, "fixed")
    is_unsure = style is None and own.is_unsure(cells)
    if is_unsure and own.hint == "point":  # 1.138 is plain, 1,138 is not
        is_unsure = bool(to_text(cells).str.contains(",").any())
    if not is_new and not is_unsure:
        return
    what = OTHERWISE if is_new else UNSURE
    how = (style or own.hint).replace("-", " ")
    how += "" if column.kind == "date" else " as the decimal mark"
    marked = cells[parsed.notna() & to_text(cells).str.contains("[.,/-]")]
    example = f", such as {marked.iloc[0]!r}" if len(marked) else ""
    found[f"{column.kind}s {what}"].append(f"{column.name} ({how}{example})")


def _where(column: Column, rows: pd.Series, cells: pd.Series | None = None) -> str:
    """A column, how many of its rows, and some of their cells."""
    told = f"{column.name} in {int(rows.sum()):,} of {len(rows):,} rows"
    if cells is None:
        return told
    kinds = list(dict.fromkeys(map(str, cells[rows])))
    more = ", ..." if len(kinds) > SHOWN else ""
    return f"{told} ({', '.join(map(repr, kinds[:SHOWN]))}{more})"
