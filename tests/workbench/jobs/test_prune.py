"""The main job end to end on small networks: whole, honest, resumable."""

import functools
import io
import itertools
import json
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress

import gamepruning
from gamepruning.compaction.export import import_safetensors, load_stablehlo
from gamepruning.compaction.latency import LatencySize, Timed
from gamepruning.compaction.plan import Plan
from gamepruning.errors import Diverged
from gamepruning.files.records import read_records
from gamepruning.files.run_folder import RunFolder, working_in
from gamepruning.players.fields import receptive_fields
from gamepruning.run.batches import evaluate
from gamepruning.types import InputError
from gamepruning.workbench.cli.console import main
from gamepruning.workbench.datasets import Split, load_dataset
from gamepruning.workbench.jobs import rivals
from gamepruning.workbench.jobs.prune import Finished, run_prune
from gamepruning.workbench.jobs.rivals import SCRATCH
from gamepruning.workbench.networks.models import build_model
from gamepruning.workbench.settings.parts import (
    DataSettings,
    NetworkSettings,
    SettledTraining,
)
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training import sizes, stages
from gamepruning.workbench.training.loop import TrainInfo
from gamepruning.workbench.training.run_folder import _tell_version
from gamepruning.workbench.training.task import make_task

GAME = PruneSettings.of(
    widths=(24, 12), epochs=12, fine_tune=2, gate_learning_rate=0.03, seed=1
)
BASELINE = PruneSettings.of(
    widths=(24, 12), epochs=3, fine_tune=1, method="taylor", keep="6/3", rivals=False
)


def prune(settings, out, **options) -> tuple[Finished, str]:
    console = Console(file=io.StringIO(), width=100)
    done = run_prune(settings, out=out, console=console, **options)
    return done, console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def game(tmp_path_factory) -> tuple[Finished, str]:
    """One run of the game with all its rivals."""
    return prune(GAME, tmp_path_factory.mktemp("game") / "run")


@pytest.mark.parametrize(
    ("method", "selection"),
    [("banzhaf", "building"), ("biased_banzhaf", "top_n")],
)
def test_power_indices_choose(method, selection, tmp_path):
    settings = BASELINE.but(method=method, selection=selection, keep="9")
    (folder, result), _ = prune(settings, tmp_path / "run")
    assert result.num_kept == 9 and result.method == method
    with np.load(folder / "players.npz") as stored:
        mask, stderr = np.asarray(stored["mask"]), np.asarray(stored["stderr"])
        assert stored["mean"].shape == stderr.shape == mask.shape
    assert stderr.max() > 0
    assert mask.sum() == 9 and [mask[:24].sum(), mask[24:].sum()] == [
        *result.pruned.kept
    ]


def test_a_budget_too_small_is_told_before_training(tmp_path):
    settings = BASELINE.but(method="shapley", evaluations=3)
    with pytest.raises(InputError, match="--evaluations 3: budget too small"):
        prune(settings, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_the_run_folder_is_whole(game):
    folder = game[0].folder
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "dense.safetensors",
        "figures",
        "full.safetensors",
        "metrics.jsonl",
        "model",
        "plan.json",
        "players.npz",
        "report.html",
        "result.json",
    ]
    config = json.loads((folder / "config.json").read_text())
    assert PruneSettings.from_dict(config["settings"]) == GAME
    assert config["resolved"]["learning_rate"] == 0.1
    assert not folder.with_name("run.partial").exists()


def test_players_really_left(game):
    result, folder = game[0].result, game[0].folder
    assert 0 < result.num_kept < result.num_players == 36
    params = import_safetensors(folder / "model" / "model.safetensors")
    kept = result.pruned.kept
    assert params["hidden_0"]["kernel"].shape == (64, kept[0])
    assert params["hidden_1"]["kernel"].shape == kept
    assert result.cost_small.params == sum(x.size for x in jax.tree.leaves(params))
    assert result.cost_small.macs < result.cost_dense.macs


