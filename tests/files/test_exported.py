"""Programs as files need a package that JAX does not bring."""

import sys

import numpy as np
import pytest

from gamepruning.compaction.stablehlo import export_stablehlo, load_stablehlo
from gamepruning.types import InputError


def test_without_flatbuffers_exports_say_what_to_install(monkeypatch, tmp_path):
    w, x = np.ones((3, 2), np.float32), np.ones((4, 3), np.float32)
    path = export_stablehlo(lambda w, x: x @ w, w, [x], tmp_path / "dot.stablehlo")
    monkeypatch.setitem(sys.modules, "flatbuffers", None)  # as if it were missing
    with pytest.raises(InputError, match="run `pip install flatbuffers`"):
        export_stablehlo(lambda w, x: x @ w, w, [x], tmp_path / "other.stablehlo")
    with pytest.raises(InputError, match="run `pip install flatbuffers`"):
        load_stablehlo(path)
    assert not (tmp_path / "other.stablehlo").exists()
