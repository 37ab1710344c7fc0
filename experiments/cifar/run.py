"""ResNets on CIFAR-10 pruned without a gradient step, at speed-ups in multiply-adds.

    python -m experiments.cifar.run 20                 # minutes
    python -m experiments.cifar.run 56                 # ten minutes on two quiet cores
    python -m experiments.cifar.run 56 --images 2048 --speed-ups 2.11

Players are the inner channels of every block. Images for choices and repair are
training images, without labels; the test images are read once for each network. Data
come by tensorflow-datasets (`TFDS_DATA_DIR`), weights from `resnet_cifar10` under
`GAMEPRUNING_DATA`.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tensorflow_datasets as tfds

import gamepruning as gp
from experiments.cifar.networks import CifarResNet, load_torch, normalise
from experiments.gtap.common import write_json
from gamepruning.reconstruction import (
    ReconstructionConfig,
    RepairConfig,
    family_curves,
    trade_curves,
)

HERE = Path(__file__).parent
ASKED = 256  # images on which the whole network is asked what it lost


def load(split: str, number: int | None = None, seed: int = 0) -> tuple[Any, Any]:
    """Normalised images and labels of a split; `number` of them, drawn at random."""
    source: Any = tfds.data_source("cifar10", split=split)
    order = np.arange(len(source))
    if number is not None:
        order = np.random.default_rng(seed).permutation(order)[:number]
    rows: list[Any] = [source[int(k)] for k in order]
    images = np.stack([row["image"] for row in rows])
    return normalise(images), np.array([row["label"] for row in rows])


def main() -> None:
    """Score once, then cut and repair at each speed-up."""
    options = read_options()
    module = CifarResNet(options.depth)
    folder = Path(os.environ["GAMEPRUNING_DATA"]) / "resnet_cifar10"
    params = load_torch(folder / f"resnet{options.depth}.safetensors")
    images, _ = load("train", options.images)
    test = load("test")

    def apply(params: Any, x: Any) -> Any:
        return module.apply(params, x)

    found = gp.find_players(apply, params, images[:1])
    outer = [f.name for f in found.families if not f.name.endswith("_conv1")]
    players = gp.find_players(apply, params, images[:1], keep=outer)
    gated = jax.jit(players.gated)

    def accuracy(params: Any, mask: np.ndarray) -> float:
        parts = np.array_split(np.arange(len(test[1])), len(test[1]) // 500)
        hits = [gated(params, mask, test[0][k]).argmax(-1) == test[1][k] for k in parts]
        return float(np.mean(np.concatenate(hits)))

    everyone = np.ones(players.num_players, bool)
    macs = gp.players.size_of(players, "macs")
    whole = float(macs(everyone))
    rows: list[dict[str, Any]] = []
    result = {
        "command": " ".join(["python -m experiments.cifar.run", *sys.argv[1:]]),
        "images": options.images,
        "full": accuracy(params, everyone),
        "rows": rows,
    }
    start = time.perf_counter()
    config = ReconstructionConfig(num_examples=ASKED)
    curves = family_curves(players, params, images, config=config)
    result["score_seconds"] = round(time.perf_counter() - start, 1)
    for speed_up in options.speed_ups:
        row: dict[str, Any] = {}
        with timed(row, "trade_seconds"):
            traded = trade_curves(
                players,
                curves,
                whole / speed_up,
                unit="macs",
                num_evaluations=options.evaluations,
            )
        mask = traded.mask
        row |= {
            "speed_up": round(whole / float(macs(mask)), 3),
            "kept": [int(mask[f.start : f.stop].sum()) for f in players.families],
            "divergence": [round(traded.cleared, 4), round(traded.loss, 4)],
            "cut": accuracy(params, mask),
        }
        for rounds in options.rounds:
            repair = RepairConfig(rounds=rounds)
            with timed(row, f"repair_seconds_{rounds}"):
                repaired = gp.repair(players, params, mask, images, config=repair)
            row[f"repaired_{rounds}"] = accuracy(repaired.params, mask)
            print(json.dumps(row), flush=True)
        rows.append(row)
        write_json(HERE / f"resnet{options.depth}.json", result)


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
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--speed-ups", type=float, nargs="+", default=[2.11, 2.55])
    parser.add_argument(
        "--evaluations", type=int, default=60, help="networks in trades"
    )
    parser.add_argument("--rounds", type=int, nargs="+", default=[0, 5])
    return parser.parse_args()


if __name__ == "__main__":
    main()