def test_accuracies_are_those_of_the_files(game):
    """The numbers in the table, taken again from what lies in the folder."""
    result, folder = game[0].result, game[0].folder
    data = load_dataset("digits", seed=GAME.seed)
    model = load_stablehlo(folder / "model" / "model.stablehlo")
    outputs = model(data.test.inputs)
    accuracy = float((outputs.argmax(-1) == data.test.labels).mean())
    assert accuracy == pytest.approx(result.shipped_value, abs=1e-6)
    dense = build_model("mlp", input_shape=(8, 8, 1), num_outputs=10, widths=(24, 12))
    params = import_safetensors(folder / "dense.safetensors")
    metric = lambda out, labels: (out.argmax(-1) == labels).mean()  # noqa: E731
    again = evaluate(dense.apply, params, data.test, metric)
    assert again == pytest.approx(result.dense.gated, abs=1e-6)


def test_removal_changes_nothing(game):
    """Gates on and players removed are the same function but for the last gates."""
    result = game[0].result
    assert result.max_error < 1e-5
    assert result.pruned.gated == pytest.approx(result.pruned.removed, abs=0.01)


def test_a_budget_is_met(tmp_path):
    settings = GAME.but(
        keep="0.2", unit="params", gate_learning_rate=None, rivals=False
    )
    (folder, result), _ = prune(settings, tmp_path / "run")
    assert result.pruned.label == "equilibrium (keep 0.2 params)"
    assert result.pruned.gated == result.pruned.removed  # gates end at 0 and 1
    assert result.cost_dense.params == 1990
    assert 380 <= result.cost_small.params <= 398
    (note,) = (note for note in result.notes if "allows" in note)
    assert note.startswith("--keep 0.2 --unit params allows 398 parameters: ")
    assert f"the small network has {result.cost_small.params} of 1,990" in note
    records = read_records(folder / "metrics.jsonl")
    prices = [record["price"] for record in records if "price" in record]
    assert len(prices) == GAME.flat()["epochs"] and any(prices)


def test_a_budget_of_time_is_told(tmp_path, monkeypatch):
    def two_microseconds_each(players, inputs):
        assert len(inputs) == 1000
        columns = np.arange(1, players.num_players + 1)[:, None]
        lengths = np.array([1, players.num_players])
        return LatencySize(
            players.num_players, [Timed([columns], [lengths], 2e3 * lengths)], 0.0
        )

    monkeypatch.setattr(sizes, "latency_of", two_microseconds_each)
    flags = {"keep": "0.5", "unit": "latency", "gate_learning_rate": None}
    settings = GAME.but(method="magnitude", rivals=False, **flags)
    (_, result), _ = prune(settings.but(epochs=1, fine_tune=0), tmp_path / "run")
    assert result.num_kept == result.num_players // 2
    (note,) = (note for note in result.notes if "allows" in note)
    told = 2e-3 * result.num_kept
    assert f"allows {told:.3f} milliseconds for a batch of 1,000: {told:.3f} ar" in note
    assert f"takes, measured anew, {result.cost_small.latency_ms:,.3f} of" in note


def test_a_budget_out_of_reach_is_an_error_at_once(tmp_path):
    settings = GAME.but(keep="30/3", gate_learning_rate=None)
    with pytest.raises(InputError, match="one count a family"):
        prune(settings, tmp_path / "run")
    assert not any(tmp_path.iterdir())


def test_the_plan_cuts_the_full_checkpoint(game, tmp_path, capsys):
    folder = game[0].folder
    out = tmp_path / "small.safetensors"
    words = ["apply-plan", "--plan", str(folder / "plan.json"), "--out", str(out)]
    assert main([*words, "--checkpoint", str(folder / "full.safetensors")]) == 0
    assert "parameters stay" in capsys.readouterr().out
    small = import_safetensors(out)
    shapes = jax.tree.map(np.shape, small)
    shipped = import_safetensors(folder / "model" / "model.safetensors")
    assert shapes == jax.tree.map(np.shape, shipped)
    plan = Plan.load(folder / "plan.json")
    assert plan.num_kept == game[0].result.num_kept
    assert plan.why["method"] == "equilibrium"
    assert main([*words, "--checkpoint", str(folder / "full.safetensors")]) == 2
    other = str(folder / "model" / "model.safetensors")
    words[-1] = str(tmp_path / "new.safetensors")
    assert main([*words, "--checkpoint", other]) == 2
    assert "plan for another model" in capsys.readouterr().err


