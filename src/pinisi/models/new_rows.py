"""Reads and writes new_rows.json, which says beside a model which rows of its vocabulary were added."""

import json
from collections.abc import Iterable
from pathlib import Path

from pinisi.base import json_text
from pinisi.base.errors import ModelError
from pinisi.models.spec import ModelSpec

NEW_ROWS = "new_rows.json"


def write_new_rows(folder: Path, rows: Iterable[int]) -> None:
    """Writes the file. Raises OSError."""
    (folder / NEW_ROWS).write_text(json.dumps({"rows": sorted(rows)}) + "\n", "utf-8")


def new_rows(spec: ModelSpec) -> list[int]:
    """Returns the rows that were added to a model that was read from a folder. Raises ModelError that names the file."""
    folder = spec.folder or (spec.published.folder if spec.published is not None else None)
    if folder is None:
        raise ModelError(
            f'train = "new_rows" needs a model.source that has {NEW_ROWS}: the folder that `pinisi vocabulary extend` wrote.'
        )
    path = Path(folder) / NEW_ROWS
    try:
        rows = json_text.parse(path.read_text("utf-8"))["rows"]
        good = bool(rows) and all(type(row) is int and 0 <= row < spec.vocabulary for row in rows)
    except FileNotFoundError:
        raise ModelError(
            f'there is no {path}, which train = "new_rows" needs: `pinisi vocabulary extend` writes it beside the model.'
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} can't be read ({error!r}); extend the model again.") from None
    if not good:
        raise ModelError(
            f"{path} needs a list of rows from 0 to {spec.vocabulary - 1}; extend the model again."
        )
    return list(rows)
