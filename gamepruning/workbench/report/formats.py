"""Numbers as people read them: the one place that says how a percentage looks."""

from collections.abc import Sequence

MISSING = "–"
LISTED = 3  # families whose counts stand one by one


def format_percent(fraction: float, spread: float | None = None) -> str:
    """A fraction as a percentage with one decimal, with its spread if it has one.

    Example:
      >>> format_percent(0.9688), format_percent(0.9688, 0.004)
      ('96.9 %', '96.9 ± 0.4 %')
    """
    if spread is None:
        return f"{100 * fraction:.1f} %"
    return f"{100 * fraction:.1f} ± {100 * spread:.1f} %"


def format_number(value: float, spread: float | None = None) -> str:
    """A number with three decimals, or in powers of ten where it is huge."""
    text = f"{value:.3f}" if abs(value) < 1e4 else f"{value:.1e}"
    return text if spread is None else f"{text} ± {spread:.3f}"


def format_metric(value: float | None, metric: str, spread: float | None = None) -> str:
    """A percentage for an accuracy, a number for other metrics, a dash for None."""
    if value is None:
        return MISSING
    as_text = format_percent if metric == "accuracy" else format_number
    return as_text(value, spread)


def format_count(count: int, noun: str) -> str:
    """A number with its noun: `"1 epoch"`, `"1,200 seeds"`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def format_bytes(count: int) -> str:
    """A size: `"512 B"`, `"2.1 MB"`."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def format_ratio(before: float, after: float) -> str:
    """How many times smaller, as `"25×"`, or a dash where that has no meaning."""
    if before <= 0 or after <= 0:
        return MISSING
    ratio = before / after
    return f"{ratio:,.0f}×" if ratio >= 20 else f"{ratio:.1f}×"


def format_kept(kept: Sequence[int]) -> str:
    """Players kept in each family, as `"9 / 6"`, or their sum for many families."""
    if len(kept) > LISTED:
        return f"{sum(kept):,}"
    return " / ".join(f"{count:,}" for count in kept)
