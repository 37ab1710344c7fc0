"""What comes out can be used: predictions from raw rows, files without this package."""

import inspect
import io
import json
import os
import re
import subprocess
import sys

import jax
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from gamepruning.tabular import load_predictor, read_table
from gamepruning.tabular.predictor import Predictor
from gamepruning.types import InputError
from gamepruning.workbench.cli.console import main
from gamepruning.workbench.datasets import load_dataset
from gamepruning.workbench.jobs.prune import run_prune
from gamepruning.workbench.settings.prune import PruneSettings

# Blocks a package, then runs the code that follows.
BLOCK = (
    "import sys; sys.modules.update(dict.fromkeys({names!r})); "
    "exec(open({file!r}).read())"
)


def write_table(path, num=120):
    rng = np.random.default_rng(0)
    lines = ["id;größe;when;kind;target"]
    for i in range(num):
        size, kind = rng.normal(), ["a;b", "c", ""][i % 3]
        day = f"{1 + i % 28:02d}.{1 + i % 12:02d}.2024"
        size_text = "NA" if i % 10 == 3 else f"{size:.3f}".replace(".", ",")
        label = "no" if size + (kind == "c") < 0.3 else "yes"
        lines.append(f'{i};{size_text};{day};"{kind}";{label}')
    path.write_text("\n".join(lines), encoding="cp1252")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict")
    write_table(folder / "rows.csv")
    settings = PruneSettings.of(
        dataset=str(folder / "rows.csv"), method="magnitude", keep="0.2", rivals=False,
        epochs=30, fine_tune=2, widths=(12,), batch_size=32,
    )  # fmt: skip
    quiet = Console(file=io.StringIO())
    return run_prune(settings, out=folder / "run", console=quiet)


@pytest.fixture
def rows(run):
    return read_table(run.folder.parent / "rows.csv")


def test_predictions_are_as_accurate_as_the_report_says(run, rows):
    numbers = json.loads((run.folder / "rows.json").read_text())
    assert sum(map(len, numbers.values())) == len(rows)
    test = rows.loc[numbers["test"]]
    predictor = load_predictor(run.folder)
    made = predictor(test)
    share = (made["prediction"] == test["target"]).mean()
    assert share == pytest.approx(run.result.shipped_value) == predictor.score(test)
    assert list(made) == ["prediction", "probability of no", "probability of yes"]
    np.testing.assert_allclose(made.iloc[:, 1:].sum(axis=1), 1, rtol=1e-6)


def test_a_platform_that_the_network_was_not_made_for(run, rows, monkeypatch):
    predictor = load_predictor(run.folder)
    monkeypatch.setattr(jax.export, "default_export_platform", lambda: "tpu")
    with pytest.raises(InputError, match="exported for cpu, and JAX runs on tpu here"):
        predictor(rows)


def test_no_rows_have_no_predictions_and_rows_are_a_table(run, rows):
    predictor = load_predictor(run.folder)
    none, some = predictor(rows.iloc[:0]), predictor(rows.iloc[:2])
    assert len(none) == 0 and list(none) == list(some)
    for given in (rows.iloc[0], rows.iloc[0].to_dict(), rows.to_numpy()):
        with pytest.raises(InputError, match="as a pandas DataFrame .* got"):
            inspect.unwrap(Predictor.unseen)(predictor, given)


def test_rows_in_any_order_with_gaps_and_news(run, rows):
    predictor, all_rows = load_predictor(run.folder), rows
    expected = predictor(all_rows)
    some = all_rows[["kind", "when", "größe"]].iloc[::-1]
    pd.testing.assert_frame_equal(predictor(some).iloc[::-1], expected, rtol=1e-5)
    gaps = all_rows.assign(größe="?", kind="new", when="")
    assert predictor(gaps)["prediction"].isin(["no", "yes"]).all()
    typed = all_rows.assign(größe=[0.5] * 120)
    text = all_rows.assign(größe="0,5")
    pd.testing.assert_frame_equal(predictor(typed), predictor(text))
    with pytest.raises(
        InputError, match="no column 'when': expected größe, when, kind"
    ):
        predictor(all_rows.drop(columns="when"))
    with pytest.raises(InputError, match="row 2, column 'größe': expected a number"):
        predictor(all_rows.assign(größe="tall"))


def test_a_run_on_images_says_so(run, tmp_path):
    model = run.folder / "model"
    for file in ("model.stablehlo", "model.stablehlo.json"):
        (tmp_path / file).write_bytes((model / file).read_bytes())
    digits = load_dataset("digits", seed=0)
    (tmp_path / "preprocessing.json").write_text(digits.preprocessing)
    with pytest.raises(InputError, match="on images, not on a table: README.md"):
        load_predictor(tmp_path)


