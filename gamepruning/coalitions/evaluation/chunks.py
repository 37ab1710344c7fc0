"""Any number of coalitions, a chunk at a time, so that memory does not grow."""

from collections.abc import Callable, Iterator

import jax
import numpy as np
from jaxtyping import Bool

from gamepruning.coalitions.evaluation.evaluate import Evaluator
from gamepruning.trees.layout import Layout
from gamepruning.types import InputError

TILES_A_CHUNK = 16  # for each group of devices


class Chunks:
    """Feeds coalitions to an evaluator; makes chunks smaller when memory runs out.

    Attributes:
      evaluator: values coalitions.
      wanted: coalitions in a chunk, rounded up to whole tiles; None chooses.
    """

    def __init__(self, evaluator: Evaluator, wanted: int | None):
        self.evaluator = evaluator
        self.wanted = wanted

    @property
    def size(self) -> int:
        """Coalitions in a chunk."""
        size = self.wanted or TILES_A_CHUNK * self.tile
        return -(-size // self.tile) * self.tile

    def values(
        self,
        masks: Bool[np.ndarray, "S M"],
        expand: Callable[[np.ndarray], np.ndarray],
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Pairs (number of the first coalition, values of a chunk), in order.

        Args:
          masks: the coalitions.
          expand: some of them -> coalitions of all players, bool [K, N].

        Raises:
          InputError: too little memory for one coalition.
        """
        done = 0
        while done < len(masks):
            is_few = len(masks) <= self.evaluator.num_at_once
            used = self._layout.fewest_groups if is_few else self._layout.num_groups
            chunk = masks[done : done + self.size]
            found = self._try(expand(chunk), used)
            if found is not None:
                yield done, found
                done += len(chunk)

    def _try(self, masks: np.ndarray, used: int) -> np.ndarray | None:
        """Values, or None and smaller chunks from now on if memory ran out."""
        try:
            return self.evaluator.join(self.evaluator.start(masks, used))
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if self._layout.processes is not None:
                raise InputError(
                    "out of memory on a device, and the processes cannot agree on "
                    "smaller tiles: give chunk_size or rows_at_once, or more devices"
                ) from None
        if self.size > self.tile and len(masks) > self.tile:
            self.wanted = min(self.size, len(masks)) // 2
        else:
            self.evaluator.shrink()
        return None

    @property
    def _layout(self) -> Layout:
        return self.evaluator.layout

    @property
    def tile(self) -> int:
        """Coalitions that all groups of devices value at once; fewer take as long."""
        return self.evaluator.num_at_once * self._layout.num_groups


def is_out_of_memory(error: Exception) -> bool:
    """Return True if a device did not have the memory that a program needs."""
    text = str(error).lower()
    return "resource_exhausted" in text or "out of memory" in text
