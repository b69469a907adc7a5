"""Keeps what a run writes apart from what it reads, and copies its result to run.output: a folder, or a URL that fsspec knows."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pinisi.base.digests import of_file
from pinisi.base.errors import ConfigError, DataError
from pinisi.base.files import write_whole
from pinisi.curate.config import CurateConfig
from pinisi.data.reading import Part
from pinisi.data.reading.find import reads
from pinisi.data.storage import checksum, filesystem, is_url, put, remove, under

PACKED = "*.jsonl.zst"
# What a run writes, the report last: where it lies, the rest is there.
RESULT = (f"documents/{PACKED}", f"top/{PACKED}", f"dropped/{PACKED}", "report.html", "report.json")
# Such names it may write, in its folder and in run.output.
WRITTEN = tuple(name.replace("*", "en") for name in RESULT)
WORK = "work/read-0/00000/en.jsonl.zst"
COPIED = "work/copied.json"  # what of run.output was copied: digests, and what the store said of it


def check_places(config: CurateConfig, parts: Sequence[Part]) -> None:
    """Raises ConfigError, which names both keys, if a source would read what the run writes; DataError if the package is missing
    that run.output needs."""
    run = config.run
    places = {"run.folder": (run.folder, (*WRITTEN, WORK)), "run.output": (run.output, WRITTEN)}
    for key, (folder, names) in places.items():
        if not folder:
            continue
        if is_url(folder):
            filesystem(folder)
        for number, source in enumerate(config.sources):
            paths = [part.path for part in parts if part.source == number]
            inside = source.format != "dataset" and any(
                reads(source.path, under(folder, name)) for name in names
            )
            if inside or any(_own(folder, path) for path in paths):
                name = f"sources[{number}].path"
                raise ConfigError(
                    f"{name} = '{source.path}' would read what the run writes into {key} = '{folder}': put {key} outside, or make "
                    f"{name} narrower"
                )


def _own(folder: str, path: str) -> bool:
    """Whether a file that was found, perhaps through a link, lies where the run writes."""
    if is_url(folder) or is_url(path):
        return False
    base, file = Path(folder).resolve(), Path(path).resolve()
    return any(file.is_relative_to(base / name) for name in ("documents", "top", "dropped", "work"))


def publish(config: CurateConfig, report: Callable[[str], None]) -> None:
    """Copy the result to run.output, if there is one, and take away what an earlier run left there. What lies there as it was
    copied is not copied again. Raises DataError that names what can't be written."""
    folder, output = Path(config.run.folder), config.run.output
    if not output:
        return
    copied, count = _copied(folder / COPIED), 0
    for pattern in RESULT:
        names = [path.relative_to(folder).as_posix() for path in sorted(folder.glob(pattern))]
        for name in names:
            target, digest = under(output, name), of_file(folder / name)
            if copied.get(target) != [digest, *_there(target)]:
                put(folder / name, target)
                copied[target] = [digest, *_there(target)]
                count += 1
        if pattern in RESULT[:2]:
            remove(under(output, pattern), {Path(name).name for name in names})
    write_whole(folder / COPIED, json.dumps(copied))
    report(f"{count} files copied to {output}")


def _copied(path: Path) -> dict[str, list]:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _there(target: str) -> Iterator[object]:
    """What tells whether a copy lies there unchanged; nothing if there is none."""
    try:
        yield from checksum(target) if is_url(target) else [of_file(target)]
    except (OSError, DataError):
        return
