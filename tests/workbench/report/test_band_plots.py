"""The figure of MCUE shows the numbers it is given."""

import dataclasses

import numpy as np
import pytest

from gamepruning.uncertainty.mcue import Bands
from gamepruning.workbench.report import theme
from gamepruning.workbench.report.band_plots import plot_bands

GRID = (np.arange(8) + 0.5) / 8


def make_bands(variance, peak=0.6):
    return Bands(
        variance=variance,
        stderr=np.full((8, 8), 0.02),
        p=GRID,
        q=GRID,
        peak=peak,
        peak_stderr=0.01,
        output="label",
        num_players=40,
        num_evaluations=1000,
    )


def hill():
    p, q = np.meshgrid(GRID, GRID, indexing="ij")
    return np.exp(-20 * ((1 - p) * (1 - q) ** 1.2 - 0.15) ** 2)


def test_the_map_the_diagonal_and_the_peak_are_those_of_the_bands(tmp_path):
    bands = make_bands(hill())
    figure = plot_bands(bands)
    left, right = figure.axes[:2]
    image = left.images[0]
    np.testing.assert_allclose(image.get_array(), bands.variance)
    assert image.origin == "lower" and left.get_xlabel().startswith("q")
    mark = left.lines[-1]
    assert mark.get_xdata()[0] == mark.get_ydata()[0] == 0.6
    curve = right.lines[0]
    np.testing.assert_array_equal(curve.get_ydata(), np.diagonal(bands.variance))
    assert "0.600" in right.get_title(loc="left") and "0.400" in right.get_title(
        loc="left"
    )
    assert left.get_title(loc="left") == "Variance of label"
    theme.save_png(figure, tmp_path / "bands.png")
    assert (tmp_path / "bands.png").stat().st_size > 5000


@pytest.mark.parametrize("variance", [np.linspace(1, 0, 64), np.linspace(-0.01, 0, 64)])
def test_a_curve_without_a_peak_has_no_mark(variance):
    bands = make_bands(variance.reshape(8, 8))
    figure = plot_bands(dataclasses.replace(bands, peak=GRID[0]), title="Mine")
    left, right = figure.axes[:2]
    assert len(left.lines) == 1 and right.get_title(loc="left").endswith("no peak")
    assert left.get_title(loc="left") == "Mine"
    assert theme.to_svg(figure, name="bands").startswith("<svg")
