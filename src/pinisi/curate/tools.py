"""Holds what all tasks of a process share: packs, limits, flagged words."""

from pathlib import Path

from pinisi.base.errors import ConfigError
from pinisi.curate.config import MAKE_UP, CurateConfig
from pinisi.curate.flagged import Flagged, of_file, of_list
from pinisi.curate.measures import Text, excerpt
from pinisi.curate.names import fits
from pinisi.curate.packs import Packs
from pinisi.curate.packs.evidence import Evidence
from pinisi.curate.rules import Verdict, limits_of, verdict
from pinisi.data.documents import Document


class Tools:
    """Holds packs, limits and flagged words."""

    def __init__(self, config: CurateConfig) -> None:
        self.config = config
        # All packs, whichever languages are wanted: among those alone every text in Latin letters would be one of them.
        self.packs = Packs.load(None, [Path(folder) for folder in config.packs])
        self.wanted = frozenset(config.languages or self.packs.languages)
        declared = [source.language for source in config.sources if source.language not in ("", MAKE_UP)]
        for language in [*config.languages, *declared]:
            self.packs[language]  # raises DataError for one without a pack
        for language in config.rules.limits:
            if language != "all" and language not in self.packs:
                raise ConfigError(
                    f"rules.limits.{language}: no language pack for '{language}', so these limits would do nothing: give 'all' or "
                    f"one of {', '.join(self.packs.languages)}"
                )
        self._limits: dict[str, dict[str, float]] = {}
        self._flagged: dict[str, Flagged] = {}

    def text(self, document: Document, fits: float | None = None) -> Text:
        """Returns a document as the rules see it. fits: how plausible its language is, if that is known already."""
        language = document.language
        if fits is None:
            fits = self.fits(document.text, language, self.packs.weigh(excerpt(document.text)))
        return Text(document.text, self.packs[language], fits, self.flagged(language))

    def fits(self, text: str, language: str, evidence: Evidence) -> float:
        """Returns how plausible it is that a text is of the language that its owner says."""
        return fits(self.packs, text, language, evidence)

    def judged(self, text: Text) -> Verdict | None:
        """Returns the first rule that a text breaks, or None."""
        return verdict(text, self.limits(text.pack.language))

    def spaces(self, language: str) -> bool:
        """Whether its script puts spaces between words."""
        return self.packs[language].segmentation == "spaces"

    def limits(self, language: str) -> dict[str, float]:
        if language not in self._limits:
            rules = self.config.rules
            self._limits[language] = limits_of(self.packs[language], rules.preset, rules.limits, rules.off)
        return self._limits[language]

    def flagged(self, language: str) -> Flagged:
        """Returns the language's flagged words: of the user's file, and of the public list."""
        if language not in self._flagged:
            rules, words = self.config.rules, self.packs[language].words
            path, found = rules.flagged.get(language), []
            if path:
                found += of_file(path, f"rules.flagged.{language}", words)
            if rules.flagged_list:
                found += of_list(language, words)
            self._flagged[language] = Flagged(found)
        return self._flagged[language]

    def all_flagged(self) -> dict[str, list[tuple[str, ...]]]:
        """Returns each wanted language's flagged words, where it has some. Raises DataError for what can't be read or fetched."""
        rules = self.config.rules
        languages = self.wanted if rules.flagged_list else rules.flagged
        return {
            language: list(self.flagged(language)) for language in sorted(languages) if self.flagged(language)
        }
