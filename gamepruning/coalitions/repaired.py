"""The game of a network after repair: coalitions whose weights are fitted anew."""

import numpy as np
from jaxtyping import Bool, Int

from gamepruning.coalitions.network_game import ChunkedGame


class RepairedValueFunction(ChunkedGame):
    """Coalitions of the free players, bool [S, M] -> values after repair, float64 [S].

    Made by `value_function(..., repair=grams)`.

    Attributes: see `NetworkGame`.
    """

    def _among(
        self, free: Int[np.ndarray, " M"], inside: Bool[np.ndarray, " N"]
    ) -> "RepairedValueFunction":
        players, chunks, progress = self._players, self._chunks, self._progress
        return RepairedValueFunction(
            players, chunks, free, inside, progress, parent=self
        )
