"""Our best at 15 and at 37 of 768 neurons, beside others under the same schedule.

    python -m experiments.equilibrium_mnist.best tune    # validation data only
    python -m experiments.equilibrium_mnist.best run     # five seeds, test data

A run is 30 epochs in all: ten of the market (`make_market_step`), then the network is
compacted, then twenty of training what is left.
"""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.stats

import gamepruning as gp
from experiments.equilibrium_mnist.common import (
    HERE,
    Clock,
    Member,
    Recipe,
    bounded_loss,
    drop_inputs,
    mlp,
    mnist,
    percent_right,
    spread,
    train_many,
    write_json,
)
from gamepruning.baselines import make_hard_concrete_step, open_probability
from gamepruning.equilibrium import squared_norms

WIDTHS = (512, 256)
MARKET_EPOCHS, TRAIN_EPOCHS = 10, 20
BATCH_SIZE = 128
SEEDS = (0, 1, 2, 3, 4)
TUNING_SEEDS = (100, 101)
RANKINGS = ("equilibrium", "magnitude", "random", "l0")
L0_PENALTY = {15: 0.02, 37: 0.01}
BOUNDED, PLAIN = 0.3, 0.0
CHOSEN = {  # by `tune`, on validation data
    15: ((10, 5), Recipe(TRAIN_EPOCHS, bend=BOUNDED)),
    37: ((25, 12), Recipe(TRAIN_EPOCHS, bend=PLAIN, dropout=0.2)),
}


class Cut(NamedTuple):
    """A small network before it is trained on."""

    kept: tuple[int, ...]
    small: Any
    seconds: float


def market(
    seed: int, data: Any, keep: int | tuple[int, ...], ranking: str, recipe: Recipe
) -> Cut:
    """Ten epochs in which the budget falls, then compaction."""
    clock = Clock()
    init_key, order_key, other_key = jax.random.split(jax.random.key(seed), 3)
    model = mlp(WIDTHS)
    params = model.init(init_key)
    inputs, labels = jnp.asarray(data.train.inputs), jnp.asarray(data.train.labels)
    players = gp.find_players(model.apply, params, inputs[:4])
    num_batches = len(inputs) // BATCH_SIZE
    loss_fn = bounded_loss(recipe.bend)
    if ranking == "l0":
        (total,) = {keep} if isinstance(keep, int) else {sum(keep)}
        start, step = make_hard_concrete_step(
            players, loss_fn, optax.adam(1e-3), L0_PENALTY[total]
        )
        state = start(other_key, params)
    else:
        start, step = gp.make_market_step(
            players,
            loss_fn,
            gp.joint_optimizer(optax.adam(1e-3), gp.projected_gate_ascent(0.01)),
            gp.Budget(keep=keep),
            num_steps=MARKET_EPOCHS * num_batches,
            start=0.15,
            end=0.95,
            benefit_fn=ranker(ranking, players, other_key),
        )
        state = start(params)

    @jax.jit
    def epoch(state, key):
        order = jax.random.permutation(key, len(inputs))[: num_batches * BATCH_SIZE]

        def one(state, now):
            rows, key = now
            x = drop_inputs(key, inputs[rows], recipe.dropout)
            return step(state, (x, labels[rows]))[0], None

        keys = jax.random.split(key, num_batches)
        return jax.lax.scan(one, state, (order.reshape(num_batches, -1), keys))[0]

    for number in range(MARKET_EPOCHS):
        state = epoch(state, jax.random.fold_in(order_key, number))
    if ranking == "l0":
        mask = best_of_each(players, open_probability(state.log_alpha), keep)
    else:
        mask = np.asarray(state.gates) > 0
    small = gp.compact(players, state.params, jnp.asarray(mask), inputs=(inputs[:64],))
    kept = tuple(int(mask[f.start : f.stop].sum()) for f in players.families)
    return Cut(kept, small, clock())


def ranker(ranking: str, players: gp.Players, key: jax.Array):
    """What stands in the place of the benefit, for the controls."""
    if ranking == "equilibrium":
        return None
    fixed = jax.random.uniform(key, (players.num_players,))
    if ranking == "random":
        return lambda params, benefits: fixed

    def magnitude(params, benefits):
        norms = jnp.sqrt(squared_norms(players, params))
        means = [
            jnp.full(f.size, norms[f.start : f.stop].mean()) for f in players.families
        ]
        return norms / jnp.concatenate(means)

    return magnitude


def best_of_each(players, value, counts: Sequence[int]) -> np.ndarray:
    mask = np.zeros(players.num_players, bool)
    for family, count in zip(players.families, counts, strict=True):
        order = np.argsort(-np.asarray(value)[family.start : family.stop])
        mask[family.start + order[:count]] = True
    return mask


def from_scratch(seeds, data, shape: tuple[int, ...], recipe: Recipe):
    """Networks of the small size, all thirty epochs long."""
    model = mlp(shape)
    members = [
        Member(model.init(jax.random.key(seed)), k, jax.random.key(1000 + seed))
        for k, seed in enumerate(seeds)
    ]
    recipe = recipe._replace(epochs=MARKET_EPOCHS + TRAIN_EPOCHS)
    return model.apply, train_many(model.apply, members, data, recipe)


