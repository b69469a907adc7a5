"""Joins tokenizers and models: what changes both at once."""
