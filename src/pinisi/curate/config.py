"""Holds the configuration of `pinisi curate CONFIG`: one TOML file is read into these dataclasses.

A relative path is meant from the folder of the file that names it; one in an override from the working folder.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isnan
from typing import Literal

from pinisi.base.paths import PATH, PATH_OR_URL, is_url
from pinisi.base.settings import at_least
from pinisi.base.typed_toml import Fault
from pinisi.curate.measures import ORDER as RULES
from pinisi.curate.personal.identities import COUNTRIES
from pinisi.curate.repair import STEPS
from pinisi.data.languages import is_code
from pinisi.data.reading import Source
from pinisi.recipe.settings import ExecutorName, ExecutorSettings

MAKE_UP = "auto"  # as a source's language: documents get the one that is identified


@dataclass(frozen=True)
class Run:
    """[run] says where the work is done, and how."""

    folder: str = field(metadata=PATH_OR_URL)  # for the result, and for what is needed to go on
    workers: int = 2  # processes, or tasks at once where an executor of datatrove's runs them
    seed: int = 0  # what samples are drawn with
    budget: str = "2 GiB"  # of memory that a worker may take for the text that it compares
    on_error: Literal["skip", "stop"] = "skip"  # input that can't be read: count it and go on, or end
    estimate: bool = True  # say time and room before the work, and stop where the disk clearly can't hold it
    executor: ExecutorName = "processes"  # of our own, or datatrove's: on this machine, under Slurm, on Ray
    # datatrove's arguments: partition, time, qos, mem_per_cpu_gb, ...
    slurm: dict = field(default_factory=dict)
    # a folder, or a URL such as s3://bucket/curated, that the result is copied to
    output: str = field(default="", metadata=PATH_OR_URL)

    @property
    def tasks(self) -> ExecutorSettings:
        """Where tasks run."""
        return ExecutorSettings(self.executor, self.workers, self.budget, self.slurm)

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, seed=0)
        yield from self.tasks.validate()
        if not self.folder:
            yield Fault("folder", "a folder for the result and what is needed to go on")
        if is_url(self.folder):
            yield Fault("folder", "a folder on this machine; run.output may be a URL, and gets the result")


@dataclass(frozen=True)
class Repair:
    """[repair] says what is mended before anything is judged."""

    encoding: bool = True  # text that was read wrongly: UTF-8 and Windows-1252 that were read as Latin-1
    newlines: bool = True  # every kind of line break becomes a line feed
    markup: bool = True  # tags, scripts and comments of documents that are HTML
    entities: bool = True  # HTML's names of characters, such as &quot; outside of code
    control: bool = True  # control characters, and others without shape and meaning
    form: bool = True  # letters with marks are composed (NFC)
    # white space at the ends of lines and of the text, and more than three blank lines together
    space: bool = True
    longest: int = 2_000_000  # in characters; longer documents are dropped

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, longest=1)

    @property
    def steps(self) -> tuple[str, ...]:
        return tuple(step for step in STEPS if getattr(self, step))


Masking = Literal["keep", "mask", "cut", "drop"]


@dataclass(frozen=True)
class Personal:
    """[personal] says what is done with personal data, by kind: keep it, put a placeholder there, cut it out, or drop the document.
    What is kept is not looked for.

    FineWeb and its kin mask e-mail and public IP addresses. Phone, account and identity numbers are masked too, since each must
    have a valid form, check or label: of 14,063 documents of news, reviews and manuals (on which the forms were settled, too) they
    touch one, and that has a phone number.
    """

    email: Masking = "mask"  # e-mail addresses
    ip: Masking = "mask"  # public IP addresses
    phone: Masking = "mask"  # phone numbers
    account: Masking = "mask"  # numbers of bank accounts and cards
    identity: Masking = "mask"  # identity numbers of the countries below
    # whose identity numbers are looked for (see curate.personal.identities); none named means all
    countries: list[str] = field(default_factory=list)

    def validate(self) -> Iterator[Fault]:
        for country in self.countries:
            if country not in COUNTRIES:
                yield Fault("countries", f"some of {', '.join(COUNTRIES)} instead of '{country}'")


@dataclass(frozen=True)
class Rules:
    """[rules] sets limits by which documents are dropped."""

    # limits to begin with: where no running text was seen, or Sailor2's
    preset: Literal["wide", "sailcraft"] = "wide"
    # By language ("all" for every one), then by rule; they win over the preset's and the pack's.
    limits: dict[str, dict[str, float]] = field(default_factory=dict)
    # a file of words for each language, one a line
    flagged: dict[str, str] = field(default_factory=dict, metadata=PATH)
    # a public list, fetched once by npm: LDNOOBW's (see curate.flagged)
    flagged_list: Literal["", "ldnoobw"] = ""
    off: list[str] = field(default_factory=list)  # rules that are left out
    # Of each source, at most this share: documents that the pack's model finds far more surprising than the rest of their
    # source and of the corpus. 0 keeps all.
    outliers: float = 0.01

    def validate(self) -> Iterator[Fault]:
        for language, limits in self.limits.items():
            for rule, limit in limits.items():
                if rule not in RULES:
                    yield Fault(f"limits.{language}", f"one of {', '.join(RULES)} instead of '{rule}'")
                elif isnan(limit):
                    yield Fault(f"limits.{language}.{rule}", "a number")
        for rule in self.off:
            if rule not in RULES:
                yield Fault("off", f"some of {', '.join(RULES)} instead of '{rule}'")
        if not 0 <= self.outliers <= 0.5:
            yield Fault("outliers", "from 0 to .5")


@dataclass(frozen=True)
class Near:
    """[near] finds near duplicates by MinHash-LSH.

    arXiv 2502.12982 has 256 permutations and a similarity of .7, which its noise reaches from below: at .71 what is found is
    similar by .7 in more than 95 of 100 pairs (benchmarks/deduplicate.py)."""

    on: bool = True  # whether it is done at all
    similarity: float = 0.71  # estimated Jaccard similarity from which a document is like another
    permutations: int = 256  # numbers of a signature

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, permutations=16)
        if not 0 < self.similarity <= 1:
            yield Fault("similarity", "more than 0, at most 1")


@dataclass(frozen=True)
class Exact:
    """[exact] takes out passages that occur before, in another document or earlier in their own: of those of `characters` or more
    (an ideograph is three, a syllable of kana or Hangul two) the whole sentences and lines go. 140 are 24 words of English.
    arXiv 2107.06499 has 50 tokens, some 200 characters; arXiv 2502.12982 has 100 bytes, which are 33 letters of Khmer and one
    sentence of English."""

    on: bool = True  # whether it is done at all
    characters: int = 140  # the shortest passage
    RENAMED = (("bytes", "characters", "which counts a letter of any alphabet as one"),)

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, characters=40)


@dataclass(frozen=True)
class Lines:
    """[lines] takes out lines that stand in more than `most` documents of a language, and in more than this share of those that are
    compared at once (Sailor2: more than 5 of a bucket of 10M documents), if they have `letters` or more, or three or more of them
    in a row do; lines of code stay."""

    on: bool = True  # whether it is done at all
    most: int = 5  # in so many documents a line may stand
    share: float = 1e-5  # in such a share of the documents compared at once a line may stand
    letters: int = 30  # the shortest line, or three lines together

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, most=1, letters=1)
        if not 0 <= self.share < 1:
            yield Fault("share", "at least 0, less than 1")


@dataclass(frozen=True)
class Quality:
    """[quality] scores documents by good texts of their language.

    The best `share` of them stand in FOLDER/top too. arXiv 2502.12982 has 20 % and 10,000 texts of either kind."""

    # by language a file, folder or pattern of good texts
    positives: dict[str, str] = field(default_factory=dict, metadata=PATH_OR_URL)
    share: float = 0.2  # of a language's documents that stand in FOLDER/top
    sample: int = 10_000  # good texts, and documents, that are learned from, each at some 10 KiB of memory

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, sample=100)
        if not all(self.positives.values()):
            yield Fault("positives", "a file, a folder or a pattern for each language")
        if not 0 < self.share < 1:
            yield Fault("share", "more than 0, less than 1")


@dataclass(frozen=True)
class Alarm:
    """[alarm] stops a run in which too much of a language goes, for somebody to look."""

    share: float = 0.25  # of a language's documents: that one rule, or all rules together, may remove; duplicates don't count
    documents: int = 50  # how many of a language must have been seen first
    # such as "lo" or "lo.words", where somebody has looked into the alarm
    ignore: list[str] = field(default_factory=list)

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, documents=1)
        if not 0 < self.share <= 1:
            yield Fault("share", "more than 0, at most 1")


@dataclass(frozen=True)
class CurateConfig:
    """Holds a whole curation."""

    run: Run
    sources: list[Source]
    # those that are kept; none named: all that have a pack
    languages: list[str] = field(default_factory=list)
    # folders with packs of one's own
    packs: list[str] = field(default_factory=list, metadata=PATH)
    repair: Repair = field(default_factory=Repair)
    personal: Personal = field(default_factory=Personal)
    rules: Rules = field(default_factory=Rules)
    near: Near = field(default_factory=Near)
    urls: bool = True  # whether of documents with one URL the longest alone stays
    exact: Exact = field(default_factory=Exact)
    lines: Lines = field(default_factory=Lines)
    quality: Quality = field(default_factory=Quality)
    alarm: Alarm = field(default_factory=Alarm)

    def validate(self) -> Iterator[Fault]:
        if not self.sources:
            yield Fault("sources", "at least one [[sources]] table with a path")
        named = {
            "languages": self.languages,  # files are named after them
            "rules.limits": self.rules.limits,
            "rules.flagged": self.rules.flagged,
            "quality.positives": self.quality.positives,
        }
        for key, languages in named.items():
            for language in languages:
                if not is_code(language):
                    yield Fault(key, f"languages' codes (BCP 47: id, zh-Hans, ...) instead of {language!r}")
