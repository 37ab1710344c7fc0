"""The n best players: hand-worked choices, laws, and refusals."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.selection import round_mask, top_n
from gamepruning.types import InputError, Scores
from tests.zoo import attention
from tests.zoo.case import Draw


class Family(NamedTuple):
    name: str
    start: int
    stop: int


class Players(NamedTuple):
    """All that selection asks of players: names and spans of their families."""

    families: tuple[Family, ...]

    @property
    def num_players(self):
        return self.families[-1].stop


def make_players(**sizes) -> Players:
    stops = np.cumsum(list(sizes.values()))
    return Players(
        tuple(
            Family(name, int(stop) - size, int(stop))
            for (name, size), stop in zip(sizes.items(), stops, strict=True)
        )
    )


def kept(players, mask) -> dict[str, list[int]]:
    mask = np.asarray(mask)
    return {
        f.name: np.flatnonzero(mask[f.start : f.stop]).tolist()
        for f in players.families
    }


TWO = make_players(a=4, b=4)
VALUE = np.array([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("options", "n", "expected"),
    [
        # the best three, but b is not emptied
        ({}, 3, {"a": [0, 1], "b": [0]}),
        ({"min_units": 0}, 3, {"a": [0, 1, 2], "b": []}),
        ({"min_units": 2}, 5, {"a": [0, 1, 2], "b": [0, 1]}),
        ({"scope": "family"}, 4, {"a": [0, 1], "b": [0, 1]}),
        # an odd one: shares tie, the first family gets it
        ({"scope": "family"}, 5, {"a": [0, 1, 2], "b": [0, 1]}),
        # the other ranking would keep one of a and three of b; a and b choose their own
        (
            {"scope": "proportions", "proportions_from": VALUE[::-1]},
            4,
            {"a": [0], "b": [0, 1, 2]},
        ),
        ({"round_to": 2}, 5, {"a": [0, 1], "b": [0, 1]}),
        ({"round_to": 2}, 6, {"a": [0, 1, 2, 3], "b": [0, 1]}),
        ({"protect": ["b"]}, 6, {"a": [0, 1], "b": [0, 1, 2, 3]}),
        ({"protect": "b"}, 5, {"a": [0], "b": [0, 1, 2, 3]}),
        # a fraction; counts by family, in order and by name, of which one may be empty
        ({}, 0.4, {"a": [0, 1], "b": [0]}),
        ({}, [1, 2], {"a": [0], "b": [0, 1]}),
        ({}, {"b": 3, "a": 0}, {"a": [], "b": [0, 1, 2]}),
    ],
)
def test_by_hand(options, n, expected):
    mask = top_n(VALUE, n, players=TWO, **options)
    assert mask.dtype == bool and kept(TWO, mask) == expected


def test_a_family_smaller_than_the_floor_is_kept_whole():
    players = make_players(a=10, b=3)
    mask = top_n(np.arange(13.0)[::-1], 12, players=players, round_to=8)
    # b has three players and cannot keep 8 or more; a keeps 8 of 10, not 9
    assert kept(players, mask) == {"a": list(range(8)), "b": [0, 1, 2]}


def test_family_shares_are_proportional_to_size():
    players = make_players(a=100, b=50, c=10)
    mask = top_n(np.zeros(160), 48, players=players, scope="family")
    assert [len(k) for k in kept(players, mask).values()] == [30, 15, 3]


@pytest.mark.parametrize("scope", ["global", "family", "proportions"])
@pytest.mark.parametrize("n", [3, 17, 40, 63])
def test_exactly_n_stay_and_no_better_player_of_a_family_leaves(scope, n):
    players = make_players(a=32, b=24, c=8)
    generator = np.random.default_rng(n)
    value, other = generator.normal(size=64), generator.normal(size=64)
    mask = np.asarray(
        top_n(
            value,
            n,
            players=players,
            scope=scope,
            proportions_from=other if scope == "proportions" else None,
        )
    )
    assert mask.sum() == n
    for family in players.families:
        span = slice(family.start, family.stop)
        inside, outside = value[span][mask[span]], value[span][~mask[span]]
        assert inside.size >= 1
        assert not outside.size or inside.min() > outside.max()


@pytest.mark.parametrize("n", range(1, 8))
def test_without_players_it_is_a_sort(n):
    value = np.array([3.0, -1.0, 4.0, 1.0, -5.0, 9.0, 2.0, 6.0])
    mask = np.asarray(top_n(value, n))
    assert set(value[mask]) == set(np.sort(value)[-n:])


def test_ties_go_to_the_lower_index():
    assert top_n(jnp.ones(5), 2).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("round_to", [1, 3, 8])
@pytest.mark.parametrize("n", [24, 30, 45])
def test_multiples_fill_all_the_room_there_is(round_to, n):
    players = make_players(a=32, b=24, c=8)
    value = np.random.default_rng(0).normal(size=64)
    mask = top_n(Scores(value, value * 0, 0), n, players=players, round_to=round_to)
    sizes = [len(k) for k in kept(players, mask).values()]
    assert n - round_to < sum(sizes) <= n
    for size, family in zip(sizes, players.families, strict=True):
        assert size % round_to == 0 or size == family.stop - family.start


def test_equal_scores_still_fill_blocks_in_order():
    players = make_players(a=20)
    mask = top_n(np.full(20, 0.1), 12, players=players, round_to=3)
    assert kept(players, mask) == {"a": list(range(12))}


def test_a_million_players_take_no_time():
    value = np.random.default_rng(0).normal(size=1_000_000)
    players = make_players(a=600_000, b=400_000)
    assert np.asarray(top_n(value, 1000, players=players)).sum() == 1000


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [
        (8, {}, "nothing would be pruned"),
        (9, {}, "nothing would be pruned"),
        (0, {}, "n >= 1 players to keep, got 0"),
        (-1, {}, "n >= 1 players to keep, got -1"),
        (1, {}, "cannot keep 1 players"),  # one of each family is two
        (5, {"min_units": 3}, "already keep 6"),
        (4, {"protect": ["a"]}, "already keep 5"),
        (7, {"protect": ["a", "b"]}, "already keep 8"),
        (4, {"protect": ["c"]}, "the families are a, b"),
        (4, {"min_units": -1}, "min_units >= 0"),
        (4, {"round_to": 0}, "round_to >= 1"),
        (4, {"scope": "proportions"}, "go together"),
        (4, {"proportions_from": VALUE}, "go together"),
        (4, {"scope": "proportions", "proportions_from": VALUE[:3]}, r"shape \(8,\)"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(n, options, message):
    with pytest.raises(InputError, match=message):
        top_n(VALUE, n, players=TWO, **options)


@pytest.mark.parametrize(
    ("n", "message"),
    [
        (2.5, "number of players or a fraction"),
        ((1, 2, 3), "count for each family.*are a 4, b 4"),
        ((1, 5), "none above its size"),
        ({"a": 1}, "missing: b.: the families and their sizes are a 4, b 4"),
        ({"a": 1, "b": 1, "c": 1}, "by its name .unknown: c."),
        ((4, 4), "keeps everyone"),
    ],
)
def test_sizes_that_mean_nothing_are_refused(n, message):
    with pytest.raises(InputError, match=message):
        top_n(VALUE, n, players=TWO)


def test_bad_scores_are_refused():
    with pytest.raises(InputError, match=r"shape \(8,\).*got \(7,\)"):
        top_n(VALUE[:7], 3, players=TWO)
    with pytest.raises(InputError, match="got nan for player 2 .and 1 more"):
        top_n(np.array([1, 2, np.nan, np.inf]), 2)
    with pytest.raises(InputError, match="needs players="):
        top_n(VALUE, 3, scope="family")
    with pytest.raises((InputError, TypeError), match="scope"):
        top_n(VALUE, 3, players=TWO, scope="layer")  # pyright: ignore[reportArgumentType]


MASK = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"a": [0, 1, 2], "b": [0]}),  # b is not emptied: its best comes back
        ({"min_units": 0}, {"a": [0, 1, 2], "b": []}),
        (
            {"round_to": 2},
            {"a": [0, 1, 2, 3], "b": [0, 1]},
        ),  # 3 is as near to 2 as to 4
        ({"round_to": 4}, {"a": [0, 1, 2, 3], "b": [0, 1, 2, 3]}),
        ({"min_units": 2}, {"a": [0, 1, 2], "b": [0, 1]}),
        ({"protect": ["a"]}, {"a": [0, 1, 2, 3], "b": [0]}),
    ],
)
def test_rounding_by_hand(options, expected):
    assert kept(TWO, round_mask(TWO, MASK, VALUE, **options)) == expected


def test_rounding_keeps_who_was_in_and_lets_the_worst_go():
    players = make_players(a=6)
    mask = np.array([0, 0, 1, 1, 1, 0], bool)
    value = np.array([9.0, 8.0, 1.0, 3.0, 2.0, 7.0])
    down = round_mask(players, mask, value, round_to=4)  # 3 is nearer to 4 than to 6
    assert kept(players, down) == {"a": [0, 2, 3, 4]}
    wide = make_players(a=20)
    mask = np.arange(20) < 9
    down = round_mask(wide, mask, np.arange(20.0), round_to=8)
    assert kept(wide, down) == {"a": list(range(1, 9))}


def test_rounding_is_idempotent():
    players = make_players(a=32, b=24, c=10)
    generator = np.random.default_rng(1)
    mask, value = generator.random(66) < 0.4, generator.normal(size=66)
    once = round_mask(players, mask, value, round_to=8)
    np.testing.assert_array_equal(once, round_mask(players, once, value, round_to=8))


def test_bad_masks_are_refused():
    with pytest.raises(InputError, match="mask has shape"):
        round_mask(TWO, MASK[:-1], VALUE)
    with pytest.raises(InputError, match="mask has dtype float64, expected bool"):
        round_mask(TWO, MASK.astype(float), VALUE)


def test_fractions_by_family():
    """As on the command line: counts and fractions, in order or by name."""
    scores = jnp.arange(8.0)
    for size in ({"a": 0.5, "b": 1}, (0.5, 1), (2, 0.2)):
        mask = top_n(scores, size, players=TWO)
        assert (int(mask[:4].sum()), int(mask[4:].sum())) == (2, 1)
    assert int(top_n(scores, (0.01, 1.0), players=TWO)[:4].sum()) == 1
    with pytest.raises(InputError, match="none above its size"):
        top_n(scores, (1.5, 2), players=TWO)


def test_multiples_by_kind_of_players(key):
    model = attention.fused_qkv_rotary_swiglu(Draw(key, "float32"))
    players = gp.find_players(model.apply, model.params, *model.inputs)
    scores = np.arange(players.num_players, 0.0, -1.0)
    how = {"players": players, "round_to": {"heads": 2, "units": 16}}
    mask = np.asarray(top_n(scores, 0.6, scope="family", **how))
    kept = [int(mask[f.start : f.stop].sum()) for f in players.families]
    found = dict(zip(players.kinds, kept, strict=True))
    assert found["heads"] in (2, 4) and found["units"] in (16, 32)
    with pytest.raises(gp.InputError, match="names 'columns'.*heads, units"):
        top_n(scores, 0.6, players=players, round_to={"columns": 2})


def test_floors_of_alike_families_are_the_largest_of_them():
    """`layer0` may lose nobody, so neither may `layer1`, which keeps as many."""
    players = make_players(layer0=4, layer1=4, out=4)
    value = np.arange(12.0)
    with pytest.raises(InputError, match="already keep 9 .layer0 4, layer1 4, out 1"):
        top_n(value, 8, players=players, protect=["layer0"], uniform=True)
    found = np.asarray(
        top_n(value, 9, players=players, protect=["layer0"], uniform=True)
    )
    assert found.reshape(3, 4).sum(axis=1).tolist() == [4, 4, 1]
    alike = make_players(layer0=4, layer1=4)
    with pytest.raises(InputError, match="already keep 8"):
        top_n(value[:8], 6, players=alike, protect=["layer0"], uniform=True)
