"""A resumed run reads what it read when it began, or says which file changed."""

import json

import pytest

from gamepruning.files.run_folder import RunFolder
from gamepruning.types import InputError
from gamepruning.workbench.jobs.run import prepare, sources_of
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training.run_folder import check_sources


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
