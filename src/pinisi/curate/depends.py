"""States what the result of each of curation's stages depends on."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pinisi.curate.compared import SCRATCH
from pinisi.curate.packs.content import content
from pinisi.curate.stages.files import FINISH, GRADE, LEARN, NEAR, READ, SCORE, TELL
from pinisi.curate.tools import Tools
from pinisi.data.reading import Part, fingerprint
from pinisi.recipe import RecipeStage

FORMAT = 5  # raise it when the same configuration gives other documents
WORDS = "the configuration, the packs or the input"  # that all of it comes from


def stages_of(
    tools: Tools, parts: list[Part], good: Mapping[str, list[Part]], digests: Path
) -> list[RecipeStage]:
    """Returns the stages in their order. good: the files of good texts by language. digests: a file that keeps files' digests."""
    config = tools.config
    packs, flagged = [content(pack) for pack in tools.packs], sorted(tools.all_flagged().items())
    inputs = fingerprint(parts, digests)
    positives = [(language, fingerprint(files, digests)) for language, files in good.items()]
    read = [
        *(FORMAT, inputs, packs, flagged, config.languages, config.run.seed),
        # Where texts lie is not what they are: their fingerprints say that.
        [replace(source, path="") for source in config.sources],
        *(config.repair, config.personal, replace(config.rules, outliers=0.0, flagged={})),
        *(config.near.on, config.near.permutations),
    ]
    return [
        RecipeStage(READ, read),
        RecipeStage(SCORE, [config.rules.outliers]),
        RecipeStage(NEAR, [config.near.similarity, config.urls], beside=(*SCRATCH, TELL)),
        RecipeStage(FINISH, [config.exact, config.lines, config.run.budget]),
        RecipeStage(LEARN, [replace(config.quality, positives={}), positives]),
        RecipeStage(GRADE, []),
    ]
