"""Compression curves: sizes, nested masks, areas, and their plain form."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamepruning.coalitions.exact import exact_shapley
from gamepruning.players import find_players
from gamepruning.selection import (
    Curve,
    compression_curve,
    iterated_building,
    masks_at,
    top_n,
)
from gamepruning.types import InputError, Scores

WORTH = np.array([1.0, 5.0, 2.0, 4.0, 3.0, 0.0, 6.0, 7.0, 8.0, 9.0])


def additive(masks):
    return np.asarray(masks) @ WORTH


def test_a_curve_of_scores_is_that_of_top_n():
    scores = Scores(WORTH, np.zeros(10), 1)
    curve = compression_curve(scores, additive, [0.3, 0.1, 1.0, 7])
    assert curve.sizes.tolist() == [1, 3, 7, 10]
    assert curve.fractions.tolist() == [0.1, 0.3, 0.7, 1.0]
    assert curve.values.tolist() == [9, 24, 42, 45]
    for n in (1, 3, 7):
        mask = masks_at(WORTH, [n])[0]
        assert (mask == np.asarray(top_n(WORTH, n))).all()


def test_a_trace_and_its_masks_give_the_same_curve(key):
    trace = iterated_building(
        key,
        additive,
        6,
        num_players=10,
        step=4,
        scorer=lambda key, game, n: exact_shapley(game, n),
    )
    sizes = [1, 2, 5, 6]
    one = compression_curve(trace, additive, sizes)
    masks = np.stack([trace.mask_at(size) for size in sizes])
    two = compression_curve(masks[::-1], additive, sizes)
    assert one.values.tolist() == two.values.tolist() == [9, 17, 35, 39]
    with pytest.raises(InputError, match="between 0 and 6"):
        compression_curve(trace, additive, [0.7])


def test_the_area_is_the_mean_height():
    flat = Curve(np.array([5, 20, 60]), np.array([0.5, 0.5, 0.5]), 100)
    assert flat.area() == pytest.approx(0.5)
    # .2 at 10 %, .6 at 30 %, 1 at 70 %: by hand between 20 % (.4) and 50 % (.8):
    # (.4 + .6) / 2 * 10 % + (.6 + .8) / 2 * 20 % = .19, over 30 %
    curve = Curve(np.array([1, 3, 7]), np.array([0.2, 0.6, 1.0]), 10)
    assert curve.area(0.2, 0.5) == pytest.approx(0.19 / 0.3)
    assert curve.value_at(0.5) == pytest.approx(0.8)
    for low, high, message in [(0.05, 0.5, "covers"), (0.5, 0.9, "covers")]:
        with pytest.raises(InputError, match=message):
            curve.area(low, high)
    with pytest.raises(InputError, match="low < high"):
        curve.area(0.5, 0.5)


def test_plain_data_and_back():
    curve = compression_curve(WORTH, additive, [1, 3])
    again = Curve.from_dict(json.loads(json.dumps(curve.to_dict())))
    assert again.sizes.tolist() == [1, 3] and again.values.tolist() == [9, 24]
    assert again.num_players == 10
    with pytest.raises(InputError, match="expected a dict with"):
        Curve.from_dict({"sizes": [1]})


def test_families_keep_their_floor():
    def apply(params, x):
        return (
            jnp.maximum(jnp.maximum(x @ params["a"], 0) @ params["b"], 0) @ params["c"]
        )

    shapes = {"a": (3, 5), "b": (5, 3), "c": (3, 2)}
    params = {n: jax.random.normal(jax.random.key(0), s) for n, s in shapes.items()}
    players = find_players(apply, params, jnp.ones((2, 3)))
    scores = np.where(players.family_of == 0, 2.0, 1.0)
    masks = masks_at(scores, [2, 4, 8], players=players)
    counts = [np.bincount(players.family_of[m], minlength=2).tolist() for m in masks]
    assert counts == [[1, 1], [3, 1], [5, 3]]
    with pytest.raises(InputError, match="cannot keep 1"):
        masks_at(scores, [1], players=players)


@pytest.mark.parametrize(
    ("source", "sizes", "message"),
    [
        (WORTH, [0], "1 to 10"),
        (WORTH, [11], "1 to 10"),
        (WORTH, [1.5], "number of players or a fraction"),
        (WORTH, [], "at least one"),
        (WORTH, [0.3, 3], "different sizes"),
        (np.eye(10, dtype=bool), [1, 2], "one mask for each"),
        (np.ones(10, bool), [10], r"masks \[K, N\]"),
        (WORTH * np.nan, [1], "finite"),
    ],
)
def test_bad_input(source, sizes, message):
    with pytest.raises(InputError, match=message):
        compression_curve(source, additive, sizes)


def test_the_same_share_of_every_family():
    params = {"a": jnp.ones((3, 8)), "b": jnp.ones((8, 4)), "c": jnp.ones((4, 2))}

    def apply(params, x):
        hidden = jax.nn.relu(jax.nn.relu(x @ params["a"]) @ params["b"])
        return hidden @ params["c"]

    players = find_players(apply, params, jnp.ones((2, 3)))
    value = np.concatenate([np.arange(8.0), 100 + np.arange(4.0)])
    best = masks_at(value, [6], players=players)[0]
    even = masks_at(value, [6], players=players, scope="family")[0]
    assert best[8:].sum() == 4 and even[8:].sum() == 2
    assert even[[4, 5, 6, 7, 10, 11]].all()
