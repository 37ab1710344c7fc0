"""Figures are drawn from plain data, in both forms, for awkward data too."""

import xml.etree.ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from gamepruning.types import Scores
from gamepruning.workbench.report import family_plots, plots, theme
from gamepruning.workbench.report.method_plots import plot_curves
from gamepruning.workbench.report.results import FamilyRow
from tests.workbench.example_result import (
    make_contender,
    make_records,
    make_result,
    make_untuned,
)


def make_gates(num_epochs: int, result) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros(result.num_players, bool)
    mask[:9] = mask[512:518] = True
    fall = np.linspace(1, 0, num_epochs)[:, None] ** np.where(mask, 0.1, 2.0)
    return fall, mask


def draw_all(result) -> dict[str, Figure]:
    gates, mask = make_gates(12, result)
    return {
        "contest": plots.plot_contest(result),
        "training": plots.plot_training(make_records(), result=result),
        "gates": family_plots.plot_gates(gates, result.families, mask),
        "dynamics": family_plots.plot_dynamics(
            make_records(), gates, result.families, threshold=0.01, metric="accuracy"
        ),
        "participation": family_plots.plot_participation(
            gates[5], result.families, threshold=0.01
        ),
        "scores": family_plots.plot_scores(
            Scores(gates[5], 0 * gates[5], 0), result.families, mask, measure="score"
        ),
        "estimates": family_plots.plot_scores(
            Scores(gates[5], 0.1 + gates[5], 40),
            result.families,
            mask,
            measure="mean loss change without it",
        ),
        "weights": family_plots.plot_receptive_fields(gates[:, :64].reshape(-1, 8, 8)),
    }


NAMES = (
    "contest training gates dynamics participation scores estimates weights"
).split()


@pytest.mark.parametrize("name", NAMES)
def test_svg_is_whole_and_follows_the_theme(name):
    svg = theme.to_svg(draw_all(make_result())[name], name=name)
    root = xml.etree.ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert "width" not in root.attrib and "viewBox" in root.attrib
    ids = [e.attrib["id"] for e in root.iter() if "id" in e.attrib]
    assert all(identifier.startswith(f"{name}-") for identifier in ids)
    if name != "weights":
        assert "var(--ink" in svg and "var(--hero" in svg
    assert "DejaVu" not in svg and "<metadata" not in svg


def test_the_dynamics_are_those_of_the_gates():
    result = make_result()
    gates, _ = make_gates(12, result)
    figure = family_plots.plot_dynamics(
        make_records(), gates, result.families, threshold=0.01, metric="accuracy"
    )
    _, sparsity, mean, active = figure.axes
    shown = sparsity.lines[0].get_ydata()
    np.testing.assert_allclose(shown, (gates < 0.01).mean(axis=1))
    np.testing.assert_allclose(mean.lines[0].get_ydata(), gates[:, :512].mean(axis=1))
    assert active.lines[1].get_ydata()[-1] == (gates[-1, 512:] >= 0.01).sum()
    figure = family_plots.plot_participation(gates[5], result.families, threshold=0.01)
    counts = [axis.patches[0].get_data().values.sum() for axis in figure.axes]
    assert counts == [512, 256]


def test_estimates_are_points_with_two_standard_errors():
    result = make_result()
    _, mask = make_gates(3, result)
    value = np.linspace(1, -1, result.num_players)
    scores = Scores(value, 0.25 + np.abs(value), 40)
    figure = family_plots.plot_scores(scores, result.families, mask, measure="mean")
    left, stays = (
        np.concatenate([bar.get_segments() for bar in side.lines[2]])
        for side in figure.axes[0].containers
    )
    assert len(left) == 512 - 9 and len(stays) == 9
    middle, half = stays[:, :, 1].mean(axis=1), np.ptp(stays[:, :, 1], axis=1) / 2
    np.testing.assert_allclose(middle, value[:9])
    np.testing.assert_allclose(half, 2 * (0.25 + value[:9]))
    assert figure.axes[0].get_ylabel() == "mean, ± 2 s.e."
    assert not figure.axes[0].patches


def test_ranks_are_whole_numbers():
    """Four players had ticks at 0.5 and 1.5."""
    value, one = np.arange(4.0), [FamilyRow("a", 2, 4)]
    figure = family_plots.plot_scores(
        Scores(value, 0 * value, 0), one, value > 1, measure="score"
    )
    ticks = figure.axes[0].get_xticks()
    np.testing.assert_array_equal(ticks, np.round(ticks))


def draw_with_legends() -> dict[str, Figure]:
    """Every figure that the package draws with a legend, by name."""
    curves = {f"method {k}": [[0.1, 0.9]] for k in range(14)}
    rows = [
        {"kept": k, "validation gates on": 0.5, "validation removed": 0.4, "front": k}
        for k in range(3)
    ]
    own = {name: draw_all(make_result())[name] for name in ("training", "dynamics")}
    return own | {
        "curves": plot_curves(curves, [0.2, 0.5]),
        "pareto": plots.plot_pareto(rows, metric="accuracy", num_examples=100),
    }


@pytest.mark.parametrize("name", ["training", "dynamics", "curves", "pareto"])
def test_legends_are_outside_the_axes_on_a_wide_page_and_on_a_phone(name):
    figure = draw_with_legends()[name]
    (wide,) = (own for axes in figure.axes if (own := axes.get_legend()))
    check_outside(wide, figure)
    theme.fit_phone(figure)
    (narrow,) = figure.legends
    check_outside(narrow, figure)
    assert not any(axes.get_legend() for axes in figure.axes)


