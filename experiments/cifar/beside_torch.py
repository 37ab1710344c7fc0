"""The magnitude row beside Torch-Pruning: same network, same widths, same images.

    python -m experiments.cifar.beside_torch 56 --python PYTHON_WITH_TORCH_PRUNING

Torch-Pruning chooses by its own magnitude as many channels of each block as `run` keeps
and takes them out. The same channels taken out here must give the same outputs. PYTHON
is the interpreter of an environment with torch, torch-pruning, numpy and safetensors.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

import gamepruning as gp
from experiments.cifar.run import HERE, Bench, find_row, load, read_mask
from experiments.gtap.common import write_json


def theirs(python: str, bench: Bench, counts: list[int], images: Any) -> Any:
    """(their outputs, who stays and how large they say it is)."""
    name = f"resnet{bench.depth}.safetensors"
    weights = Path(os.environ["GAMEPRUNING_DATA"]) / "resnet_cifar10" / name
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        shutil.copy(weights, folder / "weights.safetensors")
        np.save(folder / "images.npy", images)
        task = {"depth": bench.depth, "counts": counts}
        (folder / "task.json").write_text(json.dumps(task))
        script = Path(__file__).with_name("torch_side.py")
        subprocess.run([python, str(script), str(folder)], check=True)
        outputs = np.load(folder / "outputs.npy")
        return outputs, json.loads((folder / "found.json").read_text())


def outputs_of(bench: Bench, mask: np.ndarray, images: Any) -> np.ndarray:
    """After the players are really removed here."""
    small = gp.compact(bench.players, bench.params, mask, min_units=0)
    apply = jax.jit(small.apply)
    parts = np.array_split(images, max(1, len(images) // 500))
    return np.concatenate([np.asarray(apply(small.params, part)) for part in parts])


def compare(bench: Bench, row: dict[str, Any], python: str, test: Any) -> dict:
    """One row of the market's widths."""
    images, labels = test
    outputs, found = theirs(python, bench, row["kept"], images)
    families = zip(bench.players.families, found["kept"], strict=True)
    mask = np.zeros(bench.players.num_players, bool)
    for family, kept in families:
        mask[family.start + np.array(kept, int)] = True
    ours = outputs_of(bench, mask, images)
    own = np.asarray(
        gp.top_n(
            gp.magnitude_scores(bench.players, bench.params),
            tuple(row["kept"]),
            players=bench.players,
        )
    )
    return {
        "asked": row["asked"],
        "torch_pruning": float((outputs.argmax(-1) == labels).mean()),
        "same channels here": float((ours.argmax(-1) == labels).mean()),
        "largest difference of an output": float(np.abs(ours - outputs).max()),
        "magnitude here": bench.accuracy(bench.params, own),
        "channels that both keep": float((own & mask).sum() / mask.sum()),
        "macs": [found["macs"], float(bench.macs(mask))],
        "versions": found["versions"],
    }


def main() -> None:
    """All speed-ups that `run` has a market for."""
    options = read_options()
    bench, test = Bench(options.depth), load("test")
    chosen = json.loads((HERE / f"resnet{options.depth}.json").read_text())
    rows = []
    for speed_up in options.speed_ups:
        row = find_row(chosen, "market", speed_up)
        if row is None:
            raise SystemExit(f"first run python -m experiments.cifar.run {bench.depth}")
        assert read_mask(row["stays"], bench.players.num_players).any()
        rows.append(compare(bench, row, options.python, test))
        print(json.dumps(rows[-1]), flush=True)
    command = " ".join(["python -m experiments.cifar.beside_torch", *sys.argv[1:2]])
    path = HERE / f"beside_torch{options.depth}.json"
    write_json(path, {"command": f"{command} --python PYTHON", "rows": rows})


def read_options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("depth", type=int, choices=(20, 56))
    parser.add_argument("--python", required=True, help="with torch and torch-pruning")
    parser.add_argument("--speed-ups", type=float, nargs="+", default=[2.11, 2.55])
    return parser.parse_args()


if __name__ == "__main__":
    main()
