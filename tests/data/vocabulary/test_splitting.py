"""A joined splitting, held against the old one: fewer boundaries, none new, and all text in the same old tokens."""

import json
import random
from pathlib import Path

import pytest
import regex
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from pinisi.data.vocabulary import splitting
from pinisi.data.vocabulary.bpe_file import BpeFile, json_of, read_bpe
from pinisi.data.vocabulary.extend import extend, in_old_ids
from pinisi.data.vocabulary.splitting import joined, marked_scripts

from ..conftest import TEXTS
from ..made_tokenizers import made, write

# How Qwen and Llama 3 split, and what stands in for it: letters, of which a mark may lead some.
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LANGUAGES = ("km", "my", "lo", "th")
READING = {language: (lambda of=TEXTS[language]: iter(of * 9)) for language in LANGUAGES}
LETTERS = sorted({letter for language in (*LANGUAGES, "en") for text in TEXTS[language] for letter in text})
OTHERS = " \n\r\t.,!'1\u200b\u200d\u0301។éA"


def across(folder: Path, pattern: str, size: int) -> Path:
    """A tokenizer with that splitting whose merges were learned without any, so that many lie across its boundaries."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    words = [text[place : place + 5] for of in TEXTS.values() for text in of for place in range(len(text))]
    tokenizer.train_from_iterator(words, trainer)
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    tokenizer.decoder = decoders.ByteLevel()
    return write(folder, tokenizer)


def drawn(count: int, seed: int) -> list[str]:
    random_ = random.Random(seed)
    found = []
    for _ in range(count):
        of = TEXTS[random_.choice(LANGUAGES)]
        text = random_.choice(of)
        letters = [*random_.choices(LETTERS, k=8), *random_.choices(OTHERS, k=4), *text[:8]]
        found.append(
            "".join(random_.choices(letters, k=random_.randint(1, 30))) + text[: random_.randint(0, 40)]
        )
    return found


def backend(tokenizer: BpeFile) -> Tokenizer:
    return Tokenizer.from_str(json_of(tokenizer))


def bounds(of: Tokenizer, text: str) -> set[int]:
    normal = of.normalizer.normalize_str(text) if of.normalizer else text
    return {start for _, (start, _) in of.pre_tokenizer.pre_tokenize_str(normal)}


@pytest.fixture(params=["across", "few", "gpt2"])
def tokenizer(request, tmp_path) -> BpeFile:
    if request.param == "gpt2":
        return read_bpe(made(tmp_path, "qwen"))
    return read_bpe(across(tmp_path, PATTERN, 1500 if request.param == "across" else 400))


def test_boundaries_only_go_and_old_tokens_stay(tokenizer) -> None:
    changed = joined(tokenizer, READING)
    old, new = backend(tokenizer), backend(changed)
    gone = 0
    for text in drawn(500, 1):
        before, after = bounds(old, text), bounds(new, text)
        assert after <= before, text
        gone += len(before) - len(after)
        assert (
            new.encode(text, add_special_tokens=False).ids == old.encode(text, add_special_tokens=False).ids
        )
    assert gone > 300


def test_without_the_pairs_that_old_merges_join_old_tokens_would_change(tmp_path, monkeypatch) -> None:
    tokenizer = read_bpe(across(tmp_path, PATTERN, 1500))
    monkeypatch.setattr(splitting, "unsafe_pairs", lambda *given: {})
    old, new = backend(tokenizer), backend(joined(tokenizer, READING))
    assert any(old.encode(text).ids != new.encode(text).ids for text in drawn(300, 2))


def test_extended_on_top_every_text_is_the_same_old_tokens(tokenizer) -> None:
    extension = extend(tokenizer, READING, 150, report=lambda line: None)
    old, new = backend(tokenizer), backend(extension.tokenizer)
    joins = 0
    for text in [*drawn(300, 3), *(text for of in TEXTS.values() for text in of)]:
        before, after = (each.encode(text, add_special_tokens=False) for each in (old, new))
        assert in_old_ids(extension, after.ids) == before.ids
        assert new.decode(after.ids) == old.decode(before.ids)
        joins += len(before.ids) - len(after.ids)
    assert joins > 200


def test_no_new_token_cuts_a_cluster(tokenizer) -> None:
    extension = extend(tokenizer, READING, 200, report=lambda line: None)
    long = 0
    names = extension.tokenizer.names
    for id in extension.pieces:
        content = extension.tokenizer.bytes_of(names[id])
        text = content.decode("utf-8", "replace")
        if "\ufffd" in text:  # part of one character
            assert len(content) < 4
            continue
        sizes = [len(cluster) for cluster in regex.findall(r"\X", text)]
        assert len(sizes) <= 1 or not regex.match(r"\p{M}", text) or regex.fullmatch(r"\p{M}+", text)
        assert "\u200b" not in text
        assert not (regex.search(r"[\p{L}\p{M}]", text) and regex.search(r"[^ \p{L}\p{M}\u200c\u200d]", text))
        long += len(sizes) > 1
    assert long > 15


def test_what_is_no_single_pattern_or_has_no_marks_stays(tmp_path) -> None:
    tokenizer = read_bpe(across(tmp_path / "one", PATTERN, 400))
    assert marked_scripts(READING) == ["KHMER", "LAO", "MYANMAR", "THAI"]
    assert joined(tokenizer, {"en": lambda: iter(TEXTS["en"] * 9)}) is tokenizer
    data = json.loads(json.dumps(tokenizer.data))
    data["pre_tokenizer"]["pretokenizers"].insert(0, data["pre_tokenizer"]["pretokenizers"][0])
    twice = BpeFile(data, tokenizer.pieces, tokenizer.merges, [], {}, tokenizer.folder)
    assert joined(twice, READING) is twice
    gemma = read_bpe(made(tmp_path / "gemma", "gemma"))
    assert joined(gemma, READING) is gemma
