"""Checkpoints of Hugging Face beside transformers: the same numbers, large and small.

    python -m experiments.language.oracle --python PYTHON_WITH_TRANSFORMERS

For each architecture, transformers writes a tiny model; it is read here, pruned,
written, and read back by transformers. PYTHON is the interpreter of an environment with
torch and transformers. Takes a minute.
"""

import argparse
import json
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import load_file, save_file

import gamepruning as gp
from experiments.gtap.common import write_json
from experiments.markdown import HERE
from tests.huggingface import tiny

RESULT = HERE / "language" / "results" / "oracle.json"
EXPECTED = tiny.HERE / "expected.json"
SHOWN = 8  # outputs of each model that the tests know
hf = gp.huggingface


def torch_side(python: str, task: str, folder: Path, *options: str) -> Any:
    """What `torch_side.py` says of the models in a folder."""
    script = Path(__file__).with_name("torch_side.py")
    subprocess.run([python, str(script), task, str(folder), *options], check=True)
    return json.loads((folder / "found.json").read_text())


def make(python: str, folder: Path) -> None:
    """Models by transformers, filled with the weights that the tests use."""
    for kind, config in tiny.CONFIGS.items():
        (folder / kind).mkdir(parents=True)
        (folder / kind / "config.json").write_text(json.dumps(config))
    torch_side(python, "make", folder)
    for kind in tiny.CONFIGS:
        path = folder / kind / "model.safetensors"
        filled = {n: tiny.fill(n, x.shape) for n, x in load_file(path).items()}
        save_file(filled, path, {"format": "pt"})
        np.save(folder / kind / "inputs.npy", tiny.inputs_of(kind))


def thinned(players: gp.Players, uneven: bool) -> np.ndarray:
    """Half of each family by number, or fewer from layer to layer."""
    mask = np.ones(players.num_players, bool)
    for number, family in enumerate(players.families):
        kept = max(1, family.size // 2 - number * uneven)
        mask[family.start + kept : family.stop] = False
    return mask


def prune(source: Path, folder: Path) -> dict[str, Any]:
    """Write the smaller models of one checkpoint; what they compute lies beside."""
    checkpoint = hf.load(source)
    inputs = np.load(source / "inputs.npy")
    full = jax.jit(checkpoint.apply)(checkpoint.params, inputs)
    np.save(source / "ours.npy", full)
    players = hf.find_players(checkpoint, inputs)
    mask = thinned(players, uneven=False)
    with warnings.catch_warnings():  # so few tokens are too few for a repair
        warnings.simplefilter("ignore")
        repaired = gp.repair(players, checkpoint.params, mask, inputs)
    small = gp.compact(players, repaired.params, mask)
    everyone = gp.find_players(checkpoint.apply, checkpoint.params, inputs)
    fixed = {k for k, v in hf.kinds_of(everyone, checkpoint).items() if v == "head"}
    uneven = thinned(everyone, uneven=True)
    for name in fixed:
        uneven[everyone.family(name).start : everyone.family(name).stop] = True
    padded = gp.compact(everyone, checkpoint.params, uneven)
    dropped = hf.drop_layers(checkpoint, [0])
    for name, model in (("small", small), ("padded", padded), ("dropped", dropped)):
        path = folder / f"{source.name}-{name}"
        origin = dropped if name == "dropped" else checkpoint
        hf.save(path, model, origin, pad=name == "padded")
        np.save(path / "ours.npy", jax.jit(model.apply)(model.params, inputs))
        np.save(path / "inputs.npy", inputs)
    _, config = hf.fit(small.params, checkpoint.config)
    changed = {k: v for k, v in config.items() if checkpoint.config.get(k) != v}
    before, after = small.report.params
    return {"parameters": [before, after], "small config": changed}


def differences(folder: Path, kind: str) -> dict[str, float]:
    """The largest differences between transformers and here, model by model."""
    found = {}
    for name in ("full", "small", "padded", "dropped"):
        path = folder / (kind if name == "full" else f"{kind}-{name}")
        one, two = np.load(path / "ours.npy"), np.load(path / "outputs.npy")
        found[name] = float(np.abs(one - two).max())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True)
    python = parser.parse_args().python
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        make(python, folder)
        rows = {kind: prune(folder / kind, folder) for kind in tiny.CONFIGS}
        versions = torch_side(python, "run", folder)
        expected = {}
        for kind, row in rows.items():
            outputs = np.load(folder / kind / "outputs.npy")
            row["largest output"] = float(np.abs(outputs).max())
            row["largest difference"] = differences(folder, kind)
            shown = outputs.reshape(-1, outputs.shape[-1])[-1, :SHOWN]
            expected[kind] = np.round(shown.astype(float), 6).tolist()
    others = json.loads(RESULT.read_text()).get("checkpoints", [])
    write_json(RESULT, {"versions": versions, "rows": rows, "checkpoints": others})
    write_json(EXPECTED, expected)


if __name__ == "__main__":
    main()
