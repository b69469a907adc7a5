"""The table of a curation made up with realistic numbers, for the report's tests."""

import json
import random

from pinisi.curate.counts import Counts
from pinisi.data.documents import Document
from tests.report.made_run import LANGUAGES

RULES = [
    "read/words", "read/word_repetition", "read/variety", "read/special", "read/stop_words", "read/flagged", "read/language",
    "read/personal data", "read/not wanted", "near/near duplicate", "near/same URL", "finish/outlier", "finish/stump",
    "finish/words",
]  # fmt: skip
TEXT = "Kapal itu berlayar dari pelabuhan kecil di selatan menuju pulau yang jauh, dengan layar putih dan muatan kayu. "
LONG = "https://www.example.org/" + "a-long-address-without-a-space/" * 4


def made_table(documents: int = 40) -> dict:
    """What report.json holds of a curation of fifteen languages."""
    draw, counts = random.Random(3), Counts()
    for language in [*LANGUAGES, "zh-Hant"]:
        for n in range(documents):
            text = TEXT * draw.randrange(1, 90)
            document = Document(f"{language}/{n}", text, language, LONG, "source")
            counts.taken(document, ["space"])
            counts.found(language, language if n % 9 else draw.choice(LANGUAGES))
            counts.flagged(document, n % 3 == 0, len(text.split()))
            for kind in ("email", "phone", "identity"):
                counts.personal(document, kind, 1)
            if draw.random() < 0.3:
                rule = draw.choice(RULES)
                counts.dropped(document, *rule.split("/"), 0.123456)
                continue
            counts.removed(document, draw.choice(["repeated passages", "frequent lines"]), 170, TEXT)
            counts.kept(document)
            counts.graded(document, n % 5 == 0, 0.75)
    counts.unreadable("raw/part-0007.jsonl.gz:12345: the line is no JSON object")
    words = {"name": "LDNOOBW", "source": "https://example.org/words", "licence": "CC BY 4.0"}
    quality = {
        language: {"good": 5000, "sample": 900, "area": 0.93, "cut": 0.7} for language in ("id", "zh-Hant")
    }
    table = {**counts.table(), "quality": quality, "flagged": {"lists": [words], "words": {"id": 400}}}
    return json.loads(json.dumps(table))
