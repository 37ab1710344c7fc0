"""The main job: train, let players leave, check, compare, write a run folder."""
