"""Fine-tuning of what `run` chose and repaired, with the full network as teacher.

    python -m experiments.cifar.finetune 56 --speed-ups 2.11 --seeds 0 1 2
    python -m experiments.cifar.finetune 56 --methods market --stop-after 2   # epochs

Every network starts from its repaired weights and has the same schedule: crops and flips
inside the compiled step, momentum, a cosine, labels and the teacher's logits for the same
crops; the statistics of batch normalisation stay. A thousand training images are left
out, and tell how far it is; the test images are read once, at the end. It writes a
checkpoint after each epoch beside `--folder` and goes on from there.
"""

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gamepruning as gp
from experiments.cifar.run import (
    HERE,
    METHODS,
    Bench,
    accuracy,
    find_row,
    load,
    read_mask,
    refining,
)
from experiments.gtap.common import write_json
from gamepruning.files.checkpoint import load_checkpoint, save_checkpoint

BATCH, RATE, DECAY = 128, 0.01, 5e-4
HELD = 1000  # training images that tell how far it is


def crop_and_flip(key: jax.Array, images: Any) -> Any:
    """Shifts by up to four pixels, and every second image mirrored; traced."""
    shift_key, flip_key = jax.random.split(key)
    shifts = jax.random.randint(shift_key, (len(images), 2), 0, 9)
    padded = jnp.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))

    def one(image: Any, shift: Any) -> Any:
        return jax.lax.dynamic_slice(image, (*shift, 0), (32, 32, 3))

    cropped = jax.vmap(one)(padded, shifts)
    flips = jax.random.bernoulli(flip_key, shape=(len(images), 1, 1, 1))
    return jnp.where(flips, cropped[:, :, ::-1], cropped)


def make_step(bench: Bench, small: Any, num_steps: int) -> tuple[Any, Any]:
    """(optimiser, step) of one network."""
    rate = optax.cosine_decay_schedule(RATE, num_steps)
    optimiser = optax.chain(
        optax.add_decayed_weights(DECAY), optax.sgd(rate, momentum=0.9, nesterov=True)
    )

    def loss(weights: Any, rest: Any, images: Any, labels: Any) -> Any:
        teacher = bench.apply(bench.params, images)
        outputs = small.apply({"params": weights, **rest}, images)
        return gp.distillation.distillation_loss(outputs, labels, teacher)

    @jax.jit
    def step(weights: Any, state: Any, rest: Any, key: Any, images: Any, labels: Any):
        images = crop_and_flip(key, images)
        value, slope = jax.value_and_grad(loss)(weights, rest, images, labels)
        change, state = optimiser.update(slope, state, weights)
        return optax.apply_updates(weights, change), state, value

    return optimiser, step


def tune(bench: Bench, row: dict[str, Any], seed: int, options: Any, save: Any) -> None:
    """Train one network, epoch by epoch; `save` is called with its result."""
    name = f"resnet{bench.depth}-{row['method']}-{row['asked']}"
    mask = read_mask(row["stays"], bench.players.num_players)
    images, labels = load("train")
    repaired = gp.repair(
        bench.players,
        bench.params,
        mask,
        load("train", row["refined_images"])[0],
        config=refining(options.gauss_newton),
        checkpoint=options.folder / f"{name}.npz",
    )
    small = gp.compact(bench.players, repaired.params, mask, min_units=0)
    order = np.random.default_rng(seed).permutation(len(labels))
    held, order = order[:HELD], order[HELD:]
    per_epoch = len(order) // BATCH
    optimiser, step = make_step(bench, small, options.epochs * per_epoch)
    rest = {k: v for k, v in small.params.items() if k != "params"}
    weights = small.params["params"]
    state = {"weights": weights, "optimiser": optimiser.init(weights)}
    path, curve = options.folder / f"{name}-seed{seed}.npz", []
    apply = jax.jit(small.apply)
    seconds: list[float] = []
    if path.exists():
        state, known = load_checkpoint(path, state)
        curve, seconds = known["curve"], known["seconds"]
    else:
        curve.append(accuracy(apply, small.params, images[held], labels[held]))
    for epoch in range(len(seconds), min(options.epochs, options.stop_after)):
        start = time.perf_counter()
        own = np.random.default_rng((seed, epoch)).permutation(order)
        weights, moments = state["weights"], state["optimiser"]
        for number in range(per_epoch):
            rows = own[number * BATCH : (number + 1) * BATCH]
            key = jax.random.fold_in(jax.random.key(seed), epoch * per_epoch + number)
            weights, moments, _ = step(
                weights, moments, rest, key, images[rows], labels[rows]
            )
        state = {"weights": weights, "optimiser": moments}
        params = {"params": weights, **rest}
        curve.append(accuracy(apply, params, images[held], labels[held]))
        seconds.append(round(time.perf_counter() - start, 1))
        save_checkpoint(path, state, meta={"curve": curve, "seconds": seconds})
        found = {"epochs": len(seconds), "of": options.epochs, "held_out": curve}
        save({**found, "seconds": seconds})
        print(name, seed, json.dumps(found), flush=True)
    params = {"params": state["weights"], **rest}
    is_done = len(seconds) == options.epochs
    found = {"epochs": len(seconds), "of": options.epochs, "held_out": curve}
    if is_done or options.test:
        found["test"] = accuracy(apply, params, *load("test"))
    save({**found, "seconds": seconds})


def main() -> None:
    """All that was asked for, one network after the other."""
    options = read_options()
    options.folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.depth)
    chosen = json.loads((HERE / f"resnet{options.depth}.json").read_text())
    path = HERE / f"finetune{options.depth}.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []

    def save(own: dict[str, Any], found: dict[str, Any]) -> None:
        rows[:] = [r for r in rows if any(r[k] != v for k, v in own.items())]
        rows.append(own | found)
        command = " ".join(["python -m experiments.cifar.finetune", *sys.argv[1:]])
        full = chosen["full"]
        write_json(path, {"command": command, "full": full, "rows": rows})

    for speed_up in options.speed_ups:
        for method in options.methods:
            row = find_row(chosen, method, speed_up)
            if row is None:
                raise SystemExit(
                    f"{method} at {speed_up} x is not chosen yet: first run python -m "
                    f"experiments.cifar.run {options.depth} --speed-ups {speed_up}"
                )
            for seed in options.seeds:
                own = {"method": method, "asked": speed_up, "seed": seed}
                tune(bench, row, seed, options, partial(save, own))


def read_options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("depth", type=int, choices=(20, 56))
    parser.add_argument("--speed-ups", type=float, nargs="+", default=[2.11, 2.55])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument(
        "--stop-after", type=int, default=1000, help="epochs, to go on another time"
    )
    parser.add_argument("--gauss-newton", type=int, default=3, help="steps at most")
    parser.add_argument(
        "--test", action="store_true", help="test what is not finished, too"
    )
    parser.add_argument("--folder", type=Path, default=Path("cifar-checkpoints"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
