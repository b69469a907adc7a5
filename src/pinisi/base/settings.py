"""Reads settings: one TOML file and its overrides into a dataclass, and back; helpers for its checks.

Every key can be overridden on the command line as `section.key=value`; `none` unsets an optional key. A relative path in a file
is meant from the file's folder, one in an override from the working folder; see `paths`.
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar, cast

from pinisi.base.digests import of_value
from pinisi.base.paths import absolute_paths
from pinisi.base.typed_toml import (
    Bare,
    Fault,
    SettingsSource,
    check,
    from_table,
    parse_override,
    plain,
    read_toml,
    set_override,
    to_toml,
)

T = TypeVar("T")


def byte_count(text: str) -> int:
    """Bytes of a size such as 512 MiB or 1.5 GiB; 0 if it is none."""
    found = re.fullmatch(r"(\d{1,12}(?:\.\d+)?) ?(KiB|MiB|GiB)", text)
    if found is None:
        return 0
    return int(float(found[1]) * 2 ** {"KiB": 10, "MiB": 20, "GiB": 30}[found[2]])


def at_least(section: Any, **least: float) -> Iterator[Fault]:
    """A fault for each named field that is set and below (or not comparable with) its least value."""
    for key, value in least.items():
        got = getattr(section, key)
        if got is not None and not value <= got < float("inf"):
            yield Fault(key, f"at least {value}")


def not_empty(section: Any, key: str) -> Iterator[Fault]:
    if not getattr(section, key):
        yield Fault(key, "a path")


def load(path: str | Path, overrides: Sequence[str] = (), *, into: type[T]) -> T:
    """A TOML file, then `key=value` overrides in their order, as the dataclass `into`; its paths are absolute.

    Raises ConfigError for a file that can't be read, an unknown key, a missing one, a wrong type or range.
    """
    table, text = read_toml(Path(path))
    table = absolute_paths(table, into, _folder_of(Path(path)))
    given: dict[str, str] = {}
    for override in overrides:
        key, value = parse_override(override)
        set_override(table, key, _from_here(key, value, into), override)
        given[key] = override
    return from_table(table, into, SettingsSource(str(path), text, given, into))


def _folder_of(path: Path) -> Path:
    """Where a file's relative paths begin; those of a pipe, which lies nowhere, in the working folder."""
    return path.absolute().parent if path.is_file() else Path.cwd()


def _from_here(key: str, value: Bare, into: Any) -> Bare:
    """An override's value with its paths made absolute, from the working folder."""
    names = key.split(".")
    table: Any = reduce(lambda inner, name: {name: inner}, reversed(names), cast(Any, value))
    placed: Any = absolute_paths(table, into, Path.cwd())
    return reduce(lambda table, name: table[name], names, placed)


def absolute(config: T) -> T:
    """A configuration with its relative paths made absolute, from the working folder."""
    into = type(config)
    table = absolute_paths(plain(dataclasses.asdict(config)), into, Path.cwd())  # type: ignore[call-overload]
    return from_table(table, into, SettingsSource("the configuration", root=into))


def validate(config: Any) -> None:
    """Check a configuration made in Python as `load` checks a file's: every section, then the whole."""
    source = SettingsSource("the configuration")
    for item in dataclasses.fields(config):
        if dataclasses.is_dataclass(section := getattr(config, item.name)):
            check(section, source, item.name + ".")
    check(config, source)


def dump(config: Any) -> str:
    """TOML text from which `load` makes an equal configuration."""
    return to_toml(dataclasses.asdict(config))


def fingerprint(config: Any, *keys: str) -> str:
    """16 hexadecimal digits that change with any value under the dotted keys (all keys if none is given)."""
    table = dataclasses.asdict(config)
    chosen: dict[str, Any] = {} if keys else table
    for key in keys:
        value: Any = table
        for name in key.split("."):
            value = value[name]
        chosen[key] = value
    return of_value(chosen)[:16]
