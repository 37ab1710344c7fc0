"""Labels, metrics and keys as users get them wrong: one clear line, or the result."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gamepruning as gp
from gamepruning.bandits import POLICIES, record_bandit
from gamepruning.trees.keys import as_key


def apply(params, x):
    return jax.nn.relu(x @ params["w1"]) @ params["w2"]


def make(key, num_outputs=3):
    one, two, three = jax.random.split(key, 3)
    params = {
        "w1": jax.random.normal(one, (4, 6)),
        "w2": jax.random.normal(two, (6, num_outputs)),
    }
    x = jax.random.normal(three, (20, 4))
    labels = np.asarray(apply(params, x).argmax(axis=1))
    return gp.find_players(apply, params, x), params, x, labels


WRONG_LABELS = {
    "from one": (lambda y: y + 1, "run from 1 to 3 .*pass labels - 1"),
    "negative": (lambda y: y - 1, "run from -1 to 1 .*whose label is negative"),
    "too large": (lambda y: y * 5, "give the network more outputs"),
    "one-hot": (lambda y: np.eye(3)[y], r"one-hot labels pass labels.argmax\(-1\)$"),
    "several": (lambda y: np.ones((20, 3), int), "rows are no one-hot classes"),
    "a column": (lambda y: y[:, None], r"labels\[..., 0\]"),
    "other columns": (lambda y: np.eye(4)[y], "labels have 4 columns, the network 3"),
    "too few": (lambda y: y[:10], "there are 10 labels for 20 examples"),
    "floats": (lambda y: y.astype(float), "integer class labels, got float"),
    "text": (lambda y: y.astype(str), r"labels are text .*return_inverse=True\)\[1\]"),
}
USES = {
    "value_function": gp.value_function,
    "taylor": gp.taylor_scores,
    "weights": gp.baselines.weight_gradient_scores,
    "oracle": gp.baselines.loss_oracle_scores,
    "arms": gp.removal_arms,
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("wrong", WRONG_LABELS)
def test_wrong_labels_are_named_at_once(key, use, wrong):
    players, params, x, labels = make(key)
    change, message = WRONG_LABELS[wrong]
    if wrong == "too few" and use in ("arms", "taylor"):
        message = "the same number of examples"
    for metric in (gp.accuracy, lambda out, y: -gp.accuracy(out, y)):
        with pytest.raises(gp.InputError, match=message):
            USES[use](players, params, metric, x, change(labels))


def test_a_single_logit_has_no_classes(key):
    players, params, x, labels = make(key, num_outputs=1)
    with pytest.raises(gp.InputError, match="one output for each example"):
        gp.value_function(players, params, gp.accuracy, x, labels)


def test_lists_are_arrays(key):
    players, params, x, labels = make(key)
    value_fn = gp.value_function(
        players, params, gp.accuracy, x.tolist(), labels.tolist()
    )
    masks = np.ones((2, 6), bool)
    assert value_fn(masks).tolist() == [1.0, 1.0]
    assert gp.find_players(apply, params, x.tolist()).num_players == 6


def test_one_coalition_has_one_value(key):
    players, params, x, labels = make(key)
    value_fn = gp.value_function(players, params, gp.accuracy, x, labels)
    assert value_fn(np.ones(6, bool)) == 1.0
    assert gp.coalitions.restrict(lambda m: m.sum(1), 3)(np.ones(3, bool)) == 3
    with pytest.raises(gp.InputError, match=r"coalition has shape \(5,\)"):
        value_fn(np.ones(5, bool))


def test_mcue_names_labels_out_of_range(key):
    players, params, x, labels = make(key)
    with pytest.raises(gp.InputError, match="pass labels - 1"):
        gp.mcue(key, players, params, x, labels + 1, output="correct")


def test_nan_is_traced_to_where_it_comes_from(key):
    players, params, x, labels = make(key)
    value_fn = gp.value_function(
        players, params, gp.negative_cross_entropy, x.at[3, 1].set(jnp.nan), labels
    )
    with pytest.raises(gp.InputError, match=r"is nan .*\(input 0 holds NaN"):
        value_fn(np.ones((1, 6), bool))


def test_inputs_of_another_width_are_named(key):
    players, params, x, labels = make(key)
    with pytest.raises(gp.InputError, match=r"shape \(20, 3\) \(find_players saw"):
        gp.value_function(players, params, gp.accuracy, x[:, :3], labels)


@pytest.mark.parametrize(
    "swapped", [lambda p, w, x: (w, p, x), lambda p, w, x: (x, w, p)]
)
def test_arguments_in_another_order(key, swapped):
    players, params, x, labels = make(key)
    who, given, data = swapped(players, params, x)
    for run in (gp.taylor_scores, gp.removal_arms):
        with pytest.raises(Exception, match="players"):
            run(who, given, gp.accuracy, data, labels)


def test_seeds_and_old_keys_are_keys(key):
    players, params, x, labels = make(key)
    value_fn = gp.value_function(players, params, gp.accuracy, x, labels)
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, labels, key=0)
    uses = [
        lambda k: gp.shapley_values(k, value_fn, num_evaluations=60).value,
        lambda k: gp.banzhaf_values(k, value_fn, num_evaluations=60).value,
        lambda k: gp.play_bandit(k, gp.bandits.exp3(), arms, num_pulls=12).value,
        lambda k: gp.baselines.random_scores(k, players).value,
        lambda k: gp.mcue(k, players, params, x, num_samples=4).variance,
        lambda k: gp.iterated_pruning(k, value_fn, 3, step=3, num_evaluations=60).mask,
    ]
    for use in uses:
        expected = use(jax.random.key(7))
        for same in (7, np.int32(7), jax.random.PRNGKey(7)):
            np.testing.assert_array_equal(use(same), expected)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("seed", "expected a random key"),
        (None, "expected a random key"),
        (True, "expected a random key"),
        (0.5, "expected a random key"),
        (np.zeros(3, np.uint32), "expected a random key"),
        (np.zeros(2), "expected a random key"),
        (jax.random.split(jax.random.key(0), 3), "one random key, got 3"),
    ],
)
def test_what_is_no_key(wrong, message):
    with pytest.raises(gp.InputError, match=message):
        as_key(wrong)


def test_policies_may_be_uncalled_or_named(key):
    players, params, x, labels = make(key)
    arms = gp.removal_arms(players, params, gp.cross_entropy, x, labels)
    expected = gp.play_bandit(key, gp.ucb1(), arms, num_pulls=12)
    for policy in (gp.ucb1, "ucb1"):
        found = gp.play_bandit(key, policy, arms, num_pulls=12)
        np.testing.assert_array_equal(found.value, expected.value)
    with pytest.raises(gp.InputError, match="such as gp.ucb1"):
        record_bandit(key, "ucb2", arms)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("reward", [-0.5, 1.5, np.nan])
def test_rewards_out_of_range_are_refused(name, reward):
    policy = POLICIES[name]()
    state = policy.init(3, 10)
    with pytest.raises(gp.InputError, match=r"expected rewards in \[0, 1\]"):
        policy.update(state, 1, reward)
    with pytest.raises(gp.InputError, match=r"expected arms in \[0, 3\)"):
        policy.update(state, 3, 0.5)


def test_optimizers_that_were_not_called():
    with pytest.raises(gp.InputError, match="the function sgd, which makes"):
        gp.joint_optimizer(optax.sgd, 1e-3)
    with pytest.raises(gp.InputError, match="projected_gate_ascent"):
        gp.joint_optimizer(0.1, gp.projected_gate_ascent)


def test_modules_and_swapped_arguments_of_find_players(key):
    import flax.linen as nn
    from flax import nnx

    x = make(key)[2]
    for wrong, message in (
        (nn.Dense(2), "gp.from_linen"),
        (nnx.Linear(2, 2, rngs=nnx.Rngs(0)), "gp.from_nnx"),
    ):
        with pytest.raises(gp.InputError, match=message):
            gp.find_players(wrong, apply, x)


def test_no_message_quotes_all_the_data():
    assert len(str(gp.InputError(f"got {list(range(9999))}: mend it"))) <= 1200
