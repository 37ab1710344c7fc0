"""How fast each pair of a head turns from one position to the next."""

from typing import Any

import numpy as np
from jaxtyping import Float

from gamepruning.huggingface.architecture import Config
from gamepruning.types import InputError

KINDS = ("default", "linear", "llama3")


def frequencies(config: Config, head: int) -> Float[np.ndarray, " pairs"]:
    """The angle of each pair for one position, as the configuration says.

    Args:
      config: `rope_theta`, and `rope_parameters` or `rope_scaling` where it has them.
      head: entries of a head, two to a pair.

    Raises:
      InputError: the positions are of a kind that is not supported.

    Example:
      >>> frequencies({"rope_theta": 10000.0}, 4)
      array([1.  , 0.01])
    """
    rope = _parameters(config)
    theta = float(rope.get("rope_theta", config["rope_theta"]))
    plain = theta ** (-np.arange(0, head, 2) / head)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in KINDS:
        raise InputError(
            f"rotary positions of type {kind!r} are not supported: expected "
            f"{', '.join(KINDS)}"
        )
    share = rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0))
    if share != 1.0:
        raise InputError(f"partial_rotary_factor {share} is not supported, only 1")
    if kind == "linear":
        return plain / rope["factor"]
    return _llama3(plain, rope) if kind == "llama3" else plain


def _parameters(config: Config) -> dict[str, Any]:
    return config.get("rope_scaling") or config.get("rope_parameters") or {}


def _llama3(plain: np.ndarray, rope: dict[str, Any]) -> np.ndarray:
    """Long waves are stretched by a factor, short ones stay, between them a blend."""
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    turns = rope["original_max_position_embeddings"] * plain / (2 * np.pi)
    stays = np.clip((turns - low) / (high - low), 0, 1)
    return plain * (stays + (1 - stays) / rope["factor"])
