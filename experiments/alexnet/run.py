"""GTAP on AlexNet and Tiny ImageNet: section IV-C and Figures 6 to 8 of the paper.

    python -m experiments.gtap.tiny_imagenet tiny-imagenet-200 tiny-imagenet
    python -m experiments.alexnet.run train --images tiny-imagenet --folder F
    python -m experiments.alexnet.run bands --folder F        # Figure 6
    python -m experiments.alexnet.run indices --folder F      # Figure 8, and for 7
    python -m experiments.alexnet.run building --folder F     # Figure 7
    python -m experiments.alexnet.run curves --folder F       # Figure 7
    python -m experiments.alexnet.run repaired --folder F     # the same, repaired

5,000 of the 100,000 training images are for choices; the 10,000 published validation
images are the test, which choices do not see but for the indices of footnote 9. Every
stage but the bands, a minute, resumes, and writes what it found into results.json. An
index that is on file is kept, whatever --sweeps says.
"""

import argparse
import functools
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import spearmanr

import experiments.alexnet.network as network
import gamepruning as gp
from experiments.alexnet.choice import AS_PRINTED, KINDS, PROPORTIONS, SIZES, Trained
from experiments.alexnet.network import accuracy
from experiments.gtap.bands import describe, digits
from experiments.gtap.common import write_json
from gamepruning.uncertainty.mcue import mcue

PLACE = Path(__file__).parent / "results.json"
COMMAND = (
    "python -m experiments.alexnet.run train; ... bands; ... indices; ... building; "
    "... curves; ... repaired"
)
ROWS, EACH = 200, 3  # images and evaluations a player of an index
AT_ONCE, TEST_SEED = 600, 0  # evaluations of all layers at once
WHICH = ("kind", "seed", "family")  # of the values that a row describes
BAND_ROWS, BUILDING_ROWS, BUILDING_EACH, REPAIR_ROWS = 100, 128, 300, 2000
FIXED = (
    "magnitude_l2",
    "magnitude_l2, equal shares",
    "weight_gradient",
    "taylor",
    "random, equal shares",
    "random, Taylor's shares",
)
DRAWN = (
    ("loss", "Taylor's shares"),
    ("loss", AS_PRINTED),
    ("own", "Taylor's shares"),
    ("own", "weight x gradient's shares"),
    ("own", "equal shares"),
    ("printed", AS_PRINTED),
    ("printed", "Taylor's shares"),
    ("test", "Taylor's shares"),
    ("all", "Taylor's shares"),
)
REPAIRED = (
    "magnitude_l2, equal shares",
    "taylor",
    "index (loss), Taylor's shares",
    "building",
    "random, Taylor's shares",
)


def opened(options: argparse.Namespace) -> Trained:
    return Trained(options.folder, options.images, options.epochs)


def train(options: argparse.Namespace) -> None:
    """Train, or go on, and read the test images at the end."""
    parts = network.load(options.folder, options.images)
    write(training=network.train(options.folder, parts, options.epochs))


def bands(options: argparse.Namespace) -> None:
    """Figure 6: the whole network, convolutions alone, dense layers alone."""
    own = opened(options)
    names = [family.name for family in own.players.families]
    convs = [name for name in names if "conv" in name]
    dense = [name for name in names if "conv" not in name]
    rows, made = own.rows(BAND_ROWS, 0), {}
    for title, varying in (("all", None), ("convolutions", convs), ("dense", dense)):
        began = time.perf_counter()
        found = mcue(
            jax.random.key(1),
            own.players,
            own.params,
            *rows,
            output=("label", "vote"),
            varying=varying,
            num_samples=10,
            num_sizes=25,
        )
        seconds = round(time.perf_counter() - began, 1)
        made[title] = {
            "seconds": seconds,
            "rows": BAND_ROWS,
            "p": digits(found[0].p),
            "definitions": [describe(one) for one in found],
        }
        print(title, made[title]["definitions"][0]["peak"], seconds, flush=True)
    write(bands=made)


