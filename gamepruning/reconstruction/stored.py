"""A repair on disk: a finished one is read, one that was cut off is resumed."""

import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from gamepruning.files import npz
from gamepruning.files.fingerprint import fingerprint
from gamepruning.players import Players
from gamepruning.reconstruction.report import Repaired, RepairReport
from gamepruning.trees.arrays import split_arrays
from gamepruning.trees.paths import named_leaves, path_name
from gamepruning.types import Params

SAVE_EVERY = 10.0  # seconds


def repair_facts(
    players: Players,
    params: Params,
    mask: Bool[np.ndarray, " N"],
    inputs: tuple,
    config: Any,
    start: Repaired | None = None,
) -> dict[str, Any]:
    """What a stored repair must agree with."""
    network = {"weights": params, "mask": mask}
    settings = {name: repr(value) for name, value in vars(config).items()}
    settings["ridges"] = repr(np.asarray(config.ridges, float).tolist())
    arrays, rebuild = split_arrays((params, *inputs))
    program = jax.make_jaxpr(lambda arrays: players.apply(*rebuild(arrays)))(arrays)
    return {
        "network": fingerprint(network, re.sub(r" at 0x[0-9a-f]+", "", str(program))),
        "inputs": fingerprint(inputs),
        "start": None if start is None else fingerprint(start.params),
        **settings,
    }


class StoredRepair(NamedTuple):
    """A repair as it stands.

    Attributes:
      repaired: its parameters and report so far.
      done: how many readers were visited; None if it is finished.
    """

    repaired: Repaired
    done: int | None = 0


class RepairFile:
    """Where a repair is written as it goes on."""

    def __init__(self, path: Path, facts: dict[str, Any], params: Params):
        self._path, self._facts, self._params = path, facts, params
        self._saved = time.monotonic()

    def load(self) -> StoredRepair | None:
        """What is on file; None if nothing is.

        Raises:
          InputError: the file is damaged, or of another repair.
        """
        if not self._path.is_file():
            return None
        return load_repaired(self._path, self._facts, self._params)

    def save(self, stored: StoredRepair) -> None:
        """Write the parameters that a repair changed, and its report.

        What is not finished is written at most every `SAVE_EVERY` seconds.

        Raises:
          InputError: the disk does not let it be written.
        """
        now = time.monotonic()
        if stored.done is not None and now - self._saved < SAVE_EVERY:
            return
        repaired, self._saved = stored.repaired, now
        before = named_leaves(self._params)
        after = named_leaves(repaired.params)
        changed = {k: np.asarray(v) for k, v in after.items() if v is not before[k]}
        report = repaired.report.to_dict()
        head = {"facts": self._facts, "report": report, "done": stored.done}
        npz.save(self._path, head, changed)


def load_repaired(path: Path, facts: dict[str, Any], params: Params) -> StoredRepair:
    """Read what `RepairFile.save` wrote.

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
    return StoredRepair(Repaired(changed, report), stored.get("done"))
