"""Who knows the number of players, and what a game can do."""

from fractions import Fraction

import jax
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.coalitions import banzhaf, restrict, shapley, voting_game
from gamepruning.coalitions.games import (
    can_restrict,
    check_num_players,
    has_prefixes,
    has_toggles,
    is_incremental,
)
from gamepruning.coalitions.restrict import RestrictedGame
from gamepruning.types import Game, HasPrefixes, HasToggles, InputError, Metric

KEY = jax.random.key(2)
VOTING = voting_game(3, [2, 1, 1])


def plain(masks):
    return np.asarray(masks).sum(axis=1)


class Counted:
    """A plain game that knows its players."""

    num_players = 3

    def __call__(self, masks):
        return VOTING(masks)


CALLS = {
    "shapley_values": lambda game, *n: gp.shapley_values(
        KEY, game, *n, num_evaluations=60
    ),
    "banzhaf_values": lambda game, *n: gp.banzhaf_values(
        KEY, game, *n, num_evaluations=60
    ),
    "exact_shapley": gp.exact_shapley,
    "exact_banzhaf": gp.exact_banzhaf,
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("game", [VOTING, Counted()], ids=["voting", "counted"])
def test_the_number_of_players_may_be_left_out(name, game):
    short, long = CALLS[name](game), CALLS[name](game, 3)
    assert short.value.tobytes() == long.value.tobytes()
    assert short.num_evaluations == long.num_evaluations
    with pytest.raises(InputError, match="has 3 players, got num_players = 4: leave"):
        CALLS[name](game, 4)


@pytest.mark.parametrize("name", CALLS)
def test_a_plain_function_needs_it(name):
    assert len(CALLS[name](plain, 3).value) == 3
    with pytest.raises(InputError, match="pass num_players=N"):
        CALLS[name](plain)


@pytest.mark.parametrize("law", [shapley, banzhaf, lambda n: banzhaf(n, 0.3)])
def test_an_index_may_be_given_for_any_number_of_players(law):
    options = {"num_evaluations": 60}
    for run in (gp.coalitions.semivalues, gp.coalitions.estimate_indices):
        short, long = (
            run(KEY, VOTING, law, **options),
            run(KEY, VOTING, law(3), **options),
        )
        scores = [getattr(found, "scores", found) for found in (short, long)]
        assert scores[0].value.tobytes() == scores[1].value.tobytes()
        with pytest.raises(InputError, match="pass num_players=N"):
            run(KEY, plain, law, **options)
    exact = gp.coalitions.exact_semivalue(VOTING, law)
    assert (
        exact.value.tolist()
        == gp.coalitions.exact_semivalue(VOTING, law(3)).value.tolist()
    )


def test_what_is_no_index_is_refused():
    with pytest.raises(InputError, match="expected a Semivalue, made by shapley"):
        gp.coalitions.exact_semivalue(VOTING, lambda n: n)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="has 3 players, got num_players = 4"):
        gp.coalitions.exact_semivalue(VOTING, shapley(4))


@pytest.mark.parametrize("bad", [0, -1, 2.5, "three"])
def test_a_number_that_counts_no_players(bad):
    with pytest.raises(InputError, match="whole number of players, at least 1"):
        check_num_players(bad)


def test_what_games_can_do():
    assert isinstance(VOTING, Game) and can_restrict(VOTING)
    assert not can_restrict(Counted()) and not isinstance(plain, Game)
    for game in (VOTING, Counted(), plain):
        assert not (has_prefixes(game) or has_toggles(game) or is_incremental(game))
        assert not isinstance(game, HasPrefixes | HasToggles)
    assert isinstance(gp.accuracy, Metric) and isinstance(jax.jit(gp.accuracy), Metric)