def test_rivals_have_the_same_size(game):
    result = game[0].result
    assert [rival.key for rival in result.rivals] == ["magnitude", "random", "scratch"]
    assert all(rival.kept == result.pruned.kept for rival in result.rivals)
    assert all(rival.tuned is not None for rival in result.rivals)


def test_metrics_tell_every_epoch(game):
    records = read_records(game[0].folder / "metrics.jsonl")
    by_stage: dict[str, list[int]] = {}
    for record in records:
        by_stage.setdefault(record["stage"], []).append(record["epoch"])
    assert by_stage["equilibrium"] == list(range(1, 13))
    assert by_stage["fine_tune_equilibrium"] == [1, 2]
    assert {"dense", "scratch_1", "fine_tune_random"} <= set(by_stage)
    opened = [r["open"] for r in records if r["stage"] == "equilibrium"]
    assert opened[-1][0] <= opened[0][0]


def test_the_report_needs_no_other_file(game):
    page = (game[0].folder / "report.html").read_text()
    for outside in ("http://", "https://", "src=", "@import", "<script", "<link"):
        assert outside not in page.replace('xmlns:xlink="http://www.w3.org', "")
    assert page.count("<svg") == page.count("</svg>") >= 3
    result = game[0].result
    assert f"{100 * result.pruned.removed:.1f} %" in page
    assert "prefers-color-scheme: dark" in page


def test_the_terminal_tells_the_same(game):
    said = game[1]
    for word in ("equilibrium", "magnitude", "random", "from scratch", "latency"):
        assert word in said
    assert str(game[0].folder / "report.html") in said.replace("\n", "")


def test_a_run_that_is_cut_off_ends_the_same(game, tmp_path, monkeypatch):
    """Interrupted in the game and again in fine-tuning, resumed twice: same bits."""
    out = tmp_path / "run"
    advance, count = stages._advance, itertools.count(1)

    def cut(now, stage, trainer):
        if next(count) in (16, 30):  # both first stages have 12 epochs, side by side
            raise KeyboardInterrupt
        return advance(now, stage, trainer)

    monkeypatch.setattr(stages, "_advance", cut)
    with pytest.raises(KeyboardInterrupt, match="prune --resume --out"):
        prune(GAME, out)
    assert not out.exists()
    assert out.with_name("run.partial").is_dir()
    with pytest.raises(InputError, match="has seed=1, not 2"):
        prune(PruneSettings.of(seed=2), out, resume=True)
    with pytest.raises(KeyboardInterrupt):
        prune(PruneSettings(), out, resume=True)
    done, _ = prune(PruneSettings(), out, resume=True)
    assert next(count) > 31
    for name in ("metrics.jsonl", "model/model.safetensors", "dense.safetensors"):
        assert (out / name).read_bytes() == (game[0].folder / name).read_bytes()
    assert done.result.contenders == game[0].result.contenders
    assert not out.with_name("run.partial").exists()


