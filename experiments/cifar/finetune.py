"""Fine-tuning of what `run` chose and repaired, with the full network as teacher.

    python -m experiments.cifar.finetune 56 --speed-ups 2.11 --seeds 0 1 2
    python -m experiments.cifar.finetune 56 --methods market --stop-after 2   # epochs
    python -m experiments.cifar.finetune 56 --start repaired --epochs 2
    python -m experiments.cifar.finetune 56 --rate 0.01 --statistics stay

Every network starts from its refined weights, or from those repaired in closed form
where it has no others or `--start` says so, and becomes a `CifarResNet` of its own
widths. All have the same schedule: momentum, clipped gradients, a rate that rises for
the first twentieth and falls with a cosine, labels and the teacher's logits for the
same crops; batch normalisation goes by each batch and keeps its statistics up to date,
or stays as it was. Epochs go through eight views of the images in
turn, each with a crop and a flip of its own; the teacher sees a view once, for all
networks. A thousand training images are left out, and tell how far it is (the full
network was trained on them); the test images are read once, at the end. A checkpoint is
written into `--folder` after each epoch, and resumed from.

On a CPU set XLA_FLAGS=--xla_disable_hlo_passes=fusion: XLA otherwise adds up the
residuals of earlier blocks anew for each gradient, which takes 1.1 s in the place of
0.5 (two cores, 128 images).
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import gamepruning as gp
from experiments.cifar.run import (
    HERE,
    METHODS,
    STAGES,
    Bench,
    accuracy,
    find_row,
    load,
    read_mask,
    repaired,
    told,
)
from experiments.gtap.common import write_json
from gamepruning.files.checkpoint import load_checkpoint, save_checkpoint
from gamepruning.images import CifarResNet, crop_and_flip

BATCH, DECAY, CLIP = 128, 5e-4, 5.0
WARM = 0.05  # of the steps, in which the rate rises
HELD = 1000  # training images that tell how far it is
VIEWS = 8  # of each image, with a crop and a flip each
PARTS = ("weights", "rest", "optimiser")  # of a network under training
CHUNK = 500  # images in a forward pass of the teacher


class Views:
    """Crops and flips of the training images, and what the teacher says of them."""

    def __init__(self, bench: Bench, images: Any, folder: Path):
        self._bench, self._images, self._folder = bench, images, folder
        self._augment = jax.jit(crop_and_flip)
        self._teach = jax.jit(bench.apply)

    def view(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """(images, logits) of a view; the logits from their file if they are there."""
        chunks = [slice(k, k + CHUNK) for k in range(0, len(self._images), CHUNK)]
        key = jax.random.fold_in(jax.random.key(VIEWS), number)
        seen = np.empty_like(self._images)
        for turn, rows in enumerate(chunks):
            own = jax.random.fold_in(key, turn)
            seen[rows] = self._augment(own, self._images[rows])
        path = self._folder / f"resnet{self._bench.depth}-teacher-view{number}.npy"
        if not path.exists():
            params = self._bench.params
            said = [np.asarray(self._teach(params, seen[rows])) for rows in chunks]
            partial_path = path.with_suffix(".partial.npy")
            np.save(partial_path, np.concatenate(said))
            partial_path.replace(path)
        return seen, np.load(path)


def make_step(module: CifarResNet, num_steps: int, options: Any) -> tuple[Any, Any]:
    """(optimiser, step) of one network."""
    warm, is_live = round(WARM * num_steps), options.statistics == "live"
    rate = optax.warmup_cosine_decay_schedule(0.0, options.rate, warm, num_steps)
    optimiser = optax.chain(
        optax.clip_by_global_norm(CLIP),
        optax.add_decayed_weights(DECAY),
        optax.sgd(rate, momentum=0.9, nesterov=True),
    )

    def loss(weights: Any, rest: Any, images: Any, labels: Any, teacher: Any) -> Any:
        params = {"params": weights, **rest}
        if is_live:
            outputs, rest = module.apply(params, images, True, mutable=list(rest))
        else:
            outputs = module.apply(params, images)
        return gp.distillation.distillation_loss(outputs, labels, teacher), rest

    @jax.jit
    def step(weights: Any, rest: Any, state: Any, *batch: Any) -> Any:
        slope, rest = jax.grad(loss, has_aux=True)(weights, rest, *batch)
        change, state = optimiser.update(slope, state, weights)
        return optax.apply_updates(weights, change), rest, state

    return optimiser, step


class Tuning:
    """One network under training, resumed from where it was."""

    def __init__(self, bench: Bench, row: dict[str, Any], seed: int, options: Any):
        stage = starting_stage(row, options)
        self.name = f"resnet{bench.depth}-{row['method']}-{row['asked']}-{stage}"
        self._options, self._seed = options, seed
        mask = read_mask(row["stays"], bench.players.num_players)
        found = repaired(bench, row, stage, row[f"{stage}_images"], options)
        small = gp.compact(bench.players, found.params, mask, min_units=0)
        self._images, self._labels = load("train")
        module = gp.to_module(
            small,
            CifarResNet(bench.depth),
            self._images[:8],
            fields={"inner": tuple(row["kept"])},
        ).module
        self._apply = jax.jit(module.apply)
        order = np.random.default_rng(seed).permutation(len(self._labels))
        self._held, self._order = order[:HELD], order[HELD:]
        self._per_epoch = len(self._order) // BATCH
        steps = options.epochs * self._per_epoch
        optimiser, self._step = make_step(module, steps, options)
        self._views = Views(bench, self._images, options.folder)
        weights = small.params["params"]
        schedule = f"{options.rate}-{options.statistics}-{options.epochs}epochs"
        self._path = options.folder / f"{self.name}-{schedule}-seed{seed}.npz"
        rest = {k: v for k, v in small.params.items() if k != "params"}
        moments = optimiser.init(weights)
        self._state = {"weights": weights, "rest": rest, "optimiser": moments}
        self._known: dict[str, Any] = {"held_out": [], "seconds": []}
        if self._path.exists():
            self._state, self._known = load_checkpoint(self._path, self._state)
        else:
            self._known["held_out"].append(self._held_out())

    def run(self, save: Any) -> None:
        """Train epoch by epoch; `save` is called with what is known."""
        options = self._options
        last = min(options.epochs, options.stop_after)
        while self._epochs < last:
            start = time.perf_counter()
            self._epoch(self._epochs)
            self._known["held_out"].append(self._held_out())
            self._known["seconds"].append(round(time.perf_counter() - start, 1))
            save_checkpoint(self._path, self._state, meta=self._known)
            save(self._described())
            print(self.name, self._seed, json.dumps(self._described()), flush=True)
        found = self._described()
        if self._epochs == options.epochs or options.test:
            found["test"] = accuracy(self._apply, self._params, *load("test"))
        save(found)

    @property
    def _epochs(self) -> int:
        return len(self._known["seconds"])

    @property
    def _params(self) -> Any:
        return {"params": self._state["weights"], **self._state["rest"]}

    def _described(self) -> dict[str, Any]:
        return {"epochs": self._epochs, **self._known}

    def _held_out(self) -> float:
        images, labels = self._images[self._held], self._labels[self._held]
        return accuracy(self._apply, self._params, images, labels)

    def _epoch(self, epoch: int) -> None:
        """One pass over the images, in an order of its own."""
        order = np.random.default_rng((self._seed, epoch)).permutation(self._order)
        images, teacher = self._views.view(epoch % VIEWS)
        state = self._state
        for number in range(self._per_epoch):
            rows = order[number * BATCH : (number + 1) * BATCH]
            batch = images[rows], self._labels[rows], teacher[rows]
            after = self._step(*(state[k] for k in PARTS), *batch)
            state = dict(zip(PARTS, after, strict=True))
        self._state = state


def starting_stage(row: dict[str, Any], options: argparse.Namespace) -> str:
    """The best that a row has, or what was asked for."""
    return options.start or ("refined" if "refined" in row else "repaired")


def main() -> None:
    """All that was asked for, one network after the other."""
    options = read_options()
    options.folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.depth)
    chosen = json.loads((HERE / f"resnet{options.depth}.json").read_text())
    path = HERE / f"finetune{options.depth}.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []

    def save(own: dict[str, Any], row: dict[str, Any]) -> None:
        rows[:] = [r for r in rows if any(r[k] != v for k, v in own.items())]
        rows.append(own | row)
        found = {"command": told("finetune"), "full": chosen["full"], "rows": rows}
        write_json(path, found)

    for speed_up in options.speed_ups:
        for method in options.methods:
            row = find_row(chosen, method, speed_up)
            stage = starting_stage(row or {}, options)
            if row is None or stage not in row:
                raise SystemExit(
                    f"{method} at {speed_up} x is not {stage} yet: first run python "
                    f"-m experiments.cifar.run {options.depth} --speed-ups {speed_up}"
                )
            for seed in options.seeds:
                own = {"method": method, "asked": speed_up, "seed": seed}
                own |= {"start": stage, "of": options.epochs, "rate": options.rate}
                own |= {"statistics": options.statistics}
                Tuning(bench, row, seed, options).run(partial(save, own))


def read_options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("depth", type=int, choices=(20, 56))
    parser.add_argument("--speed-ups", type=float, nargs="+", default=[2.11, 2.55])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--start", choices=STAGES, help="instead of the best there is")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rate", type=float, default=0.05, help="the largest")
    parser.add_argument(
        "--statistics",
        choices=("live", "stay"),
        default="live",
        help="of batch normalisation",
    )
    parser.add_argument(
        "--stop-after", type=int, default=1000, help="epochs, to go on another time"
    )
    parser.add_argument("--gauss-newton", type=int, default=3, help="steps at most")
    parser.add_argument("--last-steps", type=int, default=3, help="of distilled")
    parser.add_argument(
        "--test", action="store_true", help="test what is not finished, too"
    )
    parser.add_argument("--folder", type=Path, default=Path("cifar-checkpoints"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
