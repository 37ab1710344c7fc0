"""Keywords become options; one that is unknown is named."""

import dataclasses

import pytest

from gamepruning.options import make_options


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
