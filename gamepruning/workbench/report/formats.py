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
    """A number with three decimals, or in powers of ten where it is huge.

    Example:
      >>> format_number(0.95), format_number(-2.5e7), format_number(0.5, 0.02)
      ('0.950', '-2.5e+07', '0.500 ± 0.020')
    """
    text = f"{value:.3f}" if abs(value) < 1e4 else f"{value:.1e}"
    return text if spread is None else f"{text} ± {spread:.3f}"


def format_metric(value: float | None, metric: str, spread: float | None = None) -> str:
    """A metric: a percentage where it is an accuracy, a number otherwise.

    Example:
      >>> format_metric(0.9688, "accuracy"), format_metric(None, "R^2")
      ('96.9 %', '–')
    """
    if value is None:
        return MISSING
    as_text = format_percent if metric == "accuracy" else format_number
    return as_text(value, spread)


def format_count(count: int, noun: str) -> str:
    """A number of things.

    Example:
      >>> format_count(1, "epoch"), format_count(1200, "seed")
      ('1 epoch', '1,200 seeds')
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"


def format_bytes(count: int) -> str:
    """A size.

    Example:
      >>> format_bytes(512), format_bytes(2_143_272)
      ('512 B', '2.1 MB')
    """
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def format_ratio(before: float, after: float) -> str:
    """How many times smaller, or a dash where that has no meaning.

    Example:
      >>> format_ratio(100, 4), format_ratio(5000, 1), format_ratio(0, 0)
      ('25×', '5,000×', '–')
    """
    if before <= 0 or after <= 0:
        return MISSING
    ratio = before / after
    return f"{ratio:,.0f}×" if ratio >= 20 else f"{ratio:.1f}×"


def format_kept(kept: Sequence[int]) -> str:
    """Players kept in each family, or their sum where there are many families.

    Example:
      >>> format_kept((9, 6)), format_kept((300,) * 4)
      ('9 / 6', '1,200')
    """
    if len(kept) > LISTED:
        return f"{sum(kept):,}"
    return " / ".join(f"{count:,}" for count in kept)
