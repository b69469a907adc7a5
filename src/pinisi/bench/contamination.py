"""Plants evaluation sentences in a corpus and counts which of them `pinisi contamination` finds, and which it finds wrongly.

Demands, written down before anything was measured: in each of th, lo, km, my, zh, id, en, for each seed, at least 95 % of planted
sentences are found, those that are too short to be judged counted as missed, and at most 1 % of the others are; also of sentences
that were planted with other spaces, other case or another normal form, each kind by itself. Planted sentences and others come from
the same documents. A control, looking for the sentence as it stands, must miss more than 5 % of those that were changed.

Lengths of runs, the window and the share were chosen on XCOPA, XQuAD and Universal Dependencies; here NTREX is judged, and for
Burmese lines of documents that are left out of the corpus. Those are messages of programs, made after few patterns: a sentence that
isn't planted, but half of whose runs of 8 characters stand in one line of the corpus nevertheless (a plain search in folded text
says so), is a near duplicate, no false alarm, and isn't counted.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pinisi.base import digests
from pinisi.base.errors import DataError
from pinisi.base.files import write_whole
from pinisi.data import read_documents
from pinisi.evaluate.contamination import contamination_of
from pinisi.evaluate.corpus_index import CorpusIndex, build_index

LANGUAGES = ("th", "lo", "km", "my", "zh", "id", "en")
RECALL, FALSE_ALARMS, CONTROL = 0.95, 0.01, 0.05
SEEDS = (0, 1, 2)
CHARACTERS = 1_000_000  # of each language's corpus
SENTENCES = 1000  # of a language, half of them planted
LEFT_OUT, LINE = (
    0.4,
    30,
)  # of Burmese: the share of documents whose lines are asked, and the characters that a line has at least
RUN = 8  # characters that a near duplicate is found by
ZERO_WIDTH_SPACE = "\u200b"

Change = Callable[[str, random.Random], str]


def _without_spaces(text: str, draw: random.Random) -> str:
    return "".join(text.split())


def _more_spaces(text: str, draw: random.Random) -> str:
    """Wider spaces, line ends in their place, and between any two letters now and then one that isn't seen."""
    return "".join(
        draw.choice(("  ", "\n", "\u00a0")) if c == " " else c + ZERO_WIDTH_SPACE * (draw.random() < 0.2)
        for c in text
    )


def _form(name: Any) -> Change:
    return lambda text, draw: unicodedata.normalize(name, text)


def _wide(text: str, draw: random.Random) -> str:
    """Latin letters and digits as wide as Chinese characters."""
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


CHANGES: dict[str, Change] = {
    "as it is": lambda text, draw: text,
    "spaces out": _without_spaces,
    "spaces in": _more_spaces,
    "upper case": lambda text, draw: text.upper(),
    "NFD": _form("NFD"),
    "NFKD": _form("NFKD"),
    "wide letters": _wide,
}


class PlantedSet(NamedTuple):
    """Sentences of one language. planted: the name of the change by number of sentence; corpus: documents with them."""

    sentences: list[str]
    planted: dict[int, str]
    corpus: list[str]
    background: list[str]


