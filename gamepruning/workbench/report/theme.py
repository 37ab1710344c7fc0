"""How figures look, and how they are saved: PNG on white, SVG that follows a theme.

None of it touches pyplot's global state. In SVG the inks become CSS variables, so that
one drawing suits a light and a dark page. A figure is laid out once, by whichever form
is made first, and anew for a phone.
"""

import io
import re
import textwrap
from pathlib import Path
from typing import Any
from zlib import crc32

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter, ScalarFormatter

from gamepruning.workbench.registry import METHODS
from gamepruning.workbench.report.formats import IN_PERCENT

INK, MUTED, GRID, OLIVE = "#1c2430", "#677489", "#dfe4ec", "#7d8a1e"
HERO, AMBER, SLATE, GREEN = "#3a63d8", "#d98a1f", "#8d97a8", "#2f9e77"
PLUM, ROSE, TEAL, BROWN = "#9156c8", "#d2517d", "#1597a5", "#8a6d4b"
CARD = "#fffffe"  # behind text that crosses lines
COLOURS = (HERO, PLUM, GREEN, ROSE, AMBER, SLATE)  # of families
METHODS_SEEN = {  # each has its colour in every figure
    "equilibrium": HERO, "building": PLUM, "ucb1": GREEN, "taylor": ROSE,
    "magnitude": AMBER, "random": SLATE, "shapley": TEAL, "scratch": BROWN,
    "elimination": OLIVE,
}  # fmt: skip
DASHES = ("-", (0, (4, 2)), (0, (1, 1.6)), (0, (6, 2, 1, 2)))
MARKS = "osD^"
CSS_NAMES = {
    INK: "ink", MUTED: "muted", GRID: "line", CARD: "card", HERO: "hero",
    AMBER: "amber", SLATE: "slate", GREEN: "green", PLUM: "plum", ROSE: "rose",
    TEAL: "teal", BROWN: "brown", OLIVE: "olive",
}  # fmt: skip
STYLE = matplotlib.rc_params_from_file(
    Path(__file__).with_name("figures.mplstyle"), use_default_template=False
)
NARROW, HIGH = 4.8, 3.4  # inches: the width on a phone, the height of a panel there
DENSE = {"color": MUTED, "lw": 1.1, "ls": (0, (4, 3)), "zorder": 1}  # the full network


def style():
    """The context in which figures are drawn and saved."""
    return matplotlib.rc_context(STYLE)


def new_figure(width: float, height: float, *, columns: int = 1, **kwargs):
    """A figure of so many inches, and its axes side by side, [columns]."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False, **kwargs)[0]


def show_metric(axis: Axis, metric: str, decimals: int | None = None) -> None:
    """Label an axis of a metric as tables do: only accuracies are in percent."""
    percent = PercentFormatter(1.0, decimals=decimals, symbol=" %")
    axis.set_major_formatter(percent if metric in IN_PERCENT else ScalarFormatter())


def show_epochs(axes: Axes, *, most: int = 6) -> None:
    """Label the horizontal axis with whole epochs."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=most, integer=True))


def look_of(method: str) -> dict[str, Any]:
    """The colour, the dashes and the marks of a method, the same in every figure."""
    names = [*METHODS_SEEN, *(name for name in METHODS if name not in METHODS_SEEN)]
    place = names.index(method) if method in names else crc32(method.encode())
    row, column = divmod(place, len(METHODS_SEEN))
    look = {"linestyle": DASHES[row % 4], "marker": MARKS[row // 4 % 4]}
    return {"color": [*METHODS_SEEN.values()][column], **look}


def put_legend_outside(axes: Axes) -> None:
    """Name the curves to the right of the axes, where they hide nothing."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02))


def draw_band(
    axes: Axes, line: Line2D, spread: np.ndarray, *, alpha: float, most: float = np.inf
) -> None:
    """Shade one spread to each side of a line, within [0, most] if that is finite."""
    x, middle = line.get_data()
    low, high = middle - spread, middle + spread
    if most < np.inf:
        low, high = np.clip(low, 0, most), np.clip(high, 0, most)
    axes.fill_between(x, low, high, color=line.get_color(), alpha=alpha, lw=0)


def save_png(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG on white."""
    figure.set_facecolor("white")
    with style():
        FigureCanvasAgg(figure).print_png(path)
    figure.set_layout_engine("none")


def to_html(figure: Figure, *, name: str) -> str:
    """The figure as two SVG elements, of which a page shows one: wide, or for a phone.

    The figure stays as it is on the phone.
    """
    wide = to_svg(figure, name=name)
    fit_phone(figure)
    narrow = to_svg(figure, name=f"{name}-narrow")
    return f'<div class="wide">{wide}</div>\n<div class="narrow">{narrow}</div>'


@style()
def fit_phone(figure: Figure) -> None:
    """Lay a figure out for a phone: panels below each other, legends below them."""
    panels = [axes for axes in figure.axes if axes.get_subplotspec() is not None]
    rows, columns = (-(-len(panels) // 2), 2) if len(panels) > 3 else (len(panels), 1)
    width, height = figure.get_size_inches()
    if not any(axes.axison for axes in panels):  # pictures become smaller as a whole
        height *= min(NARROW / width, 1.0) if panels[0].images else 1.0
    figure.set_layout_engine("constrained")
    grid = figure.add_gridspec(rows, columns)
    for place, axes in enumerate(panels):
        axes.set_subplotspec(grid[place])
        axes.tick_params(labelleft=True)
        label = axes.get_ylabel() or panels[0].get_ylabel()
        axes.set_ylabel("\n".join(textwrap.wrap(label, 26)))
        if legend := axes.get_legend():
            marks, names = axes.get_legend_handles_labels()
            legend.remove()
            ncols = max(1, int(72 * NARROW / (45 + 5.5 * max(map(len, names)))))
            look = {"loc": "outside lower left", "ncols": ncols, "fontsize": 9.5}
            figure.legend(marks, names, **look)
            height = min(height, HIGH) + 0.22 * -(-len(names) // ncols) / rows
    figure.set_size_inches(NARROW, rows * height)


def to_svg(figure: Figure, *, name: str) -> str:
    """The figure as an SVG element whose ids start with a name, for an HTML page.

    Its inks are CSS variables with the light theme as fallback.
    """
    buffer = io.StringIO()
    figure.set_facecolor("none")
    with style(), matplotlib.rc_context({"svg.hashsalt": name}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    figure.set_layout_engine("none")
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    for colour, css in CSS_NAMES.items():
        svg = svg.replace(colour, f"var(--{css}, {colour})")
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "inherit", svg)
    svg = re.sub(r'(id="|url\(#|xlink:href="#)', rf"\1{name}-", svg)
    head = (
        r'<svg viewBox="\1" role="img" class="figure" '
        r'xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', head, svg, count=1)
