"""A model as one file that runs anywhere JAX or a StableHLO compiler does.

The file is `jax.export`'s; the weights are inside. A manifest beside it says in JSON
what to feed and what comes out, and holds a checksum.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export as jax_export

from gamepruning.files.atomic import checksum, new_file
from gamepruning.files.exported import check_flatbuffers, check_platform, from_bytes
from gamepruning.trees.arrays import shapes_of
from gamepruning.trees.paths import named_leaves
from gamepruning.types import Apply, InputError

FORMAT, VERSION = "gamepruning stablehlo", 1
BATCHES = ("symbolic", "fixed", "auto")


def export_stablehlo(
    apply: Apply,
    params: Any,
    inputs: Sequence[Any],
    path: str | os.PathLike[str],
    *,
    batch: str = "symbolic",
    batch_axis: int = 0,
    platforms: Sequence[str] | None = None,
) -> Path:
    """Write a model with its weights as StableHLO, and a manifest beside it.

    Args:
      apply: apply(params, *inputs) -> outputs; outputs are arrays in tuples, lists and
        dictionaries.
      params: its parameters.
      inputs: example inputs, or `jax.ShapeDtypeStruct`s of their shapes.
      path: the file to write, such as "model.stablehlo"; the manifest's name adds
        ".json". Older ones are replaced.
      batch: "symbolic" (any batch size), "fixed" (that of the examples), or "auto",
        which is "symbolic" where the model allows it; the manifest says.
      batch_axis: the axis of all inputs that is the batch; inputs of fewer axes have
        none.
      platforms: where it is to run, such as ("cpu", "cuda"); by default where it is
        exported and, if the model can be lowered for both, on CPUs.

    Returns:
      The path of the file.

    Raises:
      InputError: if the model cannot be exported like that, or flatbuffers is missing.

    Example:
      >>> weights = np.ones((3, 2), np.float32)
      >>> x = jax.ShapeDtypeStruct((1, 3), np.float32)
      >>> path = export_stablehlo(lambda w, x: x @ w, weights, [x], "dot.stablehlo")
      >>> load_stablehlo(path)(np.ones((5, 3), np.float32)).shape
      (5, 2)
    """
    if batch not in BATCHES:
        raise InputError(f"batch: expected one of {', '.join(BATCHES)}, got {batch!r}")
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(params)):
        raise InputError("expected parameters, got only their shapes")
    check_flatbuffers()
    if batch == "auto":
        problem = symbolic_problem(apply, params, inputs, batch_axis=batch_axis)
        batch = "fixed" if problem else "symbolic"
    specs = _specs(tuple(inputs), batch_axis if batch == "symbolic" else None)
    exported = _export(lambda *xs: apply(params, *xs), specs, batch, platforms)
    data = _serialize(exported)
    path = Path(path)
    manifest = _manifest(path, exported, data, specs, batch)
    text = json.dumps(manifest, indent=2) + "\n"
    with new_file(path) as model, new_file(_manifest_path(path)) as beside:
        model.write_bytes(data)
        beside.write_text(text, encoding="utf-8")
    return path


def symbolic_problem(
    apply: Apply, params: Any, inputs: Sequence[Any], *, batch_axis: int = 0
) -> str:
    """Why a model cannot be exported for any batch size; "" if it can.

    It is lowered, which takes no computing, so that it can be known before training.

    Args:
      apply, params, inputs, batch_axis: as for `export_stablehlo`.

    Example:
      >>> x = jax.ShapeDtypeStruct((2, 3), np.float32)
      >>> symbolic_problem(lambda w, x: x.reshape(len(x), -1) * w, 2.0, [x])
      "'_DimExpr' object cannot be interpreted as an integer"
    """
    leaves, treedef = jax.tree.flatten(params)
    arrays = {k: leaf for k, leaf in enumerate(leaves) if hasattr(leaf, "dtype")}

    def run(arrays, *inputs):
        own = [arrays.get(k, leaf) for k, leaf in enumerate(leaves)]
        return apply(jax.tree.unflatten(treedef, own), *inputs)

    specs = _specs((arrays,), None) + _specs(tuple(inputs), batch_axis)
    try:
        jax_export.export(jax.jit(run))(*specs)
    except Exception as error:  # whatever the model's own code makes of a symbol
        return _first_line(error)
    return ""


def load_stablehlo(path: str | os.PathLike[str]) -> Callable[..., Any]:
    """Read a model that `export_stablehlo` wrote.

    Args:
      path: the file; its manifest must be beside it.

    Returns:
      The model as a compiled function of its inputs; it can be traced by JAX.

    Raises:
      InputError: if the files are not there, or damaged. So does a call with other
        inputs, or on a platform that the model was not exported for.
    """
    path = Path(path)
    manifest = read_manifest(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"no StableHLO model at {path}: {error.strerror}") from error
    # A damaged file may well load, and compute something else or crash: hence the sum.
    if checksum(data) != manifest["sha256"]:
        raise InputError(f"{path} is damaged: its checksum is not that of its manifest")
    try:
        exported = from_bytes(data)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} cannot be read: {_first_line(error)}") from error

    def call(*inputs):
        check_platform(exported, path)
        try:
            return exported.call(*inputs)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{path} cannot run on these inputs: expected "
                f"{shapes_of(exported.in_avals)}, got {shapes_of(inputs)} "
                f"({_first_line(error):.200})"
            ) from error

    return jax.jit(call)


def read_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest of a StableHLO file: what to feed and what comes out.

    Raises:
      InputError: if it is not there, or damaged.
    """
    manifest_path = _manifest_path(Path(path))
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"no manifest at {manifest_path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{manifest_path} is damaged: not JSON ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f'{manifest_path} is damaged: no "format": "{FORMAT}"')
    if manifest.get("version") != VERSION:
        raise InputError(
            f"{manifest_path}: expected version {VERSION}, "
            f"got {manifest.get('version')!r:.60}"
        )
    if not isinstance(manifest.get("sha256"), str):
        raise InputError(f"{manifest_path} is damaged: no checksum")
    return manifest


