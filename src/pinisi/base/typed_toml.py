"""Turns TOML tables into dataclasses and back; an error names the place, what was got and what was needed.

A field's type says what its value may be: dataclasses (a table each), int, float (an int is taken), bool,
str, list[...], tuple[...], dict[str, ...], dict (anything), Literal choices, and unions of these with None.
A class may have `validate(self) -> Iterator[Fault]` for what a type can't say, and `RENAMED`, without a type: keys that it
no longer takes, each as (the old name, the new one, what that means).
"""

import dataclasses
import difflib
import json
import re
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from pinisi.base.errors import ConfigError

T = TypeVar("T")


class Fault(NamedTuple):
    """What `validate` yields: the field's name and what it needs, such as "at least 1"."""

    key: str
    needed: str


class Bare(NamedTuple):
    """The right side of `key=value` on the command line: its text, and what TOML reads in it."""

    text: str
    value: Any


class SettingsSource(NamedTuple):
    """Where values come from, for the errors: the file's name and text, the overrides by dotted key, and the
    dataclass of the whole file, among whose keys the nearest valid one is sought."""

    name: str
    text: str = ""
    overrides: Mapping[str, str] = MappingProxyType({})
    root: Any = None

    def place(self, key: str) -> str:
        """Where a dotted key stands: the override that set it, or the file and, if it is there, the line."""
        for given in self.overrides:
            if key == given or key.startswith(given + ".") or given.startswith(key + "."):
                return f"override {self.overrides[given]!r}"
        line = find_line(self.text, key)
        return f"{self.name}, line {line}" if line else self.name


def read_toml(path: Path) -> tuple[dict[str, Any], str]:
    """The file's table and text. Raises ConfigError where it can't be read or isn't TOML."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte-order mark
    except FileNotFoundError as error:
        raise ConfigError(f"{path.absolute()}: no such file; give the path of a TOML file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); give the path of a TOML file.") from error
    try:
        return tomllib.loads(text), text
    except ValueError as error:  # also of a number with more digits than Python reads
        raise ConfigError(f"{path}: not valid TOML: {error}.") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: not valid TOML: nested too deep.") from error


def find_line(text: str, key: str) -> int | None:
    """The line (from 1) where a dotted key is set, or its table begins; None where the text has neither."""
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            table = plain_key(header[1])
            found = table
        elif setting := re.match(r"\s*([\w\-.\"' ]+?)\s*=", line):
            found = f"{table}.{plain_key(setting[1])}".lstrip(".")
        else:
            continue
        if found == key:
            return number
    return None


def plain_key(text: str) -> str:
    """A dotted key without quotes and spaces."""
    return ".".join(part.strip().strip("\"'") for part in text.split("."))


def parse_override(text: str) -> tuple[str, Bare]:
    """`key.in.dots=value` as key and value; a value that isn't TOML is a string (`model.dtype=bfloat16`)."""
    key, equals, value = text.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise ConfigError(
            f"override {text!r}: needs the form key=value, such as optimizer.learning_rate=1e-4."
        )
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        parsed = value.strip()
    return plain_key(key), Bare(value.strip(), parsed)


def set_override(table: dict[str, Any], key: str, value: Bare, override: str) -> None:
    """Put an override's value at its dotted key, making tables on the way."""
    *parents, last = key.split(".")
    for depth, name in enumerate(parents):
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            at = ".".join(parents[: depth + 1])
            raise ConfigError(
                f"override {override!r}: {at} is a value, not a table, so it has no key {last!r}."
            )
        table = inner
    table[last] = value


def from_table(table: dict[str, Any], into: type[T], source: SettingsSource, prefix: str = "") -> T:
    """A checked dataclass. Raises ConfigError for unknown, missing, ill-typed and refused keys."""
    hints = get_type_hints(into)
    fields = {field.name: field for field in dataclasses.fields(into)}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            raise unknown_key(key, into, source, prefix)
    values: dict[str, Any] = {}
    for name, field in fields.items():
        dotted = prefix + name
        if name in table:
            values[name] = convert(table[name], hints[name], source, dotted)
        elif is_required(field):
            if not dataclasses.is_dataclass(hints[name]):
                raise missing_key(dotted, hints[name], source)
            values[name] = from_table({}, hints[name], source, dotted + ".")  # names the first key it lacks
    result = into(**values)
    check(result, source, prefix)
    return result


