"""WHO STAYS: from scores or gates to a mask."""

from gamepruning.selection.round_mask import round_mask
from gamepruning.selection.top_n import top_n

__all__ = ["round_mask", "top_n"]
