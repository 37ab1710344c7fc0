"""How figures look, and how they are saved: PNG on white, SVG that follows a theme.

None of it touches pyplot's global state. In SVG the inks become CSS variables, so that
one drawing suits a light and a dark page.
"""

import io
import re
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

INK, MUTED, GRID = "#1c2430", "#677489", "#dfe4ec"
HERO, AMBER, SLATE, GREEN = "#3a63d8", "#d98a1f", "#8d97a8", "#2f9e77"
PLUM, ROSE = "#9156c8", "#d2517d"
CARD = "#fffffe"  # behind text that crosses lines
FAMILY_COLOURS = (HERO, PLUM, GREEN, ROSE, AMBER, SLATE)
CONTENDER_COLOURS = {"magnitude": AMBER, "random": SLATE, "scratch": GREEN}
CSS_NAMES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "line",
    CARD: "card",
    HERO: "hero",
    AMBER: "amber",
    SLATE: "slate",
    GREEN: "green",
    PLUM: "plum",
    ROSE: "rose",
}
STYLE: dict[Any, Any] = {
    "font.size": 10.5,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "lines.linewidth": 1.9,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "figure.dpi": 100,
}


def style():
    """The context in which figures are drawn and saved."""
    return matplotlib.rc_context(STYLE)


def new_figure(width: float, height: float, *, columns: int = 1, **kwargs):
    """A figure with `columns` axes side by side.

    Args:
      width: inches.
      height: inches.
      columns: number of axes.
      **kwargs: for `Figure.subplots`.

    Returns:
      (figure, axes [columns]).
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False, **kwargs)[0]
    return figure, axes


def save_png(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG on white."""
    with style():
        figure.savefig(path, format="png", dpi=160, facecolor="white")


def to_svg(figure: Figure, *, name: str) -> str:
    """The figure as an SVG element for an HTML page.

    Args:
      figure: the drawing.
      name: makes the ids inside unique on the page.

    Returns:
      The `<svg>` element; its inks are CSS variables with the light theme as fallback.
    """
    buffer = io.StringIO()
    with style(), matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    for colour, css in CSS_NAMES.items():
        svg = svg.replace(colour, f"var(--{css}, {colour})")
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "inherit", svg)
    svg = re.sub(r'(id="|url\(#|xlink:href="#)', rf"\1{name}-", svg)
    return re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', _svg_head(name), svg, count=1)


def _svg_head(name: str) -> str:
    return (
        r'<svg viewBox="\1" role="img" class="figure" '
        r'xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
