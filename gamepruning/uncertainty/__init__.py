"""Where a network falls apart under random removal: MCUE."""

from gamepruning.uncertainty.mcue import Bands, McueConfig, mcue

__all__ = ["Bands", "McueConfig", "mcue"]