def indices(options: argparse.Namespace) -> None:
    """Biased Banzhaf values of each layer's neurons, all others in; and of all."""
    own = opened(options)
    for kind in options.kinds:
        for seed in options.seeds if kind != "test" else (TEST_SEED,):
            if kind == "all":
                _index(own, kind, None, seed, options.sweeps)
                continue
            for number in range(len(own.players.families)):
                _index(own, kind, number, seed, options.sweeps)
    names = (path.stem for path in own.folder.glob("index-*.npz"))
    seeds = sorted({int(n.rsplit("-", 1)[1]) for n in names})
    known = read().get("indices", {"rows": [], "between seeds": {}})
    rows = {tuple(row[k] for k in WHICH): row for row in known["rows"]}
    rows |= {tuple(row[k] for k in WHICH): row for row in _described(own, seeds)}
    between = known["between seeds"] | _between(own, seeds)
    write(indices={"images": ROWS, "rows": [*rows.values()], "between seeds": between})


def _index(own: Trained, kind: str, number: int | None, seed: int, sweeps: int) -> None:
    """The values of one layer, or of all layers for None; kept in a file."""
    family = None if number is None else own.players.families[number]
    name = "all" if family is None else family.name
    path = own.path(kind, name, seed)
    if path.exists():
        return
    began = time.perf_counter()
    rows = own.rows(ROWS, seed, "test" if kind == "test" else "validation")
    varying = None if family is None else name
    game = own.value_fn(rows, is_loss=kind == "loss", varying=varying)
    budget, method, bias = AT_ONCE, "auto", PROPORTIONS
    if family is not None and number is not None:
        each, method = (sweeps, "toggle_all") if game.is_incremental else (EACH, "auto")
        budget, bias = each * (family.size + 1), own.biases(kind)[number]
    found = gp.banzhaf_values(
        jax.random.fold_in(jax.random.key(seed), 100 if number is None else number),
        game,
        bias=bias,
        num_evaluations=budget,
        method=method,
    )
    value, error = np.asarray(found.value), np.asarray(found.stderr)
    facts = {"seconds": time.perf_counter() - began, "bias": bias}
    count = found.num_evaluations
    np.savez(path, value=value, stderr=error, num_evaluations=count, **facts)
    told = f"spread {value.std():.2e}, error {np.median(error):.2e}"
    print(path.stem, f"bias {bias:.2f}, {facts['seconds']:.0f} s, {told}", flush=True)


def _described(own: Trained, seeds: list[int]) -> list[dict[str, Any]]:
    """Figure 8 in numbers: rank correlations with magnitude; how noisy indices are."""
    magnitude, rows = own.baseline("magnitude_l2"), []
    for kind, seed in itertools.product(("printed", "own", "loss", "all"), seeds):
        for family in own.players.families:
            members = slice(family.start, family.stop)
            path = own.path(kind, "all" if kind == "all" else family.name, seed)
            if not path.exists():
                continue
            with np.load(path) as file:
                found = dict(file)
            if kind == "all":
                found |= {k: found[k][members] for k in ("value", "stderr")}
            value, other = found["value"], magnitude[members]
            rows.append(
                {
                    "kind": kind,
                    "seed": seed,
                    "family": family.name,
                    "players": family.size,
                    "bias": _digits(found["bias"]),
                    "rank correlation": _digits(spearmanr(value, other)[0]),
                    "correlation": _digits(np.corrcoef(value, other)[0, 1]),
                    "spread": _digits(value.std()),
                    "median stderr": _digits(np.median(found["stderr"])),
                    "evaluations": int(found["num_evaluations"]),
                    "seconds": _digits(found["seconds"]),
                }
            )
    return rows


def _between(own: Trained, seeds: list[int]) -> dict[str, dict[str, float]]:
    """The mean rank correlation of two seeds' indices, by kind and layer."""
    found: dict[str, dict[str, float]] = {}
    for kind, family in itertools.product(
        ("printed", "own", "loss"), own.players.families
    ):
        paths = [own.path(kind, family.name, seed) for seed in seeds]
        values = [np.load(path)["value"] for path in paths if path.exists()]
        pairs = itertools.combinations(values, 2)
        ranks = [spearmanr(one, other)[0] for one, other in pairs]
        if ranks:
            found.setdefault(kind, {})[family.name] = _digits(np.mean(ranks))
    return found


def _digits(value: Any) -> float:
    return float(f"{float(value):.3g}")