def test_a_corrupt_checkpoint_is_named_and_kept(tmp_path, monkeypatch):
    out = tmp_path / "run"

    def cut(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("gamepruning.workbench.jobs.rivals.make_small", cut)
        with pytest.raises(KeyboardInterrupt):
            prune(BASELINE, out)
    checkpoint = out.with_name("run.partial") / "checkpoints" / "dense.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"dense\.npz is damaged"):
        prune(PruneSettings(), out, resume=True)
    assert checkpoint.is_file()
    checkpoint.unlink()
    done, _ = prune(PruneSettings(), out, resume=True)
    assert done.result.pruned.kept == (6, 3)


def test_a_baseline_starts_from_a_run_and_prunes_it_as_it_is(game, tmp_path):
    folder = game[0].folder
    settings = PruneSettings.of(
        widths=(24, 12),
        method="magnitude-family",
        keep="0.5",
        fine_tune=0,
        repair=False,
        load=folder,
        seed=1,
    )
    done, _ = prune(settings, tmp_path / "run")
    result = done.result
    assert result.pruned.kept == (12, 6)
    assert result.dense.gated == game[0].result.dense.gated
    assert result.pruned.tuned is None and result.shipped == "removed"
    assert [rival.key for rival in result.rivals] == ["random", "scratch"]


def test_training_that_diverges_leaves_nothing(tmp_path):
    settings = PruneSettings.of(
        widths=(24, 12), epochs=2, learning_rate=1e30, optimizer="sgd", rivals=False
    )
    with pytest.raises(InputError, match="training diverged.*--learning-rate"):
        prune(settings, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lost", ["from scratch", "from scratch, rate 0.1", "random"])
def test_a_rival_that_diverges_loses_nothing_else(lost, tmp_path, monkeypatch):
    plain = rivals.train_weights

    def train(name, label, **options):
        if lost in label:
            raise Diverged(f"training diverged in {label}")
        return plain(name, label, **options)

    monkeypatch.setattr(rivals, "train_weights", train)
    (_, result), said = prune(BASELINE.but(rivals=True), tmp_path / "run")
    keys = [rival.key for rival in result.rivals]
    assert keys == ["magnitude", "random", "scratch"][: 2 if lost == SCRATCH else 3]
    told = {SCRATCH: "From scratch, training diverged at both", "random": "Random: tr"}
    assert lost not in told or told[lost] in said
    assert (result.rivals[1].tuned is None) == (lost == "random")
    assert result.pruned.tuned is not None and result.is_tuned


def test_what_was_left_open_is_in_the_result(tmp_path):
    flags = {"method": "biased_banzhaf", "evaluations": None, "rivals": False}
    (folder, result), _ = prune(BASELINE.but(**flags), tmp_path / "run")
    stored = json.loads((folder / "result.json").read_text())
    settings, spent = stored["settings"], stored["num_evaluations"]
    assert settings["value"] == "loss" and settings["rows"] == result.num_validation
    assert 0.05 <= settings["bias"] <= 0.95 and settings["selection"] == "top_n"
    assert settings["evaluations"] == spent >= 10 * 36
    assert settings["is_bias_at_edge"] in (True, False)


def test_prices_too_low_remove_nobody(tmp_path):
    settings = PruneSettings.of(
        widths=(24, 12), epochs=2, fine_tune=0, preset="very_high_beta",
        gate_learning_rate=1e-6,
    )  # fmt: skip
    done, said = prune(settings, tmp_path / "run")
    assert done.result.num_kept == 36 and done.result.rivals == ()
    assert "Nobody left" in " ".join(said.split())


def test_prices_too_high_rescue_the_best_of_each_layer(tmp_path):
    settings = PruneSettings.of(
        widths=(24, 12), epochs=4, fine_tune=1, preset="extreme_beta", norm="sum",
        gate_learning_rate=0.2, learning_rate=1e-4, optimizer="adam", rivals=False,
        round_to=2,
    )  # fmt: skip
    done, said = prune(settings, tmp_path / "run")
    assert done.result.pruned.kept == (2, 2)
    said = " ".join(said.split())
    assert "emptied hidden_0 (2 of 24 back), hidden_1 (2 of 12 back)" in said
    assert "more epochs" in said


SMALL = {
    "resnet": {"filters": (6,)},
    "transformer": {"layers": 1, "width": 16, "hidden": 16, "heads": 2},
}


@pytest.mark.parametrize("name", SMALL)
def test_other_networks(name, tmp_path, monkeypatch):
    """Batch statistics that training moves; gates between two activations."""
    make = functools.partial(build_model, **SMALL[name])
    monkeypatch.setattr("gamepruning.workbench.training.task.build_model", make)
    settings = PruneSettings.of(
        model=name,
        epochs=1,
        fine_tune=int(name == "resnet"),
        rivals=False,
        gate_learning_rate=0.04,
        batch_size=32,
    )
    done, _ = prune(settings, tmp_path / "run")
    result = done.result
    assert 0 < result.num_kept < result.num_players
    assert result.max_error < 1e-4


def write_regression(path):
    key = jax.random.key(0)
    x = np.asarray(jax.random.normal(key, (300, 3)))
    y = np.sin(x[:, 0]) + 0.3 * x[:, 1] * x[:, 2]
    rows = [",".join(f"{v:.4f}" for v in (*a, b)) for a, b in zip(x, y, strict=True)]
    path.write_text("\n".join(["a,b,c,height", *rows]) + "\n")


NET = """
import jax, jax.numpy as jnp

def make():
    one, two = jax.random.split(jax.random.key(0))
    params = [jax.random.normal(one, (3, 16)), jax.random.normal(two, (16, 1)) / 4, 1]
    apply = lambda params, x: jnp.tanh(x @ params[0]) @ params[1] * params[2]
    return apply, params, jnp.ones((2, 3))
"""


def test_a_table_and_a_network_of_ones_own(tmp_path, monkeypatch):
    """Regression reports R^2; a network that the workbench never heard of, one of
    whose parameters is a whole number, which training leaves alone."""
    monkeypatch.chdir(tmp_path)
    write_regression(tmp_path / "waves.csv")
    (tmp_path / "net.py").write_text(NET)
    words = "prune --dataset waves.csv --target height --module net.py:make"
    words += " --epochs 60 --fine-tune 2"
    rates = "--gate-learning-rate 0.02 --learning-rate 0.02"
    assert main([*words.split(), *rates.split()]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name == "waves-net-equilibrium-1"
    result = json.loads((folder / "result.json").read_text())
    assert result["metric"] == "R^2"
    assert result["dense"]["gated"] > 0.3
    assert jnp.isfinite(result["pruned"]["removed"])
    assert any("new random order" in note for note in result["notes"])
    assert import_safetensors(folder / "model" / "model.safetensors")["2"] == 1


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"settings": None},
        {"settings": {}},
        {"settings": PruneSettings().to_dict() | {"epochs": 2.5}},
    ],
)
def test_a_damaged_config_is_not_gone_on_with(config, tmp_path):
    (tmp_path / "run.partial").mkdir()
    (tmp_path / "run.partial" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"config\.json"):
        prune(PruneSettings(), tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ({"gamepruning": gamepruning.__version__}, ""),
        ({"gamepruning": "0.0.1"}, "gamepruning 0.0.1 began this run"),
        (None, "gamepruning of unknown version began this run"),
    ],
)
def test_going_on_with_the_run_of_another_version(versions, said):
    console = Console(file=io.StringIO(), width=100)
    _tell_version(versions, console)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert said in told and bool(said) == bool(told)