def fixed_batch(path: Path) -> int | None:
    """The only batch size of a StableHLO file; None: any, or there is no file."""
    manifest = read_manifest(path) if path.exists() else {}
    is_fixed = manifest.get("batch") == "fixed"
    return manifest["inputs"][0]["shape"][0] if is_fixed else None


def _manifest_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _specs(inputs: tuple, batch_axis: int | None) -> tuple:
    """The shapes of the inputs, with the batch as a symbol if an axis is given."""
    (size,) = jax_export.symbolic_shape("b")

    def spec(leaf):
        leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
        shape = list(leaf.shape)
        if batch_axis is not None and len(shape) > batch_axis:
            shape[batch_axis] = size
        dtype = jax.dtypes.canonicalize_dtype(leaf.dtype, allow_extended_dtype=True)
        return jax.ShapeDtypeStruct(tuple(shape), dtype)

    return jax.tree.map(spec, inputs)


def _export(fn, specs, batch, platforms) -> jax_export.Exported:
    here = jax_export.default_export_platform()
    if platforms is None and here != "cpu":
        try:
            return jax_export.export(jax.jit(fn), platforms=(here, "cpu"))(*specs)
        except Exception:  # what runs on this platform alone, or nowhere: see below
            platforms = (here,)
    try:
        return jax_export.export(jax.jit(fn), platforms=platforms)(*specs)
    except Exception as error:
        if batch == "fixed":
            told = f"the model cannot be exported: {_first_line(error)}"
            raise InputError(told) from error
        raise InputError(
            "the model cannot be exported for any batch size, use batch='fixed': "
            f"{_first_line(error)}"
        ) from error


def _serialize(exported: jax_export.Exported) -> bytes:
    try:
        return bytes(exported.serialize())
    except ValueError as error:
        raise InputError(
            "only tuples, lists and dictionaries of arrays can go in and out of an "
            f"exported model: {_first_line(error)}"
        ) from error


def _manifest(path, exported, data, specs, batch) -> dict[str, Any]:
    outputs = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    return {
        "format": FORMAT,
        "version": VERSION,
        "file": path.name,
        "sha256": checksum(data),
        "batch": batch,
        "inputs": _describe(specs),
        "outputs": _describe(outputs),
        "platforms": list(exported.platforms),
        "jax": jax.__version__,
        "calling_convention_version": exported.calling_convention_version,
    }


def _describe(tree: Any) -> list[dict[str, Any]]:
    return [
        {
            "path": path,
            "shape": [d if isinstance(d, int) else str(d) for d in leaf.shape],
            "dtype": str(leaf.dtype),
        }
        for path, leaf in named_leaves(tree).items()
    ]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
