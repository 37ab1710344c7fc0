"""The small model as files: safetensors, orbax, StableHLO.

Weights go by path, "dense_1/kernel", so that they come back into any tree of the same
paths, or into nested dictionaries. Leaves that are not arrays are part of the model,
not of its weights.
"""

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.compaction.arrays import BARE, to_arrays, to_tree, with_arrays
from gamepruning.compaction.compact import CompactModel
from gamepruning.compaction.stablehlo import export_stablehlo, load_stablehlo
from gamepruning.files.atomic import (
    check_space,
    checksum,
    disk_problem,
    new_file,
    new_folder,
)
from gamepruning.trees.arrays import is_array
from gamepruning.trees.examples import as_inputs
from gamepruning.trees.paths import named_leaves
from gamepruning.types import InputError

__all__ = [
    "export_model",
    "export_orbax",
    "export_safetensors",
    "export_stablehlo",
    "import_orbax",
    "import_safetensors",
    "load_stablehlo",
]

FORMATS = ("safetensors", "orbax", "stablehlo")
_INDEX, _SUMS = "export.json", "checksums.json"
_ORBAX_FILES = 1 << 17  # bytes that orbax writes beside the arrays, generously
# https://github.com/huggingface/safetensors, the types that NumPy knows with ml_dtypes.
DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16",
    "U32": "uint32", "I32": "int32", "U64": "uint64", "I64": "int64",
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "C64": "complex64",
}  # fmt: skip


