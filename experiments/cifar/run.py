"""ResNets on CIFAR-10 pruned without a gradient step, at speed-ups in multiply-adds.

    python -m experiments.cifar.run 20 --speed-ups 2 4 --stages repaired   # minutes
    python -m experiments.cifar.run 56                 # an hour on two quiet cores
    python -m experiments.cifar.run 56 --speed-ups 2.11 --methods market
    python -m experiments.cifar.run 56 --stages repaired   # in closed form alone

Players are the inner channels of every block. "market" says how many of each block stay
and who; "magnitude" and "random" keep as many of each block. "global" takes those of
the largest magnitude of all blocks together, as many as the multiply-adds allow,
"uniform" the same share of every block. Images for choices and repair are training
images, without labels; the test images are read once for each network. "distilled" fits
the last blocks of "refined" together, to the outputs; "mirrored" goes on from there
with the same images and their mirror images. What is in the result already is not run
again, and a repair that was cut off resumes from its file in `--folder`. Data come by
tensorflow-datasets (`TFDS_DATA_DIR`), weights from `resnet_cifar10` under
`GAMEPRUNING_DATA`.
"""

import argparse
import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import tensorflow_datasets as tfds

import gamepruning as gp
from experiments.gtap.common import write_json
from gamepruning.compaction.torch_names import load_torch
from gamepruning.images import CifarResNet
from gamepruning.reconstruction import (
    ReconstructionConfig,
    RepairConfig,
    Repaired,
    family_curves,
    trade_curves,
)

HERE = Path(__file__).parent
ASKED = 256  # images on which the whole network is asked what it lost
METHODS = ("market", "magnitude", "random", "global", "uniform")
SCOPES: dict[str, Literal["global", "family"]] = {
    "global": "global",
    "uniform": "family",
}
STAGES = ("repaired", "refined", "distilled", "mirrored")
LAST = 9  # readers, one a block, that are fitted together to the outputs in "distilled"
CLOSED_FORM = RepairConfig(classes=True)
MEAN = np.array((0.485, 0.456, 0.406), np.float32)  # of the pixels, as the published
DEVIATION = np.array((0.229, 0.224, 0.225), np.float32)  # weights expect them


class Bench:
    """A published network, its players, and the test images."""

    def __init__(self, depth: int):
        self.depth = depth
        module = CifarResNet(depth)
        folder = Path(os.environ["GAMEPRUNING_DATA"]) / "resnet_cifar10"
        example = np.zeros((1, 32, 32, 3), np.float32)
        like = jax.eval_shape(module.init, jax.random.key(0), example)
        self.params = load_torch(folder / f"resnet{depth}.safetensors", like)

        def apply(params: Any, x: Any) -> Any:
            return module.apply(params, x)

        self.apply = apply
        families = gp.find_players(apply, self.params, example).families
        outer = [f.name for f in families if not f.name.endswith("_conv1")]
        self.players = gp.find_players(apply, self.params, example, keep=outer)
        self.macs = gp.players.size_of(self.players, "macs")
        self.whole = float(self.macs(np.ones(self.players.num_players, bool)))
        self._test: Any = None

    def accuracy(self, params: Any, mask: np.ndarray) -> float:
        """On the test images, after the players are really removed."""
        if self._test is None:
            self._test = load("test")
        images, labels = self._test
        if mask.all():
            return accuracy(jax.jit(self.apply), params, images, labels)
        small = gp.compact(self.players, params, mask, min_units=0)
        return accuracy(jax.jit(small.apply), small.params, images, labels)


