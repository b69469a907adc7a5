"""Identifies the language of a text: which of a set of packs it fits.

Each pack's n-gram model gives a text a likelihood; nothing is trained on several languages together, so a new
pack takes part at once. Packs are compared within a script (scripts that one pack mixes count as one); what a
text has in other scripts is left out of the comparison. The background (background.py) is compared beside them.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pinisi.base.errors import DataError
from pinisi.curate.packs import han
from pinisi.curate.packs.background import SHIPPED as BACKGROUND
from pinisi.curate.packs.background import Background, known_letters, noise
from pinisi.curate.packs.evidence import Evidence, Scores
from pinisi.curate.packs.pack import FACTS, Pack
from pinisi.curate.packs.stream import pieces, stream
from pinisi.curate.packs.table import Table
from pinisi.data.text.scripts import COMMON, LETTER, classes, script_table
from pinisi.data.text.segmentation import normal_codes

SHIPPED = Path(__file__).parent / "shipped"
# A character that a model has not seen costs at most this many nats, however much text made it.
UNKNOWN = -10.0
WEIGHT = {"CJK": 3.0}  # a letter that stands for about so many of others
LITTLE = 0.02  # of a piece's letters: too few to look up


class Packs:
    """A set of packs, by language. background: models of languages without a pack; with none, each text in the
    packs' scripts is one of theirs."""

    def __init__(self, packs: Iterable[Pack], background: Background | None = None) -> None:
        self._packs = {pack.language: pack for pack in sorted(packs, key=lambda pack: pack.language)}
        self.languages = list(self._packs)
        self._background = background

    @staticmethod
    def load(languages: Sequence[str] | None = None, folders: Iterable[str | Path] = ()) -> "Packs":
        """The shipped packs and those in `folders`, each a pack or a folder of packs, with the shipped background;
        a later one of the same language wins. languages: those that are wanted, None for all. Raises DataError: a
        folder holds no pack, a pack is torn, a language has none."""
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
        background = Background.load(BACKGROUND) if BACKGROUND.is_dir() else None
        return Packs((packs.get(language) or Pack.load(found[language]) for language in wanted), background)

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
        Empty for a text that is of none of them: without letters, written mostly in a script that no pack has, or
        foreign, that is, explained better by the background of languages without a pack."""
        return self.weigh(text).identify()

    def fits(self, text: str, language: str) -> float:
        """How plausible it is that a text is of `language`, given that its owner says so, from 0 to 1; 0.5 is
        where to draw the line (see Evidence.fits). Raises DataError for a language without a pack."""
        self[language]
        return self.weigh(text).fits(language)

    def weigh(self, text: str) -> Evidence:
        """How well each pack and the background explain a text: what `identify` and `fits` need, in one reading."""
        groups = self._groups
        letters = np.zeros(len(groups) + 1)  # weighted; the last: scripts without a pack
        scores = [Scores(group.packs, group.sure, group.simplified, group.rivals) for group in groups]
        for piece in pieces(text):
            codes = normal_codes(piece)
            kinds = classes()[codes]
            of = np.where(kinds == LETTER, self._group_of[script_table()[1][codes]], -1)
            here = np.bincount(of[of >= 0], minlength=len(groups) + 2)[:-1]
            letters += here * self._letter_weight
            enough = min(LITTLE * here.sum(), here.max() - 1)
            for number in np.flatnonzero(here[:-1] > enough).tolist():
                line = stream(codes, np.where((of == number) | (of == len(groups) + 1), kinds, 0))
                scores[number].add(*groups[number].table.runs(line))
                if any(groups[number].simplified):
                    scores[number].add_han(*han.tally(codes))
        shares = letters / max(letters.sum(), 1)
        for one, share in zip(scores, shares.tolist(), strict=False):
            one.share = share
        return Evidence(scores, float(shares[-1]))

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
        taken = {script for _, scripts in ordered for script in scripts}
        return [self._group(members, scripts, taken - scripts) for members, scripts in ordered]

    def _group(self, members: list[str], scripts: set[str], taken: set[str]) -> "_Group":
        """A group with the background models of its scripts. taken: scripts of other groups."""
        own = [self[member].ngrams for member in members]
        background = self._background
        if background is None:
            return _Group(
                members, scripts, Table(own, UNKNOWN), [True] * len(members), [False] * len(members)
            )
        rivals = [
            model for model in background.models if model.code not in self and scripts & {*model.scripts}
        ]
        letters = [known_letters(model, scripts) for model in own]
        found, packs = np.unique(np.concatenate(letters), return_counts=True)
        alphabet = found[2 * packs >= len(own)]  # of most packs: each has rare letters from names
        chaos = [noise(alphabet)] if len(alphabet) and han.HAN not in scripts else []
        wider = scripts.union(*(model.scripts for model in rivals))
        return _Group(
            members,
            wider - taken,
            Table([*own, *(model.ngrams for model in rivals), *chaos], UNKNOWN),
            [member in background.without for member in members],
            [han.HAN in scripts and han.simplified(known) for known in letters],
        )

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
    """Packs that are compared, and the scripts that this is done in.

    table: columns of the packs, then of what they are compared with. sure: the packs whose language is surely not
    in the background. simplified: the packs of simplified Chinese.
    """

    def __init__(
        self, packs: list[str], scripts: set[str], table: Table, sure: list[bool], simplified: list[bool]
    ) -> None:
        self.packs, self.scripts, self.table = packs, scripts, table
        self.sure, self.simplified = sure, simplified
        self.rivals = table.width - len(packs)


def _pack_folders(folder: Path) -> list[Path]:
    if (folder / FACTS).is_file():
        return [folder]
    if not folder.is_dir():
        raise DataError(f"no folder {folder}: give a language pack or a folder of packs")
    found = sorted(path.parent for path in folder.glob(f"*/{FACTS}"))
    if not found:
        raise DataError(f"{folder} holds no language pack: give a folder that `pinisi langpack` wrote")
    return found
