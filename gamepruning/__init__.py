"""Pruning is a game between the parts of a network.

    any JAX model --trace--> players --a game scores them--> who stays --compact-->
    a smaller, proven-equal model
"""

import importlib

__version__ = "0.1.0"

_EXPORTS = {
    "gamepruning.types": ("InputError", "Scores"),
    "gamepruning.players": ("Players", "find_players", "register_rule"),
}
_HOME = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'gamepruning' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__():
    return sorted(__all__)
