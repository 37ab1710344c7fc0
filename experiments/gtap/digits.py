"""digits with the peers' network, 64-256-128-10: 25/12 and 12/6 kept, three seeds.

    python -m experiments.gtap.digits

Networks are trained on three quarters of the data, as those of the peers are, and their
neurons are chosen on the same rows. The settings are those of
experiments/equilibrium_mnist/digits.py or were fixed before. The test part (a quarter,
stratified) is read once. Peers: see experiments/peers.
"""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gamepruning as gp
from experiments.gtap.common import (
    HERE,
    Network,
    exchange,
    find,
    spread,
    train,
    value_fn,
    write_json,
)
from gamepruning.run.batches import evaluate
from gamepruning.workbench.datasets import Split, load_dataset
from gamepruning.workbench.networks.models import build_model

SEEDS, WIDTHS, SHAPES = (0, 1, 2), (256, 128), ((25, 12), (12, 6))
EPOCHS, TUNING_EPOCHS = 60, 200
RATE, DECAY, DROPOUT = 3e-3, 1e-3, 0.1  # of the training after the choice
PEERS = {"25/12": {"before": 0.244, "after": 0.9578}, "12/6": {"after": 0.889}}
BASELINES = ("magnitude_l2", "taylor", "random")


class Noisy:
    """A network trained with a share of its inputs at 0, their mean."""

    def __init__(self, apply):
        self.apply = apply

    def train_apply(self, params, inputs, key):
        kept = jax.random.bernoulli(key, 1 - DROPOUT, inputs.shape)
        return self.apply(params, jnp.where(kept, inputs, 0.0)), params


def load(seed: int) -> Network:
    """The network, trained on three quarters of the data; a quarter is for the test."""
    data = load_dataset("digits", seed=seed, standardise=True)
    parts = zip(data.train, data.validation, strict=True)
    data = data._replace(train=Split(*(np.concatenate(pair) for pair in parts)))
    model = build_model(
        "mlp", input_shape=data.input_shape, num_outputs=10, widths=WIDTHS
    )
    keys = jax.random.split(jax.random.key(seed), 3)
    start = model.init(keys[0])
    params = train(keys[1:], model, start, data.train, epochs=EPOCHS, batch_size=32)
    return Network(
        model, start, params, data.train, data.validation, data.test, input_axes=None
    )


def build(network: Network, players: gp.Players, seed: int, shape) -> np.ndarray:
    """Iterated building family by family, then exchanges within families.

    The sizes of the families are given, as the peers have them: a family that is full
    is closed to the rest of the building.
    """
    game = value_fn(
        network, players, gp.coalitions.calibrated_likelihood, network.train, 10**9
    )
    kept = np.zeros(players.num_players, bool)
    closed = kept.copy()
    key, target = jax.random.key(seed), sum(shape)
    for number in range(target):
        free = ~kept & ~closed
        left = target - int(kept.sum())
        play = game.restrict(always_in=kept, always_out=closed)
        bias = min(max(left / free.sum(), 1 / (free.sum() + 1)), 0.5)
        scores = gp.banzhaf_values(
            jax.random.fold_in(key, number),
            play,
            play.num_players,
            bias=bias,
            num_evaluations=4 * (play.num_players + 1),
            method="toggle_all",
        )
        kept[play.free[int(np.argmax(scores.value))]] = True
        for family, most in zip(players.families, shape, strict=True):
            part = slice(family.start, family.stop)
            if kept[part].sum() == most:
                closed[part] = ~kept[part]
    return improved(game, players, kept)


def improved(game, players: gp.Players, kept: np.ndarray) -> np.ndarray:
    """Exchanges, a family at a time, until none pays."""
    while True:
        before = kept
        for family in players.families:
            own = np.zeros(len(kept), bool)
            own[family.start : family.stop] = True
            play = game.restrict(always_in=kept & ~own, always_out=~kept & ~own)
            kept = exchange_within(play, kept, own)
        if (kept == before).all():
            return kept