@pytest.mark.parametrize(("model", "drawn"), [("mlp", True), ("transformer", False)])
def test_only_weights_that_read_pixels_are_drawn_as_pixels(model, drawn, key):
    """A hidden kernel of the transformer has 64 rows too, which are not pixels."""
    task = make_task(
        "digits", DataSettings(), NetworkSettings(model=model), seed=0, key=key
    )
    mask = np.arange(task.players.num_players) < 5
    shape = task.dataset.input_shape
    fields = receptive_fields(task.players, task.params, mask, shape)
    assert (fields is not None) == drawn
    if fields is not None:
        kernel = task.params["hidden_0"]["kernel"]
        np.testing.assert_array_equal(fields[2].ravel(), kernel[:, 2])


def test_many_short_epochs_are_not_all_judged(tmp_path, monkeypatch, key):
    monkeypatch.setattr(stages, "MIN_JUDGED", 3)
    data = Split(np.arange(4.0), np.zeros(4))

    def step(state, batch):
        return state + 1.0, TrainInfo(batch.inputs.mean())

    run = working_in(RunFolder(tmp_path / "run", False), "gamepruning prune")
    with Progress(disable=True) as progress, run as out:
        training = SettledTraining(
            epochs=7,
            batch_size=4,
            optimizer="sgd",
            learning_rate=0.1,
            gate_learning_rate=0.1,
            fine_tune=0,
        )
        stop = threading.Event()
        trainer = stages.Trainer(data, data, jnp.mean, training, out, progress, stop)
        stage = stages.Stage(
            *("dense", "train", 7, key, jnp.zeros(1), step),
            record=lambda state: {"validation": float(state[0])},
            trace=lambda state: state,
        )
        done = stages.run_stage(stage, trainer)
        judged = [(line["epoch"], line["validation"]) for line in out.records.read()]
    assert judged == [(2, 2.0), (4, 4.0), (6, 6.0), (7, 7.0)]
    assert done.trace is not None
    assert done.trace.ravel().tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_the_trained_weights_are_those_of_the_first_process(tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(
        "gamepruning.workbench.jobs.rivals.of_first_process",
        lambda params: sent.append(params) or params,
    )
    settings = BASELINE.but(method="magnitude", epochs=1, fine_tune=0)
    done, _ = prune(settings, tmp_path / "run")
    assert len(sent) == 1 and done is not None
