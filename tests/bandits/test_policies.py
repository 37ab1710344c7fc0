"""Policies against NumPy twins, against MABWiser, and against their regret laws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from mabwiser.mab import MAB, LearningPolicy

from gamepruning.bandits import (
    POLICIES,
    epsilon_greedy,
    exp3,
    hedge,
    softmax,
    thompson,
    thompson_beta,
    ucb1,
    uniform,
)
from gamepruning.types import InputError
from tests.bandits import twins

ARMS, PULLS = 7, 400
TWINS = {
    "epsilon_greedy": (epsilon_greedy(), twins.EpsilonGreedy),
    "epsilon_greedy_decay": (
        epsilon_greedy(5, decay=True),
        twins.DecayingEpsilonGreedy,
    ),
    "softmax": (softmax(0.5), twins.Softmax),
    "ucb1": (ucb1(), twins.UCB1),
    "thompson": (thompson(), twins.Thompson),
    "thompson_beta": (thompson_beta(), twins.ThompsonBeta),
    "hedge": (hedge(), twins.Hedge),
    "exp3": (exp3(), twins.Exp3),
}
every_policy = pytest.mark.parametrize("name", POLICIES)


@functools.cache
def reward_table():
    """Rewards of each arm at each turn: means .2 to .8, with noise."""
    rng = np.random.default_rng(0)
    means = rng.permutation(np.linspace(0.2, 0.8, ARMS))
    noise = rng.uniform(-0.2, 0.2, (PULLS, ARMS))
    return np.float32(means + noise)


def keys_of(num=PULLS):
    return jax.random.split(jax.random.key(5), num)


@functools.partial(jax.jit, static_argnums=0)
def run(policy, table, keys):
    """The arms a policy pulls where turn t pays table[t, arm]."""

    def turn(state, this):
        key, rewards = this
        arm = policy.select(state, key)
        return policy.update(state, arm, rewards[arm]), arm

    state, arms = jax.lax.scan(
        turn, policy.init(table.shape[1], len(table)), (keys, table)
    )
    return state, arms


def noise_of(key):
    """What each kind of policy draws in a turn, by its own recipe."""
    coin, other = jax.random.split(key)
    return {
        "coin": float(jax.random.uniform(coin)),
        "uniform": np.asarray(jax.random.uniform(other, (ARMS,))),
        "gumbel": np.asarray(jax.random.gumbel(key, (ARMS,))),
        "normal": np.asarray(jax.random.normal(key, (ARMS,))),
        "beta": functools.partial(near_beta, jax.random.normal(key, (2, ARMS))),
    }


def near_beta(normals, a, b):
    """Beta variables from normal ones, by the cubes of Wilson and Hilferty."""

    def gamma(shape, normal):
        shape = np.asarray(shape, np.float32)
        root = 1 - 1 / (9 * shape) + normal / (3 * np.sqrt(shape))
        return shape * np.maximum(root, 1e-3) ** 3

    first, second = map(gamma, (a, b), np.asarray(normals))
    return first / (first + second)


@pytest.mark.parametrize(
    "won, lost, error", [(0, 0, 0.0123), (0, 9, 0.0123), (2, 4, 0.004)]
)
def test_draws_of_thompson_beta_are_nearly_those_of_beta(won, lost, error):
    """The largest distance to the distribution function, but for chance."""
    num = 40_000
    normals = jax.random.normal(jax.random.key(3), (2, num))
    draws = near_beta(normals, np.full(num, 1 + won), np.full(num, 1 + lost))
    found = scipy.stats.kstest(draws, scipy.stats.beta(1 + won, 1 + lost).cdf)
    assert found.statistic < error + 1.36 / np.sqrt(num)


@pytest.mark.parametrize("name", TWINS)
def test_choices_are_those_of_a_numpy_twin(name):
    policy, make_twin = TWINS[name]
    table, keys = reward_table(), keys_of()
    _, arms = run(policy, jnp.asarray(table), keys)
    twin = make_twin(ARMS, PULLS)
    for turn, arm in enumerate(np.asarray(arms)):
        chosen = twin.select(noise_of(keys[turn]))
        assert chosen == arm, f"turn {turn}"
        twin.update(chosen, float(table[turn, chosen]))
    assert len(set(np.asarray(arms).tolist())) == ARMS  # nobody was stuck at once


class Dice:
    """A random number generator of MABWiser that rolls what our policy rolls."""

    def load(self, key):
        noise = noise_of(key)
        self.rolls = iter([noise["coin"], *noise["uniform"]])
        self.calls = []

    def rand(self):
        return next(self.rolls)

    def beta(self, a, b, size):
        self.calls.append((a, b))
        return np.zeros(size)


@pytest.mark.parametrize(
    "policy, theirs",
    [
        (ucb1(), LearningPolicy.UCB1(alpha=1)),
        (epsilon_greedy(0.3), LearningPolicy.EpsilonGreedy(epsilon=0.3)),
        (softmax(0.2), LearningPolicy.Softmax(tau=0.2)),
        (thompson_beta(), LearningPolicy.ThompsonSampling()),
    ],
    ids=["ucb1", "epsilon_greedy", "softmax", "thompson_beta"],
)
def test_choices_are_those_of_mabwiser(policy, theirs):
    """On the same table; the dice of MABWiser are loaded with our draws."""
    table = reward_table()
    if policy.name == "thompson_beta":
        table = np.float32(table > 0.5)
    mab = MAB(list(range(ARMS)), theirs)
    dice = mab._imp.rng = Dice()
    # one pull of each arm to begin with, which UCB1 of MABWiser leaves to its user
    first = np.arange(ARMS)
    state = policy.init(ARMS, PULLS)
    state = policy.update(state, jnp.asarray(first), jnp.asarray(table[0]))
    mab.fit(decisions=first, rewards=table[0])
    select, update = jax.jit(policy.select), jax.jit(policy.update)
    for turn, key in enumerate(keys_of(150)):
        dice.load(key)
        arm = int(select(state, key))
        if policy.name == "softmax":  # MABWiser draws from a Dirichlet: same centre
            expected = [mab._imp.arm_to_expectation[k] for k in range(ARMS)]
            ours = jax.nn.softmax(state.totals / state.counts / 0.2)
            np.testing.assert_allclose(ours, expected, rtol=1e-4)
        elif policy.name == "thompson_beta":
            mab.predict_expectations()
            a, b = np.transpose(dice.calls)
            assert arm == int(np.argmax(noise_of(key)["beta"](a, b)))
        else:
            assert arm == mab.predict(), f"turn {turn}"
        reward = float(table[turn + 1, arm])
        state = update(state, arm, reward)
        mab.partial_fit(decisions=np.array([arm]), rewards=np.array([reward]))


# -- regret on a Bernoulli test bed ------------------------------------------------

MEANS = np.array([0.9, 0.6, 0.55, 0.5, 0.5, 0.45, 0.4, 0.3, 0.2, 0.1])
GROWTH = {  # of regret when T is four times as large; linear is 4
    "ucb1": 2.0,
    "thompson": 2.0,
    "thompson_beta": 2.0,
    "epsilon_greedy": 4.2,
    "softmax": 4.2,
    "hedge": 2.4,
    "exp3": 2.4,
}


@functools.cache
def regret(name, num_pulls):
    """Mean pseudo-regret over some seeds."""
    policy = POLICIES[name]()
    seeds = 24

    def one(key):
        table_key, key = jax.random.split(key)
        draws = jax.random.uniform(table_key, (num_pulls, len(MEANS)))
        table = (draws < jnp.asarray(MEANS, jnp.float32)[None]).astype(jnp.float32)
        _, arms = run(policy, table, jax.random.split(key, num_pulls))
        return (MEANS.max() - jnp.asarray(MEANS, jnp.float32)[arms]).sum()

    keys = jax.random.split(jax.random.key(1), seeds)
    return float(jax.jit(lambda keys: jax.lax.map(one, keys).mean())(keys))


@pytest.mark.parametrize("name", GROWTH)
def test_regret_is_below_uniform_and_of_its_order(name):
    short, long = regret(name, 1000), regret(name, 4000)
    assert long < 0.5 * regret("uniform", 4000)
    assert long / short < GROWTH[name]


def test_uniform_pays_the_mean_gap():
    expected = 1000 * (MEANS.max() - MEANS.mean())
    assert abs(regret("uniform", 1000) / expected - 1) < 0.02


# -- contracts ---------------------------------------------------------------------


@every_policy
def test_jit_vmap_dtype_and_closed_arms(name):
    policy = POLICIES[name]()
    is_open = jnp.asarray([False, True, True, False, True, True, True])
    table = jnp.asarray(reward_table())[:60]

    def play(key):
        def turn(state, this):
            own, rewards = this
            arm = policy.select(state, own)
            return policy.update(state, arm, rewards[arm]), arm

        state = policy.init(ARMS, 60, is_open)
        return jax.lax.scan(turn, state, (jax.random.split(key, 60), table))

    state, arms = jax.jit(jax.vmap(play))(jax.random.split(jax.random.key(2), 3))
    assert arms.shape == (3, 60)
    assert bool(is_open[arms].all())
    assert set(np.unique(arms)) == {1, 2, 4, 5, 6}
    one, _ = play(jax.random.split(jax.random.key(2), 3)[1])
    for stacked, leaf in zip(jax.tree.leaves(state), jax.tree.leaves(one), strict=True):
        assert leaf.dtype == stacked.dtype
        np.testing.assert_allclose(stacked[1], leaf, rtol=1e-5)
    assert np.isfinite(np.asarray(policy.preference(one))).all()


@every_policy
def test_many_at_once(name):
    """Side by side: distinct arms, or independent draws for those that weigh by p."""
    policy = POLICIES[name]()
    state = policy.init(ARMS, PULLS)
    state = policy.update(state, jnp.arange(ARMS), jnp.asarray(reward_table()[0]))
    arms = policy.select_many(state, jax.random.key(0), 4)
    assert arms.shape == (4,)
    if name not in ("hedge", "exp3"):
        assert len(set(np.asarray(arms).tolist())) == 4
    rewards = jnp.asarray(reward_table()[1])[arms]
    together = policy.update(state, arms, rewards)
    assert float(together.counts.sum()) == ARMS + 4
    if name not in ("hedge", "exp3"):
        apart = state
        for arm, reward in zip(arms, rewards, strict=True):
            apart = policy.update(apart, arm, reward)
        for a, b in zip(together, apart, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: epsilon_greedy(1.5), r"epsilon in \[0, 1\]"),
        (lambda: softmax(0), "temperature above 0"),
        (lambda: ucb1(-1), "width of at least 0"),
        (lambda: thompson(0), "scale above 0"),
        (lambda: hedge(0), "learning rate above 0"),
        (lambda: exp3(2), r"mixing in \(0, 1\]"),
        (lambda: uniform().init(0, 5), "at least one arm"),
        (lambda: ucb1().init(3, 0), "one pull"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_rates_are_those_of_the_open_arms():
    """K of the papers is the number of arms that may be pulled."""
    is_open = np.arange(96) < 12
    num_open, num_pulls = 12, 192
    log_k = np.log(num_open)
    found = exp3().init(96, num_pulls, is_open)
    assert float(found.rate) == pytest.approx(
        np.sqrt(num_open * log_k / ((np.e - 1) * num_pulls)), rel=1e-6
    )
    found = hedge().init(96, num_pulls, is_open)
    assert float(found.rate) == pytest.approx(
        np.sqrt(2 * log_k / (num_pulls * num_open)), rel=1e-6
    )
    assert float(exp3().init(96, 192).rate) == 1.0