def check(value: Any, source: SettingsSource, prefix: str = "") -> None:
    """Run the object's own `validate`, if it has one; raises ConfigError for its first fault."""
    for fault in value.validate() if hasattr(value, "validate") else ():
        key = prefix + fault.key
        got: Any = value
        for name in fault.key.split("."):
            got = got[name] if isinstance(got, dict) else getattr(got, name)
        shown = "not set" if got is None or dataclasses.is_dataclass(got) else toml_value(got)
        raise ConfigError(f"{source.place(key)}: {key} is {shown}; it needs {fault.needed}.")


def convert(value: Any, wanted: Any, source: SettingsSource, key: str) -> Any:
    """`value` as the type `wanted`, or ConfigError."""
    # An override may be a whole table, or a list of them.
    whole = value.value if isinstance(value, Bare) else value
    if dataclasses.is_dataclass(wanted):
        if not isinstance(whole, dict):
            raise ill_typed(value, wanted, source, key)
        return from_table(whole, wanted, source, key + ".")  # type: ignore[arg-type, return-value]
    if get_origin(wanted) is list and dataclasses.is_dataclass(of := get_args(wanted)[0]):
        if not isinstance(whole, list):
            raise ill_typed(value, wanted, source, key)
        return [convert(item, of, source, f"{key}[{number}]") for number, item in enumerate(whole)]
    ok, result = try_convert(value, wanted)
    if not ok:
        raise ill_typed(value, wanted, source, key)
    return result


def try_convert(value: Any, wanted: Any) -> tuple[bool, Any]:
    """(True, converted) where `value` is or may stand for a `wanted`; (False, None) where not."""
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        return convert_union(value, arguments)
    if isinstance(value, Bare):
        value = value.text if wanted is str and not isinstance(value.value, str) else value.value
    if origin is Literal:
        found = [choice for choice in arguments if choice == value and type(choice) is type(value)]
        return bool(found), found[0] if found else None
    if origin in (list, tuple):
        return convert_sequence(value, origin, arguments)
    if wanted is dict or origin is dict:
        return convert_dict(value, arguments)
    if wanted is float:
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        return good, float(value) if good else None
    good = type(value) is wanted  # not isinstance: True is an int in Python and not in TOML
    return good, value if good else None


def convert_union(value: Any, choices: tuple[Any, ...]) -> tuple[bool, Any]:
    """The first choice that fits. On the command line `none` unsets a key, TOML having no null."""
    if types.NoneType in choices and isinstance(value, Bare) and value.text == "none":
        return True, None
    for choice in choices:
        if choice is not types.NoneType:
            ok, result = try_convert(value, choice)
            if ok:
                return True, result
    return False, None


