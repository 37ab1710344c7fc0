"""WHO STAYS: from scores or gates to a mask."""

from gamepruning.selection.curves import Curve, compression_curve, masks_at
from gamepruning.selection.greedy import greedy_scores, local_search, marginal_values
from gamepruning.selection.iterated import iterated_building, iterated_pruning
from gamepruning.selection.round_mask import round_mask
from gamepruning.selection.safe_removal import RemovalOptions, safe_removal
from gamepruning.selection.settings import (
    GameScorer,
    IterationOptions,
    Progress,
    PruningOptions,
)
from gamepruning.selection.top_n import top_n
from gamepruning.selection.trace import Round, SelectionTrace
from gamepruning.selection.within import SizeLimit, limit_size, most_within
from gamepruning.spelling import helpful

__all__ = [
    "Curve",
    "GameScorer",
    "IterationOptions",
    "Progress",
    "PruningOptions",
    "RemovalOptions",
    "Round",
    "SelectionTrace",
    "SizeLimit",
    "compression_curve",
    "greedy_scores",
    "iterated_building",
    "iterated_pruning",
    "limit_size",
    "local_search",
    "marginal_values",
    "masks_at",
    "most_within",
    "round_mask",
    "safe_removal",
    "top_n",
]
__getattr__, __dir__ = helpful(__name__, __all__)
