"""Time as a function of who stays: tables, the lines between them, and budgets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.compaction import latency
from gamepruning.compaction.measure import Latency
from gamepruning.files import npz
from gamepruning.types import InputError
from tests.small import make_mlp


def in_flops(fn, *args, repeats=None, budget=None):
    """A machine that takes a nanosecond for an entry of the operands."""
    del repeats, budget
    if callable(fn):
        return Latency(1e-6, 1e-6, 1e-6, 1)  # of the whole network
    found = {}
    for name, (_, operands) in fn.items():
        seconds = 1e-9 * sum(x.size for x in operands)
        found[name] = Latency(seconds, seconds, seconds, 1)
    return found


def test_times_lie_on_lines_between_those_measured(monkeypatch):
    monkeypatch.setattr(latency, "measure_latency", in_flops)
    players, _, x, _ = make_mlp(jax.random.key(0), (5, 16, 8, 2))
    size = latency.latency_of(players)
    rows = len(x)

    def by_hand(first, second):
        """Entries of x and h, and of the weights that they meet."""
        alone = 5 * rows + 5 * first + first * rows + first * second
        return alone + second * rows + 2 * second

    rest = 1000 - by_hand(16, 8)
    assert size.rest == pytest.approx(rest)
    for first, second in ((16, 8), (8, 8), (6, 3), (5, 7), (2, 1)):
        mask = np.concatenate([np.arange(16) < first, np.arange(8) < second])
        assert size.count(mask) == pytest.approx(rest + by_hand(first, second), abs=1)
    slope = np.asarray(size.marginal(np.ones(24)))
    np.testing.assert_allclose(slope[:16], 5 + rows + 8, rtol=1e-4)
    np.testing.assert_allclose(slope[16:], 16 + rows + 2, rtol=1e-4)


def test_tables_are_read_back_as_they_were(monkeypatch, tmp_path):
    monkeypatch.setattr(latency, "measure_latency", in_flops)
    players, _, x, _ = make_mlp(jax.random.key(0), (5, 16, 8, 2))
    size, path = latency.latency_of(players, x), tmp_path / "latency.npz"
    size.save(path)
    again = gp.compaction.LatencySize.load(path)
    assert (again.num_players, again.unit, again.rest) == (24, "nanoseconds", size.rest)
    for seed in range(9):
        mask = np.random.default_rng(seed).random(24) < 0.5
        assert again.count(mask) == size.count(mask)


@pytest.mark.parametrize("facts", [{}, {"num_players": 24, "rest": 0.0, "tables": 1}])
def test_another_file_holds_no_tables(facts, tmp_path):
    npz.save(tmp_path / "other.npz", facts, {})
    with pytest.raises(InputError, match="no tables of latencies"):
        gp.compaction.LatencySize.load(tmp_path / "other.npz")


def test_a_longer_axis_is_never_faster(monkeypatch):
    def falling(fn, *args, **options):
        found = in_flops(fn, *args)
        if callable(fn):
            return found
        return {
            name: one._replace(median=1 / one.median) for name, one in found.items()
        }

    monkeypatch.setattr(latency, "measure_latency", falling)
    players, *_ = make_mlp(jax.random.key(0))
    size = latency.latency_of(players)
    counts = [size.count(np.arange(7) < k) for k in range(1, 8)]
    assert counts == sorted(counts) and counts[-1] == 1000  # scaled to the whole


def test_budgets_are_met_in_time(monkeypatch):
    monkeypatch.setattr(latency, "measure_latency", in_flops)
    players, params, x, _ = make_mlp(jax.random.key(0), (5, 16, 8, 2), 64)
    size = latency.latency_of(players, x)
    target = 0.7 * size.count(np.ones(24, bool))
    found = gp.reconstruction.trade(players, params, x, target, unit=size)
    assert found.size == size.count(found.mask) <= target
    budget = gp.Budget(keep=0.7, unit=size)
    from gamepruning.equilibrium.budget import falling_budget

    seats = falling_budget(players, size, budget, 0.0, 10)(jnp.float32(10))
    assert float(seats.size) == pytest.approx(target, rel=1e-3)
    with pytest.raises(InputError, match="nanoseconds"):
        falling_budget(players, size, gp.Budget(keep=1, unit=size), 0.0, 10)


def test_convolutions_are_timed_and_grouped_ones_stay_in_the_rest():
    def apply(params, x):
        x = jax.nn.relu(jax.lax.conv(x, params["conv"], (1, 1), "SAME"))
        how = {"feature_group_count": 6}
        x = jax.lax.conv_general_dilated(x, params["deep"], (1, 1), "SAME", **how)
        return jax.nn.relu(x).mean((2, 3)) @ params["out"]

    keys = jax.random.split(jax.random.key(0), 3)
    params = {
        "conv": jax.random.normal(keys[0], (6, 2, 3, 3)),
        "deep": jax.random.normal(keys[1], (6, 1, 3, 3)),
        "out": jax.random.normal(keys[2], (6, 4)),
    }
    players = gp.find_players(apply, params, jnp.ones((2, 2, 5, 5)))
    size = latency.latency_of(players, repeats=1)
    assert size.rest >= 0 and len(size._timed) == 2
    assert 0 < size.count(np.arange(6) < 1) <= size.count(np.ones(6, bool))


def test_what_cannot_be_tabulated_is_refused():
    players, params, x, _ = make_mlp(jax.random.key(0))
    weights = gp.find_players(players.apply, params, x, granularity="weight")
    with pytest.raises(InputError, match="granularity 'weight'"):
        latency.latency_of(weights)
    size = gp.players.size_of(players)
    other, *_ = make_mlp(jax.random.key(0), (5, 9, 2))
    with pytest.raises(InputError, match="expected a size of 9 players"):
        gp.players.size_of(other, size)