def export_safetensors(params: Any, path: str | os.PathLike[str]) -> Path:
    """Write parameters as safetensors, whole or not at all.

    Args:
      params: any tree of arrays.
      path: the file, such as "model.safetensors"; an older one is replaced.

    Returns:
      The path.

    Raises:
      InputError: if safetensors has no type for an array, or the file cannot be
        written.

    Example:
      >>> path = export_safetensors({"w": jnp.ones((2, 3))}, "model.safetensors")
      >>> import_safetensors(path)["w"].shape
      (2, 3)
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save

    # safetensors writes memory as it lies: it must lie in C order.
    arrays = {k: np.asarray(v, order="C") for k, v in to_arrays(params).items()}
    try:
        data = save(arrays, metadata={"format": "np"})
    except SafetensorError as error:
        raise InputError(f"safetensors cannot hold this: {error}") from error
    with new_file(path) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def import_safetensors(path: str | os.PathLike[str], *, like: Any = None) -> Any:
    """Read parameters that `export_safetensors` wrote.

    Args:
      path: the file.
      like: a tree of the same paths, shapes and types (arrays or
        `jax.ShapeDtypeStruct`) to put them into.

    Returns:
      The parameters: in a tree like `like`, or as NumPy arrays in nested dictionaries.

    Raises:
      InputError: if there is no such file, it is damaged, or does not fit `like`.
    """
    from safetensors import SafetensorError, deserialize

    try:
        found = deserialize(Path(path).read_bytes())
        arrays = {name: _from_safetensors(view) for name, view in found}
    except OSError as error:
        raise InputError(f"no safetensors file at {path}: {error.strerror}") from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path} is not a whole safetensors file: {error}") from error
    return to_tree(path, arrays, like)


def export_orbax(params: Any, path: str | os.PathLike[str]) -> Path:
    """Write parameters as an orbax checkpoint, whole or not at all.

    `orbax.checkpoint.StandardCheckpointer().restore(path)` reads it too. Checksums lie
    beside orbax's files.

    Args:
      params: any tree of arrays. Empty ones, as of a residual branch that left, are
        left out: orbax cannot hold them, and `import_orbax(path, like=params)` makes
        them anew.
      path: the folder; an older checkpoint is replaced, nothing else is.

    Returns:
      The path.

    Raises:
      InputError: if all arrays are empty, or `path` holds something else.

    Example:
      >>> path = export_orbax({"w": jnp.ones((2, 3))}, "checkpoint")
      >>> import_orbax(path)["w"].shape
      (2, 3)
    """
    import orbax.checkpoint as ocp

    arrays = {name: x for name, x in to_arrays(params).items() if x.size}
    if not arrays:
        raise InputError("orbax cannot hold no array at all: use safetensors")
    tree = arrays if arrays.keys() == {BARE} else with_arrays(params, arrays)
    path = Path(path).absolute()
    with (
        new_folder(path, may_replace=_is_checkpoint) as temporary,
        _quiet_orbax(),
        ocp.StandardCheckpointer(**_alone(ocp)) as checkpointer,
    ):
        # Where space ends amid its work, a thread of orbax prints tracebacks.
        num_bytes = sum(array.nbytes for array in arrays.values())
        check_space(path.parent, num_bytes + _ORBAX_FILES)
        checkpointer.save(temporary, tree)
        checkpointer.wait_until_finished()
        sums = json.dumps(_checksums(temporary), indent=2)
        (temporary / _SUMS).write_text(sums + "\n", encoding="utf-8")
    return path


def import_orbax(path: str | os.PathLike[str], *, like: Any = None) -> Any:
    """Read parameters from an orbax checkpoint.

    Args:
      path: the folder.
      like: a tree of the same paths, shapes and types (arrays or
        `jax.ShapeDtypeStruct`) to put them into.

    Returns:
      The parameters: in a tree like `like`, or as NumPy arrays in nested dictionaries.

    Raises:
      InputError: if there is no such checkpoint, it is damaged, or does not fit `like`.
    """
    import orbax.checkpoint as ocp

    path = Path(path).absolute()
    if not _is_checkpoint(path):
        raise InputError(f"no orbax checkpoint at {path}")
    _check_sums(path)
    try:
        with _reader(ocp) as checkpointer:
            metadata: Any = checkpointer.metadata(path).item_metadata
            plain = ocp.RestoreArgs(restore_type=np.ndarray)
            wanted = jax.tree.map(lambda _: plain, metadata.tree)
            args = ocp.args.PyTreeRestore(restore_args=wanted)
            tree = checkpointer.restore(path, args=args)
    except Exception as error:  # orbax has no error of its own for a damaged one
        line = next(iter(str(error).splitlines()), "")
        raise InputError(f"the checkpoint {path} is damaged: {line:.200}") from error
    return to_tree(path, {**_empty_in(like), **named_leaves(tree)}, like)


def _alone(ocp: Any) -> dict[str, Any]:
    """Options of a checkpointer that waits for no other process."""
    own = jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"of{own}"
    )
    several = jax.process_count() > 1
    return {"multiprocessing_options": options} if several else {}


def _reader(ocp: Any) -> Any:
    """A checkpointer that reads alone."""
    alone = _alone(ocp)
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**alone), **alone)


def _empty_in(like: Any) -> dict[str, np.ndarray]:
    """The arrays of a tree that have no entries, by path."""
    leaves = {name: x for name, x in named_leaves(like).items() if is_array(x)}
    empty = {name: x for name, x in leaves.items() if 0 in x.shape}
    return {name or BARE: np.zeros(x.shape, x.dtype) for name, x in empty.items()}


def export_model(
    small: CompactModel,
    folder: str | os.PathLike[str],
    *,
    inputs: Any = None,
    formats: str | Sequence[str] = FORMATS,
    batch: str = "symbolic",
    skipped: dict[str, str] | None = None,
) -> dict[str, Path]:
    """Write a compacted model, with its plan, into a new folder.

    Args:
      small: what `compact` returned.
      folder: where; an older export is replaced, nothing else is.
      inputs: example inputs of the small model, or their shapes, for "stablehlo";
        by default those of the verification.
      formats: some of "safetensors", "orbax", "stablehlo", or one of them.
      batch: "symbolic" (any batch size), "fixed", or "auto", for "stablehlo".
      skipped: a dictionary to leave formats out that cannot hold the model, instead of
        an error: it gets {format: why}.

    Returns:
      {format: path}, and the plan's path under "plan".

    Raises:
      InputError: if the model cannot be written like that; then nothing is.
    """
    if not isinstance(small, CompactModel):
        raise InputError(
            f"expected what compact returned, got {type(small).__name__}: "
            "export_safetensors and export_orbax write plain parameters"
        )
    formats = [formats] if isinstance(formats, str) else formats
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise InputError(f"formats: expected {', '.join(FORMATS)}, got {unknown[0]!r}")
    inputs = small.report.small_inputs if inputs is None else inputs
    inputs = inputs if inputs is None or isinstance(inputs, list) else as_inputs(inputs)
    if "stablehlo" in formats and inputs is None:
        raise InputError("stablehlo needs example inputs or their shapes: give inputs")
    names = {"plan": "plan.json", "orbax": "orbax"}
    names |= {name: f"model.{name}" for name in ("safetensors", "stablehlo")}
    writers: dict[str, Callable[[Path], Any]] = {
        "plan": small.plan.save,
        "safetensors": lambda path: export_safetensors(small.params, path),
        "orbax": lambda path: export_orbax(small.params, path),
        "stablehlo": lambda path: export_stablehlo(
            small.apply, small.params, inputs or (), path, batch=batch
        ),
    }
    folder, written = Path(folder), {}
    with new_folder(folder, may_replace=_is_export) as temporary:
        for name in ("plan", *formats):
            try:
                writers[name](temporary / names[name])
                written[name] = names[name]
            except InputError as error:
                if skipped is None or disk_problem(error):
                    raise
                skipped[name] = str(error)
        (temporary / _INDEX).write_text(json.dumps(written, indent=2) + "\n")
    return {name: folder / file for name, file in written.items()}


@contextlib.contextmanager
def _quiet_orbax() -> Iterator[None]:
    """What fails in orbax's threads is raised: it need not be logged there as well."""
    logger = logging.getLogger("absl")

    def is_news(record: logging.LogRecord) -> bool:
        return record.exc_info is None

    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)


def _from_safetensors(view: Mapping[str, Any]) -> np.ndarray:
    if view["dtype"] not in DTYPES:
        raise ValueError(f"its type {view['dtype']} is unknown here")
    dtype = jnp.dtype(DTYPES[view["dtype"]])
    return np.frombuffer(bytearray(view["data"]), dtype).reshape(view["shape"])


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {
        file.relative_to(folder).as_posix(): checksum(file.read_bytes())
        for file in files
        if file.name != _SUMS
    }


def _check_sums(folder: Path) -> None:
    """Raise InputError if the files are not those that `export_orbax` wrote.

    Reading a damaged file would be an error too, but orbax would leave the reading of
    the others going on behind it. A checkpoint by others has no checksums.
    """
    if not (folder / _SUMS).is_file():
        return
    try:
        expected = dict(json.loads((folder / _SUMS).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(f"the checkpoint {folder} is damaged: {_SUMS}") from error
    found = _checksums(folder)
    wrong = [name for name in expected if found.get(name) != expected[name]]
    if wrong:
        raise InputError(f"the checkpoint {folder} is damaged: {wrong[0]}")


def _is_checkpoint(path: Path) -> bool:
    return (path / "_METADATA").is_file() and (path / "_CHECKPOINT_METADATA").is_file()


def _is_export(path: Path) -> bool:
    return (path / _INDEX).is_file()
