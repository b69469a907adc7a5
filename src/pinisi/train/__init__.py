"""A run: steps, evaluation, checkpoints, metrics and export."""
