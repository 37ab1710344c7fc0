"""The parameters of each coalition after repair, solved for on the host."""

from functools import cache

import numpy as np
from jaxtyping import Bool
from threadpoolctl import ThreadpoolController

from gamepruning.reconstruction.gram import Grams

ONE_THREAD = 1024  # inputs of a reader, at most


class Refit:
    """Coalitions of all players, bool [S, N] -> the parameters that repair changes.

    Devices compute values meanwhile. So a small solve has one thread: several would
    wait for each other and for the cores that are busy.

    Attributes:
      changed: which parameters these are, by number.
    """

    def __init__(self, grams: Grams):
        self._grams = grams
        self.changed = grams.changed
        widest = max((gram.moments.shape[1] for gram in grams.grams), default=0)
        self._threads = 1 if widest <= ONE_THREAD else None

    def __call__(self, masks: Bool[np.ndarray, "S N"]) -> list[np.ndarray]:
        """Each changed parameter of each coalition, [S, ...].

        Cost: a solve of [k, k] for each coalition and each reader with k inputs left.
        """
        with _blas().limit(limits=self._threads, user_api="blas"):
            leaves = [self._grams.repaired(mask) for mask in masks]
        return [np.stack([row[k] for row in leaves]) for k in self.changed]


@cache
def _blas() -> ThreadpoolController:
    """The linear algebra that is loaded; looking for it takes milliseconds."""
    return ThreadpoolController()