def check_outside(legend, figure: Figure):
    figure.draw_without_rendering()
    box = legend.get_window_extent()
    assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)
    assert min(box.x0, box.y0) >= 0
    assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


@pytest.mark.parametrize("name", NAMES)
def test_panels_stack_on_a_phone_and_keep_their_labels(name):
    figure = draw_all(make_result())[name]
    number, width = len(figure.axes), figure.get_size_inches()[0]
    theme.fit_phone(figure)
    figure.draw_without_rendering()
    columns = {round(axes.get_window_extent().x0, -1) for axes in figure.axes}
    assert figure.get_size_inches()[0] == theme.NARROW < width
    assert len(figure.axes) == number and len(columns) == (2 if number > 2 else 1)
    for axes in figure.axes:
        assert axes.get_ylabel() == figure.axes[0].get_ylabel()
        if axes.axison:
            assert any(label.get_visible() for label in axes.get_yticklabels())
            room = axes.get_tightbbox()
            assert room is not None and room.x0 >= -1
            assert room.x1 <= figure.bbox.x1 + 1


def test_a_long_label_of_a_low_panel_is_whole_on_a_phone():
    result = make_result()
    gates, _ = make_gates(12, result)
    label = "mean loss change without it, with two standard errors of it"
    draw = family_plots.plot_participation
    figure = draw(gates[5], result.families, threshold=0.01)
    figure.axes[0].set_ylabel(label)
    theme.fit_phone(figure)
    figure.draw_without_rendering()
    for axes in figure.axes:
        shown = axes.yaxis.label
        assert shown.get_text().split() == label.split()
        assert shown.get_window_extent().y0 >= 0
        assert shown.get_window_extent().y1 <= figure.bbox.y1


def test_a_page_holds_a_figure_for_each_width():
    page = theme.to_html(draw_all(make_result())["training"], name="training")
    wide, narrow = page.split('<div class="narrow">')
    assert wide.startswith('<div class="wide"><svg') and narrow.startswith("<svg")
    assert 'id="training-figure_1"' in wide
    assert 'id="training-narrow-figure_1"' in narrow


def test_points_of_a_front_have_labels_that_do_not_overlap():
    kept = [2, 30, 31, 32, 60, 900]
    rows = [
        {"kept": k, "validation gates on": 0.5, "validation removed": 0.4, "front": 1}
        for k in kept
    ]
    figure = plots.plot_pareto(rows, metric="accuracy")
    for fit in (lambda figure: None, theme.fit_phone):
        fit(figure)
        figure.draw_without_rendering()
        texts = figure.axes[0].texts
        assert [text.get_text() for text in texts] == [f"{k:,}" for k in kept]
        boxes = [text.get_window_extent() for text in texts]
        for k, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:k])


def test_png_is_written(tmp_path):
    figure = plots.plot_contest(make_result())
    theme.save_png(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_one_panel_without_fine_tuning():
    result = make_result(
        pruned=make_contender("taylor", "taylor", removed=0.9),
        rivals=(make_contender("random", "random", removed=0.5),),
    )
    assert len(plots.plot_contest(result).axes) == 1
    assert len(plots.plot_contest(make_untuned()).axes) == 1
    assert len(plots.plot_contest(make_result()).axes) == 2


def test_nothing_to_draw_is_no_error():
    result = make_result(rivals=(), pruned=make_contender("taylor", "taylor"))
    theme.to_svg(plots.plot_contest(result), name="a")
    figure = plots.plot_training([], result=result)
    theme.to_svg(figure, name="b")


def test_many_families_show_the_first_four():
    families = [FamilyRow(name=f"f{i}", kept=1, total=2) for i in range(9)]
    gates, mask = np.ones((3, 18)), np.tile([True, False], 9)
    assert len(family_plots.plot_gates(gates, families, mask).axes) == 4


def test_an_accuracy_has_its_standard_error_and_another_metric_has_none():
    def drawn(**changes) -> int:
        figure = plots.plot_contest(make_result(**changes))
        return sum(len(axes.collections) for axes in figure.axes)

    assert drawn() == 7 and drawn(metric="R^2") == 0


@pytest.mark.parametrize(("panels", "room"), [(2, 24), (4, 17)])
def test_long_names_keep_both_ends(panels, room):
    family = FamilyRow(name="first" + "x" * 90 + "last", kept=1, total=2)
    name = (
        family_plots._title(family, panels).replace("\n", ": ").removesuffix(": 1 of 2")
    )
    assert name.startswith("first") and name.endswith("last") and "…" in name
    assert len(name) == room


def test_both_forms_of_a_figure_have_one_layout(tmp_path):
    for first_png in (True, False):
        figure = plots.plot_contest(make_result())
        if first_png:
            theme.save_png(figure, tmp_path / "a.png")
            laid_out = figure.axes[0].get_position().bounds
            theme.to_svg(figure, name="a")
        else:
            theme.to_svg(figure, name="a")
            laid_out = figure.axes[0].get_position().bounds
            theme.save_png(figure, tmp_path / "a.png")
        assert laid_out[0] > 0.1  # room for the labels was made
        assert figure.axes[0].get_position().bounds == laid_out
        assert (tmp_path / "a.png").stat().st_size > 5000


def test_labels_write_percent_as_tables_do():
    figure = plots.plot_contest(make_result())
    axis = figure.axes[1]
    assert "97.1 %" in [text.get_text() for text in axis.texts]
    assert axis.xaxis.get_major_formatter()(0.9, 0).endswith(" %")