def test_the_command(run, capsys, tmp_path):
    source = str(run.folder.parent / "rows.csv")
    assert main(["predict", str(run.folder), source]) == 0
    told = capsys.readouterr()
    assert told.out.startswith(
        "row,prediction,probability of no,probability of yes\n2,"
    )
    assert "accuracy on these rows: " in told.err
    assert "rows.csv: not UTF-8, so read as Windows-1252" in told.err
    some = tmp_path / "some.csv"
    lines = (run.folder.parent / "rows.csv").read_text(encoding="cp1252").splitlines()
    untold = [line.rpartition(";")[0] + ";" for line in lines[1:6]]
    some.write_text("\n".join([lines[0], *untold, *lines[6:]]), encoding="utf-8")
    assert main(["predict", str(run.folder), str(some)]) == 0
    assert "accuracy on 115 of them: " in capsys.readouterr().err
    news = "\n".join([lines[0], *(line.replace("c", "new") for line in lines[6:9])])
    some.write_text(news, encoding="utf-8")
    assert main(["predict", str(run.folder), str(some)]) == 0
    assert "did not have, taken as none of those" in capsys.readouterr().err
    out = tmp_path / "out.csv"
    assert main(["predict", str(run.folder), source, "--out", str(out)]) == 0
    assert out.read_text() == told.out
    assert main(["predict", str(run.folder), source, "--out", str(out)]) == 2
    assert main(["predict", str(tmp_path / "none"), source]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "exists: name another file" in lines[-2] and "no run in" in lines[-1]


def test_a_regression_is_predicted_in_the_targets_units(tmp_path):
    lines = [f"{i};{1000 + 3 * i},5" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["x;target", *lines[::2]]))
    (tmp_path / "test.csv").write_text("\n".join(["x;target", *lines[1::2]]))
    settings = PruneSettings.of(
        dataset=str(tmp_path / "t.csv"), test_file=tmp_path / "test.csv", keep="0.5",
        method="magnitude", rivals=False, epochs=200, fine_tune=200, widths=(16,),
    )  # fmt: skip
    made = run_prune(
        settings, out=tmp_path / "run", console=Console(file=io.StringIO())
    )
    predictor, rows = load_predictor(made.folder), read_table(tmp_path / "test.csv")
    assert predictor.score(rows) == pytest.approx(made.result.shipped_value, abs=1e-5)
    values = predictor(rows)["prediction"]
    assert abs(values - [1000.5 + 3 * i for i in range(1, 60, 2)]).max() < 60
    assert predictor.score(rows[:1]) == 0  # one target does not vary
    for name, content in (
        ("model.stablehlo.json", b"{"),
        ("model.stablehlo.json", b"{}"),
        ("preprocessing.json", b"\xff\xfe"),
    ):
        path = made.folder / "model" / name
        whole = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(InputError, match="is damaged"):
            load_predictor(made.folder)
        path.write_bytes(whole)


def run_without(names, code, folder):
    file = folder / "code.py"
    file.write_text(code)
    command = BLOCK.format(names=names, file=str(file))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-c", command], cwd=folder, env=environment, check=True,
        capture_output=True, text=True,
    ).stdout  # fmt: skip


def test_the_readme_of_a_run_works_without_this_package(run):
    readme = (run.folder / "model" / "README.md").read_text(encoding="utf-8")
    assert "| 0 | größe |" in readme and "logits of the classes\nno, yes" in readme
    code = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[-1]
    assert "gamepruning" not in code
    report = (run.folder / "report.html").read_text(encoding="utf-8")
    assert f"<pre>{code.strip()}" in report
    code += "\nprint(outputs.shape, len(weights), len(params))"
    assert run_without(["gamepruning"], code, run.folder) == "(5, 2) 4 2\n"


def test_a_predictor_needs_jax_numpy_and_pandas_alone(run):
    code = (
        "import gamepruning as gp\n"
        "predictor = gp.tabular.load_predictor('.')\n"
        "print(len(predictor(gp.tabular.read_table('../rows.csv'))))\n"
    )
    others = ["flax", "optax", "orbax", "sklearn", "safetensors", "tyro", "matplotlib"]
    sys_path = f"import sys; sys.path[:0] = {sys.path!r}\n"
    assert run_without(others, sys_path + code, run.folder) == "120\n"