def planted_set(language: str, data: Path, corpus: Path, seed: int) -> PlantedSet:
    """Draws what is planted, and puts each sentence into a document of the corpus."""
    draw = random.Random(f"{language} {seed}")
    documents = [document.text for document in read_documents(corpus / f"{language}.jsonl")]
    sentences, background = _sentences(language, data, documents)
    draw.shuffle(background)
    background = _up_to(background, CHARACTERS)
    draw.shuffle(sentences)
    sentences = sentences[:SENTENCES]
    numbers = draw.sample(range(len(sentences)), len(sentences) // 2)
    planted = {number: list(CHANGES)[place % len(CHANGES)] for place, number in enumerate(numbers)}
    texts = list(background)
    for number, change in planted.items():
        place = draw.randrange(len(texts))
        lines = texts[place].split("\n")
        lines.insert(draw.randrange(len(lines) + 1), CHANGES[change](sentences[number], draw))
        texts[place] = "\n".join(lines)
    return PlantedSet(sentences, planted, texts, background)


def _sentences(language: str, data: Path, documents: list[str]) -> tuple[list[str], list[str]]:
    """(sentences that are asked, documents of the corpus)."""
    aligned = json.loads((data / "ntrex.json").read_text("utf-8"))
    if language in aligned:
        return sorted({text.strip() for text in aligned[language]}), documents
    limit = LEFT_OUT * 2**64
    lines = {line.strip() for text in documents if digests.of_text(text) < limit for line in text.split("\n")}
    return sorted(line for line in lines if len(line) >= LINE), [
        t for t in documents if digests.of_text(t) >= limit
    ]


def _up_to(texts: Sequence[str], characters: int) -> list[str]:
    found, size = [], 0
    for text in texts:
        if size >= characters:
            break
        found.append(text)
        size += len(text)
    return found


def plain_fold(text: str) -> str:
    """Letters, marks and digits, by another way than the index'."""
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(c for c in text if unicodedata.category(c)[0] in "LMN")


def near_duplicate(text: str, lines: Sequence[str]) -> bool:
    """Whether one of these lines has at least half of a text's runs of RUN characters; all are folded."""
    size = min(RUN, -(-len(text) // 2))
    runs = {text[start : start + size] for start in range(len(text) - size + 1)}
    return any(2 * sum(run in line for run in runs) >= len(runs) for line in lines)


def judge_set(of: PlantedSet, index: CorpusIndex) -> dict[str, Any]:
    """Counts finds. recall: by change."""
    report = contamination_of(index, ((str(n), {"text": [text]}) for n, text in enumerate(of.sentences)))
    found, short = report.contaminated, report.undecided
    there = [line for text in of.background for line in text.split("\n")] + [
        of.sentences[n] for n in of.planted
    ]
    lines = [plain_fold(line) for line in there]
    others = [n for n in range(len(of.sentences)) if n not in of.planted]
    really = {n for n in others if found[n] and near_duplicate(plain_fold(of.sentences[n]), lines)}
    counted = [n for n in others if n not in really]
    as_it_stands = "\n".join(of.corpus)
    changed = [n for n, change in of.planted.items() if change != "as it is"]
    by_change = {
        change: _share([found[n] for n, name in of.planted.items() if name == change]) for change in CHANGES
    }
    return {
        "sentences": len(of.sentences),
        "planted": len(of.planted),
        "too_short": sum(short),
        "recall": _share([found[n] for n in of.planted]),
        "recall_by_change": by_change,
        "false_alarms": _share([found[n] for n in counted]),
        "near_duplicates": len(really),
        "control_missed": _share([of.sentences[n] not in as_it_stands for n in changed]),
    }


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 0.0


def measure(data: Path, corpus: Path, seeds: Sequence[int] = SEEDS) -> list[dict[str, Any]]:
    """A row for each seed and language; all languages of a seed are in one index."""
    rows = []
    for seed in seeds:
        began = time.perf_counter()
        sets = {language: planted_set(language, data, corpus, seed) for language in LANGUAGES}
        with tempfile.TemporaryDirectory(prefix="pinisi-bench-") as folder:
            text = Path(folder) / "text"
            for language, of in sets.items():
                lines = (json.dumps({"text": each}, ensure_ascii=False) + "\n" for each in of.corpus)
                write_whole(text / f"{language}.jsonl", "".join(lines))
            index = build_index([text], Path(folder) / "index", report=lambda line: None)
            seconds = time.perf_counter() - began
            rows += [{"seed": seed, "language": each, **judge_set(of, index)} for each, of in sets.items()]
        print(f"seed {seed}: {index.facts['fingerprints']:,} fingerprints in {seconds:.1f} s", flush=True)
    return rows


def faults(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What falls short of a demand."""
    found = []
    for row in rows:
        where = f"{row['language']}, seed {row['seed']}"
        recalls = {"all planted": row["recall"], **row["recall_by_change"]}
        found += [
            f"{where}: {share:.1%} found of {kind}" for kind, share in recalls.items() if not share >= RECALL
        ]
        if not row["false_alarms"] <= FALSE_ALARMS:
            found.append(f"{where}: {row['false_alarms']:.1%} false alarms")
        if not row["control_missed"] > CONTROL:
            found.append(f"{where}: the control missed only {row['control_missed']:.1%}")
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"seed      sentences  too short  recall  by change: {', '.join(CHANGES)}; false alarms, near duplicates; control finds"
    ]
    for row in rows:
        by_change = " ".join(f"{100 * share:5.1f}" for share in row["recall_by_change"].values())
        lines.append(
            f"{row['seed']:4}  {row['language']:3} {row['sentences']:9} {row['too_short']:10} {row['recall']:7.1%}  "
            f"{by_change}  {row['false_alarms']:6.2%} {row['near_duplicates']:4} {1 - row['control_missed']:6.1%}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="pinisi bench contamination", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--data", required=True, metavar="FOLDER", help="with ntrex.json, {language: sentences}"
    )
    parser.add_argument(
        "--corpus",
        required=True,
        metavar="FOLDER",
        help="text of these languages, as `pinisi corpus fetch` makes it",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--json", help="write what was found to this file")
    options = parser.parse_args(list(arguments))
    for path in (
        Path(options.data) / "ntrex.json",
        *(Path(options.corpus) / f"{each}.jsonl" for each in LANGUAGES),
    ):
        if not path.is_file():
            raise DataError(
                f"{path} is missing: see --data and --corpus of `pinisi bench contamination --help`"
            )
    rows = measure(Path(options.data), Path(options.corpus), options.seeds)
    wrong = faults(rows)
    print(table(rows))
    print("\n".join(f"FALLS SHORT: {fault}" for fault in wrong) or "all demands hold")
    if options.json:
        write_whole(
            options.json, json.dumps({"rows": rows, "faults": wrong}, indent=1, ensure_ascii=False) + "\n"
        )
    return 1 if wrong else 0
