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
import json
import os
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tensorflow_datasets as tfds

import gamepruning as gp
from experiments.cifar.networks import CifarResNet, load_torch, normalise
from experiments.gtap.common import write_json
from gamepruning.reconstruction import ReconstructionConfig, reconstruction_scores

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


def choose(players: gp.Players, price: np.ndarray, speed_up: float) -> np.ndarray:
    """Those with the lowest price leave until the network is so much cheaper."""
    size = gp.players.size_of(players, "macs")
    mask = np.ones(players.num_players, bool)
    full = float(size(mask))
    for player in np.argsort(price, kind="stable"):
        family = players.families[players.family_of[player]]
        if mask[family.start : family.stop].sum() > 1:
            mask[player] = False
        if full / float(size(mask)) >= speed_up:
            return mask
    raise ValueError(f"no {speed_up} x: one channel of each block is left")


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
    start = time.perf_counter()
    config = ReconstructionConfig(num_examples=ASKED)
    scores = reconstruction_scores(players, params, images, config=config)
    rows: list[dict[str, Any]] = []
    result = {
        "command": f"python -m experiments.cifar.run {options.depth}",
        "images": options.images,
        "full": accuracy(params, everyone),
        "score_seconds": round(time.perf_counter() - start, 1),
        "rows": rows,
    }
    macs = gp.players.size_of(players, "macs")
    price = np.asarray(scores.value) / np.asarray(macs.marginal(everyone))
    for speed_up in options.speed_ups:
        mask = choose(players, price, speed_up)
        start = time.perf_counter()
        repaired = gp.repair(players, params, mask, images)
        row = {
            "speed_up": round(float(macs(everyone)) / float(macs(mask)), 3),
            "kept": [int(mask[f.start : f.stop].sum()) for f in players.families],
            "repair_seconds": round(time.perf_counter() - start, 1),
            "cut": accuracy(params, mask),
            "repaired": accuracy(repaired.params, mask),
        }
        rows.append(row)
        print(json.dumps(row), flush=True)
        write_json(HERE / f"resnet{options.depth}.json", result)


def read_options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("depth", type=int, choices=(20, 56))
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--speed-ups", type=float, nargs="+", default=[2.11, 2.55])
    return parser.parse_args()


if __name__ == "__main__":
    main()
