"""One rule a primitive: how its axes are tied (label), how it shrinks (rebind)."""

from gamepruning.trace.rules import contract, control, index, rebind, shape
from gamepruning.trace.rules.registry import register_rule

__all__ = ["contract", "control", "index", "rebind", "register_rule", "shape"]
