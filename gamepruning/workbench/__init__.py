"""To run it: models, data, a training loop, the main job and its report."""
