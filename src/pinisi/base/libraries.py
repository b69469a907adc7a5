"""Imports libraries that only some people need, and says what to install where one is missing."""

from importlib import import_module
from typing import Any

from pinisi.base.errors import DataError


def library(module: str, extra: str = "curate") -> Any:
    """Raises DataError that says what to install."""
    try:
        return import_module(module)
    except ImportError:
        name = module.split(".")[0]
        raise DataError(f"{name} is not installed: pip install 'pinisi[{extra}]', or {name} alone") from None
