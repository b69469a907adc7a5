"""Makes the paths of settings absolute: a relative one is meant from the file that names it.

Which settings are paths is said once, at their field: `field(metadata=PATH)`, or one of the other kinds below. Tables whose keys
only a later reader knows (`field(metadata=LATER)`) keep each text with the folder that it was written in.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from pinisi.base.typed_toml import Bare

_KEY = "path"  # in a field's metadata: how its text becomes a path
Rule = Callable[[str, Path, Mapping[str, Any]], str]  # (text, folder, the table that it stands in) -> text


class WrittenText(str):
    """A text of a file that may turn out to be a path, and the folder that it would be relative to."""

    folder: Path | None

    def __new__(cls, text: str, folder: Path | None = None) -> WrittenText:
        made = super().__new__(cls, text)
        made.folder = folder
        return made


def is_url(path: str | Path) -> bool:
    """Whether this is read by fsspec."""
    return isinstance(path, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path) is not None


def _local(text: str, folder: Path, _: Mapping[str, Any]) -> str:
    path = os.path.expanduser(text) if text.startswith("~/") else text
    return str(Path(folder, path)) if text else text


def _local_or_url(text: str, folder: Path, table: Mapping[str, Any]) -> str:
    return text if is_url(text) else _local(text, folder, table)


def _local_or_hub(text: str, folder: Path, table: Mapping[str, Any]) -> str:
    """A text that may be "owner/name" is one where no such folder is there."""
    path = _local(text, folder, table)
    named = not text.startswith((".", "~")) and 1 <= len(Path(text).parts) <= 2 and not os.path.isabs(text)
    return text if named and not os.path.exists(path) else path


def _source(text: str, folder: Path, table: Mapping[str, Any]) -> str:
    rule = _local_or_hub if table.get("format") == "dataset" else _local_or_url
    return rule(text, folder, table)


def _later(text: str, folder: Path, _: Mapping[str, Any]) -> str:
    return WrittenText(text, folder)


PATH: dict[str, Rule] = {_KEY: _local}
PATH_OR_URL: dict[str, Rule] = {_KEY: _local_or_url}
MODEL: dict[str, Rule] = {_KEY: _local_or_hub}  # a folder, or a name on the hub
SOURCE: dict[str, Rule] = {_KEY: _source}  # of text: a data set's name on the hub only where `format` says so
LATER: dict[str, Rule] = {_KEY: _later}


def absolute_paths(table: Mapping[str, Any], into: Any, folder: Path) -> dict[str, Any]:
    """Returns a table, as TOML gives it, for the dataclass `into`, with its paths absolute: from `folder`, or from where a
    WrittenText says. Values of a wrong type stay, for the errors of what reads them."""
    hints = get_type_hints(into)
    rules = {field.name: field.metadata.get(_KEY) for field in dataclasses.fields(into)}
    return {
        key: _placed(value, hints.get(key), rules.get(key), folder, table) for key, value in table.items()
    }


def _placed(value: Any, hint: Any, rule: Rule | None, folder: Path, table: Mapping[str, Any]) -> Any:
    if isinstance(value, Bare):
        return _placed_override(value, hint, rule, folder, table)
    if isinstance(value, str):
        written = value.folder if isinstance(value, WrittenText) and value.folder else folder
        return rule(str(value), written, table) if rule else str(value)
    if isinstance(value, list):
        inner = get_args(hint)[0] if get_origin(hint) is list else None
        return [_placed(item, inner, rule, folder, table) for item in value]
    if isinstance(value, dict):
        if dataclasses.is_dataclass(hint):
            return absolute_paths(value, hint, folder)
        return {key: _placed(item, None, rule, folder, table) for key, item in value.items()}
    return value


def _placed_override(
    given: Bare, hint: Any, rule: Rule | None, folder: Path, table: Mapping[str, Any]
) -> Bare:
    """The right side of an override. As a path a number is a text; `none` unsets its key."""
    if rule is None or rule is _later or isinstance(given.value, (list, dict)):
        return Bare(given.text, _placed(given.value, hint, rule, folder, table))
    if given.text == "none":
        return given
    text = given.value if isinstance(given.value, str) else given.text
    placed = rule(text, folder, table)
    return Bare(placed, placed)
