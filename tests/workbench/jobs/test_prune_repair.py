"""What prune makes good between removal and fine-tuning, for everybody alike."""

import io
import itertools
import json

import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

import gamepruning as gp
from gamepruning.compaction.export import import_safetensors
from gamepruning.compaction.plan import Plan
from gamepruning.distillation import softened_divergence, student_loss
from gamepruning.metrics import accuracy
from gamepruning.reconstruction import RepairConfig
from gamepruning.workbench.cli.console import main
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.jobs import rivals
from gamepruning.workbench.jobs.prune import Finished, run_prune
from gamepruning.workbench.networks.models import build_model
from gamepruning.workbench.settings.parts import DataSettings, NetworkSettings
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training.task import make_task

MAGNITUDE = PruneSettings.of(
    widths=(24, 12), epochs=20, fine_tune=1, method="magnitude", keep="10/6", seed=1
)


def prune(settings, out, **options) -> tuple[Finished, str]:
    console = Console(file=io.StringIO(), width=100)
    done = run_prune(settings, out=out, console=console, **options)
    return done, console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def repaired(tmp_path_factory) -> tuple[Finished, str]:
    return prune(MAGNITUDE, tmp_path_factory.mktemp("repair") / "run")


def test_a_column_says_what_repair_is_worth(repaired):
    (folder, result), said = repaired
    random, scratch = result.rivals
    assert result.pruned.repaired > result.pruned.removed + 0.1
    assert random.repaired > random.removed
    assert scratch.repaired is None and result.dense.repaired is None
    (head,) = [line for line in said.splitlines() if "after removal" in line]
    assert head.split("after removal")[1].split() == ["repaired", "fine-tuned"]
    stored = json.loads((folder / "result.json").read_text())
    assert stored["pruned"]["repaired"] == result.pruned.repaired
    paths = [row["path"] for row in stored["repair"]["readers"]]
    assert paths == ["hidden_1/kernel", "output/kernel"]
    assert stored["settings"]["repair"] is True
    assert "Repair, reader by reader" in (folder / "report.html").read_text()


def test_the_column_is_what_the_library_gives(repaired):
    """Repaired on training rows, taken out for real, judged on test rows."""
    folder, result = repaired[0]
    data = load_dataset("digits", seed=1)
    model = build_model("mlp", input_shape=(8, 8, 1), num_outputs=10, widths=(24, 12))
    dense = import_safetensors(folder / "dense.safetensors")
    rows = jnp.asarray(data.train.inputs)
    players = gp.find_players(model.apply, dense, rows[:8])
    mask = players.mask_from_kept(Plan.load(folder / "plan.json").kept)
    config = RepairConfig(classes=True)
    fixed = gp.repair(players, dense, mask, rows, config=config)
    small = gp.compact(players, fixed.params, mask)
    outputs = small.apply(small.params, jnp.asarray(data.test.inputs))
    expected = float(accuracy(outputs, jnp.asarray(data.test.labels)))
    assert result.pruned.repaired == pytest.approx(expected, abs=1.1 / 451)


def test_refined_by_gauss_newton_steps_as_the_library_does(tmp_path):
    """Elimination chooses, from the command line, as `reconstruction_scores` does."""
    settings = MAGNITUDE.but(
        method="elimination", keep="8/4", refine=3, fine_tune=0, rivals=False
    )
    (folder, result), _ = prune(settings, tmp_path / "run")
    data = load_dataset("digits", seed=1)
    model = build_model("mlp", input_shape=(8, 8, 1), num_outputs=10, widths=(24, 12))
    dense = import_safetensors(folder / "dense.safetensors")
    rows = jnp.asarray(data.train.inputs)
    players = gp.find_players(model.apply, dense, rows[:8])
    scores = gp.reconstruction.reconstruction_scores(players, dense, rows)
    mask = players.mask_from_kept(Plan.load(folder / "plan.json").kept)
    np.testing.assert_array_equal(mask, gp.top_n(scores, (8, 4), players=players))
    config = RepairConfig(classes=True, gauss_newton=3, last=9, held_out=0.0)
    fixed = gp.repair(players, dense, mask, rows, config=config)
    assert min(reader.joint for reader in fixed.report.readers) < 1
    small = gp.compact(players, fixed.params, mask)
    outputs = small.apply(small.params, jnp.asarray(data.test.inputs))
    expected = float(accuracy(outputs, jnp.asarray(data.test.labels)))
    assert result.pruned.repaired == pytest.approx(expected, abs=1.1 / 451)


def test_fine_tuning_begins_with_the_repaired_weights(repaired):
    folder, result = repaired[0]
    assert result.shipped in ("repaired", "tuned")
    assert result.shipped_value == getattr(result.pruned, result.shipped)
    assert result.pruned.tuned > result.pruned.removed + 0.1


