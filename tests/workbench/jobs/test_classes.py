"""Beyond accuracy: the majority, recall by class, the metric, class weights."""

import io
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console

from gamepruning import metrics
from gamepruning.trees.paths import named_leaves, path_name
from gamepruning.types import InputError
from gamepruning.workbench.jobs import results
from gamepruning.workbench.jobs.bands import run_bands
from gamepruning.workbench.jobs.compare import run_compare
from gamepruning.workbench.jobs.curve import run_curves
from gamepruning.workbench.jobs.prune import run_prune
from gamepruning.workbench.jobs.rivals import Entrant
from gamepruning.workbench.jobs.sweep import run_sweep
from gamepruning.workbench.methods.subject import Subject
from gamepruning.workbench.settings.parts import (
    DataSettings,
    NetworkSettings,
    ScoringSettings,
    TrainingSettings,
)
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.settings.studies import (
    BandsSettings,
    CompareSettings,
    CurveSettings,
    SweepSettings,
)
from gamepruning.workbench.training.task import make_task
from tests.workbench.twins import write_twins


def write_rare(path, num=200):
    """A class of 5 % that is hard to tell, and a row counter that is not an input."""
    rng = np.random.default_rng(0)
    lines = ["id,x,y,target"]
    for i in range(num):
        label = "rare" if i % 20 == 7 else "common"
        x = rng.normal() + (label == "rare")
        lines.append(f"{i},{x:.3f},{rng.normal():.3f},{label}")
    path.write_text("\n".join(lines))
    return str(path)


def task_of(name, **judged):
    chosen = NetworkSettings(widths=(4,))
    asked = TrainingSettings(**judged)
    key = jax.random.key(0)
    return make_task(name, DataSettings(), chosen, asked, seed=0, key=key)


def test_what_always_names_one_class_is_told(tmp_path):
    name, console = (
        write_rare(tmp_path / "t.csv"),
        Console(file=io.StringIO(), width=200),
    )
    settings = PruneSettings.of(
        dataset=name, method="magnitude", keep="0.5", rivals=False, epochs=1,
        fine_tune=0, widths=(4,), learning_rate=1e-3,
    )  # fmt: skip
    made = run_prune(settings, out=tmp_path / "run", console=console)
    data = json.loads((made.folder / "result.json").read_text())
    classes = data["classes"]
    assert (classes["names"], classes["majority"]) == (["common", "rare"], "common")
    assert classes["majority_share"] == classes["counts"][0] / sum(classes["counts"])
    for one in (data["dense"], data["pruned"]):
        assert one["balanced_accuracy"] == pytest.approx(np.mean(one["recalls"]))
    told = console.file.getvalue()
    report = (made.folder / "report.html").read_text(encoding="utf-8")
    config = json.loads((made.folder / "config.json").read_text())
    for text in (told, report, " ".join(data["data_notes"] + config["data"]["t"])):
        assert "left out: id" in text
    share = f"{100 * classes['majority_share']:.1f} %"
    assert f"{share} of the test examples are of the class 'common'" in told
    for text in (told, report):
        assert "always common" in text and "balanced accuracy" in text
        is_blind = data["pruned"]["recalls"][1] == 0
        assert ("finds no example of rare" in text) == is_blind


def test_a_messy_table_has_the_figures_of_its_clean_twin(tmp_path):
    made = []
    for name in write_twins(tmp_path, num=120):
        settings = PruneSettings.of(
            dataset=name, method="magnitude", keep="0.5", rivals=False, epochs=2,
            fine_tune=1, widths=(4,),
        )  # fmt: skip
        quiet = Console(file=io.StringIO())
        made.append(run_prune(settings, out=Path(f"{name}-run"), console=quiet).result)
    one, two = made
    assert (one.dense, one.pruned) == (two.dense, two.pruned)
    assert one.classes == two.classes and one.classes.names == ("0", "1", "rare")


def test_the_classes_are_those_of_the_weights_that_are_shipped(tmp_path):
    """Fine-tuning may make it worse; then the folder holds the weights before it."""
    task = task_of(write_rare(tmp_path / "t.csv"))
    zeros = jax.tree.map(np.zeros_like, task.params)
    bias = next(k for k in named_leaves(zeros) if k.endswith("output/bias"))

    def always(label):
        def fill(path, leaf):
            return np.eye(2)[label] if path_name(path) == bias else leaf

        return jax.tree_util.tree_map_with_path(fill, zeros)

    stages = {"removed": always(0), "tuned": always(1)}
    entrant = Entrant("taylor", "taylor", (4,), task.network, stages)
    made = results._judge(task, entrant, "removed")
    assert made.recalls == (1.0, 0.0) and made.accuracy == made.removed
    assert results._judge(task, entrant).recalls == (0.0, 1.0)


