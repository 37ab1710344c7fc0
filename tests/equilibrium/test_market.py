"""The price that clears the market, and training that ends within its budget."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings, strategies as st

import gamepruning as gp
from gamepruning.equilibrium import Seats, clear_market
from gamepruning.types import InputError
from gamepruning.workbench.networks.models import build_model
from tests.small import apply_mlp, make_mlp

SIZES = (4, 3, 5)
FAMILY_OF = np.repeat(np.arange(3), SIZES)


def clear(benefits, costs, budget, limits=SIZES, **options):
    costs = jnp.asarray(costs, jnp.float32)
    seats = Seats(jnp.asarray(limits, jnp.float32), jnp.asarray(budget, jnp.float32))
    return clear_market(
        jnp.asarray(benefits),
        costs,
        lambda mask: jnp.where(mask, costs, 0).sum(),
        seats,
        FAMILY_OF,
        **options,
    )


# -- clearing --------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.integers(-20, 20), min_size=12, max_size=12, unique=True),
    st.integers(3, 12),
)
def test_equal_costs_admit_those_who_earn_most(benefits, budget):
    cleared = clear(benefits, np.ones(12), budget)
    quick = clear(benefits, np.ones(12), budget, additive=True)
    assert cleared.demand.tolist() == quick.demand.tolist()
    assert cleared.demand.sum() == budget
    inside = set(np.flatnonzero(cleared.demand))
    firsts = {
        start + int(np.argmax(benefits[start:stop]))
        for start, stop in ((0, 4), (4, 7), (7, 12))
    }
    assert firsts <= inside  # one of each family, whatever it earns
    worst_inside = min((benefits[i] for i in inside - firsts), default=np.inf)
    best_outside = max((benefits[i] for i in set(range(12)) - inside), default=-np.inf)
    assert worst_inside > best_outside
    if budget < 12:
        assert float(cleared.price) == best_outside


def test_at_the_price_everybody_plays_a_best_response():
    generator = np.random.default_rng(0)
    benefits, costs = generator.random(12), generator.integers(1, 4, 12).astype(float)
    cleared = clear(benefits, np.ones(12), 7)
    wants = benefits > float(cleared.price)
    first = np.zeros(12, bool)
    for start, stop in ((0, 4), (4, 7), (7, 12)):
        first[start + np.argmax(benefits[start:stop])] = True
    np.testing.assert_array_equal(cleared.demand, wants | first)
    spent = costs[np.asarray(clear(benefits, costs, 11).demand)].sum()
    assert 11 - costs.max() < spent <= 11


def test_smaller_players_take_what_is_too_little_for_a_large_one():
    costs = [1] * 4 + [10] * 3 + [1] * 5
    benefits = [1.0] * 4 + [9.0] * 3 + [0.5, 0.4, 0.3, 0.2, 0.1]
    demand = clear(benefits, costs, 18).demand
    assert np.flatnonzero(demand).tolist() == [0, 1, 2, 3, 4, 7, 8, 9, 10]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(13, 60))
def test_it_is_the_greedy_choice(seed, budget):
    """One player after the other, by what it earns for its size, while it fits."""
    numbers = np.random.default_rng(seed)
    costs = np.repeat(numbers.integers(1, 6, 3), SIZES).astype(float)
    benefits = numbers.permutation(12) / 7 * costs
    rank = np.argsort(-benefits / costs)
    mask = np.zeros(12, bool)
    for family in range(3):
        mask[next(p for p in rank if FAMILY_OF[p] == family)] = True
    budget = max(budget, costs[mask].sum())
    for player in rank:
        if not mask[player] and costs[mask].sum() + costs[player] <= budget:
            mask[player] = True
    np.testing.assert_array_equal(clear(benefits, costs, budget).demand, mask)


def test_families_have_their_own_limits():
    benefits = np.arange(12.0)
    demand = np.asarray(clear(benefits, np.ones(12), 6, limits=(2, 1, 3)).demand)
    assert np.flatnonzero(demand).tolist() == [2, 3, 6, 9, 10, 11]


def test_who_is_too_large_alone_stays_out_of_a_family_of_unequal_sizes():
    costs = [6, 240, 6, 8] + [1] * 8
    benefits = [5.0, 150.0, 0.5, 0.1] + [0.0] * 8
    demand = clear(benefits, costs, 20, limits=SIZES).demand
    assert np.flatnonzero(demand)[:3].tolist() == [0, 2, 4]


@pytest.mark.parametrize(
    ("benefits", "min_units", "budget", "inside"),
    [
        ((0.1, 1000.0, 0.1, 5.0), 1, 10, [3]),
        ((0.1, 1000.0, 0.1, 0.01), 1, 14, [0, 2]),
        ((0.1, 1000.0, 0.1, 5.0), 2, 17, [0, 3]),
        ((0.1, 1000.0, 0.1, 5.0), 3, 22, [0, 2, 3]),
        ((0.1, 1000.0, 0.1, 5.0), 2, 250, [1, 3]),
    ],
)
def test_the_best_that_fit_are_kept_of_unequal_sizes(
    benefits, min_units, budget, inside
):
    costs = jnp.array([6.0, 240.0, 6.0, 8.0])
    cleared = clear_market(
        jnp.asarray(benefits),
        costs,
        lambda mask: jnp.where(mask, costs, 0).sum(),
        Seats(jnp.array([4.0]), jnp.array(float(budget))),
        np.zeros(4, int),
        min_units=min_units,
    )
    assert np.flatnonzero(cleared.demand).tolist() == inside


# -- training --------------------------------------------------------------------------


def play(players, params, batch, budget, num_steps=200, rate=0.05, **options):
    tx = gp.joint_optimizer(optax.adam(1e-2), gp.projected_gate_ascent(rate))
    init, step = gp.make_market_step(
        players, gp.cross_entropy, tx, budget, num_steps=num_steps, **options
    )
    batches = jax.tree.map(lambda x: jnp.stack([x] * num_steps), batch)
    return jax.jit(lambda state, batches: jax.lax.scan(step, state, batches))(
        init(params), batches
    )


@pytest.mark.parametrize(
    ("name", "unit", "share"),
    [
        ("mlp", "players", 0.02),
        ("mlp", "params", 0.1),
        ("lenet_5", "macs", 0.5),
    ],
)
def test_the_budget_is_met(key, name, unit, share):
    shape = (64,) if name == "mlp" else (28, 28, 1)
    model = build_model(name, input_shape=shape, num_outputs=10)
    params, inputs = model.init(key), jax.random.normal(key, (4, *shape))
    players = gp.find_players(model.apply, params, inputs)
    batch = (inputs, jnp.arange(4))
    size = gp.players.size_of(players, unit)
    whole = float(size(np.ones(players.num_players)))
    budget = gp.Budget(keep=share, unit=unit)
    state, info = play(players, params, batch, budget, 30, 0.2, every=5)
    assert set(np.unique(state.gates)) <= {0.0, 1.0}
    mask = np.asarray(state.gates) > 0
    small = gp.compact(players, state.params, mask, inputs=(inputs,))
    used, allowed = float(size(mask)), round(share * whole)
    assert used == float(info.size[-1]) and allowed == float(info.budget[-1])
    if unit == "params":
        assert used == gp.compaction.count_params(small.params)
    assert used <= allowed
    one_player = float(size.marginal(mask).min())
    assert used >= 0.99 * allowed or used + one_player >= allowed


def test_the_useful_player_stays(key):
    """Two of eight hidden units carry the signal; the others only make noise."""
    numbers = np.random.default_rng(0)
    kernel = np.zeros((6, 8), np.float32)
    kernel[0, 2], kernel[1, 5] = 3.0, 3.0
    kernel[3:, [0, 1, 3, 4, 6, 7]] = numbers.normal(size=(3, 6))
    params = {
        "dense0": {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(8)},
        "dense1": {
            "kernel": jnp.asarray(0.1 * numbers.normal(size=(8, 2)), jnp.float32),
            "bias": jnp.zeros(2),
        },
    }
    inputs = jnp.asarray(numbers.normal(size=(256, 6)), jnp.float32)
    labels = (inputs[:, 0] > inputs[:, 1]).astype(jnp.int32)
    players = gp.find_players(apply_mlp, params, inputs)
    state, _ = play(players, params, (inputs, labels), gp.Budget(keep=2))
    assert np.flatnonzero(state.gates).tolist() == [2, 5]


def test_another_ranking_under_the_same_schedule(key):
    players, params, inputs, labels = make_mlp(key)
    wanted = jnp.arange(7.0)
    state, info = play(
        players,
        params,
        (inputs, labels),
        gp.Budget(keep=(2, 1)),
        benefit_fn=lambda params, benefits: wanted,
    )
    assert np.flatnonzero(state.gates).tolist() == [2, 3, 6]
    assert (np.diff(info.budget) <= 0).all()
    assert (info.num_active[100:] >= 3).all()


def residual(params, x):
    """Three branches of 6, 240 and 6 parameters of their own."""
    for name in ("a", "b", "c"):
        x = x + jnp.tanh(x @ params[name + "_up"]) @ params[name + "_down"]
    return x @ params["out"]


def test_branches_of_unequal_sizes_meet_the_budget(key):
    widths = {"a": 1, "b": 40, "c": 1}
    params = {"out": jnp.ones((3, 2))}
    for name, width in widths.items():
        params[name + "_up"] = jax.random.normal(key, (3, width))
        params[name + "_down"] = jax.random.normal(key, (width, 3))
    x, labels = jax.random.normal(key, (4, 3)), jnp.arange(4) % 2
    players = gp.find_players(residual, params, x, granularity="branch")
    state, info = play(
        players,
        params,
        (x, labels),
        gp.Budget(keep=20, unit="params"),
        60,
        benefit_fn=lambda params, own: jnp.array([0.1, 1000.0, 0.1]),
    )
    assert state.gates.tolist() == [1, 0, 1]
    assert info.size[-1] == 18 and info.budget[-1] == 20
    with pytest.raises(InputError, match="between 12 params"):
        play(players, params, (x, labels), gp.Budget(keep=11, unit="params"))


def test_gates_in_half_precision_networks(key):
    players, params, inputs, labels = make_mlp(key)
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    players = gp.find_players(players.apply, half, inputs.astype(jnp.bfloat16))
    batch = (inputs.astype(jnp.bfloat16), labels)
    state, _ = play(players, half, batch, gp.Budget(keep=3), 100)
    assert state.gates.dtype == jnp.float32 and (state.gates > 0).sum() == 3
    assert jax.tree.leaves(state.params)[0].dtype == jnp.bfloat16


def test_in_double_precision_and_without_labels(key):
    def spread(outputs, labels):
        return jnp.square(outputs).mean()

    with jax.enable_x64(True):
        players, params, inputs, _ = make_mlp(key)
        init, step = gp.make_market_step(
            players,
            spread,
            gp.joint_optimizer(optax.sgd(0.1), gp.projected_gate_ascent(0.5)),
            gp.Budget(keep=3),
            num_steps=10,
            every=2,
        )
        batches = (jnp.stack([inputs] * 10), None)
        state, info = jax.lax.scan(step, init(params), batches)
    assert state.gates.sum() == 3 and state.price.dtype == jnp.float32
    assert info.budget[-1] == 3


# -- bad input -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0}, "a fraction in"),
        ({"keep": 2.5}, "or a whole number, got 2.5"),
        ({"keep": float("nan")}, "a fraction in"),
        ({"keep": (3, 0)}, "at least one player a family"),
        ({"keep": (3, 2), "unit": "params"}, "at least one player a family"),
        ({"keep": 3, "min_units": 0}, "min_units >= 1"),
    ],
)
def test_a_budget_that_makes_no_sense(options, message):
    with pytest.raises(InputError, match=message):
        gp.Budget(**options)


def test_min_units_are_whole():
    make = inspect.unwrap(gp.Budget.__init__)  # not of the types that tests check
    with pytest.raises(InputError, match="min_units >= 1, a whole number, got 1.5"):
        make(object.__new__(gp.Budget), keep=3, min_units=1.5)


@pytest.mark.parametrize(
    ("budget", "options", "message"),
    [
        (gp.Budget(keep=1), {}, "between 2 players"),
        (gp.Budget(keep=8), {}, "and 7 .everybody., got 8"),
        (gp.Budget(keep=(5, 1)), {}, "one count a family"),
        (gp.Budget(keep=(4, 1, 1)), {}, "one count a family"),
        (gp.Budget(keep=(3, 1), min_units=2), {}, "at least min_units=2 in each"),
        (gp.Budget(keep=3), {"start": 0.9, "end": 0.5}, "start < end"),
        (
            gp.Budget(keep=3),
            {"every": 1000},
            "every, the steps between two clearings, in",
        ),
        (gp.Budget(keep=3), {"decay": 1.0}, "decay in"),
    ],
)
def test_a_market_that_cannot_be(key, budget, options, message):
    players, *_ = make_mlp(key)
    with pytest.raises(InputError, match=message):
        gp.make_market_step(
            players,
            gp.cross_entropy,
            gp.joint_optimizer(optax.sgd(0.1), gp.projected_gate_ascent(0.1)),
            budget,
            num_steps=100,
            **options,
        )


def test_a_budget_has_to_begin_to_fall_before_the_last_clearing():
    with pytest.raises(InputError, match="last clearing by step 32 is at 20"):
        gp.equilibrium.MarketSchedule(num_steps=40, start=0.6, every=20)
