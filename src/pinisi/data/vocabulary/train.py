"""Trains a byte-level byte-pair tokenizer for languages in balance, with the special tokens and chat template of a model."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pinisi.base.errors import DataError
from pinisi.data.tokenizer_source import ALPHABET
from pinisi.data.vocabulary.bpe_file import BYTE_OF, BpeFile, Pair, ids_in, renumbered
from pinisi.data.vocabulary.clusters import may_be_token
from pinisi.data.vocabulary.learn import LOWEST_COUNT, MergeLearner, Word
from pinisi.data.vocabulary.words import SCALE, Texts, balanced, batched

# A word is letters with their marks, so that scripts whose vowels are marks are not cut at each of them; the rest is how
# Qwen and Llama 3 split (Apache-2.0, Qwen/Qwen2-7B's tokenizer.json). {digits}: how many stand together.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{M}}\p{{N}}]?[\p{{L}}\p{{M}}\u200c\u200d]+|{digits}"
    r"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DIGITS = {1: r"\p{N}", 3: r"\p{N}{1,3}"}


@dataclass(frozen=True)
class TrainOptions:
    """size: tokens in all, added ones included. temperature: of the balance of languages."""

    size: int
    temperature: float = 3.0


def train(
    base: BpeFile, texts: Texts, options: TrainOptions, *, report: Callable[[str], None] = print
) -> BpeFile:
    """Learns a vocabulary of bytes and merges from texts by language; added tokens and templates are those of `base`.

    No token joins part of one cluster of letters with another. Digits stand together as in `base`, one by one or up to three.
    Raises DataError if there is no text, no room, or `base` isn't byte-level.
    """
    if not base.byte_level:
        raise DataError(
            f"the tokenizer in {base.folder} isn't byte-level; take special tokens from one that is"
        )
    room = options.size - len(ALPHABET) - len(base.added)
    if room < 1:
        raise DataError(
            f"{options.size} tokens leave no room for merges: {len(ALPHABET)} bytes and {len(base.added)} added tokens are needed; "
            "give more"
        )
    pre_tokenizer, normalizer = _splitting(base), base.data.get("normalizer")
    words = _counted(pre_tokenizer, normalizer, texts, options.temperature, report)
    pieces = dict(zip(ALPHABET, range(len(ALPHABET)), strict=True))
    content = {id: bytes([BYTE_OF[letter]]) for letter, id in pieces.items()}
    names = {id: letter for letter, id in pieces.items()}
    there = set(pieces) | {each["content"] for each in base.added}

    def allowed(left: int, right: int) -> bool:
        both = content[left] + content[right]
        spelled = both.decode("utf-8", "replace")
        return names[left] + names[right] not in there and spelled not in there and may_be_token(both)

    def made(left: int, right: int, id: int) -> None:
        content[id], names[id] = content[left] + content[right], names[left] + names[right]
        there.add(names[id])

    parts = MergeLearner(words, len(pieces), allowed, made).learn(room, LOWEST_COUNT * SCALE)
    if not parts:
        raise DataError("no pair of bytes occurs twice in the text; give more text")
    merges = [(names[left], names[right]) for left, right in parts.values()]
    return _file(base, names, merges, pre_tokenizer)


def _splitting(base: BpeFile) -> dict[str, Any]:
    digits = 3 if r"\p{N}{1,3}" in str(base.data.get("pre_tokenizer")) else 1
    split = {
        "type": "Split",
        "pattern": {"Regex": PATTERN.format(digits=DIGITS[digits])},
        "behavior": "Isolated",
        "invert": False,
    }
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [split, level]}


def _counted(
    pre_tokenizer: dict[str, Any],
    normalizer: dict[str, Any] | None,
    texts: Texts,
    temperature: float,
    report: Callable[[str], None],
) -> Counter[Word]:
    from tokenizers import Tokenizer, models

    empty = Tokenizer(models.BPE(vocab={letter: id for id, letter in enumerate(ALPHABET)}, merges=[]))
    data = json.loads(empty.to_str()) | {"pre_tokenizer": pre_tokenizer, "normalizer": normalizer}
    backend = Tokenizer.from_str(json.dumps(data))
    counts: dict[str, Counter[Word]] = {}
    sizes: dict[str, int] = {}
    for language in sorted(texts):
        counts[language], sizes[language] = _words(backend, texts[language]())
        report(f"{language}: {sizes[language]:,} bytes, {len(counts[language]):,} different words")
    if not any(sizes.values()):
        raise DataError("there is no text to learn from; give some")
    return balanced(counts, sizes, temperature)


def _words(backend: Any, texts: Iterable[str]) -> tuple[Counter[Word], int]:
    """The words as byte ids, counted, and the text's bytes."""
    counts: Counter[str] = Counter()
    size = 0
    for batch in batched(texts):
        size += sum(len(text.encode()) for text in batch)
        for text in batch:
            normal = backend.normalizer.normalize_str(text) if backend.normalizer else text
            counts.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal))
    id_of = {letter: id for id, letter in enumerate(ALPHABET)}
    return Counter({tuple(map(id_of.__getitem__, word)): count for word, count in counts.items()}), size


def _file(base: BpeFile, names: dict[int, str], merges: list[Pair], pre_tokenizer: dict[str, Any]) -> BpeFile:
    """The new tokenizer's files: added tokens behind all pieces, in the order of the base."""
    pieces = {name: id for id, name in names.items()}
    ordered = sorted(base.added, key=lambda each: each["id"])
    new_id = {each["id"]: len(pieces) + place for place, each in enumerate(ordered)}
    if missing := set(ids_in(base.data.get("post_processor"))) - new_id.keys():
        raise DataError(
            f"the tokenizer in {base.folder} puts token {min(missing)} around texts, which is no added token; give another base"
        )
    data = dict(base.data)
    data["post_processor"] = renumbered(data.get("post_processor"), new_id)
    data["pre_tokenizer"] = pre_tokenizer
    data["padding"] = None
    data["decoder"] = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": False,
    }
    data["model"] = {**data["model"], "ignore_merges": False, "dropout": None}
    added = [{**each, "id": new_id[each["id"]]} for each in ordered]
    return BpeFile(data, pieces, merges, added, base.settings, base.folder)
