"""Many equilibrium games side by side, looked at after every epoch."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import kurtosis, skew

import gamepruning as gp
from experiments.equilibrium_mnist.common import Clock, mlp, percent_right, spread
from experiments.equilibrium_mnist.table2 import Reading
from gamepruning.equilibrium.config import WEIGHTS
from gamepruning.workbench.datasets import Dataset

THRESHOLD = 0.01  # section 7.2: a player below it has left
LOOKED_AT = 500  # training images for gaps and dominated players
BATCH_SIZE, STEPS, EPOCHS = 128, 422, 20  # those of the paper: 54,000 images


class Group(NamedTuple):
    """Games that run in one program.

    Attributes:
      reading: what the paper leaves open.
      widths: hidden units.
      prices: of each game, by its name.
      seeds: of the weights, for every game.
    """

    reading: Reading
    widths: tuple[int, ...]
    prices: dict[str, dict[str, float]]
    seeds: tuple[int, ...]

    def points(self) -> gp.equilibrium.SweepPoints:
        grids = [
            gp.equilibrium.sweep_grid(**prices, seed=self.seeds)
            for prices in self.prices.values()
        ]
        return jax.tree.map(lambda *columns: jnp.concatenate(columns), *grids)


class Looks(NamedTuple):
    """What is noted after every epoch; leading axes [epochs, games]."""

    accuracy: np.ndarray  # test, gates on, in %
    gates: np.ndarray  # [..., N]
    gap: np.ndarray
    dominated: np.ndarray  # bool [..., N]


def play(group: Group, data: Dataset, *, epochs: int = EPOCHS) -> dict[str, Any]:
    """Play all games of a group.

    Args:
      group: the games.
      data: flat images.
      epochs: of 422 steps each, after which the games are looked at.

    Returns:
      One entry a game by its name, as JSON-able data, means over the seeds.
    """
    clock = Clock()
    inputs, labels = jnp.asarray(data.train.inputs), jnp.asarray(data.train.labels)
    model = mlp(group.widths, inputs.shape[1])
    players = gp.find_players(model.apply, model.init(jax.random.key(0)), inputs[:4])
    points = group.points()
    config = gp.UtilityConfig(benefit=group.reading.benefit, norm=group.reading.norm)
    init, step = gp.equilibrium.make_sweep_step(
        players, gp.cross_entropy, points, config, optimizer=group.reading.optimizer
    )

    @jax.jit
    def epoch(state, key):
        order = jax.random.randint(key, (STEPS, BATCH_SIZE), 0, len(inputs))

        def one(state, rows):
            return step(state, (inputs[rows], labels[rows]))[0], None

        return jax.lax.scan(one, state, order)[0]

    look = make_look(players, points, config, data)
    state = init(jax.vmap(lambda s: model.init(jax.random.key(s)))(points.seed))
    looks, conditions = [look(state)], [conditions_of(players, state)]
    for number in range(epochs):
        state = epoch(state, jax.random.fold_in(jax.random.key(7), number))
        looks.append(look(state))
        conditions.append(conditions_of(players, state))
        print(f"  epoch {number + 1}, {clock()} s", flush=True)
    seen = Looks(*(np.stack([np.asarray(part) for part in p]) for p in zip(*looks)))  # noqa: B905
    found = {}
    for place, name in enumerate(group.prices):
        own = range(place * len(group.seeds), (place + 1) * len(group.seeds))
        ends = [end_of(players, state, k, data) for k in own]
        found[name] = {
            "prices": group.prices[name],
            **{key: spread_of([end[key] for end in ends]) for key in ends[0]},
            **described(Looks(*(part[:, own] for part in seen))),
            "condition number": medians([[c[k] for k in own] for c in conditions]),
        }
    return {
        "reading": group.reading._asdict(),
        "widths": group.widths,
        "games": found,
        "seconds": clock(),
    }


def make_look(players, points, config, data: Dataset):
    """What is noted of all games at once: state -> the fields of `Looks`."""
    x = jnp.asarray(data.train.inputs[:LOOKED_AT])
    y = jnp.asarray(data.train.labels[:LOOKED_AT])
    test_x, test_y = jnp.asarray(data.test.inputs), jnp.asarray(data.test.labels)
    prices = {name: getattr(points, name) for name in WEIGHTS}

    def loss(joint):
        return gp.cross_entropy(players.gated(joint["params"], joint["gates"], x), y)

    def one(params, gates, prices):
        own = gp.UtilityConfig(**prices, benefit=config.benefit, norm=config.norm)
        grads = jax.grad(loss)({"params": params, "gates": gates})
        if config.benefit == "literal":
            grads = grads["params"]
        given = (players, params, grads, gates, own)
        outputs = players.gated(params, gates, test_x)
        accuracy = 100 * (outputs.argmax(-1) == test_y).mean()
        gap = gp.equilibrium.nash_gap(*given)
        return accuracy, gates, gap, gp.equilibrium.dominated_players(*given)

    def look(state):
        games = (state.params, state.gates, prices)
        return jax.lax.map(lambda own: one(*own), games)

    return jax.jit(look)


def conditions_of(players, state) -> list[float]:
    """The largest condition number of any family, of every game (section 9.3)."""
    found = []
    for k in range(len(state.gates)):
        params = jax.tree.map(lambda leaf, k=k: leaf[k], state.params)
        numbers = gp.equilibrium.condition_numbers(players, params, state.gates[k])
        values = [v for v in numbers.values() if not np.isnan(v)]
        found.append(max(values, default=float("nan")))
    return found


def spread_of(values: Sequence[float]) -> dict[str, Any] | None:
    """Mean and deviation of the finite values; None if there are none."""
    finite = [value for value in values if np.isfinite(value)]
    return spread(finite) if finite else None


def medians(numbers: list[list[float]]) -> list[float | None]:
    """Over the seeds, after every epoch; None where it is not finite."""
    values = np.median(numbers, axis=1)
    return [round(float(v), 1) if np.isfinite(v) else None for v in values]


def end_of(players, state, k: int, data: Dataset) -> dict[str, float]:
    """Accuracies with gates on and after removal, sparsity, likeness of the rest."""
    params = jax.tree.map(lambda leaf: leaf[k], state.params)
    gates = state.gates[k]
    mask = np.asarray(gp.equilibrium.surviving_players(gates))
    left = jnp.where(jnp.asarray(mask), gates, 0.0)
    kept = [int(mask[f.start : f.stop].sum()) for f in players.families]
    removed = percent_right(lambda p, x: players.gated(p, left, x), params, data.test)
    if all(kept) and not mask.all():  # really: a smaller network
        scaled = players.participate(params, left)  # exact for relu
        small = gp.compact(players, scaled, mask, inputs=(data.test.inputs[:64],))
        really = percent_right(small.apply, small.params, data.test)
        assert abs(really - removed) <= 0.02, (really, removed)
        removed = really
    return {
        "on": percent_right(lambda p, x: players.gated(p, gates, x), params, data.test),
        "removed": removed,
        "sparsity": 100 * (1 - sum(kept) / players.num_players),
        "correlation of survivors": likeness(params, left, mask, data, players),
        "Sarle": sarle(np.asarray(gates)),
    }


def likeness(params, gates, mask, data: Dataset, players) -> float:
    """Mean absolute correlation of the survivors' activations, within each layer."""
    x = np.asarray(data.test.inputs[:2000], np.float64)
    found, weights = [], []
    for layer, family in enumerate(players.families):
        dense = params[f"hidden_{layer}"]
        own = slice(family.start, family.stop)
        x = np.maximum(x @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"]), 0)
        x = x * np.asarray(gates)[own]
        alive = mask[own] & (x.std(axis=0) > 0)
        if alive.sum() > 1:
            pairs = np.abs(np.corrcoef(x[:, alive].T))[np.triu_indices(alive.sum(), 1)]
            found.append(pairs.mean())
            weights.append(len(pairs))
    return float(np.average(found, weights=weights)) if found else float("nan")


def sarle(values: np.ndarray) -> float:
    """Sarle's coefficient (skew² + 1) / kurtosis: above 5/9 hints at two modes."""
    if values.std() < 1e-6:
        return 0.0
    return float((skew(values) ** 2 + 1) / kurtosis(values, fisher=False))


def described(seen: Looks) -> dict[str, Any]:
    """Curves, the last gates, and what dominated players did."""
    gates, final = seen.gates, seen.gates[-1]
    left = final < THRESHOLD
    active = (gates >= THRESHOLD).sum(-1).mean(-1)
    drops = -np.diff(active) / gates.shape[-1]
    total = 1 - active[-1] / gates.shape[-1]
    return {
        "curves": {
            "accuracy": rounded(seen.accuracy.mean(1), 2),
            "sparsity": rounded(100 * (gates < THRESHOLD).mean((1, 2)), 2),
            "mean gate": rounded(gates.mean((1, 2)), 4),
            "active": rounded(active, 1),
            "Nash gap": [float(f"{x:.3g}") for x in seen.gap.mean(1)],
        },
        "largest share of the leaving in one epoch": (
            round(float(drops.max() / total), 3) if total > 0 else 0.0
        ),
        "gates": shares_of(final),
        "histogram": np.histogram(final, np.linspace(0, 1, 51))[0].tolist(),
        "dominated": [
            foretold(seen.dominated[e], gates[e], left)
            for e in EPOCHS_SHOWN
            if e < len(gates)
        ],
    }


EPOCHS_SHOWN = (0, 1, 2, 5, 10, 20)


def foretold(dominated: np.ndarray, gates: np.ndarray, left: np.ndarray) -> dict:
    """Of those still there, who is dominated, and who left in the end."""
    there = gates >= THRESHOLD
    named, gone = dominated & there, left & there
    both = (named & gone).sum()
    return {
        "there": int(there.sum()),
        "dominated": int(named.sum()),
        "left later": int(gone.sum()),
        "of the dominated, left": ratio(both, named.sum()),
        "of those who left, dominated": ratio(both, gone.sum()),
    }


def ratio(part: float, whole: float) -> float | None:
    return round(float(part / whole), 3) if whole else None


def shares_of(gates: np.ndarray) -> dict[str, float]:
    """Where the gates lie, in shares."""
    return {
        "below 0.01": round(float((gates < THRESHOLD).mean()), 4),
        "0.01 to 0.1": round(float(((gates >= THRESHOLD) & (gates < 0.1)).mean()), 4),
        "0.1 to 0.9": round(float(((gates >= 0.1) & (gates <= 0.9)).mean()), 4),
        "above 0.9": round(float((gates > 0.9).mean()), 4),
    }


def rounded(values: Sequence[float] | np.ndarray, digits: int) -> list[float]:
    return [round(float(v), digits) for v in values]
