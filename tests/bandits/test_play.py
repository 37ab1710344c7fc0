"""Pulls against full passes, and games against what must come of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.bandits import (
    POLICIES,
    count_turns,
    host,
    make_plays,
    record_bandit,
    safe_reward,
)
from gamepruning.types import InputError


def mlp(params, x):
    h = jax.nn.relu(x @ params["w1"] + params["b1"][None])
    h = jax.nn.relu(h @ params["w2"])
    return h @ params["w3"]


def convnet(params, x):
    dims = ("NHWC", "HWIO", "NHWC")
    conv = jax.lax.conv_general_dilated
    h = jax.nn.relu(conv(x, params["k1"], (1, 1), "SAME", dimension_numbers=dims))
    h = jax.nn.relu(conv(h, params["k2"], (2, 2), "SAME", dimension_numbers=dims))
    return h.reshape(len(x), -1) @ params["w"]


def normal(seed, *shape):
    return 0.5 * jax.random.normal(jax.random.key(seed), shape)


def mlp_model():
    shapes = {"w1": (6, 9), "b1": (9,), "w2": (9, 5), "w3": (5, 3)}
    params = {n: normal(k, *shape) for k, (n, shape) in enumerate(shapes.items())}
    return mlp, params, normal(4, 90, 6)


def convnet_model():
    shapes = {"k1": (3, 3, 1, 4), "k2": (3, 3, 4, 3), "w": (48, 3)}
    params = {n: normal(k, *shape) for k, (n, shape) in enumerate(shapes.items())}
    return convnet, params, normal(3, 40, 8, 8, 1)


MODELS = {"mlp": mlp_model, "convnet": convnet_model}


@functools.cache
def setting(name="mlp", granularity="unit"):
    apply, params, x = MODELS[name]()
    y = jnp.arange(len(x)) % 3
    players = gp.find_players(apply, params, x[:2], granularity=granularity)
    return players, params, x, y


def loss_change(players, params, x, y, gates, player):
    """By two full passes."""
    gates = jnp.asarray(gates, float)
    with_it = gp.cross_entropy(players.gated(params, gates, x), y)
    without = players.gated(params, gates.at[player].set(0.0), x)
    return float(gp.cross_entropy(without, y) - with_it)


@pytest.mark.parametrize("most_bytes", [2**29, 40_000, 0])
@pytest.mark.parametrize("name", MODELS)
def test_a_pull_is_the_difference_of_two_full_passes(name, most_bytes):
    players, params, x, y = setting(name)
    arms = gp.removal_arms(
        players, params, gp.cross_entropy, x, y, batch_size=20, most_bytes=most_bytes
    )
    pull = jax.jit(arms.pull)
    for player in range(players.num_players):
        batch = player % arms.num_batches
        rows = slice(20 * batch, 20 * batch + 20)
        gates = np.ones(players.num_players)
        expected = loss_change(players, params, x[rows], y[rows], gates, player)
        found = float(pull(arms.data, player, batch))
        assert abs(found - expected) < 1e-5


def test_single_weights_are_pulled_too():
    players, params, x, y = setting(granularity="weight")
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, y, batch_size=90)
    assert arms.share == 1
    for player in (0, 50, 113):
        gates = np.ones(players.num_players)
        expected = loss_change(players, params, x, y, gates, player)
        assert abs(float(arms.pull(arms.data, player, 0)) - expected) < 1e-5


def test_all_loss_changes_are_the_greedy_oracle():
    players, params, x, y = setting()
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, y, batch_size=30)
    oracle = gp.baselines.loss_oracle_scores(players, params, gp.cross_entropy, x, y)
    np.testing.assert_allclose(arms.loss_changes(), oracle.value, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_arms_without_some_players(name):
    players, params, x, y = setting(name)
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, y, batch_size=20)
    kept = np.ones(players.num_players, bool)
    kept[[1, 5]] = False
    left = arms.without(kept)
    for player in (0, 3, 6):
        expected = loss_change(players, params, x[:20], y[:20], kept, player)
        assert abs(float(left.pull(left.data, player, 0)) - expected) < 1e-5
    found = record_bandit(jax.random.key(0), gp.ucb1(), left, num_pulls=40)
    assert found.pulls[[1, 5]].tolist() == [0, 0] and found.pulls.sum() == 40
    assert np.isneginf(found.scores.value[[1, 5]]).all()
    assert np.isfinite(found.scores.value[kept]).all()


def test_arms_on_other_weights_and_examples():
    players, params, x, y = setting()
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, y, batch_size=30)
    arms.loss_changes()
    count = len(arms.compiled)
    other = jax.tree.map(lambda leaf: 1.3 * leaf + 0.1, params)
    again = arms.renewed(other, 2 * x, 2 - y)
    oracle = gp.baselines.loss_oracle_scores(
        players, other, gp.cross_entropy, 2 * x, 2 - y
    )
    np.testing.assert_allclose(again.loss_changes(), oracle.value, atol=1e-5)
    assert len(again.compiled) == count  # nothing was compiled anew


@pytest.mark.parametrize("name", ["ucb1", "softmax", "exp3", "uniform"])
def test_enough_pulls_give_the_oracle(name):
    """Arms walk through the mini-batches: after all of them a mean is exact."""
    players, params, x, y = setting()
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, y, batch_size=45)
    found = record_bandit(jax.random.key(1), POLICIES[name](), arms, num_pulls=300)
    assert found.scores.num_evaluations == found.pulls.sum() == 300
    seen = np.bincount(found.arms, minlength=14)
    np.testing.assert_array_equal(seen, found.pulls)
    exact = np.asarray(arms.loss_changes())
    even = (found.pulls % 2 == 0) & (found.pulls > 0)
    assert even.any()
    np.testing.assert_allclose(found.scores.value[even], exact[even], atol=1e-6)
    assert (found.scores.stderr[even] == 0).all()


def test_scores_are_within_their_standard_errors():
    players, params, x, y = setting()
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, y, batch_size=3)
    exact = np.asarray(arms.loss_changes())
    apart = []
    for seed in range(30):
        found = record_bandit(
            jax.random.key(seed), gp.bandits.uniform(), arms, num_pulls=14 * 10
        )
        enough = (found.pulls >= 8) & (found.scores.stderr > 1e-7)
        error = (found.scores.value - exact)[enough]
        apart += list(error / found.scores.stderr[enough])
    assert len(apart) > 200
    assert 0.85 < np.mean(np.abs(apart) < 1.96) < 0.98  # Student's t, about .92
    assert abs(np.mean(apart)) < 0.2


def test_caution_adds_standard_errors():
    players, params, x, y = setting()
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, y, batch_size=10)
    key, policy = jax.random.key(0), gp.ucb1()
    plain = gp.play_bandit(key, policy, arms, num_pulls=60)
    careful = gp.play_bandit(key, policy, arms, num_pulls=60, caution=2.0)
    assert plain.stderr.max() > 0
    np.testing.assert_allclose(careful.value, plain.value + 2 * plain.stderr)
    record = gp.bandits.record_bandit(key, policy, arms, num_pulls=60, caution=2.0)
    np.testing.assert_array_equal(record.mean, plain.value)
    value_fn = gp.value_function(players, params, gp.accuracy, x, y)
    trace = gp.safe_removal(key, policy, arms, value_fn, 10, step=4, caution=2.0)
    first = gp.play_bandit(jax.random.fold_in(key, 0), policy, arms, caution=2.0)
    np.testing.assert_array_equal(trace.rounds[0].scores.value, first.value)
    check_last_scores(trace)


def check_last_scores(trace):
    """A player has the mean and the error of the round that it left in."""
    last = trace.last_scores
    assert np.isfinite(last.value).all() and last.stderr.shape == trace.mask.shape
    for number, round in enumerate(trace.rounds):
        is_end = number == len(trace.rounds) - 1
        own = round.players if is_end else round.decided
        places = np.searchsorted(round.players, own)
        np.testing.assert_array_equal(last.value[own], round.scores.value[places])
        np.testing.assert_array_equal(last.stderr[own], round.scores.stderr[places])


def test_rewards_are_bounded_and_fall_with_the_loss():
    changes = jnp.array([-100.0, -1.0, 0.0, 1.0, 100.0])
    rewards = np.asarray(safe_reward(changes, jnp.asarray(1.0)))
    assert rewards[2] == 0.5 and (np.diff(rewards) <= 0).all()
    assert rewards.min() >= 0 and rewards.max() <= 1
    assert np.isfinite(safe_reward(changes, jnp.asarray(0.0))).all()


@pytest.mark.parametrize("at_once", [2, 7, 14])
def test_pulls_side_by_side(at_once):
    players, params, x, y = setting()
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, y, batch_size=10)
    key = jax.random.key(0)
    found = record_bandit(key, gp.ucb1(), arms, num_pulls=140, pulls_at_once=at_once)
    assert found.pulls.sum() == 14 + at_once * count_turns(140, 14, at_once)
    exact = np.asarray(arms.loss_changes())
    assert np.corrcoef(found.scores.value, exact)[0, 1] > 0.9


def test_a_value_function_is_played_on_the_host():
    players, params, x, y = setting()
    value_fn = gp.value_function(players, params, gp.negative_cross_entropy, x, y)
    key = jax.random.key(0)
    scores = gp.play_bandit(key, gp.thompson(), value_fn, num_pulls=40)
    oracle = gp.baselines.loss_oracle_scores(players, params, gp.cross_entropy, x, y)
    np.testing.assert_allclose(scores.value, oracle.value, atol=1e-5)
    assert isinstance(scores, gp.Scores) and scores.num_evaluations == 40
    assert not np.asarray(scores.stderr).any()


@pytest.mark.parametrize("most", [2**26, 30, 10])
def test_arms_on_the_host_are_pulled_in_pieces(monkeypatch, most):
    monkeypatch.setattr(host, "_PIECE_BYTES", most)
    sizes = []

    def value_fn(masks):
        sizes.append(len(masks))
        return masks @ np.arange(10.0)

    arms = host.HostArms(value_fn, 10)
    np.testing.assert_array_equal(arms.pull(np.arange(10)), np.arange(10.0))
    assert max(sizes) <= max(1, most // 10) and sum(sizes) == 11
    assert len(sizes) == 1 or most < 2**26


def test_a_noisy_value_function_has_standard_errors():
    noise = np.random.default_rng(0)

    def value_fn(masks):
        return masks @ np.array([3.0, 1.0, 2.0]) + noise.normal(size=len(masks))

    policy = gp.bandits.uniform()
    found = record_bandit(0, policy, value_fn, num_arms=3, num_pulls=900)
    expected = np.sqrt(2 / found.pulls)  # a pull is the difference of two values
    np.testing.assert_allclose(found.scores.stderr, expected, rtol=0.2)
    assert (abs(found.mean - [3, 1, 2]) < 4 * expected).all()


def test_seeds_by_vmap_are_the_seeds_alone():
    players, params, x, y = setting()
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, y, batch_size=10)
    plays = make_plays(gp.bandits.softmax(), arms, num_pulls=80)
    is_open = jnp.ones(14, bool)

    def whole(key):
        game = plays.init(arms.data, key, is_open)
        return plays.advance(arms.data, game, 0, count_turns(80, 14))

    keys = jax.random.split(jax.random.key(0), 3)
    games = jax.jit(jax.vmap(whole))(keys)
    alone = record_bandit(keys[1], gp.bandits.softmax(), arms, num_pulls=80)
    np.testing.assert_array_equal(games.arms[1][:80], alone.arms)
    assert len({tuple(row) for row in np.asarray(games.arms)}) == 3


def test_it_stops_when_the_cut_is_settled():
    players, params, x, y = setting()
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, y, batch_size=10)
    exact, seen = np.asarray(arms.loss_changes()), []
    count = 1 + int(np.argmax(np.diff(np.sort(exact))[:-1]))  # where the gap is large
    found = record_bandit(
        *(jax.random.key(0), gp.bandits.uniform(), arms),
        num_pulls=5000,
        stop_at=count,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert found.status == "separated" and found.pulls.sum() < 5000
    chosen = set(np.argsort(found.scores.value)[:count].tolist())
    assert chosen == set(np.argsort(exact)[:count].tolist())
    assert seen[0] == (14, 5000) and seen[-1][0] == found.pulls.sum()
    assert (
        record_bandit(jax.random.key(0), gp.bandits.uniform(), arms).status == "budget"
    )


def test_the_same_key_is_the_same_game():
    players, params, x, y = setting()
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, y, batch_size=10)
    one, two, other = (
        record_bandit(jax.random.key(seed), gp.thompson(), arms).arms
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


@pytest.mark.parametrize("policy", ["ucb1", "thompson"])
def test_removal_round_by_round(policy, tmp_path):
    players, params, x, y = setting()
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, y, batch_size=10)
    value_fn = gp.value_function(players, params, gp.negative_cross_entropy, x, y)
    key, make = jax.random.key(0), POLICIES[policy]
    trace = gp.safe_removal(
        *(key, make(), arms, value_fn, 5),
        step=3,
        num_pulls=140,
        players=players,
        checkpoint=tmp_path / "rounds.npz",
    )
    assert trace.mask.sum() == 5 and len(trace.rounds) == 3
    spans = [slice(f.start, f.stop) for f in players.families]
    assert all(trace.mask[span].any() for span in spans)
    removed = []
    for round in trace.rounds:  # each was scored in the network of its round
        left = arms.without(np.isin(np.arange(14), round.players))
        assert not set(removed) & set(round.players.tolist())
        exact = np.asarray(left.loss_changes())[round.players]
        assert np.corrcoef(np.asarray(round.scores.value), exact)[0, 1] > 0.8
        removed += round.decided.tolist()
    again = gp.safe_removal(
        *(key, make(), arms, value_fn, 5),
        step=3,
        num_pulls=140,
        players=players,
        checkpoint=tmp_path / "rounds.npz",
    )
    np.testing.assert_array_equal(again.order, trace.order)


def test_removal_ends_before_the_value_drops():
    players, params, x, _ = setting()
    y = jnp.argmax(mlp(params, x), axis=1)  # so that removal hurts
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, y, batch_size=45)
    value_fn = gp.value_function(players, params, gp.negative_cross_entropy, x, y)
    full = float(value_fn(np.ones((1, 14), bool))[0])
    run = functools.partial(
        gp.safe_removal, jax.random.key(0), gp.ucb1(), arms, value_fn, 1, step=2
    )
    drops = [full - round.value for round in run().rounds]
    bound = run(max_drop=drops[-1] / 2)
    count = next(k for k, drop in enumerate(drops) if drop > drops[-1] / 2)
    assert 0 < count < len(drops) == 7
    assert [full - round.value for round in bound.rounds] == drops[:count]
    with pytest.raises(InputError, match="max_drop >= 0"):
        run(max_drop=-1.0)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_pulls": 0}, "num_pulls >= 14, one pull for each arm, got 0"),
        ({"num_pulls": 13}, "num_pulls >= 14"),
        ({"pulls_at_once": 15}, r"pulls_at_once in \[1, 14\]"),
        ({"stop_at": 14}, r"stop_at in \(0, 14\)"),
        ({"caution": -1.0}, "caution >= 0"),
    ],
)
def test_bad_budgets(options, message):
    players, params, x, y = setting()
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, y)
    with pytest.raises(InputError, match=message):
        record_bandit(jax.random.key(0), gp.ucb1(), arms, **options)


def test_bad_arms():
    players, params, x, y = setting()
    with pytest.raises(InputError, match="same number of examples"):
        gp.removal_arms(players, params, gp.cross_entropy, x, y[:-1])
    with pytest.raises(InputError, match="batch_size >= 1"):
        gp.removal_arms(players, params, gp.cross_entropy, x, y, batch_size=0)
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, y)
    with pytest.raises(InputError, match=r"bool \[14\] with somebody in"):
        arms.without(np.zeros(14, bool))
    with pytest.raises(InputError, match="num_arms="):
        record_bandit(jax.random.key(0), gp.ucb1(), lambda masks: masks.sum(1))
    for num, told in ((0, "got 0"), (2.5, "whole number, got 2.5"), (3, "has 14")):
        with pytest.raises(InputError, match=told):
            game = gp.value_function(players, params, gp.accuracy, x, y)
            record_bandit(jax.random.key(0), gp.ucb1(), game, num_arms=num)
    with pytest.raises(InputError, match="shape"):
        record_bandit(jax.random.key(0), gp.ucb1(), lambda m: m, num_arms=3)
    for count in (0, arms.num_batches + 1):
        with pytest.raises(InputError, match="num_batches in "):
            arms.loss_changes(count)
    nan = gp.removal_arms(players, params, gp.cross_entropy, x * jnp.nan, y)
    with pytest.raises(InputError, match="loss change of player 0 is nan"):
        record_bandit(jax.random.key(0), gp.ucb1(), nan)


def test_rounds_of_a_removal_have_ten_pulls_for_each_player_that_is_left():
    players, params, x, y = setting()
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, y, batch_size=30)
    value_fn = gp.value_function(players, params, gp.accuracy, x, y)
    key = jax.random.key(0)
    trace = gp.safe_removal(key, gp.bandits.exp3(), arms, value_fn, 4, step=5)
    assert [round.scores.num_evaluations for round in trace.rounds] == [140, 90]
    games = [known for known in arms.compiled if known[0] == gp.bandits.exp3()]
    assert len(games) == 1  # one program for both


def test_a_checkpoint_of_another_game_is_refused(tmp_path):
    players, params, x, y = setting()
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, y, batch_size=30)
    value_fn = gp.value_function(players, params, gp.accuracy, x, y)
    run = functools.partial(
        *(gp.safe_removal, jax.random.key(0)), n=4, step=5, checkpoint=tmp_path / "c"
    )
    first = run(gp.bandits.uniform(), arms, value_fn)
    again = run(gp.bandits.uniform(), arms, value_fn)
    np.testing.assert_array_equal(first.order, again.order)
    for policy, caution in ((gp.thompson(), 0.0), (gp.bandits.uniform(), 2.0)):
        with pytest.raises(InputError, match="checkpoint"):
            run(policy, arms, value_fn, caution=caution)
    run = functools.partial(run, checkpoint=tmp_path / "other")
    run(gp.ucb1(), arms, value_fn)
    with pytest.raises(InputError, match="rate"):
        run(gp.ucb1(0.5), arms, value_fn)
    run = functools.partial(run, checkpoint=tmp_path / "greedy")
    run(gp.bandits.epsilon_greedy(), arms, value_fn)
    with pytest.raises(InputError, match="policy"):
        run(gp.bandits.epsilon_greedy(decay=True), arms, value_fn)


def test_only_open_arms_are_pulled():
    """Each pull of the first round adds one to what the pulls call."""
    players, params, x, y = setting()
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, y, batch_size=30)
    kept = np.zeros(players.num_players, bool)
    kept[[2, 6, 7]] = True
    left = arms.without(kept)
    pulled = []
    pull = left.pull

    def watched(data, player, batch):
        jax.debug.callback(lambda p: pulled.append(int(p)), player)
        return pull(data, player, batch)

    left.pull = watched
    found = record_bandit(jax.random.key(0), gp.bandits.uniform(), left, num_pulls=3)
    jax.effects_barrier()
    assert sorted(pulled) == [2, 6, 7]
    assert found.arms[found.arms >= 0].tolist() == [2, 6, 7]


@pytest.mark.parametrize("name", ["hedge", "exp3"])
def test_an_arm_that_is_drawn_twice_in_a_turn_sees_two_mini_batches(name):
    """Fourteen draws at once among three arms: every walk of three is then exact."""
    players, params, x, y = setting()
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, y, batch_size=30)
    found = record_bandit(
        *(jax.random.key(3), POLICIES[name](), arms),
        num_pulls=14 * 20,
        pulls_at_once=14,
    )
    whole = (found.pulls % 3 == 0) & (found.pulls > 0)
    assert whole.any()
    exact = np.asarray(arms.loss_changes())
    np.testing.assert_allclose(found.scores.value[whole], exact[whole], atol=1e-6)
    assert (found.scores.stderr[whole] == 0).all()
