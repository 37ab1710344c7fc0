"""The page of the papers' claims: no row empty, and none without a command."""

import importlib.util
import re
from pathlib import Path

import pytest

from experiments.claims import gtap, row, table
from experiments.gtap.tiny_imagenet import lay_out
from experiments.markdown import HERE, read

ROWS = [made for make in table.PAPERS.values() for made in make()]
MODULE = re.compile(r"python -m (\S+)")


def test_no_cell_is_empty_and_every_row_has_a_command_that_exists():
    assert len(ROWS) > 60
    for made in ROWS:
        assert all(cell.strip() for cell in made[:7]), made
        found = MODULE.match(made.command)
        if found:
            assert importlib.util.find_spec(found[1]), made.command
        else:
            assert made.command.startswith("gamepruning "), made.command


def test_a_measured_row_has_a_file_that_names_its_command():
    for made in ROWS:
        if made.verdict == row.UNKNOWN:
            assert made.here == "none"
            assert not made.source
        else:
            assert (HERE / made.source).is_file()
            assert made.command == read(made.source)["command"]


def test_the_share_left_at_the_peak_is_that_of_the_bands():
    for network, share in (("LeNet-300-100", 0.145), ("LeNet-5", 0.212)):
        found = gtap.definition(network)
        assert found["share left"] == share
        assert share == pytest.approx((1 - found["peak"]) ** 2, abs=2e-3)


def test_verdicts_follow_from_the_findings():
    assert row.of_checks([True, True]) == "holds"
    assert row.of_checks([False]) == "does not hold"
    assert row.of_checks([True, False, False]) == "in part: 1 of 3"
    assert row.of_figure(0.9, 0.8, 0.04) == "above"
    assert row.of_figure(0.7, 0.8, 0.04) == "below"
    assert row.of_figure(0.73, 0.8, 0.04) == "level"


def test_a_skewed_plane_is_seen(monkeypatch):
    plane = [[0.0, 3.0], [1.0, 0.0]]
    monkeypatch.setattr(gtap, "definition", lambda network: {"variance": plane})
    assert gtap.asymmetry_of("any") == pytest.approx(0.5)


def test_tiny_imagenet_is_laid_out_by_class(tmp_path: Path):
    source = tmp_path / "tiny-imagenet-200"
    (source / "val" / "images").mkdir(parents=True)
    for name in ("n1", "n2"):
        (source / "train" / name / "images").mkdir(parents=True)
        (source / "train" / name / "images" / f"{name}_0.JPEG").touch()
    (source / "val" / "images" / "val_0.JPEG").touch()
    lines = "val_0.JPEG\tn2\t0\t32\t44\t62\n"
    (source / "val" / "val_annotations.txt").write_text(lines)
    assert lay_out(source, tmp_path / "out") == (2, 1)
    assert (tmp_path / "out" / "test" / "n2" / "val_0.JPEG").is_file()
    (source / "train" / "n1" / "images" / "n1_0.JPEG").unlink()
    with pytest.raises(FileNotFoundError, match="no images in"):
        lay_out(source, tmp_path / "again")
