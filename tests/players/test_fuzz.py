"""A few dozen random networks; `python -m tests.fuzz` checks thousands."""

from collections.abc import Iterator

import jax
import pytest

from tests.fuzz.check import check
from tests.fuzz.grow import grow

SEEDS = range(1_000_000, 1_000_009)
# networks that were wrong once, in what they were traced as
ONCE_WRONG = (103, 123)


@pytest.fixture(autouse=True, scope="module")
def compile_quickly() -> Iterator[None]:
    """Nearly all the time goes into compiling what runs once."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.parametrize("seed", [*ONCE_WRONG, *SEEDS])
def test_random_network(seed: int):
    record = check(seed)
    assert record.ok, f"{record.wrong} (python -m tests.fuzz --seed-of {seed})"


@pytest.mark.parametrize("seed", (3, 8, 11))
def test_random_scanned_layers(seed: int):
    record = check(seed, by_layer=True)
    again = f"(python -m tests.fuzz --layers --seed-of {seed})"
    assert record.ok and record.players, f"{record.wrong} {again}"


def test_most_networks_have_players():
    """Equal because nothing left would prove nothing."""
    assert sum(check(seed, 2).players > 0 for seed in SEEDS[:5]) >= 3


def test_same_seed_same_network():
    with jax.enable_x64(True):
        assert str(grow(5)) == str(grow(5))
        assert str(grow(5)) != str(grow(6))
