"""Iterated pruning and building: hand-worked games where interactions decide."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from gamepruning.coalitions.exact import exact_banzhaf, exact_shapley
from gamepruning.coalitions.restrict import restrict
from gamepruning.coalitions.values import value_function
from gamepruning.players import find_players
from gamepruning.selection import (
    Progress,
    greedy_scores,
    iterated_building,
    iterated_pruning,
    local_search,
    marginal_values,
    top_n,
)
from gamepruning.types import InputError, Scores


def shapley(key, value_fn, num_players, num_evaluations=0):
    return exact_shapley(value_fn, num_players)


def banzhaf(key, value_fn, num_players, *, bias=0.5):
    return exact_banzhaf(value_fn, num_players, bias)


def noisy(key, value_fn, num_players):
    """Depends on the key, so that a round with another key decides otherwise."""
    exact = exact_shapley(value_fn, num_players)
    noise = np.asarray(jax.random.normal(key, (num_players,)))
    return exact._replace(value=exact.value + noise)


grow = functools.partial(greedy_scores, base="empty")
shrink = functools.partial(greedy_scores, base="full")


def redundant(masks):
    """Two copies of a player worth 4 (any one of them counts), others 1.8 and 1.6.

    Shapley: 2, 2, 1.8, 1.6. The best pair is {0, 2}: 5.8; top-2 keeps both copies: 4.
    Building takes 0, and then its copy is worth nothing. Pruning takes out 3 and 2.
    """
    masks = np.asarray(masks)
    return 4.0 * masks[:, :2].any(axis=1) + 1.8 * masks[:, 2] + 1.6 * masks[:, 3]


def underrated(masks):
    """The same with others of 2.5 and 2.4.

    Shapley: 2, 2, 2.5, 2.4. The best pair is {0, 2}: 6.5; top-2 keeps no copy: 4.9.
    Pruning takes out 1, and then 0 is worth 4. Building takes 2 and 3.
    """
    masks = np.asarray(masks)
    return 4.0 * masks[:, :2].any(axis=1) + 2.5 * masks[:, 2] + 2.4 * masks[:, 3]


def gloves(masks):
    """Pairs of complements: 0 needs 1 (worth 6) and 2 needs 3 (5); 4 alone is 2.7.

    Shapley: 3, 3, 2.5, 2.5, 2.7. Of three players {0, 1, 4} is best: 8.7.
    """
    masks = np.asarray(masks)
    return (
        6.0 * (masks[:, 0] & masks[:, 1])
        + 5.0 * (masks[:, 2] & masks[:, 3])
        + 2.7 * masks[:, 4]
    )


def rivals(masks):
    """0 works with 1 or with 2 (worth 6), 3 with 4 (5.4).

    Shapley: 0 has 4, 1 and 2 have 1 each, 3 and 4 have 2.7 each. The best pair is
    {0, 1}: 6. Top-2 keeps 0 and 3, who are worth nothing together. Building takes 0,
    and then 1: half of 6 is more than 2.7.
    """
    masks = np.asarray(masks)
    either = masks[:, 1] | masks[:, 2]
    return 6.0 * (masks[:, 0] & either) + 5.4 * (masks[:, 3] & masks[:, 4])


def value_of(game, mask):
    return float(game(np.asarray(mask)[None])[0])


@pytest.mark.parametrize(
    ("select", "game", "size", "top", "best", "order"),
    [
        (iterated_building, redundant, 4, 4.0, 5.8, [0, 2]),
        (iterated_pruning, underrated, 4, 4.9, 6.5, [1, 3]),
        (iterated_building, rivals, 5, 0.0, 6.0, [0, 1]),
        (iterated_pruning, rivals, 5, 0.0, 6.0, [2, 4, 3]),
    ],
)
def test_iterating_finds_what_top_n_misses(select, game, size, top, best, order, key):
    once = top_n(exact_shapley(game, size), 2)
    assert value_of(game, once) == pytest.approx(top)
    every = (np.arange(2**size)[:, None] >> np.arange(size)) & 1
    pairs = every[every.sum(axis=1) == 2].astype(bool)
    assert game(pairs).max() == pytest.approx(best)
    trace = select(key, game, 2, num_players=size, scorer=shapley)
    assert trace.order.tolist() == order
    assert value_of(game, trace.mask) == pytest.approx(best)
    assert trace.rounds[-1].value == pytest.approx(best)


def test_building_completes_a_pair_and_single_worth_does_not(key):
    """A player's worth to the coalition at hand says nothing of half a pair.

    By marginals 4 comes first (2.7), and then all others add 0: the tie goes to 0, and
    then 1 completes the pair: 8.7. With n = 2 that gives {0, 4}, worth 2.7. By Shapley
    values 0 comes first and 1, now worth 6, second.
    """
    built = iterated_building(key, gloves, 2, num_players=5, scorer=shapley)
    assert built.order.tolist() == [0, 1]
    assert built.rounds[1].scores.value.tolist() == pytest.approx([6, 2.5, 2.5, 2.7])
    assert built.rounds[1].players.tolist() == [1, 2, 3, 4]
    greedy = iterated_building(key, gloves, 2, num_players=5, scorer=grow)
    assert greedy.order.tolist() == [4, 0]


def test_rounds_say_what_was_decided_and_why(key):
    """Pruning `redundant` by hand: Shapley 2, 2, 1.8, 1.6: player 3 leaves, then 2.

    That is wrong, and how it is wrong is in the paper's method: it is not greedy.
    """
    trace = iterated_pruning(key, redundant, 1, num_players=4, scorer=shapley)
    first = trace.rounds[0]
    assert first.scores.value.tolist() == pytest.approx([2, 2, 1.8, 1.6])
    assert first.decided.tolist() == [3] and first.kept.tolist() == [1, 1, 1, 0]
    assert first.value == pytest.approx(5.8)
    assert first.num_evaluations == 2**4 + 1
    assert trace.num_evaluations == 16 + 8 + 4 + 3
    assert trace.mask.sum() == 1


@pytest.mark.parametrize(("select", "scorer"), [("b", grow), ("p", shrink)])
def test_greedy_oracle_is_the_greedy_algorithm(select, scorer, key):
    """Against a plain loop over all candidates, on a game with random interactions."""
    size, n = 8, 3
    pairs = np.asarray(jax.random.normal(jax.random.fold_in(key, 1), (size, size)))

    def game(masks):
        masks = np.asarray(masks, float)
        return np.einsum("si,ij,sj->s", masks, pairs, masks)

    iterate = iterated_building if select == "b" else iterated_pruning
    trace = iterate(key, game, n, num_players=size, scorer=scorer)
    mask, order = np.full(size, select == "p"), []
    while mask.sum() != n:
        values = np.full(size, -np.inf)
        for player in np.flatnonzero(mask == (select == "p")):
            other = mask.copy()
            other[player] = not mask[player]
            values[player] = value_of(game, other)
        order.append(int(values.argmax()))
        mask[order[-1]] = select == "b"
    assert trace.order.tolist() == order
    assert trace.mask.tolist() == mask.tolist()


@pytest.mark.parametrize("step", [1, 2, 3, 0.4])
@pytest.mark.parametrize("select", [iterated_building, iterated_pruning])
def test_every_size_on_the_way_is_nested(select, step, key):
    worth = np.arange(9.0)
    trace = select(key, lambda m: m @ worth, 5, step=step, num_players=9, scorer=noisy)
    ends = range(6) if select is iterated_building else range(5, 10)
    masks = [trace.mask_at(size) for size in ends]
    assert [int(mask.sum()) for mask in masks] == list(ends)
    for small, large in zip(masks[:-1], masks[1:], strict=True):
        assert (small <= large).all()
    for round in trace.rounds:
        assert (trace.mask_at(int(round.kept.sum())) == round.kept).all()
    with pytest.raises(InputError, match="which this"):
        trace.mask_at(9 if select is iterated_building else 4)


def test_step_is_a_number_or_a_share_of_those_who_are_in(key):
    def sizes(select, step):
        trace = select(
            key, lambda m: m.sum(axis=1), 1 + 19 * (select is iterated_building),
            step=step, num_players=21, scorer=grow,
        )  # fmt: skip
        return [len(round.decided) for round in trace.rounds]

    assert sizes(iterated_pruning, 7) == [7, 7, 6]
    assert sizes(iterated_pruning, 0.5) == [10, 5, 3, 1, 1]  # of 21, 11, 6, 3, 2
    assert sizes(iterated_building, 0.5) == [1, 1, 1, 1, 2, 3, 4, 6, 1]


def test_a_scorer_may_depend_on_the_round(key):
    seen = []

    def make(progress: Progress):
        seen.append(progress.bias_for(3))
        return functools.partial(banzhaf, bias=seen[-1])

    iterated_building(key, rivals, 3, num_players=5, make_scorer=make)
    # 3 of 5; 2 more of 4; 1 more of 3
    assert seen == pytest.approx([3 / 5, 2 / 4, 1 / 3])
    assert Progress(9, np.ones(8, bool), 4, 4, 6).bias_for(3) == pytest.approx(1 / 5)


# -- exchanges -------------------------------------------------------------------------


COVERS = np.array(  # what players 0 to 3 can do, of six jobs
    [
        [1, 1, 1, 0, 0, 0],
        [1, 0, 0, 1, 0, 0],
        [0, 1, 0, 0, 1, 0],
        [0, 0, 1, 0, 0, 1],
    ]
)
PAY = np.array([1.0, 1.0, 0.9, 1.0, 1.0, 1.0])


def jobs(masks):
    """Jobs done by somebody: 0 does three, 1 to 3 two each, all six between them.

    Building takes 0 (2.9), then 1 and 2 for one job more each: 4.9. Of {0, 1, 2} it is
    0 who can best be spared (job 2, .9), and 3 does two jobs that are then open: 5.9.
    """
    return (np.asarray(masks).astype(int) @ COVERS > 0) @ PAY


def test_exchanges_mend_what_building_alone_gets_wrong(key):
    options = {"num_players": 4, "scorer": grow}
    plain = iterated_building(key, jobs, 3, **options)
    assert plain.order.tolist() == [0, 1, 2]
    assert plain.rounds[-1].value == pytest.approx(4.9)
    mended = iterated_building(key, jobs, 3, swaps=2, **options)
    assert [round.exchanges for round in mended.rounds] == [(), (), ((0, 3),)]
    assert mended.mask.tolist() == [False, True, True, True]
    assert mended.rounds[-1].value == pytest.approx(5.9)
    assert (mended.mask_at(3) == mended.mask).all()
    assert mended.mask_at(2).tolist() == [True, True, False, False]
    # each round: N + 1 of the scorer's game; the search; the value at the end
    searches = [2 * 5, 2 * 5, 4 * 5]
    assert mended.num_evaluations == (5 + 4 + 3) + sum(searches) + 3


def test_local_search_only_climbs(key):
    found = local_search(jobs, plain := np.array([True, True, True, False]))
    assert found.exchanges == ((0, 3),) and found.value == pytest.approx(5.9)
    assert plain.tolist() == [True, True, True, False]  # not touched
    again = local_search(jobs, found.mask)
    assert again.exchanges == () and again.value == found.value
    none = local_search(jobs, plain, max_exchanges=0)
    assert none.value == pytest.approx(4.9) and none.num_evaluations == 1
    everybody = local_search(jobs, np.ones(4, bool))
    assert everybody.value == pytest.approx(5.9) and not everybody.exchanges


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
@settings(max_examples=15, deadline=None)
def test_exchanging_several_at_once_climbs_too(seed, at_once):
    numbers = np.random.default_rng(seed)
    worth, pairs = numbers.normal(size=12), numbers.normal(size=(12, 12)) / 4

    def game(masks):
        return masks @ worth + ((masks @ pairs) * masks).sum(axis=1)

    start = numbers.permutation(12) < 6
    calls = []

    def counted(masks):
        calls.append(len(masks))
        return game(masks)

    found = local_search(counted, start, max_exchanges=50, at_once=at_once)
    assert found.mask.sum() == 6
    assert found.value == pytest.approx(game(found.mask[None])[0])
    assert found.value >= game(start[None])[0] and sum(calls) == found.num_evaluations
    again = local_search(game, found.mask)  # single exchanges were tried last
    assert not again.exchanges
    replay = start.copy()
    for gone, came in found.exchanges:
        assert replay[gone] and not replay[came]
        replay[gone], replay[came] = False, True
    assert (replay == found.mask).all()


def test_marginals_and_restriction_agree_with_direct_evaluation(key):
    game = rivals
    kept = np.array([True, False, False, True, False])
    exact = marginal_values(game, kept)
    direct = [
        value_of(game, kept | (np.arange(5) == i))
        - value_of(game, kept & (np.arange(5) != i))
        for i in range(5)
    ]
    assert exact.value.tolist() == direct and exact.num_evaluations == 6
    inner = restrict(game, 5, always_in=kept, always_out=np.arange(5) == 2)
    assert inner.free.tolist() == [1, 4]
    assert inner(np.array([[True, False], [False, True]])).tolist() == [6.0, 5.4]
    nested = restrict(inner, 2, always_in=np.array([True, False]))
    assert nested.free.tolist() == [4]
    assert nested(np.array([[False], [True]])).tolist() == [6.0, 11.4]


EVERY_TRIPLE = (np.arange(8)[:, None] >> np.arange(3) & 1).astype(bool)

# -- families --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def players():
    def apply(params, x):
        return (
            jnp.maximum(jnp.maximum(x @ params["a"], 0) @ params["b"], 0) @ params["c"]
        )

    key = jax.random.key(0)
    shapes = {"a": (3, 5), "b": (5, 3), "c": (3, 2)}
    params = {name: jax.random.normal(key, shape) for name, shape in shapes.items()}
    return find_players(apply, params, jnp.ones((2, 3)))


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("swaps", [0, 2])
@pytest.mark.parametrize("select", [iterated_building, iterated_pruning])
def test_no_family_is_emptied(select, swaps, step, players, key):
    worth = np.where(players.family_of == 0, 10.0, 1.0)  # all would stay in the first

    def game(masks):
        return np.asarray(masks) @ worth

    options = {"scorer": grow, "num_players": 8, "step": step, "swaps": swaps}
    free = select(key, game, 4, **options)
    assert not (free.mask & (players.family_of == 1)).any()
    floor = select(key, game, 4, players=players, min_units=2, **options)
    assert np.bincount(players.family_of[floor.mask]).tolist() == [2, 2]
    for size in range(4, 6 if select is iterated_pruning else 5):
        counts = np.bincount(players.family_of[floor.mask_at(size)], minlength=2)
        assert (counts >= 2).all()
    safe = players.families[1].name
    kept = select(key, game, 5, players=players, protect=(safe,), **options)
    assert np.bincount(players.family_of[kept.mask]).tolist() == [2, 3]
    with pytest.raises(InputError, match="already keep 6"):
        select(key, game, 5, players=players, min_units=3, **options)


@pytest.mark.parametrize("select", [iterated_building, iterated_pruning])
def test_a_game_of_some_families_is_that_of_its_values(select, players, key):
    """A value function restricts itself, by numbers of all players; a plain one not."""
    first, second = players.families
    shapes = {"a": (3, 5), "b": (5, 3), "c": (3, 2)}
    params = {n: jax.random.normal(jax.random.key(1), s) for n, s in shapes.items()}
    x = jax.random.normal(jax.random.key(2), (4, 3))
    game = value_function(
        players,
        params,
        lambda out, y: out[:, 0].mean(),
        x,
        None,
        varying=(second.name,),
    )
    worth = {tuple(mask): game(mask[None])[0] for mask in EVERY_TRIPLE}

    def table(masks):
        return np.array([worth[tuple(mask)] for mask in masks])

    options = {"scorer": shapley, "swaps": 1}
    one = select(key, game, 2, players=players, min_units=2, **options)
    two = select(key, table, 2, num_players=3, **options)
    assert one.order.tolist() == two.order.tolist()
    assert one.mask.tolist() == two.mask.tolist()
    assert one.rounds[-1].value == two.rounds[-1].value
    whole = game.expand(one.mask[None])[0]
    assert whole[first.start : first.stop].all() and whole.sum() == first.size + 2


# -- going on --------------------------------------------------------------------------


class Killed(BaseException):
    pass


@pytest.mark.parametrize("swaps", [0, 1])
@pytest.mark.parametrize("select", [iterated_building, iterated_pruning])
def test_a_run_that_is_cut_off_ends_bit_equal(select, swaps, key, tmp_path):
    options = {"num_players": 5, "scorer": noisy, "swaps": swaps}
    whole = select(key, gloves, 2, **options)
    path = tmp_path / "deep" / "trace.npz"
    seen = []

    def kill(round):
        seen.append(round.number)
        raise Killed

    for _ in whole.rounds:
        with pytest.raises(Killed):
            select(key, gloves, 2, checkpoint=path, callback=kill, **options)
    again = select(key, gloves, 2, checkpoint=path, callback=kill, **options)
    assert seen == [round.number for round in whole.rounds]
    assert_equal(again, whole)
    assert_equal(select(key, gloves, 2, **options), whole)
    other = select(jax.random.fold_in(key, 7), gloves, 2, **options)
    scores = [trace.rounds[0].scores.value.tolist() for trace in (whole, other)]
    assert scores[0] != scores[1]


def assert_equal(one, two):
    assert len(one.rounds) == len(two.rounds)
    for a, b in zip(one.rounds, two.rounds, strict=True):
        assert a.scores.value.tobytes() == b.scores.value.tobytes()
        assert a.scores.stderr.tobytes() == b.scores.stderr.tobytes()
        assert a.players.tolist() == b.players.tolist()
        assert a.decided.tolist() == b.decided.tolist()
        assert a.kept.tolist() == b.kept.tolist()
        assert (a.exchanges, a.value) == (b.exchanges, b.value)
        assert a.num_evaluations == b.num_evaluations
        assert a.scores.num_evaluations == b.scores.num_evaluations


def test_a_checkpoint_of_something_else_is_refused(key, tmp_path):
    path = tmp_path / "trace.npz"
    options = {"num_players": 5, "scorer": shapley, "checkpoint": path}
    iterated_building(key, gloves, 2, **options)
    with pytest.raises(InputError, match="n is 2 there and 3 here"):
        iterated_building(key, gloves, 3, **options)
    with pytest.raises(InputError, match="of another"):
        iterated_building(jax.random.fold_in(key, 1), gloves, 2, **options)
    noise = np.random.default_rng(0)
    iterated_building(
        key, lambda masks: gloves(masks) + noise.normal(size=len(masks)), 2, **options
    )
    with pytest.raises(InputError, match="worth 6 and is worth 12 now"):
        iterated_building(key, lambda masks: 2 * gloves(masks), 2, **options)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="damaged"):
        iterated_building(key, gloves, 2, **options)


# -- bad input -------------------------------------------------------------------------


def nan_scores(key, value_fn, num_players):
    value = np.full(num_players, np.nan)
    return Scores(value, value, 1)


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [
        (0, {}, "expected 0 < n < 5"),
        (5, {}, "expected 0 < n < 5"),
        (2, {"step": 0}, "expected step to be"),
        (2, {"step": 1.5}, "expected step to be"),
        (2, {"step": math.nan}, "expected step to be"),
        (2, {"swaps": -1}, "expected swaps >= 0"),
        (2, {"scorer": None}, "expected num_evaluations="),
        (2, {"make_scorer": lambda p: shapley}, "got both"),
        (2, {"scorer": nan_scores}, "the scorer returned nan for player 0"),
        (2, {"scorer": lambda k, v, n: v}, "to return gp.Scores"),
        (2, {"scorer": lambda k, v, n: shapley(k, gloves, 5)}, "to return 4 scores"),
        (2, {"num_players": None}, "expected num_players"),
        (2, {"protect": ("x",)}, "cannot protect"),
    ],
)
def test_bad_input_is_one_clear_line(n, options, message, key):
    options = {"num_players": 5, "scorer": shapley} | options
    with pytest.raises(InputError, match=message):
        iterated_building(key, gloves, n, **options)


def test_a_value_function_that_is_not_finite(key):
    def broken(masks):
        return np.where(np.asarray(masks).sum(axis=1) == 2, np.nan, 1.0)

    for scorer in (grow, shapley):
        with pytest.raises(InputError, match=r"NaN|nan|finite"):
            iterated_building(key, broken, 3, num_players=4, scorer=scorer)
    with pytest.raises(InputError, match="expected base="):
        greedy_scores(key, gloves, 5, base="half")  # type: ignore[arg-type]


@pytest.mark.parametrize("play", [iterated_pruning, iterated_building])
def test_ranks_agree_with_who_is_in_after_exchanges(play):
    """A player that came back, or was exchanged out, has the rank of where it is."""
    exchanges = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        single, pairs = rng.normal(size=8), rng.normal(size=(8, 8))

        def game(masks, single=single, pairs=pairs):
            return masks @ single + np.einsum("si,ij,sj->s", masks, pairs, masks)

        base = "full" if play is iterated_pruning else "empty"
        trace = play(
            0,
            game,
            4,
            step=2,
            swaps=4,
            scorer=functools.partial(greedy_scores, base=base),
            num_players=8,
        )
        exchanges += sum(len(one.exchanges) for one in trace.rounds)
        rank = trace.rank
        assert rank[trace.mask].min() > rank[~trace.mask].max()
    assert exchanges
