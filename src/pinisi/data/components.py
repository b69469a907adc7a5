"""Names the parts that a mixture mixes: a component is a language of a folder of token shards, with what is known of its text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pinisi.base.errors import DataError
from pinisi.base.paths import PATH
from pinisi.base.settings import not_empty
from pinisi.base.typed_toml import Fault
from pinisi.data.document_files import DocumentFiles
from pinisi.data.shards import TokenShards


@dataclass(frozen=True)
class Component:
    """[[data.components]] says where a component's shards lie, and what they hold. Several may have one language or one folder."""

    name: str  # what a mixture's weights name
    shards: str = field(metadata=PATH)  # folder of token shards
    language: str = ""  # its code in the shards; may be left out where they hold one language
    source: str = ""  # where its text is from, such as web, books, code: for reports
    quality: str = ""  # how good its text is, such as top: for reports

    def validate(self) -> Iterator[Fault]:
        yield from not_empty(self, "shards")
        if not self.name:
            yield Fault("name", "what the mixture calls it")


class OpenComponent(NamedTuple):
    """Holds a component's open shards."""

    name: str
    language: str
    shards: TokenShards

    @property
    def files(self) -> DocumentFiles:
        return self.shards.files(self.language)


class Components:
    """All components of a run, in alphabetical order of their names.

    data: components, or token shards, each language of which is a component that is named like it.
    Raises DataError for two components of one name, and for a language that the shards don't have.
    """

    def __init__(self, data: "Data") -> None:
        if isinstance(data, TokenShards | str | Path):
            self.folders: tuple[TokenShards, ...] = (
                data if isinstance(data, TokenShards) else TokenShards(data),
            )
            every = [
                OpenComponent(language, language, self.folders[0]) for language in self.folders[0].languages
            ]
            self._where = f"{self.folders[0].folder} has no language"
        else:
            opened = {folder: TokenShards(folder) for folder in dict.fromkeys(each.shards for each in data)}
            self.folders = tuple(opened.values())
            every = [_open(each, opened[each.shards]) for each in sorted(data, key=lambda each: each.name)]
            self._where = "[[data.components]] have no component"
        self._by_name = {each.name: each for each in every}
        if not every or len(self._by_name) < len(every):
            twice = next((a.name for a, b in pairwise(every) if a.name == b.name), None)
            raise DataError(
                f"two components have the name '{twice}'; give each a name of its own"
                if twice
                else "there are no components; give at least one"
            )

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """Codes in alphabetical order, each once."""
        return tuple(sorted({each.language for each in self._by_name.values()}))

    def __iter__(self) -> Iterator[OpenComponent]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> OpenComponent:
        if name not in self._by_name:
            raise DataError(f"{self._where} '{name}'; it has {', '.join(self._by_name)}")
        return self._by_name[name]


Data = TokenShards | str | Path | Sequence[Component]


def mixture(
    data: Data | Components, weights: dict[str, float] | None, temperature: float = 1.0
) -> dict[str, float]:
    """Returns each component's share (of shards: each language's) by name: they sum to 1, and those of share 0 are left out."""
    components = data if isinstance(data, Components) else Components(data)
    if weights is None:
        weights = {each.name: each.files.tokens ** (1 / temperature) for each in components}
    for name, weight in weights.items():
        components[name]  # raises DataError with the name if it is not there
        if not (weight >= 0 and np.isfinite(weight)):
            raise DataError(f"the weight of '{name}' is {weight}; weights must be 0 or more")
    total = sum(weights.values())
    if not total > 0:
        raise DataError("all mixture weights are 0; give at least one language or component a weight above 0")
    return {name: weights[name] / total for name in sorted(weights) if weights[name] > 0}


def _open(component: Component, shards: TokenShards) -> OpenComponent:
    language = component.language
    if not language:
        if len(shards.languages) > 1:
            raise DataError(
                f"the component '{component.name}' has to say which language of {shards.folder} it is: "
                f"{', '.join(shards.languages)}"
            )
        (language,) = shards.languages
    shards.counts(language)  # raises DataError with the language if it is not there
    return OpenComponent(component.name, language, shards)
