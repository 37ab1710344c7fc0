"""Numbers as people read them: the one place that says how a percentage looks."""

from collections.abc import Sequence

from rich import filesize

MISSING = "–"
IN_PERCENT = ("accuracy", "balanced accuracy")
LISTED = 3  # families whose counts stand one by one


def format_percent(fraction: float) -> str:
    """A fraction as a percentage: `"96.9 %"`."""
    return f"{100 * fraction:.1f} %"


def format_metric(value: float | None, metric: str) -> str:
    """A percentage for accuracies, a number for other metrics, a dash for None."""
    if value is None:
        return MISSING
    if metric in IN_PERCENT:
        return format_percent(value)
    return f"{value:.3f}" if abs(value) < 1e4 else f"{value:.1e}"


def format_count(count: int, noun: str) -> str:
    """A number with its noun: `"1 epoch"`, `"1,200 seeds"`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def format_bytes(count: int) -> str:
    """A size: `"512 B"`, `"2.1 MB"`."""
    number, unit = filesize.decimal(count).split()
    return f"{number} {unit.replace('bytes', 'B').replace('byte', 'B')}"


def format_ratio(before: float, after: float) -> str:
    """How many times smaller, as `"25×"`, or a dash where that has no meaning."""
    if before <= 0 or after <= 0:
        return MISSING
    ratio = before / after
    return f"{ratio:,.0f}×" if ratio >= 20 else f"{ratio:.1f}×"


def format_kept(kept: Sequence[int]) -> str:
    """Players kept in each family, as `"9 / 6"`, or their sum for many families."""
    shown = kept if len(kept) <= LISTED else (sum(kept),)
    return " / ".join(f"{count:,}" for count in shown)
