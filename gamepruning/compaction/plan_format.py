"""How a plan is written as JSON: for people to read, and checked when read back.

Kept indices are text: "0-2,7" means 0, 1, 2 and 7. Since version 2 the layers of a
stacked parameter may keep different ones: {"layers": 0, "rows": ["0-2,7", "1-4"]} has a
row for each layer, and says which axis the layers are. Others are of version 1.
"""

import dataclasses
import json
import os
import re
from typing import Any

import numpy as np

from gamepruning.trees.paths import Axes, InputKey, Kept, LayerRows
from gamepruning.types import InputError

FORMAT, VERSION, WITH_LAYERS = "gamepruning plan", 1, 2
FIELDS = ("format", "version", "families", "parameters", "inputs", "why")
_INDICES = re.compile(r"(\d{1,9}(-\d{1,9})?(,\d{1,9}(-\d{1,9})?)*)?")
_MAX_FEATURES = 1 << 24


def format_indices(indices: np.ndarray) -> str:
    """Increasing indices as text.

    Example:
      >>> format_indices(np.array([0, 1, 2, 7, 9, 10]))
      '0-2,7,9-10'
    """
    if not len(indices):
        return ""
    runs = np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1)
    return ",".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in runs)


def parse_indices(what: str, text: Any, size: int) -> np.ndarray:
    """The inverse of `format_indices`, for indices in [0, size).

    Example:
      >>> parse_indices("axis 0", "0-2,7", 10)
      array([0, 1, 2, 7])
    """
    if not isinstance(text, str) or not _INDICES.fullmatch(text):
        raise InputError(f'{what}: expected indices such as "0-3,7", got {text!r:.60}')
    runs = [run.partition("-") for run in text.split(",") if run]
    bounds = [(int(first), int(last or first) + 1) for first, _, last in runs]
    if any(not start < stop <= size for start, stop in bounds):
        raise InputError(
            f"{what}: expected indices below {size}, in order, got {text!r:.60}"
        )
    ranges = [np.arange(start, stop) for start, stop in bounds]
    return np.concatenate([np.array([], np.int64), *ranges])


def format_axes(axes: Axes) -> dict[str, Any]:
    """{axis: indices} for JSON."""
    return {str(axis): _format_rows(axes[axis]) for axis in sorted(axes)}


def _format_rows(rows: Any) -> Any:
    if not isinstance(rows, LayerRows):
        return format_indices(rows)
    return {"layers": rows.axis, "rows": [format_indices(row) for row in rows.indices]}


def version_of(kept: Kept) -> int:
    """The oldest version of the format that can say what stays."""
    by_layer = any(isinstance(rows, LayerRows) for rows in kept.values())
    return WITH_LAYERS if by_layer else VERSION