def exchange_within(play, kept: np.ndarray, own: np.ndarray) -> np.ndarray:
    count = max(2, int((kept & own).sum()) // 4)
    small = exchange(_Renumbered(play), kept[play.free], count=count, rounds=12)
    kept = kept.copy()
    kept[play.free] = small
    return kept


class _Renumbered:
    """A restricted game whose players are counted from 0 also by `restrict`."""

    def __init__(self, game, numbers: np.ndarray | None = None):
        self._game = game
        self._numbers = game.free if numbers is None else numbers
        self.free = np.searchsorted(self._numbers, game.free)

    def __call__(self, masks):
        return self._game(masks)

    def toggles(self, masks):
        return self._game.toggles(masks)

    def restrict(self, *, always_in, always_out):
        game = self._game.restrict(
            always_in=self._numbers[always_in], always_out=self._numbers[always_out]
        )
        return _Renumbered(game, self._numbers)


def by_scores(scores, players: gp.Players, shape) -> np.ndarray:
    """The best of each family."""
    mask = np.zeros(players.num_players, bool)
    value = np.asarray(scores.value)
    for family, count in zip(players.families, shape, strict=True):
        order = np.argsort(-value[family.start : family.stop], kind="stable")
        mask[family.start + order[:count]] = True
    return mask


def outcome(network: Network, players: gp.Players, seed: int, mask) -> dict[str, float]:
    """Test accuracy after removal, after fine-tuning, and after a clean slate."""
    inputs = (jnp.asarray(network.train.inputs[:64]),)
    score = functools.partial(evaluate, split=network.test, metric_fn=gp.accuracy)
    small = gp.compact(players, network.params, jnp.asarray(mask), inputs=inputs)
    fresh = gp.compact(players, network.start, jnp.asarray(mask), inputs=inputs)
    keys = jax.random.split(jax.random.key(7000 + seed))
    going = functools.partial(
        train, keys, epochs=TUNING_EPOCHS, batch_size=32, rate=RATE, decay=DECAY
    )
    tuned = going(Noisy(small.apply), small.params, network.train)
    slate = going(Noisy(fresh.apply), fresh.params, network.train)
    return {
        "before": score(small.apply, small.params),
        "fine-tuned": score(small.apply, tuned),
        "clean slate": score(fresh.apply, slate),
    }


def main() -> None:
    begin = time.perf_counter()
    found: dict[str, Any] = {
        "command": "python -m experiments.gtap.digits",
        "seeds": list(SEEDS),
        "epochs": EPOCHS,
        "tuning epochs": TUNING_EPOCHS,
        "peers": PEERS,
    }
    networks = [load(seed) for seed in SEEDS]
    dense = [evaluate(n.model.apply, n.params, n.test, gp.accuracy) for n in networks]
    found["dense"] = spread(dense)
    for shape in SHAPES:
        rows: dict[str, list[dict[str, float]]] = {}
        for seed, network in zip(SEEDS, networks, strict=True):
            players = find(network)
            data = (
                jnp.asarray(network.train.inputs),
                jnp.asarray(network.train.labels),
            )
            masks = {"building beta + exchanges": build(network, players, seed, shape)}
            for name in BASELINES:
                scores = gp.BASELINES[name](
                    jax.random.key(seed),
                    players,
                    network.params,
                    gp.cross_entropy,
                    *data,
                )
                masks[name] = by_scores(scores, players, shape)
            for name, mask in masks.items():
                rows.setdefault(name, []).append(outcome(network, players, seed, mask))
                print(shape, seed, name, rows[name][-1], flush=True)
        found["/".join(map(str, shape))] = {
            name: {key: spread([run[key] for run in runs]) for key in runs[0]}
            for name, runs in rows.items()
        }
        found["seconds"] = round(time.perf_counter() - begin, 1)
        write_json(HERE / "digits.json", found)


if __name__ == "__main__":
    main()
