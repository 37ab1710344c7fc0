"""The game of a network after repair: coalitions whose weights are fitted anew."""

from gamepruning.coalitions.network_game import ChunkedGame


class RepairedValueFunction(ChunkedGame):
    """Coalitions of the free players, bool [S, M] -> values after repair, float64 [S].

    Made by `value_function(..., repair=grams)`.

    Attributes: see `NetworkGame`.
    """
