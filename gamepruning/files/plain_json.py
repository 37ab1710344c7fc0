"""JSON that every reader takes: NaN and infinity, which Python writes, are null."""

import json
import math
from collections.abc import Mapping
from typing import Any


def to_json(data: Any, indent: int | None = None) -> str:
    """JSON text of plain data, with null for numbers that are not finite.

    Example:
      >>> to_json({"loss": [0.5, float("nan")]})
      '{"loss": [0.5, null]}'
    """
    return json.dumps(_finite(data), indent=indent, allow_nan=False)


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
