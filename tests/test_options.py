"""Keywords become options; one that is unknown is named."""

import dataclasses

import numpy as np
import pytest

from gamepruning.options import as_config, make_options
from gamepruning.types import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class WalkOptions:
    num_steps: int = 10
    stride: float = 1.0


def walk(start, **options):
    return make_options(WalkOptions, options, walk)


def test_keywords_become_fields():
    assert walk(0) == WalkOptions()
    assert walk(0, stride=2.0).stride == 2.0


def test_an_unknown_keyword_is_named_with_what_there_is():
    with pytest.raises(TypeError, match=r"walk\(\) has no keyword 'strides': did you"):
        walk(0, strides=2.0)
    with pytest.raises(TypeError, match="'colour': it has start, num_steps, stride"):
        walk(0, colour="red")


def test_a_config_of_another_kind_is_refused():
    assert as_config(None, WalkOptions) == WalkOptions()
    with pytest.raises(InputError, match="config=WalkOptions.*, got dict {'stride': 2"):
        as_config({"stride": 2.0}, WalkOptions)


def test_a_count_is_a_whole_number():
    assert walk(0, num_steps=1e3) == WalkOptions(num_steps=1000)
    assert type(walk(0, num_steps=np.float32(5)).num_steps) is int
    with pytest.raises(InputError, match="expected num_steps as a whole number, got 3"):
        walk(0, num_steps=3.5)
    with pytest.raises(InputError, match="got nan"):
        walk(0, num_steps=float("nan"))