def accuracy(apply: Any, params: Any, images: Any, labels: Any) -> float:
    """The share of images whose class is named right."""
    parts = np.array_split(np.arange(len(labels)), max(1, len(labels) // 500))
    hits = [apply(params, images[k]).argmax(-1) == labels[k] for k in parts]
    return float(np.mean(np.concatenate(hits)))


def normalise(images: np.ndarray) -> np.ndarray:
    """Pixels 0 to 255 as the published weights expect them, float32."""
    return ((images.astype(np.float32) / 255) - MEAN) / DEVIATION


def load(split: str, number: int | None = None, seed: int = 0) -> tuple[Any, Any]:
    """Normalised images and labels of a split; `number` of them, drawn at random."""
    source: Any = tfds.data_source("cifar10", split=split)
    order = np.arange(len(source))
    if number is not None:
        order = np.random.default_rng(seed).permutation(order)[:number]
    rows: list[Any] = [source[int(k)] for k in order]
    images = np.stack([row["image"] for row in rows])
    return normalise(images), np.array([row["label"] for row in rows])


def written(mask: np.ndarray) -> str:
    """Who stays, in hexadecimal."""
    return np.packbits(mask).tobytes().hex()


def read_mask(text: str, num_players: int) -> np.ndarray:
    """The inverse of `written`."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8))
    return bits[:num_players].astype(bool)


def main() -> None:
    """Score once, then cut and repair at each speed-up."""
    options = read_options()
    bench = Bench(options.depth)
    path = HERE / f"resnet{options.depth}.json"
    result = json.loads(path.read_text()) if path.exists() else first_result(bench)
    result["command"] = told("run")
    images, _ = load("train", options.images)
    curves = None
    for speed_up in options.speed_ups:
        for method in options.methods:
            row = find_row(result, method, speed_up)
            if row is None:
                row = {"method": method, "asked": speed_up, "images": options.images}
                if method == "market":
                    if curves is None:
                        with timed(result, "score_seconds"):
                            curves = scored(bench, images)
                    row |= trades(bench, curves, options, speed_up)
                else:
                    row |= rival(bench, result, method, speed_up)
                result["rows"].append(row)
                write_json(path, result)
            repair(bench, row, options, lambda: write_json(path, result))


def told(module: str) -> str:
    """The command of this process, without the folder of its checkpoints."""
    words = sys.argv[1:]
    if "--folder" in words:
        at = words.index("--folder")
        words = words[:at] + words[at + 2 :]
    return " ".join([f"python -m experiments.cifar.{module}", *words])


def first_result(bench: Bench) -> dict[str, Any]:
    """Before any row."""
    everyone = np.ones(bench.players.num_players, bool)
    return {"command": "", "full": bench.accuracy(bench.params, everyone), "rows": []}


def find_row(result: dict[str, Any], method: str, speed_up: float) -> Any:
    """The row of a method and speed-up; None if there is none yet."""
    wanted = (method, speed_up)
    rows = (r for r in result["rows"] if (r.get("method"), r.get("asked")) == wanted)
    return next(rows, None)


def scored(bench: Bench, images: Any) -> Any:
    """What every family's elimination costs."""
    config = ReconstructionConfig(num_examples=ASKED)
    return family_curves(bench.players, bench.params, images, config=config)


def trades(bench: Bench, curves: Any, options: Any, speed_up: float) -> dict[str, Any]:
    """How many of each block stay, and who."""
    row: dict[str, Any] = {}
    with timed(row, "trade_seconds"):
        traded = trade_curves(
            bench.players,
            curves,
            bench.whole / speed_up,
            unit="macs",
            num_evaluations=options.evaluations,
        )
    row["divergence"] = [round(traded.cleared, 4), round(traded.loss, 4)]
    return row | described(bench, np.asarray(traded.mask))


def rival(
    bench: Bench, result: dict[str, Any], method: str, speed_up: float
) -> dict[str, Any]:
    """As many of each block as the market keeps, or as magnitude says itself."""
    players, most = bench.players, bench.whole / speed_up
    if method == "random":
        scores = gp.baselines.random_scores(jax.random.key(0), players)
    else:
        scores = gp.magnitude_scores(players, bench.params)
    if method in SCOPES:

        def fits(mask: np.ndarray) -> bool:
            return float(bench.macs(mask)) <= most

        scope = SCOPES[method]
        mask = gp.selection.most_within(scores, fits, players=players, scope=scope)
    else:
        counts = tuple(find_row(result, "market", speed_up)["kept"])
        mask = gp.top_n(scores, counts, players=players)
    return described(bench, np.asarray(mask))


def described(bench: Bench, mask: np.ndarray) -> dict[str, Any]:
    """A choice, and how good it is as cut."""
    return {
        "speed_up": round(bench.whole / float(bench.macs(mask)), 3),
        "kept": [int(mask[f.start : f.stop].sum()) for f in bench.players.families],
        "stays": written(mask),
        "cut": bench.accuracy(bench.params, mask),
    }


def repair(bench: Bench, row: dict[str, Any], options: Any, save: Any) -> None:
    """Repair a choice in closed form, then with Gauss-Newton steps, in two ways."""
    mask = read_mask(row["stays"], bench.players.num_players)
    for stage in STAGES:
        if stage in row or stage not in options.stages:
            continue
        with timed(row, f"{stage}_seconds"):
            found = repaired(bench, row, stage, options.repair_images, options)
        row[stage] = bench.accuracy(found.params, mask)
        row[f"{stage}_images"] = options.repair_images
        if stage != "repaired":
            row[f"{stage}_steps"] = options.gauss_newton
        if stage in STAGES[2:]:
            row["last_steps"] = options.last_steps
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        row[f"{stage}_gigabytes"] = round(most / 2**20, 1)  # of the whole process
        print(json.dumps(row), flush=True)
        save()


def repaired(
    bench: Bench, row: dict[str, Any], stage: str, images: int, options: Any
) -> Repaired:
    """The network of a stage, from its file or resumed where that is there."""
    options.folder.mkdir(parents=True, exist_ok=True)
    name = f"resnet{bench.depth}-{row['method']}-{row['asked']}-{stage}"

    def tell(path: str, number: int, of: int) -> None:
        print(f"{name}: {number + 1} of {of}, {path}", file=sys.stderr, flush=True)

    seen, start = load("train", images)[0], None
    if stage == "mirrored":
        start = repaired(bench, row, "distilled", images, options)
        seen = np.concatenate([seen, seen[:, :, ::-1]])
    return gp.repair(
        bench.players,
        bench.params,
        read_mask(row["stays"], bench.players.num_players),
        seen,
        config=config_of(stage, options),
        start=start,
        checkpoint=options.folder / f"{name}.npz",
        progress=tell,
    )


def config_of(stage: str, options: Any) -> RepairConfig:
    """In closed form, or Gauss-Newton steps on all rows: there are many a weight."""
    if stage == "repaired":
        return CLOSED_FORM
    is_last = stage in STAGES[2:]
    return RepairConfig(
        classes=True,
        gauss_newton=options.gauss_newton,
        last=LAST if is_last else 0,
        last_steps=options.last_steps if is_last else None,
        rounds=0,
        held_out=0.0,
        batch_size=128,
    )


@contextlib.contextmanager
def timed(row: dict[str, Any], name: str) -> Iterator[None]:
    """Note how long something took."""
    start = time.perf_counter()
    yield
    row[name] = round(time.perf_counter() - start, 1)


def read_options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("depth", type=int, choices=(20, 56))
    parser.add_argument("--images", type=int, default=1024, help="for the choice")
    parser.add_argument("--repair-images", type=int, default=2048)
    parser.add_argument("--speed-ups", type=float, nargs="+", default=[2.11, 2.55])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument(
        "--evaluations", type=int, default=120, help="networks in trades"
    )
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES[:2])
    parser.add_argument("--gauss-newton", type=int, default=3, help="steps at most")
    parser.add_argument("--last-steps", type=int, default=3, help="of distilled")
    parser.add_argument(
        "--folder", type=Path, default=Path("cifar-checkpoints"), help="for repairs"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
