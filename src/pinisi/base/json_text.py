"""Reads JSON that anybody may have written."""

import json
from pathlib import Path
from typing import Any

from pinisi.base.errors import DataError


def read_utf8(path: Path) -> str:
    """Returns a file's text, without a mark of its byte order. Raises DataError where it isn't UTF-8."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is no UTF-8: store the file as UTF-8") from None


def parse(text: str) -> Any:
    """Returns what a JSON text holds. Raises ValueError where it is none, or nested too deep to be read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
