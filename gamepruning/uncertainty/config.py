"""How finely MCUE measures."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypedDict

from jax.sharding import Mesh

from gamepruning.trees.layout import COALITIONS
from gamepruning.types import InputError


class McueOptions(TypedDict, total=False):
    """The keywords of `McueConfig`."""

    num_points: int
    num_samples: int
    num_sizes: int
    chunk_size: int | None
    mesh: Mesh | None
    coalition_axis: str
    progress: Callable[[int, int], Any] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class McueConfig:
    """How finely MCUE measures.

    Attributes:
      num_points: P, the points of the grid, at least 3. More cost no evaluation.
      num_samples: coalitions of each size, at least 4.
      num_sizes: sizes of coalitions, at least 3.
      chunk_size: coalitions side by side; by default what fits a few million entries.
        It changes speed and memory only.
      mesh: devices of one process or of several that share the sizes; one device if
        None. Parameters and inputs that are split over its other axes stay so.
      coalition_axis: the axis of the mesh for sizes of coalitions.
      progress: called after each size with the evaluations so far and their total.

    Example:
      >>> McueConfig(num_samples=2)
      Traceback (most recent call last):
      ...
      gamepruning.types.InputError: expected num_samples of at least 4, got 2
    """

    num_points: int = 20
    num_samples: int = 100
    num_sizes: int = 64
    chunk_size: int | None = None
    mesh: Mesh | None = None
    coalition_axis: str = COALITIONS
    progress: Callable[[int, int], Any] | None = None

    def __post_init__(self):
        least = {"num_points": 3, "num_samples": 4, "num_sizes": 3, "chunk_size": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise InputError(f"expected {name} of at least {bound}, got {value}")
