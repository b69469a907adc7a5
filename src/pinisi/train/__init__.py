"""Trains: steps, evaluation, checkpoints, metrics and export of a run."""
