"""Trees of arrays: paths, leaves, examples."""