def convert_sequence(value: Any, origin: type, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    """list[X], tuple[X, ...] or tuple[X, Y] from a TOML array."""
    if not isinstance(value, list):
        return False, None
    fixed = origin is tuple and arguments[-1] is not Ellipsis
    if fixed and len(value) != len(arguments):
        return False, None
    kinds = arguments if fixed else [arguments[0]] * len(value)
    done = [try_convert(item, kind) for item, kind in zip(value, kinds, strict=True)]
    return all(ok for ok, _ in done), origin(item for _, item in done)


def convert_dict(value: Any, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    """dict[str, X], or any table for a plain dict."""
    if not isinstance(value, dict):
        return False, None
    if not arguments:
        return True, {name: unwrap(item) for name, item in value.items()}
    done = {name: try_convert(item, arguments[1]) for name, item in value.items()}
    return all(ok for ok, _ in done.values()), {name: item for name, (_, item) in done.items()}


def unwrap(value: Any) -> Any:
    """What TOML reads, all the way down, where no type says what is wanted."""
    if isinstance(value, Bare):
        return value.value
    if isinstance(value, dict):
        return {name: unwrap(item) for name, item in value.items()}
    return value


def plain(value: Any) -> Any:
    """A value of Python as TOML would give it: paths as text, tuples as lists; what is None is left out."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, PurePath) else value


def is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def all_keys(into: Any, prefix: str = "") -> Iterator[str]:
    """Every dotted key that a dataclass takes, tables included."""
    for name, hint in get_type_hints(into).items():
        yield prefix + name
        if dataclasses.is_dataclass(hint):
            yield from all_keys(hint, f"{prefix}{name}.")


def nearest_key(key: str, into: Any, prefix: str, root: Any) -> str:
    """The valid dotted key most like an unknown one: of the same table if one is alike, else of any."""
    local = difflib.get_close_matches(key, get_type_hints(into), n=1, cutoff=0.6)
    if local:
        return prefix + local[0]
    anywhere = {dotted.rpartition(".")[2]: dotted for dotted in all_keys(root or into)}
    return anywhere[difflib.get_close_matches(key, anywhere, n=1, cutoff=0.0)[0]]


def unknown_key(key: str, into: Any, source: SettingsSource, prefix: str) -> ConfigError:
    dotted = prefix + key
    for old, new, meaning in getattr(into, "RENAMED", ()):
        if key == old:
            said = f"there is no {dotted!r} any more; use {prefix + new!r}, {meaning}."
            return ConfigError(f"{source.place(dotted)}: {said}")
    if not get_type_hints(into):
        return ConfigError(f"{source.place(dotted)}: unknown key {dotted!r}; there are none to set here.")
    near = nearest_key(key, into, prefix, source.root)
    return ConfigError(f"{source.place(dotted)}: unknown key {dotted!r}; the nearest valid key is {near!r}.")


def missing_key(key: str, wanted: Any, source: SettingsSource) -> ConfigError:
    return ConfigError(f"{source.name}: required key {key!r} is missing; it needs {type_name(wanted)}.")


def ill_typed(value: Any, wanted: Any, source: SettingsSource, key: str) -> ConfigError:
    value = unwrap(value)
    got = (
        toml_value(value)
        if isinstance(value, (dict, list))
        else f"{type_name(type(value))} {toml_value(value)}"
    )
    return ConfigError(f"{source.place(key)}: {key} is {got}; it needs {type_name(wanted)}.")


def type_name(wanted: Any) -> str:
    """A type in words for an error."""
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        return " or ".join(type_name(item) for item in arguments if item is not types.NoneType)
    if origin is Literal:
        return "one of " + ", ".join(json.dumps(choice) for choice in arguments)
    if origin in (list, tuple):
        kinds = list(dict.fromkeys(type_name(item) for item in arguments if item is not Ellipsis))
        count = f"{len(arguments)} " if origin is tuple and Ellipsis not in arguments else ""
        return f"a list of {count}{' and '.join(kind + 's' for kind in kinds)}"
    if wanted is dict or origin is dict or dataclasses.is_dataclass(wanted):
        return "a table" + (f" of {type_name(arguments[1])}s" if arguments else "")
    words = {int: "integer", float: "number", bool: "boolean", str: "string", types.NoneType: "nothing"}
    return words.get(wanted, getattr(wanted, "__name__", str(wanted)))


def to_toml(table: dict[str, Any], prefix: str = "") -> str:
    """Returns TOML text of nested dicts; keys whose value is None are left out, as TOML has no null.

    Ours rather than tomli_w's, which refuses None and has no function for the one value that an error shows (see docs/log.md)."""
    lines = [
        f"{toml_key(name)} = {toml_value(value)}"
        for name, value in table.items()
        if value is not None and not isinstance(value, dict)
    ]
    blocks = ["\n".join(lines) + "\n"] if lines else []
    for name, value in table.items():
        if isinstance(value, dict):
            dotted = prefix + toml_key(name)
            inner = to_toml(value, dotted + ".")
            only_tables = bool(inner) and inner.startswith("[")
            blocks.append(inner if only_tables else f"[{dotted}]\n{inner}")
    return "\n".join(blocks)


def toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)


def toml_value(value: Any) -> str:
    """One value as TOML writes it."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Sequence):
        return "[" + ", ".join(toml_value(item) for item in value if item is not None) + "]"
    if isinstance(value, dict):
        pairs = (f"{toml_key(name)} = {toml_value(item)}" for name, item in value.items() if item is not None)
        return "{ " + ", ".join(pairs) + " }"
    raise ConfigError(
        f"{value!r} cannot be written to a TOML file; it needs a number, string, list or table."
    )
