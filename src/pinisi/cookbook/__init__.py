"""Joins tokenizers and models: changes both at once, so that they still fit one another."""