def building(options: argparse.Namespace) -> None:
    """Iterated building of the whole network: a twentieth of it joins in each round."""
    own = opened(options)
    count = own.players.num_players
    last = round(SIZES[-1] * count)
    for seed in options.seeds:
        path = own.folder / f"building-{seed}.npz"
        if path.exists():
            continue
        began = time.perf_counter()
        game = own.value_fn(own.rows(BUILDING_ROWS, seed))

        def make(progress: Any) -> Any:
            bias = progress.bias_for(
                max(round(0.3 * count), progress.num_fixed + count // 10)
            )
            return functools.partial(
                gp.banzhaf_values, num_evaluations=BUILDING_EACH, bias=bias
            )

        trace = gp.iterated_building(
            jax.random.key(seed),
            game,
            last,
            step=round(0.05 * count),
            make_scorer=make,
            players=own.players,
            checkpoint=own.folder / f"building-{seed}.checkpoint",
        )
        seconds = round(time.perf_counter() - began, 1)
        np.savez(path, order=np.asarray(trace.order), seconds=seconds)
        print("building", seed, seconds, flush=True)


def curves(options: argparse.Namespace) -> None:
    """Figure 7: accuracy after removal, without training, by share of neurons."""
    own = opened(options)
    found = read()
    done = found.get("curves", {})
    for name, seed in _wanted(own, options):
        key = f"{name} {seed}"
        if key in done:
            continue
        done[key] = [_judge(own, own.params, mask) for mask in own.masks(name, seed)]
        print(key, [row["test"] for row in done[key]], flush=True)
        write(sizes=list(SIZES), curves=done)


def repaired(options: argparse.Namespace) -> None:
    """The same after closed-form repair on training images."""
    own = opened(options)
    done = read().get("repaired", {})
    images = own.rows(REPAIR_ROWS, 0, "train").inputs
    for size in options.sizes:
        for name, seed in _wanted(own, options):
            key = f"{name} {seed} {size}"
            if key in done or name not in REPAIRED:
                continue
            began = time.perf_counter()
            mask = own.masks(name, seed)[SIZES.index(size)]
            fitted = gp.repair(own.players, own.params, mask, images)
            seconds = round(time.perf_counter() - began, 1)
            done[key] = _judge(own, fitted.params, mask) | {"seconds": seconds}
            print(key, done[key], flush=True)
            write(repaired=done, repair_images=REPAIR_ROWS)


def _wanted(own: Trained, options: argparse.Namespace) -> list[tuple[str, int]]:
    """(method, seed) of all that can be chosen by now."""
    found = [(name, 0) for name in FIXED]
    last = own.players.families[-1].name
    for kind, shares in DRAWN:
        for seed in options.seeds:
            if own.path(kind, "all" if kind == "all" else last, seed).exists():
                found.append((f"index ({kind}), {shares}", seed))
    built = [("building", seed) for seed in options.seeds]
    return found + [x for x in built if (own.folder / f"building-{x[1]}.npz").exists()]


def _judge(own: Trained, params: Any, mask: np.ndarray) -> dict[str, Any]:
    """Accuracy of the small network, and how many of each layer stay."""
    example = jnp.asarray(own.parts["train"].inputs[:8])
    small = gp.compact(own.players, params, mask, inputs=(example,))
    kept = [int(mask[f.start : f.stop].sum()) for f in own.players.families]
    return {
        "kept": kept,
        "test": accuracy(small.params, own.parts["test"], small.apply),
    }


def read() -> dict[str, Any]:
    """The committed result."""
    return json.loads(PLACE.read_text()) if PLACE.is_file() else {"command": COMMAND}


def write(**facts: Any) -> None:
    """Put facts into the committed result."""
    write_json(PLACE, read() | facts)


def read_options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--images", type=Path, default=Path("tiny-imagenet"))
    parser.add_argument("--folder", type=Path, default=Path("alexnet-checkpoints"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="indices"
    )
    parser.add_argument(
        "--sweeps", type=int, default=20, help="toggles of each hidden unit"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--sizes", type=float, nargs="+", choices=SIZES, default=list(SIZES)
    )
    return parser.parse_args()


STAGES: dict[str, Callable[[argparse.Namespace], None]] = {
    "train": train,
    "bands": bands,
    "indices": indices,
    "building": building,
    "curves": curves,
    "repaired": repaired,
}


def main() -> None:
    """One stage."""
    options = read_options()
    options.folder.mkdir(parents=True, exist_ok=True)
    STAGES[options.stage](options)


if __name__ == "__main__":
    main()