def parse_header(data: Any) -> None:
    """Raise InputError unless the data are a plan of this version with all fields."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InputError(f'expected a JSON object with "format": "{FORMAT}"')
    if data.get("version") not in (VERSION, WITH_LAYERS):
        raise InputError(
            f"expected version {VERSION} or {WITH_LAYERS} of the format, got "
            f"{data.get('version')!r:.60}"
        )
    _check_fields("the plan", data, FIELDS)
    for name, kind in zip(FIELDS[2:], (list, dict, dict, dict), strict=True):
        _expect("the plan", data, name, kind)


def parse_family(data: Any) -> tuple[str, int, np.ndarray]:
    """The name, the number of players, and which of them stay."""
    _check_fields("a family", data, ("name", "kept", "total", "indices"))
    name = _expect("a family", data, "name", str)
    what = f"family {name!r}"
    total = _expect(what, data, "total", int)
    indices = parse_indices(what, data["indices"], total)
    if len(indices) != _expect(what, data, "kept", int):
        raise InputError(f"{what}: says {data['kept']} kept, lists {len(indices)}")
    return name, total, indices


def parse_parameters(data: dict) -> tuple[dict, dict]:
    """{path: shape} and {(path, axis): kept indices}."""
    model, kept = {}, {}
    for path, parameter in data.items():
        what = f"parameter {path!r}"
        _check_fields(what, parameter, ("shape",), optional=("kept",))
        shape = tuple(_expect(what, parameter, "shape", list))
        if not all(type(size) is int and size >= 0 for size in shape):
            raise InputError(f"{what}: expected a shape, got {shape!r:.60}")
        model[path] = shape
        for axis, indices in _parse_axes(what, parameter.get("kept", {}), shape):
            kept[path, axis] = indices
    return model, kept


def parse_inputs(data: dict) -> dict[InputKey, Axes]:
    """{input position, or "position/path" in a tree: {axis: kept indices}}."""
    inputs: dict[InputKey, Axes] = {}
    for key, axes in data.items():
        position, in_tree, _ = key.partition("/")
        if not position.isdecimal():
            raise InputError(f"inputs: expected a position, got {key!r:.60}")
        found = dict(_parse_axes(f"input {key}", axes, None))
        inputs[key if in_tree else int(position)] = found
    return inputs


def _parse_axes(what: str, data: Any, shape: tuple[int, ...] | None):
    if not isinstance(data, dict):
        raise InputError(f"{what}: expected {{axis: indices}}, got {data!r:.60}")
    for axis, text in data.items():
        if not axis.isdecimal() or (shape is not None and int(axis) >= len(shape)):
            raise InputError(f"{what}: it has no axis {axis!r:.60}")
        size = _MAX_FEATURES if shape is None else shape[int(axis)]
        place = f"axis {axis} of {what}"
        if isinstance(text, dict) and shape is not None:
            yield int(axis), _parse_rows(place, text, size)
        else:
            yield int(axis), parse_indices(place, text, size)


def _parse_rows(what: str, data: dict, size: int) -> LayerRows:
    """The indices of each layer; whether there are as many as layers, `Plan` checks."""
    _check_fields(what, data, ("layers", "rows"))
    axis, rows = _expect(what, data, "layers", int), _expect(what, data, "rows", list)
    found = [parse_indices(f"{what} in layer {k}", r, size) for k, r in enumerate(rows)]
    if not found or len({len(row) for row in found}) > 1:
        raise InputError(f"{what}: expected equally many indices in each layer")
    return LayerRows(axis, np.stack(found))


def as_json(what: str, value: Any) -> Any:
    """The value as JSON would give it back: arrays as lists, tuples as lists."""
    try:
        return json.loads(json.dumps(value, default=_plain, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{what}: expected data that JSON can hold: {error}"
        ) from error


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{value!r:.60} is a {type(value).__name__}")


def to_text(data: dict[str, Any]) -> str:
    """JSON with one family and one parameter a line."""
    fields = [f"{json.dumps(name)}: {_field(value)}" for name, value in data.items()]
    return "{\n  " + ",\n  ".join(fields) + "\n}\n"


def _field(value: Any) -> str:
    if not value or not isinstance(value, dict | list):
        return json.dumps(value)
    if isinstance(value, list):
        return "[\n    " + ",\n    ".join(map(json.dumps, value)) + "\n  ]"
    items = [f"{json.dumps(key)}: {json.dumps(item)}" for key, item in value.items()]
    return "{\n    " + ",\n    ".join(items) + "\n  }"


def _check_fields(what: str, data: Any, fields: tuple, optional: tuple = ()) -> None:
    if not isinstance(data, dict):
        raise InputError(f"{what}: expected a JSON object, got {data!r:.60}")
    unknown = [name for name in data if name not in (*fields, *optional)]
    if unknown:
        raise InputError(f"{what}: unknown field {unknown[0]!r:.60}")
    missing = [name for name in fields if name not in data]
    if missing:
        raise InputError(f"{what}: the field {missing[0]!r} is missing")


def _expect(what: str, data: dict, name: str, kind: type) -> Any:
    value = data[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(
            f"{what}: {name!r} must be a {kind.__name__}, got {value!r:.60}"
        )
    return value
