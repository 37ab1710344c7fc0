"""Where a network falls apart under random removal: MCUE."""

import lazy_loader

from gamepruning.spelling import helpful

# The command line reads `uncertainty.names` without importing jax.
_load, _, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__, __dir__ = helpful(__name__, __all__, _load)
