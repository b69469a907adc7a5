"""Losses that a test adds are gone behind it."""

import pytest

from pinisi.losses import registry


@pytest.fixture(autouse=True)
def own_names(monkeypatch):
    monkeypatch.setattr(registry, "_LOSSES", dict(registry._LOSSES))
    monkeypatch.setattr(registry, "_MAKERS", set(registry._MAKERS))
