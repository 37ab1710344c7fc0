"""Where a network falls apart under random removal: MCUE."""
