"""Losses that the pages' code adds are gone behind each test."""

from tests.losses.conftest import own_names

__all__ = ["own_names"]
