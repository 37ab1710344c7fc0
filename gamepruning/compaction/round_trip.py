"""Exported files compute what the model computes that they were made from."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from gamepruning.compaction import export
from gamepruning.compaction.verify import relative_error, tolerance
from gamepruning.run.batches import predict

ROUND_TRIP = 1e-5  # relative to the largest output, in float32


def check_round_trips(
    paths: Mapping[str, Path], apply: Callable[..., Any], params: Any, inputs: jax.Array
) -> None:
    """Read the exported files back; RuntimeError if one computes another model."""
    target, loaded = predict(apply, params, inputs), {}
    if "safetensors" in paths:
        again = export.import_safetensors(paths["safetensors"], like=params)
        loaded["model.safetensors"] = predict(apply, again, inputs)
    if "stablehlo" in paths:
        loaded["model.stablehlo"] = export.load_stablehlo(paths["stablehlo"])(inputs)
    limit = max(ROUND_TRIP, tolerance(params) / 100)  # more for half precision
    for name, outputs in loaded.items():
        error = relative_error(target, outputs)
        if not error <= limit:
            raise RuntimeError(
                f"{name} differs from the model it was made from by {error:.1e}"
            )
