"""The report page and the terminal tables say what the result says."""

import html.parser
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from gamepruning.workbench.datasets import DatasetInfo
from gamepruning.workbench.report.formats import (
    format_bytes,
    format_count,
    format_kept,
    format_metric,
    format_ratio,
)
from gamepruning.workbench.report.page import render as render_template
from gamepruning.workbench.report.results import FamilyRow
from gamepruning.workbench.report.tables import (
    data_hints,
    print_result,
    render_report,
)
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.settings.studies import BandsSettings
from tests.workbench.example_result import make_contender, make_result, make_untuned

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Checker(html.parser.HTMLParser):
    """Every element is closed, in order; collects the text."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def read(page: str) -> str:
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    return " ".join(" ".join(checker.text).split())


def render(result, figures=()) -> str:
    return render_report(result, dict(figures), input_shape=(8, 8, 1))


def test_the_page_is_whole_and_says_it_all():
    text = read(render(make_result()))
    for words in (
        "15 of 768 players stay",
        "97.1 % test accuracy after fine-tuning, the dense one 97.6 %",
        "98.0 % of the players removed",
        "234× fewer parameters",
        "96.8 %",
        "17.8 %",
        "hidden_1 (1 rescued) 6",
        "One & only.",
        "Inputs are float32 [rows, 8, 8, 1]",
        "gamepruning prune --dataset <b>",
        "a&b.py:make",
    ):
        assert words in text


def test_loaded_weights_were_not_trained_for_as_many_epochs():
    settings = {"load": "runs/mine", "module": None}
    text = read(render(make_result(method="taylor", settings=settings)))
    assert "All come from the weights that were loaded, but for a network" in text
    assert "same number of epochs" not in text and "same training" not in text
    assert "same number of epochs, without" in read(render(make_untuned()))


def test_names_cannot_break_the_page():
    page = render(make_result())
    assert "<b>digits" not in page and "&lt;b&gt;digits" in page


def test_the_shipped_weights_are_in_the_headline():
    result = make_result(shipped="removed")
    assert result.shipped_value == 0.968
    assert "96.8 % test accuracy after removal" in read(render(result))


def test_pictures_go_into_their_sections():
    page = render(
        make_result(),
        {"contest": "<svg><!--1--></svg>", "training": "<svg><!--2--></svg>"},
    )
    assert page.index("<h2>Comparison") < page.index("<!--1-->")
    assert page.index("<!--1-->") < page.index("<h2>Training")
    assert page.index("<h2>Training") < page.index("<!--2-->")
    assert "<h2>Training" not in render(make_result())


def test_captions_say_what_is_drawn():
    many = tuple(FamilyRow(name=f"f{k}", kept=1, total=2) for k in range(9))
    settings = {"threshold": 0.01}
    played = {"players": "<svg></svg>", "participation": "<svg></svg>"}
    text = read(render(make_result(families=many, settings=settings), played))
    assert "The dashed line is the threshold, 0.01. 4 of 9 families are shown." in text
    assert "Participation." in text and "Scores." not in text
    text = read(render(make_result(), {"players": "<svg></svg>"}))
    assert "Scores." in text and "families are shown" not in text


def test_the_page_has_a_glossary():
    text = read(render(make_result()))
    for term in ("Player", "Family", "Gate", "participation", "Coalition"):
        assert term in text.split("Glossary")[1]


def test_without_rivals_and_fine_tuning():
    result = make_result(
        rivals=(),
        shipped="removed",
        metric="R^2",
        pruned=make_contender("taylor", "taylor", removed=0.5),
    )
    text = read(render(result))
    assert "0.500" in text and "fine-tuned alike" not in text


def test_without_fine_tuning_scratch_was_trained_only():
    text = read(render(make_untuned()))
    assert "after removal trained" in text and "without fine-tuning" in text
    assert "fine-tuned" not in text


def test_an_exact_model_has_no_difference():
    text = read(render(make_result(max_error=0.0)))
    assert "none largest relative difference" in text and "0e+00" not in text


def test_the_terminal_tables():
    console = Console(file=io.StringIO(), width=80)
    heads = FamilyRow(name="key[axis 2]", kept=1, total=4)
    print_result(console, make_result(families=(*make_result().families, heads)))
    said = console.file.getvalue()  # type: ignore[attr-defined]
    for words in (
        "97.6 %",
        "17.8 %",
        "9 / 6",
        "hidden_1 (1 rescued)",
        "234×",
        "3.2 ms",
        "2.88 to 4.16",
        "multiply-adds, one example",
    ):
        assert words in said
    assert max(map(len, said.splitlines())) <= 80


def test_the_result_is_json():
    data = json.loads(make_result().to_json())
    assert data["format"] == 1
    assert data["pruned"]["kept"] == [9, 6]
    assert data["families"][1]["rescued"] == 1


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [(0.5, "accuracy", "50.0 %"), (-0.25, "R^2", "-0.250"), (None, "R^2", "–")],
)
def test_metrics_as_people_read_them(value, metric, text):
    assert format_metric(value, metric) == text


def test_numbers_as_people_read_them():
    counts = [format_count(1, "epoch"), format_count(1200, "seed")]
    assert counts == ["1 epoch", "1,200 seeds"]
    assert format_ratio(5000, 1) == "5,000×" and format_ratio(0, 0) == "–"
    assert format_kept((9, 6)) == "9 / 6"
    assert [format_bytes(n) for n in (0, 999, 1000, 5 * 10**9)] == [
        "0 B", "999 B", "1.0 kB", "5.0 GB",
    ]  # fmt: skip
    assert [format_ratio(a, 4) for a in (0, 4, 10, 100)] == ["–", "1.0×", "2.5×", "25×"]
    assert format_kept((8,) * 12) == "96"


def notes_of(families, **facts) -> list[str]:
    values = {"families": families, "missed": [], "asked": PruneSettings()}
    values["settled"] = {}
    values |= dict.fromkeys(("all_stay", "has_gates"), False) | facts
    return render_template("notes.txt", **values).splitlines()


def test_notes_are_sentences_on_lines_of_their_own():
    full, empty = FamilyRow("a<b", 3, 4), FamilyRow("c", 1, 1200, rescued=1)
    assert notes_of([full]) == []
    assert notes_of([full, empty]) == [
        "The game emptied c (1 of 1,200 back): the players with the highest gates came "
        "back, so that the network remains connected."
    ]
    two = notes_of([FamilyRow("a<b", 2, 4, rescued=2), empty])
    assert "emptied a<b (2 of 4 back), c (1" in two[0]
    assert two[1].startswith("Everyone left") and len(two) == 2
    facts = dict.fromkeys(("all_stay", "has_gates"), True)
    facts["asked"] = PruneSettings.of(module="net.py:make", load=Path("own"))
    nobody, gates, scratch, blind = notes_of([full], **facts, missed=["b", "c"])
    assert blind.startswith("The pruned network finds no example of b, c: see --class-")
    assert "everyone's participation stays above 0.01. The" in nobody
    assert gates.endswith("named gates.") and scratch.endswith("the smaller size.")


def test_a_bias_from_the_edge_of_the_grid_is_told():
    full, bias = FamilyRow("a", 3, 4), {"bias": 0.95, "is_bias_at_edge": True}
    (told,) = notes_of([full], settled=bias)
    assert told.startswith("The bias 0.95 comes from the edge of the grid")
    assert notes_of([full], settled=bias | {"is_bias_at_edge": False}) == []


def test_what_a_network_of_ones_own_starts_from_is_told():
    def told(**flags):
        asked = PruneSettings.of(method="taylor", keep="0.5", **flags)
        return notes_of([FamilyRow("a", 1, 2)], asked=asked)

    training, scratch = told(module="net.py:make")
    assert "Training starts from the factory's init or, without one, its" in training
    assert training.endswith("--load takes trained weights as they are.")
    assert told(module="net.py:make", load=Path("own.safetensors")) == [scratch]
    assert told(module="net.py:make", rivals=False) == [training]
    assert told(model="mlp") == []


def test_bands_without_a_peak_name_no_bias():
    def page(peak):
        facts = {"peak": peak, "test accuracy": 0.5}
        rest = {"tables": [], "figures": {}, "data": {}, "facts": facts}
        return render_template("study.html", settings=BandsSettings(), **rest)

    assert "an end of the grid, which is no peak" in page(None)
    assert "of the peak as the bias" not in page(None)
    assert "of the peak as the bias" in page(0.4)


def test_hints_say_where_data_are_and_how_to_get_them():
    task = "classification"
    rows = [
        DatasetInfo("digits", "image", task, True, "sklearn", ""),
        DatasetInfo("mnist", "image", task, False, "", "get <it> into FOLDER"),
        DatasetInfo("a", "table", task, True, "/data/tabular/a.csv", ""),
        DatasetInfo("b", "table", task, True, "/data/tabular/b.csv", ""),
        DatasetInfo("c", "table", task, False, "", "elsewhere"),
    ]
    *three, missing = data_hints(rows)
    assert three == [
        "digits: sklearn",
        "mnist: get <it> into FOLDER",
        "tables: /data/tabular",
    ]
    assert missing.startswith("1 missing tables: put NAME.csv")
    assert len(data_hints(rows[:1])) == 1
