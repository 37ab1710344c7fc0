"""Checkpoints of Hugging Face: read, made smaller, written in the same form.

`load` gives a folder's model as a pure function and its tensors under their own names.
`find_players` finds who can leave so that a configuration can still say it,
`drop_layers` removes whole layers, and `save` writes the smaller folder.
"""

import lazy_loader

# The public names stand in `__init__.pyi`; each is loaded when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
