"""Numbers as people read them."""

from gamepruning.workbench.report.results import Contender


def format_metric(value: float | None, metric: str) -> str:
    """A metric as people read it: percent for accuracies, three digits otherwise.

    Example:
      >>> format_metric(0.9688, "accuracy"), format_metric(None, "R^2")
      ('96.9 %', '–')
    """
    if value is None:
        return "–"
    if metric == "accuracy":
        return f"{100 * value:.1f} %"
    return f"{value:.3f}" if abs(value) < 1e4 else f"{value:.1e}"


def format_count(count: int, noun: str) -> str:
    """A number of things.

    Example:
      >>> format_count(1, "epoch"), format_count(1200, "seed")
      ('1 epoch', '1,200 seeds')
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"


def format_bytes(count: int) -> str:
    """A size as people read it.

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
    """How many times smaller, or the bare fact that it is not.

    Example:
      >>> format_ratio(100, 4), format_ratio(5000, 1), format_ratio(0, 0)
      ('25×', '5,000×', '–')
    """
    if before <= 0 or after <= 0:
        return "–"
    ratio = before / after
    return f"{ratio:,.0f}×" if ratio >= 20 else f"{ratio:.1f}×"


def format_kept(contender: Contender) -> str:
    """Players kept in each family, as in 9 / 6."""
    kept = contender.kept
    if len(kept) > 8:
        return f"{sum(kept):,} in {len(kept)} families"
    return " / ".join(f"{count:,}" for count in kept)
