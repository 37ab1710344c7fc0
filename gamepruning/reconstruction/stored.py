"""A finished repair on disk, so that an interrupted run need not make it again."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from gamepruning.files import npz
from gamepruning.files.fingerprint import fingerprint
from gamepruning.reconstruction.report import Repaired, RepairReport
from gamepruning.trees.paths import named_leaves, path_name
from gamepruning.types import Params


def repair_facts(
    params: Params, mask: Bool[np.ndarray, " N"], inputs: tuple, config: Any
) -> dict[str, Any]:
    """What a stored repair must agree with."""
    network = {"weights": params, "mask": mask}
    settings = {name: repr(value) for name, value in vars(config).items()}
    return {
        "network": fingerprint(network),
        "inputs": fingerprint(inputs),
        **settings,
    }


def save_repaired(
    path: Path, facts: dict[str, Any], params: Params, repaired: Repaired
) -> None:
    """Write the parameters that a repair changed, and its report.

    Raises:
      InputError: the disk does not let it be written.
    """
    before = named_leaves(params)
    after = named_leaves(repaired.params)
    changed = {k: np.asarray(v) for k, v in after.items() if v is not before[k]}
    report = repaired.report.to_dict()
    npz.save(path, {"facts": facts, "report": report}, changed)


def load_repaired(path: Path, facts: dict[str, Any], params: Params) -> Repaired:
    """Read what `save_repaired` wrote.

    Raises:
      InputError: the file is damaged, or of another repair.
    """
    stored, arrays = npz.load(path)
    npz.check_settings(path, stored.get("facts", {}), facts)
    report = RepairReport.from_dict(stored["report"])

    def replaced(tree_path: tuple, leaf: Any) -> Any:
        array = arrays.get(path_name(tree_path))
        if array is None:
            return leaf
        kind = jnp.asarray(leaf).dtype
        # bfloat16 and its like have no type in the file
        return jnp.asarray(array.view(kind) if array.dtype.kind == "V" else array)

    changed = jax.tree_util.tree_map_with_path(replaced, params)
    return Repaired(changed, report)
