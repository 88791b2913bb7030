"""The training loop, its checkpoints, seeds and log."""
