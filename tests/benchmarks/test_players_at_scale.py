"""The benchmark of very many players runs small, in this process, part by part."""

import json

import numpy as np
import pytest

from benchmarks import players_at_scale
from benchmarks.players_at_scale import PARTS, FreeGame, main, plot_growth
from gamepruning.coalitions import banzhaf, exact_semivalue, shapley
from tests.benchmarks.test_main import STORED


@pytest.mark.parametrize("law", [banzhaf(6), shapley(6)])
def test_the_free_game_has_the_indices_that_it_says(law):
    game = FreeGame(6)
    exact = np.asarray(exact_semivalue(game, law).value)
    np.testing.assert_allclose(game.indices(law), exact, atol=1e-6)


@pytest.mark.parametrize("name", ["banzhaf", "find_llama"])
def test_a_part_prints_its_figures_alone(name, capsys):
    assert main(["--small", "--inside", name]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["players"] >= 100 and found["verdict"]["met"] in (True, False)


def test_parts_are_written_beside_each_other(tmp_path, monkeypatch, capsys):
    figures = {"players": [(100, 1.0), (1000, 10.0)], "verdict": {"met": True}}
    figures |= {"coalitions": [(100, 1.0)], "rows": [(100, 1.0)]}
    monkeypatch.setattr(players_at_scale, "_run", lambda name, small: figures)
    out, png = tmp_path / "a.json", tmp_path / "a.png"
    assert main(["--part", "banzhaf", "--out", str(out)]) == 0
    words = ["--part", "growth", "--out", str(out), "--figure", str(png)]
    assert main(words) == 0
    assert set(json.loads(out.read_text())["parts"]) == {"banzhaf", "growth"}
    assert png.stat().st_size > 0
    assert len(plot_growth(figures).axes) == 3


def test_stored_figures_are_of_all_parts():
    found = json.loads((STORED / "players.json").read_text())
    assert set(found["parts"]) == set(PARTS)
    assert all(
        part["verdict"]["met"] in (True, False) for part in found["parts"].values()
    )
    assert found["command"] in (STORED / "README.md").read_text()
