"""Pruning is a game between the parts of a network.

any JAX model --trace--> players --a game scores them--> who stays --compact-->
a smaller, proven-equal model
"""

import lazy_loader

__version__ = "0.1.0"

# The public names stand in `__init__.pyi`; each is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
