"""Training: epochs, optimizers, checkpoints, the run folder."""
