"""The games of the comparison with shapiq: their power indices, and ours on them."""

import json

import numpy as np
import pytest

from experiments.peers import shapiq
from experiments.peers.games import GAMES
from experiments.peers.rows import Cell, add_row, cells_of, read_rows
from experiments.peers.shapiq import INDICES, _exact, _indices

QUICK = {"shapley": "leverage", "banzhaf": "regression"}  # the default takes seconds


@pytest.mark.parametrize("name", ["voting", "unanimity", "airport"])
@pytest.mark.parametrize("index", INDICES)
def test_indices_are_those_of_the_game(name, index):
    game = GAMES[name]()
    exact = _exact(index, name, game)
    nobody, everybody = game.values(np.array([[False], [True]]).repeat(50, axis=1))
    if index == "shapley":
        assert exact.sum() == pytest.approx(everybody - nobody)
    found = _indices(index, game, 8000, 0, QUICK[index])
    assert np.linalg.norm(found - exact) < 0.4 * np.linalg.norm(exact)


def test_rows_are_kept_and_a_line_cut_off_is_run_again(tmp_path):
    path = tmp_path / "rows.jsonl"
    assert read_rows(path) == {}
    cells = [Cell("banzhaf", "airport", "SHAPIQ", 10, seed) for seed in (0, 1)]
    for cell in cells:
        add_row(path, cell, np.ones(50), {"shapiq": "1.8.0"})
    assert list(read_rows(path)) == cells
    path.write_text(path.read_text()[:-20])
    assert list(read_rows(path)) == cells[:1]
    add_row(path, cells[1], np.ones(50), {})
    assert list(read_rows(path)) == cells


def test_a_part_of_the_cells_is_replaced_and_the_rest_stays(tmp_path, monkeypatch):
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out.json"
    monkeypatch.setattr(
        shapiq, "_indices", lambda *args: GAMES["airport"]().exact[args[0]]
    )
    old = {"shapley": {"airport": {shapiq.OURS: {"10": {"0": 0.5}, "40": {"0": 0.25}}}}}
    out.write_text(json.dumps({"relative errors": old, "shapiq": "1.7"}))
    words = ["airport", "--rows", str(rows), "--out", str(out), "--times", "10"]
    assert shapiq.main(words) == 0
    found = json.loads(out.read_text())
    errors = found["relative errors"]["shapley"]["airport"][shapiq.OURS]
    assert errors["10"] == dict.fromkeys("01234", 0.0) and errors["40"] == {"0": 0.25}
    assert found["players"] == {"airport": 50} and found["shapiq"] == "1.7"
    assert Cell("banzhaf", "airport", shapiq.OURS, 10, 4) in cells_of(out)
    monkeypatch.delattr(shapiq, "_indices")  # all is there
    assert shapiq.main(words) == 0
