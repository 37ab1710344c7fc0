"""As many players as a budget allows: by scores, by traces, and never more."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.selection import (
    greedy_scores,
    iterated_building,
    iterated_pruning,
    limit_size,
    most_within,
)

WIDTHS = (12, 9, 5)


@pytest.fixture(scope="module")
def players():
    sizes = (7, *WIDTHS, 3)
    params = [jnp.ones(pair) for pair in zip(sizes, sizes[1:], strict=False)]

    def apply(params, x):
        for weights in params[:-1]:
            x = jnp.tanh(x @ weights)
        return x @ params[-1]

    return gp.find_players(apply, params, jnp.ones((2, 7)))


def draw(seed: int) -> gp.Scores:
    value = np.random.default_rng(seed).random(sum(WIDTHS))
    return gp.Scores(value, np.zeros_like(value), 0)


@pytest.mark.parametrize("unit", ["players", "params", "bytes", "macs"])
@pytest.mark.parametrize("keep", [0.15, 0.3, 0.5, 0.95])
def test_one_more_would_not_fit(players, unit, keep):
    limit = limit_size(players, gp.players.size_of(players, unit).count, keep)
    assert limit.limit == keep * limit.whole
    scores = draw(0)
    mask = most_within(scores, limit.fits, players=players)
    assert limit.fits(mask)
    assert all(mask[f.start : f.stop].any() for f in players.families)
    for family in players.families:
        out = [k for k in range(family.start, family.stop) if not mask[k]]
        best = max(out, key=lambda k: scores.value[k], default=None)
        if best is not None:
            wider = mask.copy()
            wider[best] = True
            assert not limit.fits(wider)


def test_it_begins_with_the_largest_number_of_the_best_that_fits(players):
    limit = limit_size(players, gp.players.size_of(players, "macs").count, 0.4)
    for seed in range(5):
        scores = draw(seed)
        mask = most_within(scores, limit.fits, players=players)
        sizes = range(len(WIDTHS), sum(WIDTHS))
        masks = [np.asarray(gp.top_n(scores, n, players=players)) for n in sizes]
        (*_, best) = (m for m in masks if limit.fits(m))  # by brute force
        assert (mask >= best).all()


@pytest.mark.parametrize(("scope", "round_to"), [("family", 1), ("global", 4)])
def test_scopes_and_multiples(players, scope, round_to):
    limit = limit_size(
        players, gp.players.size_of(players).count, 0.6, round_to=round_to
    )
    how = {"players": players, "scope": scope, "round_to": round_to}
    mask = most_within(draw(1), limit.fits, **how)
    assert limit.fits(mask)
    masks = [np.asarray(gp.top_n(draw(1), n, **how)) for n in range(14, sum(WIDTHS))]
    best = max((m for m in masks if limit.fits(m)), key=np.sum)
    assert mask.sum() == best.sum()


@pytest.mark.parametrize("step", [1, 0.3])
@pytest.mark.parametrize("is_building", [False, True])
def test_a_selection_ends_when_it_is_past_the_limit(
    players, is_building, step, tmp_path
):
    worth = np.random.default_rng(2).random(sum(WIDTHS))
    limit = limit_size(players, gp.players.size_of(players, "macs").count, 0.4)
    play = iterated_building if is_building else iterated_pruning
    scorer = lambda *args, **more: greedy_scores(  # noqa: E731
        *args, base="empty" if is_building else "full", **more
    )
    total = sum(WIDTHS)

    def run():
        return play(
            jax.random.key(0),
            lambda masks: masks @ worth,
            total - 1 if is_building else len(WIDTHS),
            step=step,
            scorer=scorer,
            num_players=total,
            players=players,
            until=lambda kept: limit.fits(kept) != is_building,
            checkpoint=tmp_path / "trace.npz",
        )

    trace = run()
    assert limit.fits(trace.mask) != is_building
    before = trace.rounds[-2].kept
    assert limit.fits(before) == is_building
    mask = most_within(trace, limit.fits, players=players)
    assert limit.fits(mask)
    assert not limit.fits(trace.mask_at(int(mask.sum()) + 1))
    assert len(run().rounds) == len(trace.rounds)  # read, and over


@pytest.mark.parametrize(
    ("keep", "told"),
    [
        (0.001, "from 12 .1 in each family, 0.0476 of the whole. to below 252"),
        (252, "got 252"),
        (5, "got 5"),
    ],
)
def test_limits_out_of_reach_are_refused(players, keep, told):
    with pytest.raises(gp.InputError, match=told):
        limit_size(players, gp.players.size_of(players).count, keep)


def test_players_that_never_fit_are_refused(players):
    with pytest.raises(gp.InputError, match="not even the best 3 players"):
        most_within(draw(0), lambda mask: False, players=players)


def test_a_trace_may_have_gone_far_past_the_limit():
    sizes = (7, 10, 3)
    params = [jnp.ones(pair) for pair in zip(sizes, sizes[1:], strict=False)]

    def apply(params, x):
        return jnp.tanh(x @ params[0]) @ params[1]

    players = gp.find_players(apply, params, jnp.ones((2, 7)))
    worth = np.arange(10.0)
    options = {"num_players": 10, "players": players}
    for select, n, base in (
        (iterated_pruning, 2, "full"),
        (iterated_building, 8, "empty"),
    ):
        scorer = functools.partial(greedy_scores, base=base)
        trace = select(
            jax.random.key(0), lambda m: m @ worth, n, scorer=scorer, **options
        )
        for limit in (3, 5, 7):
            fits = lambda mask, limit=limit: mask.sum() <= limit  # noqa: E731
            mask = most_within(trace, fits, players=players)
            assert mask.sum() == limit
            assert mask[-limit:].all()
