"""Where a network falls apart under random removal: MCUE."""

import lazy_loader

# The command line reads `uncertainty.names` without importing jax.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
