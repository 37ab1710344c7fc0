"""A resumed run reads what it read when it began, or says which file changed."""

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from gamepruning.compaction.export import export_safetensors
from gamepruning.files.run_folder import RunFolder
from gamepruning.types import InputError
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.jobs import one_curve
from gamepruning.workbench.jobs.run import prepare, sources_of
from gamepruning.workbench.settings import studies
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.settings.studies import BandsSettings
from gamepruning.workbench.training.run_folder import (
    check_sources,
    open_folder,
    write_config,
)


def write(path, shift=0):
    rows = [f"{i + shift},{(7 + shift) * i % 11},{'ab'[i % 2]}" for i in range(40)]
    path.write_text("\n".join(["x,y,target", *rows]), encoding="utf-8")
    return path


@pytest.mark.parametrize("changed", ["train.csv", "test.csv"])
def test_the_file_that_changed_is_named(tmp_path, changed):
    settings = PruneSettings.of(
        dataset=str(write(tmp_path / "train.csv")),
        test_file=write(tmp_path / "test.csv", shift=100),
        widths=(4,),
    )
    began = sources_of(settings, [prepare(settings, 0)])
    assert began == sources_of(settings, [prepare(settings, 0)])
    folder = RunFolder(tmp_path / "run", True)
    folder.partial.mkdir()
    (folder.partial / "config.json").write_text(
        json.dumps({"settings": {}, "sources": began})
    )
    check_sources(folder, began)
    write(tmp_path / changed, shift=200)
    with pytest.raises(InputError, match=rf"{changed} has changed since the run in"):
        check_sources(folder, sources_of(settings, [prepare(settings, 0)]))


def edited(path, old, new):
    """The fingerprints of a table before and after each `old` is written as `new`."""
    settings = PruneSettings.of(dataset=str(path), widths=(4,))
    before = sources_of(settings, [prepare(settings, 0)])
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return before, sources_of(settings, [prepare(settings, 0)])


@pytest.mark.parametrize(
    "old, new",
    [
        (",a", ",aa"),  # a class by another name, the same inputs and labels
        (",red,", ",reddish,"),  # a category by another name
        ("r1,", "r100,"),  # a cell of a column that is left out
        ("color", "colour"),  # a column by another name
    ],
)
def test_the_contents_count_not_what_a_network_reads(tmp_path, old, new):
    path = tmp_path / "t.csv"
    rows = [
        f"r{i},{(7 * i) % 11 / 2},{['red', 'tan'][i % 3 > 1]},{'ab'[i % 2]}"
        for i in range(40)
    ]
    path.write_text("\n".join(["id,x,color,target", *rows]), encoding="utf-8")
    before, after = edited(path, old, new)
    assert before != after


@pytest.mark.parametrize("name", ["iris", "wine", "digits"])
def test_what_is_built_in_has_a_fingerprint_that_lasts(name):
    settings = PruneSettings.of(dataset=name, widths=(4,))
    made = prepare(settings, 0)
    assert sources_of(settings, [made]) == sources_of(settings, [prepare(settings, 0)])
    (data,) = sources_of(settings, [made]).values()
    named = made.task.dataset._replace(class_names=tuple("abcdefghij"))
    other = made._replace(task=made.task._replace(dataset=named))
    assert sources_of(settings, [other])[name] != data


def test_every_study_looks_at_its_data_and_at_its_module(tmp_path):
    path, net = write(tmp_path / "t.csv"), tmp_path / "net.py"
    text = (
        "import jax.numpy as jnp\n"
        "def make():\n"
        "    params = {'a': jnp.ones((2, 4)), 'b': jnp.ones((4, 2))}\n"
        "    apply = lambda p, x: jnp.tanh(x @ p['a']) @ p['b']\n"
        "    loss = lambda out, y: jnp.mean((out[:, 0] - y) ** 2)\n"
        "    return {'apply': apply, 'params': params, 'inputs': jnp.ones((1, 2)),\n"
        "            'loss': loss}\n"
    )
    net.write_text(text)
    flags = {"module": f"{net}:make"}

    def sources(made):
        given = {"datasets": (str(path),)} if "compare" in made.COMMAND else {}
        settings = made.of(**flags, **(given or {"dataset": str(path)}))
        if made.COMMAND == "compare":
            return sources_of(settings, [one_curve.prepare_curve(
                settings.as_curve(str(path)), 0)])  # fmt: skip
        return sources_of(settings, [prepare(settings, 0)])

    kinds = [
        PruneSettings, studies.CurveSettings, studies.CompareSettings,
        studies.BandsSettings, studies.SweepSettings,
    ]  # fmt: skip
    began = [sources(kind) for kind in kinds]
    times = net.stat()
    net.write_text(text.replace("** 2", "** 4"))  # as long, and in the same moment
    os.utime(net, ns=(times.st_atime_ns, times.st_mtime_ns))
    for kind, before in zip(kinds, began, strict=True):
        after = sources(kind)
        assert after.keys() == before.keys() == {str(path), f"{net}:make"}
        assert after[str(path)] == before[str(path)]
        assert after[f"{net}:make"] != before[f"{net}:make"]


