"""Checkpoints of Hugging Face: read, made smaller, written in the same form.

`load` returns the model of a folder as a pure function, and its tensors by name.
`find_players` finds the players whose removal a configuration can express,
`drop_layers` removes whole layers, and `save` writes the smaller folder.
"""

import lazy_loader

from gamepruning.spelling import helpful

# The public names stand in `__init__.pyi`; each is loaded when it is first used.
_load, _, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__, __dir__ = helpful(__name__, __all__, _load)
