"""Public models from packages: find players, gate, compact half, compare.

python -m experiments.public_models.run                 # those that are not in yet
python -m experiments.public_models.run --only "haiku ResNet18" --again

Packages are not needed by gamepruning; install those that you like into an environment
of its own, such as `pip install "transformers<5" flaxmodels dm-haiku equinox jraph
flowjax diffrax penzai keras`. Models of packages that are missing are left out.
"""

import argparse
import gc
import importlib.metadata
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import jax
import numpy as np

import gamepruning as gp
from experiments.public_models.models import MODELS, Entry, Public
from gamepruning.files.atomic import new_file

RESULTS = Path(__file__).parent / "results.json"
COMMAND = "python -m experiments.public_models.run"


def row_of(entry: Entry) -> dict[str, Any]:
    """Whole, refused in one line, or a fault; and the figures."""
    start = time.perf_counter()
    row: dict[str, Any] = {
        "package": entry.package,
        "version": importlib.metadata.version(entry.package),
    }
    try:
        model = entry.build()
    except Exception as error:  # the package's own affair
        return {**row, "outcome": "not built", "reason": told(error)}
    try:
        row |= studied(model)
    except gp.InputError as error:
        row |= {"outcome": "refused", "reason": told(error)}
    except Exception as error:
        row |= {"outcome": "fault", "reason": told(error)}
    return {**row, "seconds": round(time.perf_counter() - start, 1)}


def studied(model: Public) -> dict[str, Any]:
    """Players, and half of each family compacted, compared with the gated model."""
    start = time.perf_counter()
    players = gp.find_players(model.apply, model.params, *model.inputs, **model.options)
    size = gp.players.size_of(players, "params")
    counts: dict[str, int] = {}
    for family, kind in zip(players.families, players.kinds, strict=True):
        counts[kind] = counts.get(kind, 0) + family.size
    total = size.count(np.ones(players.num_players, bool))
    row: dict[str, Any] = {
        "params": total,
        "players": players.num_players,
        "kinds": counts,
        "opaque": list(players.opaque),
        "can_leave": 1 - size.count(np.zeros(players.num_players, bool)) / total,
        "seconds_to_find": round(time.perf_counter() - start, 2),
    }
    if any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(model.params)):
        return {**row, "outcome": "whole", "by_shapes": True}
    scores = gp.magnitude_scores(players, model.params)
    keep = sum(-(-family.size // 2) for family in players.families)
    mask = gp.top_n(scores, keep, players=players, scope="family")
    small = gp.compact(players, model.params, mask)
    after = small.report.params.after
    return {
        **row,
        "outcome": "whole",
        "gone": 1 - after / total,
        "max_error": float(small.report.max_error),
    }


def told(error: Exception) -> str:
    """An error in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    name = "" if isinstance(error, gp.InputError) else f"{type(error).__name__}: "
    return (name + (lines[0] if lines else ""))[:300]


def main() -> None:
    """A row for each model; what is in the results is not run again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(MODELS), choices=MODELS)
    parser.add_argument("--again", action="store_true")
    arguments = parser.parse_args()
    rows = {}
    if RESULTS.exists():
        rows = json.loads(RESULTS.read_text("utf-8"))["models"]
    for name in arguments.only:
        if name in rows and not arguments.again:
            continue
        try:
            importlib.metadata.version(MODELS[name].package)
        except importlib.metadata.PackageNotFoundError:
            print(name, "left out: the package is not installed")
            continue
        rows[name] = row_of(MODELS[name])
        print(name, json.dumps(rows[name]), flush=True)
        ordered = {name: rows[name] for name in MODELS if name in rows}
        versions = {"jax": jax.__version__, "gamepruning": gp.__version__}
        told_now = {"command": COMMAND, "versions": versions, "models": ordered}
        with new_file(RESULTS) as temporary:
            temporary.write_text(json.dumps(told_now, indent=1) + "\n", "utf-8")
        jax.clear_caches()
        gc.collect()


if __name__ == "__main__":
    main()