def test_a_run_folder_may_be_named_from_home(tmp_path, monkeypatch):
    """The shell leaves --out=~/run as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    how = {"out": Path("~/run"), "resume": False, "console": Console()}
    folder, _ = open_folder(BandsSettings(), ("digits", "mlp", "bands"), **how)
    assert folder.out == tmp_path / "run"


def images_of(folder, seed):
    rng = np.random.default_rng(seed)
    for name, k in itertools.product("ab", range(12)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (4, 4), np.uint8)
        Image.fromarray(pixels).save(folder / name / f"{k}.png")
    return folder


@pytest.mark.parametrize("write", [lambda path, k: write(path, k), images_of])
def test_weights_of_a_run_on_data_that_have_changed_since(write, tmp_path):
    data = write(tmp_path / "data", 0)
    settings = PruneSettings.of(dataset=str(data), widths=(4,))
    made = prepare(settings, 0)
    folder = RunFolder(tmp_path / "run", False)
    write_config(folder, settings, [made], {})
    load = folder.partial
    export_safetensors(made.task.params, load / "dense.safetensors")
    prepare(settings, 0, load=load)
    write(data, 5)
    with pytest.raises(InputError, match="data is not what the network in .* was tr"):
        prepare(settings, 0, load=load)


def test_a_path_is_not_a_table_that_is_known_by_its_name(tmp_path, monkeypatch):
    """./glass was read as glass, without what is known of that table."""
    (tmp_path / "tabular").mkdir()
    write(tmp_path / "tabular" / "glass.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAMEPRUNING_DATA", str(tmp_path))
    assert load_dataset("glass", seed=0).name == "glass"
    with pytest.raises(InputError, match="no data set './glass'"):
        load_dataset("./glass", seed=0)


@pytest.mark.parametrize("data", [".", "../pets", "a/.."])
def test_a_run_is_named_by_the_folder_that_dots_mean(data, tmp_path, monkeypatch):
    (tmp_path / "pets").mkdir()
    monkeypatch.chdir(tmp_path / "pets")
    how = {"out": None, "resume": False, "console": Console()}
    folder, _ = open_folder(BandsSettings(), (data, "mlp", "bands"), **how)
    assert folder.out.name == "pets-mlp-bands-1"


def test_what_was_left_open_is_resolved(tmp_path):
    settings, folder = PruneSettings.of(widths=(4,)), RunFolder(tmp_path / "r", False)
    write_config(folder, settings, [prepare(settings, 0)], {})
    resolved = json.loads((folder.partial / "config.json").read_text())["resolved"]
    assert (resolved["optimizer"], resolved["learning_rate"]) == ("sgd", 0.1)


@pytest.mark.parametrize("made", [PruneSettings, BandsSettings])
def test_weights_of_a_run_are_used_on_its_split(made, tmp_path):
    then = PruneSettings.of(dataset="iris", widths=(4,), seed=1)
    params = prepare(then, 1).task.params
    export_safetensors(params, tmp_path / "dense.safetensors")
    config = {"command": then.command(), "settings": then.to_dict()}
    (tmp_path / "config.json").write_text(json.dumps(config))
    now = made.of(dataset="iris", widths=(4,), load=tmp_path)
    with pytest.raises(InputError, match="trained with --seed 1, not with --seed 0"):
        prepare(now, now.seed, load=now.load)
    assert prepare(now.but(seed=1), 1, load=now.load).task.players.num_players == 4
