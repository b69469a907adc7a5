"""Streams a data set of the Hugging Face Hub, or a folder that holds one, by the package `datasets`: none of its code is run.

The commit that was found when the parts were made stands in each of them, so that all parts are of one state; where `revision`
names it, a later run reads that state again.
"""

import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pinisi.base.errors import ConfigError, DataError
from pinisi.base.libraries import library
from pinisi.data.reading.source import Part, Records, Source, Trouble, Unreadable

_COMMIT = re.compile(r"@([0-9a-f]{40})(?=/|$)")


def shards_of(number: int, key: str, source: Source) -> Iterator[tuple[Part, None]]:
    """A part for each shard of a data set. Raises ConfigError for one that can't be read."""
    try:
        commit, configuration = _state(source)
        count = _rows(source, commit).num_shards
    except DataError:
        raise
    except Exception as error:  # of datasets, of the Hub's package, of what carries its bytes
        raise ConfigError(
            f"{key} = '{source.path}': not streamed ({type(error).__name__}: {_line(error)}); give org/name or a "
            f"folder, and see to config, split and revision"
        ) from None
    path = f"{source.path}@{commit}" if commit else source.path
    name = Path(source.path).resolve().name if os.path.isdir(source.path) else path
    place = f"{name}/{configuration}/{source.split or 'train'}"
    for shard in range(count):
        yield Part(path, f"{place}/{shard:05d}", number, "dataset", shard, count), None


def dataset(part: Part, source: Source, trouble: Trouble) -> Records:
    """The rows of a shard. What lies on the Hub and can't be reached raises DataError; the same command then goes on."""
    commit = _COMMIT.search(part.path)
    number = 0
    try:
        for row in _rows(source, commit[1] if commit else "").shard(part.stop, part.first):
            number += 1
            yield f":{number}", row
    except Exception as error:
        damage = ValueError, library("datasets", "hub").exceptions.DatasetsError
        if commit and not isinstance(error, damage):
            raise DataError(
                f"{part.name}: can't be reached behind row {number} ({type(error).__name__}: {_line(error)}); run again"
            ) from None
        trouble(
            Unreadable(
                f"{part.name}: damaged behind row {number} ({_line(error)}); the rows before it are used"
            )
        )


def _state(source: Source) -> tuple[str, str]:
    """The commit ("" for a folder) and the name of the configuration."""
    datasets = library("datasets", "hub")
    datasets.disable_progress_bars()
    builder = datasets.load_dataset_builder(
        source.path, name=source.config or None, revision=source.revision or None
    )
    if os.path.isdir(source.path):
        return "", builder.config.name
    commit = _COMMIT.search(str(builder.base_path)) or _COMMIT.search(str(builder.config.data_files))
    return commit[1] if commit else "", builder.config.name


def _rows(source: Source, commit: str) -> Any:
    return _stream(source.path, source.config, source.split or "train", commit or source.revision)


@functools.lru_cache(maxsize=1)
def _stream(path: str, configuration: str, split: str, revision: str) -> Any:
    """An iterable data set; images and sounds are left as bytes."""
    datasets = library("datasets", "hub")
    datasets.disable_progress_bars()
    rows = datasets.load_dataset(
        path, name=configuration or None, split=split, revision=revision or None, streaming=True
    )
    return rows.decode(False) if rows.features else rows


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