def test_the_value_function_of_a_network_is_a_game():
    def apply(params, x):
        return jax.nn.relu(x @ params["a"]) @ params["b"]

    params = {"a": np.eye(3, dtype=np.float32), "b": np.ones((3, 1), np.float32)}
    x = np.ones((4, 3), np.float32)
    players = gp.find_players(apply, params, x)
    game = gp.value_function(players, params, lambda out, y: out.mean(), x, None)
    assert isinstance(game, Game) and has_prefixes(game) and has_toggles(game)
    assert gp.exact_shapley(game).value.tolist() == [1.0, 1.0, 1.0]
    assert repr(game) == "ValueFunction(3 free of 3 players, 8 evaluations)"
    with pytest.raises(TypeError, match="'chunksize': did you mean 'chunk_size'"):
        gp.value_function(players, params, gp.r2, x, x, chunksize=3)  # type: ignore


def test_a_voting_game_among_fewer():
    """With the voter of weight 2 always in, one more of the others wins."""
    inside = np.array([True, False, False])
    few = restrict(VOTING, always_in=inside)
    assert isinstance(few, RestrictedGame) and few.free.tolist() == [1, 2]
    masks = np.array([[False, False], [True, False], [True, True]])
    assert few(masks).tolist() == [0.0, 1.0, 1.0]
    fewer = VOTING.restrict(always_in=[0], always_out=[1])
    assert fewer.free.tolist() == [2] and repr(fewer) == (
        "RestrictedGame(1 free of 3 players)"
    )
    plainly = restrict(lambda masks: VOTING(masks), 3, always_in=inside)
    assert plainly(masks).tolist() == few(masks).tolist()
    with pytest.raises(InputError, match="pass num_players=N"):
        restrict(plain, always_in=inside)


def test_scores_are_one_line_and_tracers_are_no_error():
    scores = gp.Scores(np.arange(300.0), np.zeros(300), 7)
    assert repr(scores) == (
        "Scores(300 players, value 0 to 299, stderr at most 0, 7 evaluations)"
    )
    seen = []

    def traced(scores):
        seen.append(repr(scores))
        return scores.value

    jax.jit(traced)(scores)
    assert seen[0].startswith("Scores(") and "JitTracer" in seen[0]
    assert repr(jax.tree.map(np.shape, scores)).startswith("Scores((300,)")


def test_players_of_a_plain_game_are_a_mask_or_numbers():
    game = voting_game(3, [2, 1, 1, 1])
    assert game.restrict(always_in=np.arange(4) == 0).free.tolist() == [1, 2, 3]
    for wrong in ([4], [-1], np.arange(3) == 0):
        with pytest.raises(InputError, match="expected always_in"):
            game.restrict(always_in=wrong)
    with pytest.raises(InputError, match="a free player"):
        game.restrict(always_in=[0, 1, 2, 3])


def test_nobody_is_always_in_and_always_out():
    one, two = np.arange(4) == 1, np.arange(4) == 2
    game = voting_game(2, [1] * 4).restrict(always_in=np.arange(4) == 0)
    for call in (
        lambda: game.restrict(always_in=one, always_out=one),
        lambda: game.restrict(always_out=np.arange(4) == 0),
        lambda: game.restrict(always_in=one).restrict(always_out=one),
        lambda: game.restrict(always_out=two).restrict(always_in=two),
    ):
        with pytest.raises(InputError, match="cannot be always in and always out"):
            call()


@pytest.mark.parametrize("kind", [complex, str, "datetime64[s]"])
@pytest.mark.parametrize("ask", [gp.exact_shapley, gp.coalitions.nucleolus])
def test_values_are_real_numbers(kind, ask):
    def game(masks):
        return masks.sum(axis=1).astype(kind)

    with pytest.raises(InputError, match="real numbers, got"):
        ask(game, 3)
    with pytest.raises(InputError, match="real numbers, got"):
        gp.coalitions.exact_owen(game, [0, 0, 1])


def test_values_may_be_fractions():
    def game(masks):
        return np.array([Fraction(int(size), 3) for size in masks.sum(axis=1)])

    assert gp.exact_shapley(game, 3).value.round(6).tolist() == [0.333333] * 3
