"""The fields of config.json: their types are checked, and defaults filled in."""

from collections.abc import Mapping
from typing import Any

from gamepruning.types import InputError

_SIZES = (
    "head_dim", "hidden_size", "intermediate_size", "max_position_embeddings",
    "n_embd", "n_head", "n_inner", "n_layer", "n_positions", "num_attention_heads",
    "num_channels", "num_hidden_layers", "num_key_value_heads", "num_labels",
    "sliding_window",
    "type_vocab_size", "vocab_size",
)  # fmt: skip
_MAY_BE_NULL = ("head_dim", "n_inner", "num_key_value_heads", "sliding_window")
_TYPES = {
    "architectures": (list, "a list"),
    "id2label": (dict, "an object"),
    "layer_types": (list, "a list"),
    "model_type": (str, "a string"),
    "quantization_config": (dict, "an object"),
    "rope_parameters": (dict, "an object"),
    "rope_scaling": (dict, "an object"),
}


def check_fields(config: Mapping[str, Any]) -> None:
    """Check the types of the fields that say what a model is.

    Raises:
      InputError: a field has a value of another type, or is not a size.
    """
    for name, value in config.items():
        if name in _SIZES and not _is_size(name, value):
            raise InputError(
                f"config.json has {name} {value!r}, expected an integer of at least 1"
            )
        kind, told = _TYPES.get(name, (object, ""))
        if value is not None and not isinstance(value, kind):
            raise InputError(f"config.json has {name} {value!r}, expected {told}")


def _is_size(name: str, value: Any) -> bool:
    if value is None:
        return name in _MAY_BE_NULL
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def with_defaults(
    defaults: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, Any]:
    """A configuration with defaults where it is silent, or says null of no size.

    Example:
      >>> with_defaults({"eps": 0.1, "head_dim": 8}, {"eps": None, "head_dim": None})
      {'eps': 0.1, 'head_dim': None}
    """
    said = {k: v for k, v in config.items() if v is not None or k in _MAY_BE_NULL}
    return {**defaults, **said}
