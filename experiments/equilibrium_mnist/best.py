"""Our best at 15 and at 37 of 768 neurons, beside others under the same schedule.

    python -m experiments.equilibrium_mnist.best tune    # validation data only
    python -m experiments.equilibrium_mnist.best run     # five seeds, test data
    python -m experiments.equilibrium_mnist.best scratch # then: a better start for it

A run is 30 epochs in all: ten of the market (`make_market_step`), then the network is
compacted, then twenty of training what is left.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

import gamepruning as gp
from experiments.equilibrium_mnist.common import (
    HERE,
    Clock,
    Member,
    Recipe,
    Shrinking,
    market,
    mlp,
    mnist,
    percent_right,
    spread,
    train_many,
    write_json,
)

WIDTHS = (512, 256)
MARKET_EPOCHS, TRAIN_EPOCHS = 10, 20
SEEDS = (0, 1, 2, 3, 4)
TUNING_SEEDS = (100, 101)
RANKINGS = ("equilibrium", "magnitude", "random", "l0")
SHRINKING = Shrinking(WIDTHS, keep=15, epochs=MARKET_EPOCHS)
L0_PENALTY = {15: 0.02, 37: 0.01}
BOUNDED, PLAIN = 0.3, 0.0
CHOSEN = {  # on validation data: the shapes by `tune`, see README.md for the rest
    15: ((10, 5), Recipe(TRAIN_EPOCHS, bend=BOUNDED)),
    37: ((25, 12), Recipe(TRAIN_EPOCHS, bend=PLAIN, dropout=0.2)),
}


def from_scratch(seeds, data, shape: tuple[int, ...], recipe: Recipe, start=None):
    """Networks of the small size, all thirty epochs long."""
    model = mlp(shape)
    start = start or model.init
    members = [
        Member(start(jax.random.key(seed)), k, jax.random.key(1000 + seed))
        for k, seed in enumerate(seeds)
    ]
    recipe = recipe._replace(epochs=MARKET_EPOCHS + TRAIN_EPOCHS)
    return model.apply, train_many(model.apply, members, data, recipe)


def contest(total: int) -> dict[str, Any]:
    """All rankings and the network from scratch at one size."""
    clock = Clock()
    shape, recipe = CHOSEN[total]
    how = SHRINKING._replace(keep=shape, penalty=L0_PENALTY[total])
    data = [mnist(seed) for seed in SEEDS]
    cuts = {
        (ranking, k): market(seed, data[k], how._replace(ranking=ranking), recipe)
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


def awake(shape: tuple[int, ...]):
    """A start that small networks need: He's variance, and biases that wake all up.

    The usual start leaves a good part of ten relus dead for good.
    """
    model = mlp(shape)

    def start(key):
        def change(path, leaf):
            if leaf.ndim > 1:
                return leaf * 2**0.5
            return leaf if "output" in str(path) else leaf + 0.1

        return jax.tree_util.tree_map_with_path(change, model.init(key))

    return start


def strong_scratch() -> None:
    """The strongest network from scratch that we know, added to best.json."""
    path = HERE / "best.json"
    found = json.loads(path.read_text())
    data = [mnist(seed) for seed in SEEDS]
    for total, (shape, recipe) in CHOSEN.items():
        apply, fresh = from_scratch(SEEDS, data, shape, recipe, awake(shape))
        pairs = list(zip(fresh, data, strict=True))
        row = {
            "kept": [list(shape)] * len(SEEDS),
            "test": spread([percent_right(apply, p, d.test) for p, d in pairs]),
            "validation": spread(
                [percent_right(apply, p, d.validation) for p, d in pairs]
            ),
        }
        part = found[f"{total} of 768"]
        part["rows"]["scratch, better start"] = row
        ours = part["rows"]["equilibrium"]["test"]["values"]
        test = paired_test(ours, row["test"]["values"])
        part["ours against"]["scratch, better start"] = test
        print(total, row["test"], test, flush=True)
        write_json(path, found)


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
                cuts = [
                    market(seed, data[k], SHRINKING._replace(keep=shape), recipe)
                    for k, seed in enumerate(TUNING_SEEDS)
                ]
                members = [
                    Member(cut.small.params, k, jax.random.key(1000 + k))
                    for k, cut in enumerate(cuts)
                ]
                if cuts[0].kept == cuts[1].kept:  # side by side, which is quicker
                    trained = train_many(cuts[0].small.apply, members, data, recipe)
                else:
                    trained = [
                        train_many(cut.small.apply, [member], data, recipe)[0]
                        for cut, member in zip(cuts, members, strict=True)
                    ]
                values = [
                    percent_right(cut.small.apply, params, d.validation)
                    for cut, params, d in zip(cuts, trained, data, strict=True)
                ]
                kept = [list(cut.kept) for cut in cuts]
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
    {"tune": tune, "run": run, "scratch": strong_scratch}[sys.argv[1]]()
