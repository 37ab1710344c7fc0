"""The figure of MCUE: how unsure a network is over p and q, and along p = q."""

import numpy as np
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

    Args:
      bands: as `mcue` found them.
      title: above the map; the definition of the output if empty.

    Returns:
      Two panels: the map with its diagonal and the peak, and the variance along the
      diagonal with a band of two standard errors.
    """
    figure, axes = theme.new_figure(8.6, 3.7, columns=2, width_ratios=(1.0, 1.15))
    _draw_map(figure, axes[0], bands)
    axes[0].set_title(title or f"Variance of {_words(bands)}")
    _draw_diagonal(axes[1], bands)
    return figure


def _draw_map(figure: Figure, axis, bands: Bands) -> None:
    image = axis.imshow(
        np.maximum(bands.variance, 0.0),
        origin="lower",
        extent=(0.0, 1.0, 0.0, 1.0),
        cmap=INKS,
        vmin=0.0,
        interpolation="nearest",
    )
    axis.grid(False)
    axis.plot([0, 1], [0, 1], color=theme.MUTED, linewidth=1.0, linestyle=theme.DASHED)
    if not bands.is_at_end:
        peak = bands.peak
        axis.plot(peak, peak, "o", ms=8, mfc="none", mec=theme.AMBER, mew=2.0)
    axis.set_xlabel("q: share taken out first")
    axis.set_ylabel("p: chance to leave then")
    bar = figure.colorbar(image, ax=axis, shrink=0.85)
    bar.outline.set_edgecolor(theme.GRID)


def _draw_diagonal(axis, bands: Bands) -> None:
    curve, spread = bands.diagonal, 2 * bands.diagonal_stderr
    axis.fill_between(
        bands.p,
        curve - spread,
        curve + spread,
        color=theme.HERO,
        alpha=0.18,
        linewidth=0,
    )
    axis.plot(bands.p, curve, color=theme.HERO, marker="o", ms=3.5)
    axis.set_xlim(0.0, 1.0)
    axis.set_ylim(bottom=min(0.0, float(np.min(curve - spread))))
    axis.set_xlabel("p = q")
    if bands.is_at_end:
        axis.set_title("Along the diagonal: no peak")
        return
    axis.axvline(bands.peak, color=theme.AMBER, linewidth=1.2, linestyle=theme.DASHED)
    error = 2 * bands.peak_stderr
    axis.axvspan(
        bands.peak - error,
        bands.peak + error,
        color=theme.AMBER,
        alpha=0.15,
        linewidth=0,
    )
    axis.set_title(f"Peak t* = {bands.peak:.3f}, d = 1 - t* = {bands.bias:.3f}")


def _words(bands: Bands) -> str:
    return "the output" if bands.output == "outputs" else bands.output.replace("_", " ")
