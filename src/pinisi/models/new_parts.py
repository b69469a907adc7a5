"""Says which rows or layers of a model are new, from small files beside its weights, and so what a phase trains of it."""

import json
from collections.abc import Collection, Iterable
from pathlib import Path

from pinisi.base import json_text
from pinisi.base.errors import ModelError
from pinisi.models.folder import NEW_LAYERS, NEW_ROWS
from pinisi.models.spec import ModelSpec, vocabulary_names
from pinisi.models.stage import parameter_names

# By tensor the rows that are trained, None for all of them.
TrainedParts = dict[str, Collection[int] | None]


def write_new_rows(folder: Path, rows: Iterable[int]) -> None:
    """Writes which rows of the vocabulary are new. Raises OSError."""
    _write(folder / NEW_ROWS, "rows", rows)


def write_new_layers(folder: Path, layers: Iterable[int]) -> None:
    """Writes which layers are new, counted from 0. Raises OSError."""
    _write(folder / NEW_LAYERS, "layers", layers)


def new_rows(spec: ModelSpec) -> list[int]:
    """Returns the rows that were added to a model that was read from a folder. Raises ModelError that names the file."""
    return _read(spec, NEW_ROWS, "rows", spec.vocabulary, "pinisi vocabulary extend")


def new_layers(spec: ModelSpec) -> list[int]:
    """Returns the layers that were added to a model that was read from a folder. Raises ModelError that names the file."""
    return _read(spec, NEW_LAYERS, "layers", spec.layers, "pinisi expand")


def trained_parts(spec: ModelSpec, train: str) -> TrainedParts | None:
    """Returns what learns, and nothing else; None: the whole model. train: as in [[phases]].

    Raises ModelError where the model's folder doesn't say what is new.
    """
    if train == "new_rows":
        rows = new_rows(spec)
        return {name: rows for name in vocabulary_names(spec) if name is not None}
    if train == "new_layers":
        ranges = (range(layer, layer + 1) for layer in new_layers(spec))
        return {name: None for each in ranges for name in parameter_names(spec, each, norm=False)}
    return None


def _write(path: Path, key: str, numbers: Iterable[int]) -> None:
    path.write_text(json.dumps({key: sorted(numbers)}) + "\n", "utf-8")


def _read(spec: ModelSpec, file: str, key: str, limit: int, command: str) -> list[int]:
    train = f'train = "new_{key}"'
    folder = spec.folder or (spec.published.folder if spec.published is not None else None)
    if folder is None:
        raise ModelError(f"{train} needs a model.source that has {file}: the folder that `{command}` wrote.")
    path = Path(folder) / file
    try:
        numbers = json_text.parse(path.read_text("utf-8"))[key]
        good = bool(numbers) and all(type(each) is int and 0 <= each < limit for each in numbers)
    except FileNotFoundError:
        raise ModelError(
            f"there is no {path}, which {train} needs: `{command}` writes it beside the model."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} can't be read ({error!r}); run `{command}` again.") from None
    if not good:
        raise ModelError(f"{path} needs a list of {key} from 0 to {limit - 1}; run `{command}` again.")
    return list(numbers)
