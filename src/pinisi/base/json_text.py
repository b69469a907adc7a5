"""Reads JSON that anybody may have written."""

import json
from typing import Any


def parse(text: str) -> Any:
    """Returns what a JSON text holds. Raises ValueError where it is none, or nested too deep to be read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
