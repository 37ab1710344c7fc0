"""Who plays: trace any pure function into its structural units."""

from gamepruning.players.adapters import from_linen, from_nnx
from gamepruning.players.find import find_players
from gamepruning.players.players import Players
from gamepruning.players.sizes import Size, size_of
from gamepruning.run.hoist import Hoisted
from gamepruning.spelling import helpful
from gamepruning.trace.rules.registry import register_rule
from gamepruning.trace.units import AxisSlice, Family, Frozen

__all__ = [
    "AxisSlice",
    "Family",
    "Frozen",
    "Hoisted",
    "Players",
    "Size",
    "find_players",
    "from_linen",
    "from_nnx",
    "register_rule",
    "size_of",
]
__getattr__, __dir__ = helpful(__name__, __all__)
