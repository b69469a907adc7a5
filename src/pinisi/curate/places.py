"""Keeps what a run writes apart from what it reads, and copies its result to run.output: a folder, or a URL that fsspec knows."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pinisi.base.digests import of_file
from pinisi.base.errors import ConfigError, DataError
from pinisi.base.files import write_whole
from pinisi.curate.config import CurateConfig
from pinisi.curate.made import is_report, result_of
from pinisi.data.reading import Part
from pinisi.data.reading.find import reads
from pinisi.data.storage import checksum, exists, filesystem, is_url, open_bytes, put, remove, under

# Such names a run writes, in its folder and in run.output.
WRITTEN = tuple(result_of(["en"], ["en"]))
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


def check_output(config: CurateConfig, names: Iterable[str]) -> None:
    """Raises DataError for a file of these names in run.output that no curation put there."""
    output = config.run.output
    copied = _copied(Path(config.run.folder) / COPIED)
    targets = [under(output, name) for name in names] if output else []
    strange = [target for target in targets if target not in copied and exists(target)]
    if strange and not _has_report(under(output, "report.json")):
        raise DataError(
            f"{strange[0]} is there and no curation put it there, so it is left alone: move it away, or give another run.output"
        )


def _has_report(path: str) -> bool:
    if not exists(path):
        return False
    with open_bytes(path) as file:
        return is_report(file.read())


def publish(config: CurateConfig, names: Iterable[str], report: Callable[[str], None]) -> None:
    """Copy the result, files of these names in run.folder, to run.output, if there is one, and take away what an earlier run put
    there. What lies there as it was copied is not copied again. Raises DataError that names what can't be written."""
    folder, output = Path(config.run.folder), config.run.output
    if not output:
        return
    copied, count = _copied(folder / COPIED), 0
    # The reports last: where they lie, the rest is there.
    names = sorted(names, key=lambda name: (name.startswith("report"), name))
    targets = {under(output, name): folder / name for name in names}
    for target, path in targets.items():
        digest = of_file(path)
        if copied.get(target) != [digest, *_there(target)]:
            put(path, target)
            copied[target] = [digest, *_there(target)]
            write_whole(folder / COPIED, json.dumps(copied))  # now: a killed run's copies are known, too
            count += 1
    prefix = under(output, "").rstrip("/") + "/"
    for target in [each for each in copied if each.startswith(prefix) and each not in targets]:
        remove(target)
        del copied[target]
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