def test_an_interrupted_run_resumes_bit_identically(repaired, tmp_path, monkeypatch):
    out, count, mend = tmp_path / "run", itertools.count(1), rivals.mend

    def cut(*args):
        found = mend(*args)
        if next(count) == 1:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(rivals, "mend", cut)
    with pytest.raises(KeyboardInterrupt, match="prune --resume --out"):
        prune(MAGNITUDE, out)
    stored = out.with_name("run.partial") / "checkpoints" / "repair_magnitude.npz"
    assert stored.is_file()
    done, _ = prune(PruneSettings(), out, resume=True)
    for name in ("metrics.jsonl", "model/model.safetensors"):
        assert (out / name).read_bytes() == (repaired[0].folder / name).read_bytes()
    assert done.result.contenders == repaired[0].result.contenders


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ({"method": "taylor", "keep": "0.5"}, True),
        ({"method": "ucb1", "keep": "0.5"}, True),
        ({"method": "banzhaf", "keep": "0.5"}, True),
        ({"method": "taylor", "keep": "0.5", "repair": False}, False),
        ({}, False),
        ({"keep": "0.5"}, False),
        ({"keep": "0.5", "repair": True}, True),
    ],
)
def test_what_trains_while_it_prunes_is_repaired_only_on_request(flags, wanted):
    settings = PruneSettings.of(**flags)
    assert settings.settled_rates.repair is wanted
    assert PruneSettings.from_dict(settings.to_dict()) == settings


BENT = """
import jax, jax.numpy as jnp

def make():
    one, two = jax.random.split(jax.random.key(0))
    params = {"in": jax.random.normal(one, (64, 16)) / 8,
              "out": jax.random.normal(two, (16, 10)) / 4}
    def apply(params, x):
        h = jnp.tanh(x.reshape(-1, 64) @ params["in"])
        return h @ jnp.tanh(params["out"])
    return apply, params, jnp.ones((2, 64))
"""


def test_who_is_left_alone_is_told_with_the_reason(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(BENT)
    words = "prune --module net.py:make --method magnitude --keep 0.5 --epochs 1"
    assert main([*words.split(), "--fine-tune", "0", "--no-rivals", "--repair"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Note: Repair left out alone: " in said
    (folder,) = (tmp_path / "runs").iterdir()
    notes = json.loads((folder / "result.json").read_text())["notes"]
    assert any(note.startswith("Repair left out alone: ") for note in notes)
    assert np.isfinite(json.loads((folder / "result.json").read_text())["max_error"])


def test_the_full_network_teaches(repaired, tmp_path):
    """The same run but for the loss of fine-tuning, which every network has alike."""
    settings = MAGNITUDE.but(distil=True, fine_tune=2)
    (folder, result), _ = prune(settings, tmp_path / "run")
    assert result.pruned.repaired == repaired[0].result.pruned.repaired
    page = (folder / "report.html").read_text()
    assert "follows the outputs of the full network" in page
    small = import_safetensors(folder / "model" / "model.safetensors")
    dense = import_safetensors(folder / "dense.safetensors")
    rows = jnp.asarray(load_dataset("digits", seed=1).train.inputs)
    full = build_model("mlp", input_shape=(8, 8, 1), num_outputs=10, widths=(24, 12))
    narrow = build_model("mlp", input_shape=(8, 8, 1), num_outputs=10, widths=(10, 6))
    other = import_safetensors(repaired[0].folder / "model" / "model.safetensors")

    def distance(params):
        pair = narrow.apply(params, rows), full.apply(dense, rows)
        return float(softened_divergence(*pair))

    assert result.shipped == "tuned"
    assert distance(small) < distance(other)


@pytest.mark.parametrize(("data", "is_soft"), [("digits", True), ("diabetes", False)])
def test_classes_are_taught_by_softened_logits_and_numbers_as_they_are(
    data, is_soft, key
):
    chosen = NetworkSettings(widths=(4,))
    task = make_task(data, DataSettings(), chosen, seed=0, key=key)
    inputs, labels = (jnp.asarray(part[:9]) for part in task.dataset.train)
    said = task.network.apply(task.params, inputs)
    found = student_loss(task.loss)(said + 1, (labels, said))
    distance = 0.0 if is_soft else 1.0  # softmax does not see a shift
    expected = 0.1 * task.loss(said + 1, labels) + 0.9 * distance
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_teacher_needs_fine_tuning():
    with pytest.raises(gp.InputError, match="--distil is a way to fine-tune"):
        MAGNITUDE.but(distil=True, fine_tune=0)
