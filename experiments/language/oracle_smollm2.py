"""A checkpoint of SmolLM2's size beside transformers: the same logits.

    python -m experiments.language.run --methods market --removed 0.1 --write SMALL
    python -m experiments.language.oracle_smollm2 --python PYTHON SMALL/market-0.1

PYTHON is the interpreter of an environment with torch and transformers. Both read the
folder and run it on test tokens of WikiText-2, in float32 and in float64: how far they
are apart in float64 is what they compute differently, and how far each is from its own
float64 is rounding. A minute and 4 GB for each checkpoint.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

import gamepruning as gp
from experiments.gtap.common import write_json
from experiments.language.oracle import RESULT, torch_side
from experiments.language.smollm2 import sequences, smollm2

LENGTH = 256  # tokens of a sequence
TYPES = ("float32", "float64")


def theirs(python: str, checkpoint: Path, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """The logits of transformers by floating type."""
    found = {}
    for dtype in TYPES:
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text) / "model"
            folder.mkdir()
            for file in checkpoint.resolve().iterdir():
                (folder / file.name).symlink_to(file)
            np.save(folder / "inputs.npy", tokens)
            torch_side(python, "run", Path(text), dtype)
            found[dtype] = np.load(folder / "outputs.npy")
    return found


def ours(checkpoint: Path, tokens: np.ndarray) -> tuple[dict[str, np.ndarray], int]:
    """The logits by floating type, and how many parameters there are."""
    found, size = {}, 0
    for dtype in TYPES:
        with jax.enable_x64(dtype == "float64"):
            model = gp.huggingface.load(checkpoint, dtype=dtype)
            found[dtype] = np.asarray(jax.jit(model.apply)(model.params, tokens))
            size = sum(x.size for x in model.params.values())
    return found, size


def compare(python: str, checkpoint: Path, tokens: np.ndarray) -> dict[str, Any]:
    """The largest differences of a logit, between both and from float32 to float64."""
    one, (two, size) = theirs(python, checkpoint, tokens), ours(checkpoint, tokens)

    def apart(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.abs(a.astype(float) - b).max())

    return {
        "name": checkpoint.name,
        "parameters": size,
        "tokens": int(tokens.size),
        "largest logit": float(np.abs(one["float64"]).max()),
        **{dtype: apart(one[dtype], two[dtype]) for dtype in TYPES},
        "transformers' rounding": apart(*one.values()),
        "ours": apart(*two.values()),
    }


def main() -> None:
    """One row for each checkpoint; a row of the same name is replaced."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True)
    parser.add_argument("--folder", type=Path, default=Path("smollm2"))
    parser.add_argument("checkpoints", type=Path, nargs="*", help="none: the full one")
    options = parser.parse_args()
    tokens = np.asarray(sequences(options.folder, "test", LENGTH, 2))
    for checkpoint in options.checkpoints or [smollm2(options.folder)]:
        result = json.loads(RESULT.read_text())
        row = compare(options.python, checkpoint, tokens)
        print(json.dumps(row), file=sys.stderr)
        others = [r for r in result.get("checkpoints", []) if r["name"] != row["name"]]
        write_json(RESULT, result | {"checkpoints": [*others, row]})


if __name__ == "__main__":
    main()
