"""Packs: a set of packs, and which of them a text fits.

Each pack's n-gram model gives a text a likelihood; nothing is trained on several languages together, so a new
pack takes part at once. Packs are compared within a script (scripts that one pack mixes count as one); what a
text has in other scripts is left out of the comparison.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pinisi.base.errors import DataError
from pinisi.curate.packs.pack import FACTS, Pack
from pinisi.curate.packs.stream import pieces, stream
from pinisi.curate.packs.table import Table
from pinisi.data.text.scripts import COMMON, LETTER, classes, script_table
from pinisi.data.text.segmentation import normal_codes

SHIPPED = Path(__file__).parent / "shipped"
# A character that a pack has not seen costs at most this many nats, however much text made the pack.
UNKNOWN = -10.0
# A word may be a name or come from elsewhere: no pack gives it less than this many nats below the pack that
# likes it best, so that no single word decides.
FOREIGN = 9.0
# Neighbouring n-grams of a text tell the same thing again, and its topic is not the pack's: likelihoods are
# flattened to that of fewer, independent characters: a 15th of the text's, but at least 10 and at most 25 of
# them (a quarter of a very short text's). Fitted on held-out lines and documents of the sample corpus, also of
# sources that the packs had not seen.
INDEPENDENT, LEAST, MOST, SHORTEST = 1 / 15, 10.0, 25.0, 40
# Share of the scripts in a text to the power of this is their share of the probability: 70 % Thai is Thai.
DOMINANCE = 3
WEIGHT = {"CJK": 3.0}  # a letter that stands for about so many of others
LITTLE = 0.02  # of a piece's letters: too few to look up


class Packs:
    """A set of packs, by language."""

    def __init__(self, packs: Iterable[Pack]) -> None:
        self._packs = {pack.language: pack for pack in sorted(packs, key=lambda pack: pack.language)}
        self.languages = list(self._packs)

    @staticmethod
    def load(languages: Sequence[str] | None = None, folders: Iterable[str | Path] = ()) -> "Packs":
        """The shipped packs and those in `folders`: each a pack or a folder of packs; a later one of the same
        language wins. languages: those that are wanted, None for all. Raises DataError: a folder holds no pack,
        a pack is torn, a language has none."""
        found = {path.name: path for path in _pack_folders(SHIPPED)} if SHIPPED.is_dir() else {}
        packs: dict[str, Pack] = {}
        for folder in folders:
            packs |= {pack.language: pack for pack in map(Pack.load, _pack_folders(Path(folder)))}
        wanted = sorted(found.keys() | packs.keys()) if languages is None else list(languages)
        for language in wanted:
            if language not in packs and language not in found:
                raise DataError(
                    f"no language pack for '{language}': there are {', '.join(sorted(found.keys() | packs.keys()))}; "
                    f"make one with `pinisi langpack {language} --from TEXT --out FOLDER`"
                )
        return Packs(packs.get(language) or Pack.load(found[language]) for language in wanted)

    def __getitem__(self, language: str) -> Pack:
        try:
            return self._packs[language]
        except KeyError:
            raise DataError(
                f"no language pack for '{language}' in this set: it has {', '.join(self.languages)}; make one with "
                f"`pinisi langpack {language} --from TEXT --out FOLDER` and name its folder"
            ) from None

    def __contains__(self, language: object) -> bool:
        return language in self._packs

    def __iter__(self) -> Iterator[Pack]:
        return iter(self._packs.values())

    def __len__(self) -> int:
        return len(self._packs)

    def identify(self, text: str) -> list[tuple[str, float]]:
        """[(language, probability)] of all packs of the set, the likeliest first; probabilities sum to one.
        Empty for a text without letters, or written mostly in a script that no pack has."""
        groups = self._groups
        letters = np.zeros(len(groups) + 1)  # weighted; the last: scripts without a pack
        lengths = np.zeros(len(groups))
        scores = [np.zeros(len(group.packs)) for group in groups]
        for piece in pieces(text):
            codes = normal_codes(piece)
            kinds = classes()[codes]
            of = np.where(kinds == LETTER, self._group_of[script_table()[1][codes]], -1)
            here = np.bincount(of[of >= 0], minlength=len(groups) + 2)[:-1]
            letters += here * self._letter_weight
            enough = min(LITTLE * here.sum(), here.max() - 1)
            for number in np.flatnonzero(here[:-1] > enough).tolist():
                line = stream(codes, np.where((of == number) | (of == len(groups) + 1), kinds, 0))
                logs, counts = groups[number].table.runs(line)
                scores[number] += counts @ np.logaddexp(logs, logs.max(1, keepdims=True) - FOREIGN)
                lengths[number] += len(line)
        if letters.sum() == 0 or letters.argmax() == len(groups):
            return []
        shares = (letters[:-1] / letters.sum()) ** DOMINANCE * (lengths > 0)
        found: list[tuple[str, float]] = []
        for group, score, length, share in zip(groups, scores, lengths, shares / shares.sum(), strict=True):
            independent = min(max(length * INDEPENDENT, LEAST), MOST)
            odds = np.exp((score - score.max()) * independent / max(length, SHORTEST))
            found += zip(group.packs, (share * odds / odds.sum()).tolist(), strict=True)
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))

    @functools.cached_property
    def _groups(self) -> list["_Group"]:
        """Packs that share a script, or share one with a pack that does."""
        joined: list[tuple[set[str], list[str]]] = []
        for pack in self:
            scripts, members = set(pack.scripts), [pack.language]
            for other in [group for group in joined if group[0] & scripts]:
                joined.remove(other)
                scripts, members = scripts | other[0], members + other[1]
            joined.append((scripts, members))
        ordered = sorted((sorted(members), scripts) for scripts, members in joined)
        return [
            _Group(members, scripts, Table([self[m].ngrams for m in members], UNKNOWN))
            for members, scripts in ordered
        ]

    @functools.cached_property
    def _group_of(self) -> np.ndarray:
        """For each script its group; len(groups) where none has it; one more for marks and letters of any script."""
        names, _ = script_table()
        groups = self._groups
        of = np.full(len(names), len(groups))
        for number, group in enumerate(groups):
            of[[row for row, name in enumerate(names) if name in group.scripts]] = number
        of[names.index(COMMON)] = len(groups) + 1
        return of

    @functools.cached_property
    def _letter_weight(self) -> np.ndarray:
        weights = [max(WEIGHT.get(script, 1.0) for script in group.scripts) for group in self._groups]
        return np.array([*weights, 1.0])


class _Group:
    def __init__(self, packs: list[str], scripts: set[str], table: Table) -> None:
        self.packs, self.scripts, self.table = packs, scripts, table


def _pack_folders(folder: Path) -> list[Path]:
    if (folder / FACTS).is_file():
        return [folder]
    if not folder.is_dir():
        raise DataError(f"no folder {folder}: give a language pack or a folder of packs")
    found = sorted(path.parent for path in folder.glob(f"*/{FACTS}"))
    if not found:
        raise DataError(f"{folder} holds no language pack: give a folder that `pinisi langpack` wrote")
    return found
