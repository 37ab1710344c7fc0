"""The figures of methods show what they were given."""

import xml.etree.ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_hex

from gamepruning.stats import compare_methods
from gamepruning.workbench.registry import METHODS
from gamepruning.workbench.report import theme
from gamepruning.workbench.report.method_plots import plot_curves, plot_ranks

SIZES = [0.05, 0.2, 0.6]
CURVES = {
    "building": np.array([[0.5, 0.9, 0.97], [0.7, 0.9, 0.95]]),
    "random": np.array([[0.1, 0.2, 0.5], [0.1, 0.4, 0.7]]),
}


def test_lines_are_means_and_bands_one_standard_deviation():
    axis = plot_curves(CURVES, SIZES, dense=0.98, marked=0.225).axes[0]
    for line, name in zip(axis.lines, CURVES, strict=False):
        assert line.get_label() == name
        np.testing.assert_allclose(line.get_xdata(), SIZES)
        np.testing.assert_allclose(line.get_ydata(), CURVES[name].mean(axis=0))
    band = axis.collections[0].get_paths()[0].vertices
    spread = 0.2 / np.sqrt(2)  # of .5 and .7, with one degree of freedom
    at_first = band[np.isclose(band[:, 0], 0.05)][:, 1]
    assert at_first.min() == pytest.approx(0.6 - spread)
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == list(CURVES)


@pytest.mark.parametrize(
    ("metric", "ends"), [("macro F1", (0, 1)), ("profit", None), ("R^2", None)]
)
def test_a_band_ends_where_the_metric_does(metric, ends):
    spread = 1.4 / np.sqrt(2)
    curves = {"taylor": [[-2.1, 0.7], [-0.7, 2.1]]}
    axis = plot_curves(curves, SIZES[:2], metric=metric).axes[0]
    band = axis.collections[0].get_paths()[0].vertices[:, 1]
    wide = -1.4 - spread, 1.4 + spread
    assert (band.min(), band.max()) == pytest.approx(ends or wide)


def test_one_seed_has_no_band_and_svg_is_whole():
    figure = plot_curves({"taylor": [[0.1, 0.2, 0.3]]}, SIZES, metric="R^2")
    assert not figure.axes[0].collections
    svg = theme.to_svg(figure, name="curve")
    root = xml.etree.ElementTree.fromstring(svg)
    assert root.tag.endswith("svg") and "var(--rose" in svg


def test_many_methods_look_different():
    names = list(METHODS)[:12]
    figure = plot_curves({name: [[0.1, 0.2, 0.3]] for name in names}, SIZES)
    looks = {
        (to_hex(line.get_color()), str(line._unscaled_dash_pattern))  # pyright: ignore
        for line in figure.axes[0].lines
    }
    assert len(looks) == 12


def test_names_stand_beside_the_curves():
    many = {f"method {k}": [[0.1, 0.9]] for k in range(9)}
    for curves in (many, dict(list(many.items())[:4])):
        figure = plot_curves(curves, [0.2, 0.5])
        figure.draw_without_rendering()
        axis = figure.axes[0]
        names = axis.get_legend().get_window_extent()
        assert names.x0 > axis.get_window_extent().x1
        assert names.x1 < figure.bbox.x1


def test_many_curves_have_no_bands_and_the_best_is_named_first():
    curves = {f"method {k}": [[0.1 + k / 50, 0.5]] * 2 for k in range(12)}
    axes = plot_curves(curves, [0.2, 0.5]).axes[0]
    assert not axes.collections
    legend = axes.get_legend()
    assert legend is not None
    names = [text.get_text() for text in legend.get_texts()]
    assert names == list(curves)[::-1]
    widths = {str(line.get_label()): line.get_linewidth() for line in axes.lines}
    assert len(set(widths.values())) == 1  # no method is set apart


def test_names_of_the_diagram_are_inside_the_figure_at_both_widths():
    names = [name for name in METHODS if len(name) > 14]
    results = np.random.default_rng(0).normal(size=(3, len(names)))
    figure = plot_ranks(compare_methods(results, names))
    for fit in (lambda figure: None, theme.fit_phone):
        fit(figure)
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
        assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)
        for k, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:k])


def test_a_method_looks_the_same_in_every_figure():
    curves = {name: [[0.1, 0.9]] for name in METHODS}
    alone = {name: plot_curves({name: [[0.1, 0.9]]}, [0.2, 0.5]) for name in curves}
    looks = set()
    for line in plot_curves(curves, [0.2, 0.5]).axes[0].lines:
        other = alone[str(line.get_label())].axes[0].lines[0]
        assert line.get_color() == other.get_color()
        assert (line.get_linestyle(), line.get_marker()) == (
            other.get_linestyle(),
            other.get_marker(),
        )
        looks.add(str(theme.look_of(str(line.get_label()))))
    assert len(looks) == len(METHODS)


def test_bands_of_an_accuracy_stay_within_it():
    figure = plot_curves({"random": [[0.0, 0.5], [0.1, 1.0]]}, [0.2, 0.5])
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].min() >= 0 and band[:, 1].max() <= 1


def test_lines_of_the_diagram_are_solid_in_the_methods_colours():
    results = np.random.default_rng(0).normal(size=(9, 9)) + np.arange(9)
    names = list(theme.METHODS_SEEN)
    lines = plot_ranks(compare_methods(results, names)).axes[0].lines
    assert {line.get_linestyle() for line in lines} == {"-"}
    assert set(theme.METHODS_SEEN.values()) <= {to_hex(x.get_color()) for x in lines}
