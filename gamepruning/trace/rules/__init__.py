"""One home for each primitive: all its rules side by side, by family.

`RULES` is the table that the families fill, and `register_rule` adds to it.
"""

from gamepruning.trace.rules import (
    contract,
    control,
    custom,
    elementwise,
    index,
    parts,
    reduce,
    shape,
    windows,
)
from gamepruning.trace.rules.registry import (
    RULES,
    contraction_of,
    register_rule,
    rules_of,
)

__all__ = [
    "RULES",
    "contract",
    "contraction_of",
    "control",
    "custom",
    "elementwise",
    "index",
    "parts",
    "reduce",
    "register_rule",
    "rules_of",
    "shape",
    "windows",
]
