"""One rule a primitive: how its axes are tied (label), how it shrinks (rebind)."""

from gamepruning.players.rules import contract, control, index, label, rebind
from gamepruning.players.rules.registry import register_rule

__all__ = ["contract", "control", "index", "label", "rebind", "register_rule"]
