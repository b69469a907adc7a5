"""Builds a pack: the statistics of a language from its documents."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pinisi.base.errors import DataError
from pinisi.curate.packs import others
from pinisi.curate.packs.ngrams import BUDGET, train
from pinisi.curate.packs.pack import Pack, fingerprint
from pinisi.curate.packs.stream import stream
from pinisi.data.documents import Document
from pinisi.data.text.scripts import COMMON, LETTER, UNSPACED, classes, script_table
from pinisi.data.text.segmentation import normal_codes

LEAST = 1_000  # characters of text: fewer give no statistics
MOST = 20_000_000  # characters that are read: more change nothing that a pack can hold
# A script counts as the language's own from this share of its letters on; Latin letters in other scripts' text
# are names and loans more often than not.
OWN, OWN_LATIN = 0.1, 0.4
STOP_SHARE, STOP_DOCUMENTS, STOP_WORDS = 0.001, 0.1, 100
SLICE = 300  # words of a document that count as one when documents with a word are counted


def build_pack(
    language: str,
    documents: Iterable[Document | str],
    *,
    name: str | None = None,
    sources: Iterable[Mapping[str, Any]] = (),
    limits: Mapping[str, float] | None = None,
    segmentation: str | None = None,
    budget: int = BUDGET,
) -> Pack:
    """The pack of a language: from 0.05 MB of text on, in seconds; the same documents give the same pack.

    segmentation: "spaces" or "characters"; left out, it follows from the script. budget: n-grams and runs kept
    (6 bytes each). Of more than 20 million characters the first are taken. Raises DataError if there are fewer
    than 1,000 characters or no letters.
    """
    texts, count = _first(documents)
    if count < LEAST:
        raise DataError(
            f"language '{language}': got {count:,} characters of text, needed at least {LEAST:,} "
            "(20,000 for a useful pack, a million for a good one); give more text"
        )
    codes = normal_codes("\n".join(texts))
    kinds = classes()[codes]
    scripts = own_scripts(codes, kinds)
    if not scripts:
        raise DataError(f"language '{language}': the text has no letters; give running text, in UTF-8")
    if segmentation is None:
        segmentation = (
            "characters" if max(scripts, key=lambda script: scripts[script]) in UNSPACED else "spaces"
        )
    pack = Pack(
        language, name or language, "", segmentation, scripts, {}, dict(limits or {}),
        tuple(dict(source) for source in sources), {},
        train(stream(codes, kinds), budget), others.learn(codes, kinds),
    )  # fmt: skip
    shares, words = _stop_shares(pack, texts)
    sizes = {"documents": len(texts), "characters": count, "words": words}
    pack = replace(pack, stop_shares=shares, sizes=sizes)
    return replace(pack, version=fingerprint(pack))


def _first(documents: Iterable[Document | str]) -> tuple[list[str], int]:
    texts, count = [], 0
    for document in documents:
        text = document if isinstance(document, str) else document.text
        texts.append(text[: MOST - count])
        count += len(texts[-1])
        if count >= MOST:
            break
    return texts, count


def own_scripts(codes: np.ndarray, kinds: np.ndarray) -> dict[str, float]:
    """{script: share of the letters} of the scripts that a text is written in, the largest first."""
    names, script = script_table()
    counts = np.bincount(script[codes[kinds == LETTER]], minlength=len(names))
    counts[names.index(COMMON)] = 0
    shares = {
        names[row]: counts[row] / counts.sum() for row in np.argsort(-counts, kind="stable") if counts[row]
    }
    top = next(iter(shares), "")
    least = {name: OWN_LATIN if name == "LATIN" else OWN for name in shares}
    return {
        name: round(float(share), 4) for name, share in shares.items() if name == top or share >= least[name]
    }


def _stop_shares(pack: Pack, texts: list[str]) -> tuple[dict[str, float], int]:
    """({word: its share of all words} of words that are frequent and spread over many documents, most frequent
    first; the number of words)."""
    counts: Counter[str] = Counter()
    spread: Counter[str] = Counter()
    slices = 0
    for text in texts:
        words = pack.words(text)
        counts.update(words)
        for start in range(0, len(words), SLICE):
            spread.update(set(words[start : start + SLICE]))
            slices += 1
    total = counts.total()
    shares = {
        word: round(number / total, 6)
        for word, number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if number >= STOP_SHARE * total and spread[word] >= STOP_DOCUMENTS * slices and not word.isdecimal()
    }
    return dict(list(shares.items())[:STOP_WORDS]), total