def contest(total: int) -> dict[str, Any]:
    """All rankings and the network from scratch at one size."""
    clock = Clock()
    shape, recipe = CHOSEN[total]
    data = [mnist(seed) for seed in SEEDS]
    cuts = {
        (ranking, k): market(seed, data[k], shape, ranking, recipe)
        for ranking in RANKINGS
        for k, seed in enumerate(SEEDS)
    }
    members = [
        Member(cut.small.params, k, jax.random.key(1000 + SEEDS[k]))
        for (_, k), cut in cuts.items()
    ]
    apply = next(iter(cuts.values())).small.apply
    trained = dict(zip(cuts, train_many(apply, members, data, recipe), strict=True))
    rows = {}
    for ranking in RANKINGS:
        pairs = [(cuts[ranking, k].small.params, trained[ranking, k]) for k in range(5)]
        rows[ranking] = {
            "kept": [list(cuts[ranking, k].kept) for k in range(5)],
            "after removal": spread(
                [
                    percent_right(apply, p[0], d.test)
                    for p, d in zip(pairs, data, strict=True)
                ]
            ),
            "test": spread(
                [
                    percent_right(apply, p[1], d.test)
                    for p, d in zip(pairs, data, strict=True)
                ]
            ),
            "validation": spread(
                [
                    percent_right(apply, p[1], d.validation)
                    for p, d in zip(pairs, data, strict=True)
                ]
            ),
        }
    fresh_apply, fresh = from_scratch(SEEDS, data, shape, recipe)
    rows["scratch"] = {
        "kept": [list(shape)] * 5,
        "test": spread(
            [
                percent_right(fresh_apply, p, d.test)
                for p, d in zip(fresh, data, strict=True)
            ]
        ),
        "validation": spread(
            [
                percent_right(fresh_apply, p, d.validation)
                for p, d in zip(fresh, data, strict=True)
            ]
        ),
    }
    ours = rows["equilibrium"]["test"]["values"]
    tests = {
        name: paired_test(ours, row["test"]["values"])
        for name, row in rows.items()
        if name != "equilibrium"
    }
    errors = [cut.small.report.max_error for cut in cuts.values()]
    return {
        "shape": list(shape),
        "recipe": recipe._asdict(),
        "rows": rows,
        "ours against": tests,
        "largest relative error of compaction": float(max(errors)),
        "seconds of one market run": spread([c.seconds for c in cuts.values()])["mean"],
        "seconds": clock(),
    }


def paired_test(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """Student's paired test over the seeds, one-sided: is ours larger?"""
    difference = np.subtract(ours, theirs)
    found = scipy.stats.ttest_rel(ours, theirs, alternative="greater")
    p = float(found.pvalue)
    return {"mean difference": round(float(difference.mean()), 3), "p": round(p, 4)}


def references() -> dict[str, Any]:
    """A linear model and the dense network, thirty epochs."""
    data = [mnist(seed) for seed in SEEDS]
    rows = {}
    for name, widths in (("linear 784-10", ()), ("dense 784-512-256-10", WIDTHS)):
        if widths:
            model = mlp(widths)
            apply, init = model.apply, model.init
        else:
            apply = lambda p, x: x @ p["kernel"] + p["bias"][None]  # noqa: E731
            init = lambda key: {"kernel": jnp.zeros((784, 10)), "bias": jnp.zeros(10)}  # noqa: E731
        recipe = Recipe(
            20, batch_size=128, learning_rate=1e-3, bend=PLAIN, dropout=0.0, decay=0.0
        )
        seeds = range(len(SEEDS)) if not widths else range(2)
        members = [
            Member(init(jax.random.key(SEEDS[k])), k, jax.random.key(1000 + k))
            for k in seeds
        ]
        trained = train_many(apply, members, data, recipe)
        rows[name] = spread(
            [
                percent_right(apply, p, data[k].test)
                for k, p in zip(seeds, trained, strict=True)
            ]
        )
    return rows


def tune() -> None:
    """Shapes and recipes by validation accuracy; the test data are not looked at."""
    data = [mnist(seed) for seed in TUNING_SEEDS]
    tried = []
    for total, shapes in (
        (15, [15, (9, 6), (10, 5), (11, 4)]),
        (37, [37, (23, 14), (25, 12), (27, 10)]),
    ):
        recipes = [
            Recipe(TRAIN_EPOCHS, bend=BOUNDED),
            Recipe(TRAIN_EPOCHS, bend=PLAIN),
            Recipe(TRAIN_EPOCHS, bend=PLAIN, dropout=0.2),
        ]
        for shape in shapes:
            for recipe in recipes if shape in ((10, 5), (25, 12)) else recipes[:1]:
                clock = Clock()
                values, kept = [], []
                for k, seed in enumerate(TUNING_SEEDS):
                    cut = market(seed, data[k], shape, "equilibrium", recipe)
                    member = Member(cut.small.params, k, jax.random.key(1000 + seed))
                    apply = cut.small.apply
                    (params,) = train_many(apply, [member], data, recipe)
                    values.append(percent_right(apply, params, data[k].validation))
                    kept.append(list(cut.kept))
                tried.append(
                    {
                        "total": total,
                        "shape": shape if isinstance(shape, int) else list(shape),
                        "kept": kept,
                        "recipe": recipe._asdict(),
                        "validation": spread(values),
                        "seconds": clock(),
                    }
                )
                print(tried[-1], flush=True)
                write_json(
                    HERE / "tune.json",
                    {
                        "command": "python -m experiments.equilibrium_mnist.best tune",
                        "seeds": list(TUNING_SEEDS),
                        "tried": tried,
                    },
                )


def run() -> None:
    """Both sizes, five seeds."""
    path = HERE / "best.json"
    found: dict[str, Any] = {
        "command": "python -m experiments.equilibrium_mnist.best run",
        "seeds": list(SEEDS),
        "versions": {"jax": jax.__version__, "gamepruning": gp.__version__},
    }
    for total in CHOSEN:
        found[f"{total} of 768"] = contest(total)
        write_json(path, found)
        print(found[f"{total} of 768"]["rows"], flush=True)
    found["references"] = references()
    write_json(path, found)


if __name__ == "__main__":
    {"tune": tune, "run": run}[sys.argv[1]]()
