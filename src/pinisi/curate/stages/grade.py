"""Learns what good texts of a language are like, and grades its documents by that."""

from collections.abc import Sequence
from pathlib import Path

from pinisi.base.files import new_folder
from pinisi.curate import records
from pinisi.curate.counts import Counts
from pinisi.curate.quality import stages as quality
from pinisi.curate.stages.files import write_stats
from pinisi.curate.tools import Tools
from pinisi.data.reading import Part


def learn_quality(
    tools: Tools, parts: Sequence[Part], finished: Sequence[Path], language: str, out: Path
) -> None:
    """What the good texts of a language are like."""
    counts = Counts(tools.config.run.seed)
    with new_folder(out) as folder:
        quality.learn(tools.config, parts, finished, language, tools.spaces(language), folder, counts)
        write_stats(folder, counts)


def grade_bucket(tools: Tools, learned: Path, finished: Path, language: str, out: Path) -> None:
    """A stretch's documents with their scores."""
    counts = Counts(tools.config.run.seed)
    with new_folder(out) as folder, records.Writers(folder) as writers:
        quality.grade(learned, finished, tools.spaces(language), writers, counts)
        write_stats(folder, counts)
