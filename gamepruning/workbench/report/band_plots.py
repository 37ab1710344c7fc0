"""The figure of MCUE: how unsure a network is over p and q, and along p = q."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from gamepruning.uncertainty.mcue import Bands
from gamepruning.workbench.report import theme

INKS = LinearSegmentedColormap.from_list(
    "bands", [theme.CARD, theme.HERO, theme.PLUM, theme.INK]
)


@theme.style()
def plot_bands(bands: Bands, *, title: str = "") -> Figure:
    """The variance over p and q, and the diagonal: Figures 2 and 6 of arXiv 2311.10468.

    The map has its diagonal and the peak; the bands along the diagonal and about the
    peak are two standard errors. The title defaults to the definition of the output.
    """
    figure, axes = theme.new_figure(8.6, 3.7, columns=2, width_ratios=(1.0, 1.15))
    _draw_map(axes[0], bands)
    output = "the output" if bands.output == "outputs" else bands.output
    axes[0].set_title(title or f"Variance of {output.replace('_', ' ')}")
    _draw_diagonal(axes[1], bands)
    return figure


def _draw_map(axes: Axes, bands: Bands) -> None:
    image = axes.imshow(
        np.maximum(bands.variance, 0.0),
        origin="lower",
        extent=(0.0, 1.0, 0.0, 1.0),
        cmap=INKS,
        vmin=0.0,
        interpolation="nearest",
    )
    axes.grid(False)
    axes.plot([0, 1], [0, 1], color=theme.MUTED, lw=1.0, ls="--")
    if not bands.is_at_end:
        look = {"ms": 8, "mfc": "none", "mec": theme.AMBER, "mew": 2.0}
        axes.plot(bands.peak, bands.peak, "o", **look)
    axes.set(xlabel="q: share taken out first", ylabel="p: chance to leave then")
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.85)
    bar.outline.set_edgecolor(theme.GRID)


def _draw_diagonal(axes: Axes, bands: Bands) -> None:
    curve, spread = bands.diagonal, 2 * bands.diagonal_stderr
    (line,) = axes.plot(bands.p, curve, color=theme.HERO, marker="o", ms=3.5)
    theme.draw_band(axes, line, spread, alpha=0.18)
    axes.set(xlim=(0.0, 1.0), xlabel="p = q", ylabel="variance")
    axes.set_title("Along the diagonal: no peak")
    axes.set_ylim(bottom=min(0.0, float(np.min(curve - spread))))
    if bands.is_at_end:
        return
    low, high = (bands.peak + sign * 2 * bands.peak_stderr for sign in (-1, 1))
    axes.axvline(bands.peak, color=theme.AMBER, lw=1.2, ls="--")
    axes.axvspan(low, high, color=theme.AMBER, alpha=0.15, lw=0)
    axes.set_title(f"Peak t* = {bands.peak:.3f}, d = 1 - t* = {bands.bias:.3f}")