def test_the_metric_that_is_named_chooses(tmp_path):
    name = write_rare(tmp_path / "t.csv")
    task = task_of(name, metric="balanced_accuracy")
    assert (task.metric, task.metric_name) == (
        metrics.balanced_accuracy,
        "balanced accuracy",
    )
    outputs = np.eye(2)[np.zeros(30, int)]  # always the first class
    labels = task.dataset.validation.labels[:30]
    assert float(task.metric(outputs, labels)) == 0.5
    game = Subject(task, task.params, ScoringSettings(), jax.random.key(0)).game
    everybody = np.ones((1, task.players.num_players), bool)
    inputs = jax.numpy.asarray(task.dataset.validation.inputs)
    values = task.network.apply(task.params, inputs)
    expected = metrics.balanced_accuracy(values, task.dataset.validation.labels)
    np.testing.assert_allclose(game(everybody), [expected], rtol=1e-6)


def test_balanced_weights_are_in_the_loss(tmp_path):
    task = task_of(write_rare(tmp_path / "t.csv"), class_weights="balanced")
    labels = task.dataset.train.labels
    outputs = np.zeros((len(labels), 2), np.float32)
    shares = [
        float(task.loss(outputs[labels == k], labels[labels == k])) for k in (0, 1)
    ]
    counts = np.bincount(labels)
    np.testing.assert_allclose(shares[0] * counts[0], shares[1] * counts[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("target", "judged", "said"),
    [
        ("y", {"metric": "accuracy"}, "t is for regression: take --metric r2"),
        ("target", {"metric": "r2"}, "take --metric accuracy, balanced_accuracy or"),
        ("y", {"class_weights": "balanced"}, "--class-weights balanced goes with"),
    ],
)
def test_a_metric_of_the_other_task_is_refused(tmp_path, target, judged, said):
    name = write_rare(tmp_path / "t.csv")
    data, chosen = DataSettings(target=target), NetworkSettings(widths=(4,))
    key, asked = jax.random.key(0), TrainingSettings(**judged)
    with pytest.raises(InputError, match=said):
        make_task(name, data, chosen, asked, seed=0, key=key)


def test_every_study_shows_balanced_accuracy_where_accuracy_misleads(tmp_path):
    """The class of 5 % is named nowhere: half of the classes, 95 % of the examples."""
    name, console = write_rare(tmp_path / "t.csv"), Console(file=io.StringIO())
    common = {"widths": (5,), "epochs": 1, "batch_size": 64}
    curve = CurveSettings.of(
        dataset=name, methods=("random", "magnitude"), sizes=(0.4,), seeds=1, **common
    )
    compare = CompareSettings.of(
        datasets=(name,), methods=("random", "magnitude"), sizes=(0.4,), keep="0.4",
        seeds=1, fine_tune=1, **common,
    )  # fmt: skip
    bands = BandsSettings.of(dataset=name, samples=4, sizes=3, points=3, **common)
    sweep = SweepSettings.of(dataset=name, beta=(0.05,), gamma=(0.1,), **common)
    for run, settings in (
        (run_curves, curve),
        (run_compare, compare),
        (run_bands, bands),
        (run_sweep, sweep),
    ):
        command = settings.COMMAND
        folder = run(settings, out=tmp_path / command, console=console)
        data = json.loads((folder / f"{command}.json").read_text())
        page = folder / ("compare.html" if command == "compare" else "report.html")
        text = page.read_text(encoding="utf-8")
        assert "balanced accuracy" in text and "of the class &#39;common&#39;" in text
        facts = json.dumps(data)
        assert "balanced" in facts
        classes = ["common", "rare"]
        if command in ("bands", "sweep"):
            rows = data["rows"] if command == "sweep" else [data]
            (row,) = rows
            balanced = row.get("test balanced", row.get("test balanced accuracy"))
            assert balanced == pytest.approx(np.mean(row["recalls"]))
        if command == "curve":
            row, classes = data["rows"][0], data["classes"]
            assert row["balanced"] == [pytest.approx(np.mean(row["recalls"][0]))]
        if command == "compare":
            classes = data["classes"]["t"]
            for row in data["rows"]:
                assert row["balanced"] == pytest.approx(np.mean(row["recalls"]))
        assert classes == ["common", "rare"]
    assert "balanced accuracy" in console.file.getvalue()  # type: ignore[attr-defined]


def test_classes_that_are_about_as_frequent_need_no_balance():
    chosen, key = NetworkSettings(widths=(4,)), jax.random.key(0)
    digits = make_task("digits", DataSettings(), chosen, seed=0, key=key)
    assert not digits.needs_balance
