"""The size and the names of the code, as CONTRIBUTING.md states them."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pinisi

ROOT = Path(pinisi.__file__).parent
LINES, FUNCTION, ARGUMENTS = 400, 60, 8


@cache
def trees() -> list[tuple[Path, ast.Module]]:
    return [(path.relative_to(ROOT), ast.parse(path.read_text())) for path in sorted(ROOT.rglob("*.py"))]


def test_no_file_is_long() -> None:
    long = {path: n for path, _ in trees() if (n := len((ROOT / path).read_text().splitlines())) > LINES}
    assert not long


def test_no_function_is_long() -> None:
    found = [
        f"{path}:{node.lineno} {node.name}: {size} lines"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (size := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION
    ]
    assert not found, "\n".join(found)


def test_no_constructor_takes_many_arguments() -> None:
    found = [
        f"{path}:{node.lineno}: {count}"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and node.name == "__init__"
        and (count := len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs) - 1) > ARGUMENTS
    ]
    assert not found, "\n".join(found)


def test_a_class_name_occurs_once() -> None:
    places = defaultdict(list)
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path}:{node.lineno}")
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert not twice, "\n".join(f"{name}: {', '.join(found)}" for name, found in sorted(twice.items()))


def test_no_module_docstring_begins_with_what() -> None:
    found = [str(path) for path, tree in trees() if (ast.get_docstring(tree) or "").startswith("What")]
    assert not found, found


def imported_folders(path: Path, tree: ast.Module) -> Iterator[str]:
    """The folders, as dotted names, that a module imports when it is imported."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pinisi."):
            parts = node.module.split(".")[1:]
            folder = parts if (ROOT / Path(*parts)).is_dir() else parts[:-1]
            yield ".".join(folder)


def test_no_folders_import_each_other_in_a_circle() -> None:
    arrows: dict[str, set[str]] = defaultdict(set)
    for path, tree in trees():
        folder = ".".join(path.parts[:-1])
        arrows[folder] |= {to for to in imported_folders(path, tree) if to and to != folder}
    # A folder's __init__ gathers what its subfolders hold, and they use what stands in the folder: that is one room.
    rooms: dict[str, set[str]] = defaultdict(set)
    for folder, to in arrows.items():
        rooms[folder.split(".")[0]] |= {each.split(".")[0] for each in to} - {folder.split(".")[0]}

    def reached(room: str, seen: tuple[str, ...]) -> None:
        assert room not in seen, " -> ".join((*seen, room))
        for to in rooms[room]:
            reached(to, (*seen, room))

    for room in list(rooms):
        if room:
            reached(room, ())
