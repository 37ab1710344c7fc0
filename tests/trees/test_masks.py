"""One check of masks, whoever takes them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamepruning.trees.examples import count_rows, same_length
from gamepruning.trees.masks import as_mask, as_masks
from gamepruning.types import InputError, Scores


def test_masks_come_back_as_bool_arrays():
    assert as_mask(jnp.array([True, False]), 2).dtype == bool
    assert as_mask([True], None).shape == (1,)
    assert as_masks(np.ones((3, 2), bool), 2).shape == (3, 2)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones(3, bool), r"alive has shape \(3,\), expected \(2,\)"),
        (np.ones((2, 2), bool), r"alive has shape \(2, 2\), expected \(2,\)"),
        (np.ones(2), "alive has dtype float64, expected bool"),
    ],
)
def test_a_mask_that_does_not_fit(mask, message):
    with pytest.raises(InputError, match=message):
        as_mask(mask, 2, name="alive")


@pytest.mark.parametrize(
    "masks", [np.ones(2, bool), np.ones((2, 3), bool), np.ones((2, 2), int)]
)
def test_masks_that_do_not_fit(masks):
    with pytest.raises(InputError, match=r"expected masks bool \[S, 2\]"):
        as_masks(masks, 2)


def test_a_traced_mask_is_refused():
    with pytest.raises(InputError, match="mask is traced.*gated"):
        jax.jit(as_mask)(np.ones(2, bool))
    with pytest.raises(InputError, match="masks are traced.*gated"):
        jax.jit(as_masks)(np.ones((1, 2), bool))


def test_the_length_that_all_share():
    assert same_length((np.ones((5, 2)), np.ones(5))) == 5
    assert same_length((np.ones(5), np.ones(4))) is None
    assert same_length(np.float32(1.0)) is None
    for nothing in ((), np.ones((0, 2)), (np.ones(5), np.ones(4))):
        with pytest.raises(InputError, match="leading axis of examples"):
            count_rows(nothing)


def test_scores_are_no_mask_and_the_error_says_what_makes_one():
    scores = Scores(np.arange(3.0), np.zeros(3), 0)
    with pytest.raises(InputError, match=r"got Scores: gp.top_n\(scores, n\)"):
        as_mask(scores, 3)
