"""Fertility against counts made text by text with the tokenizer itself, and costs worked out by hand."""

import json
import unicodedata

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from pinisi.base.errors import DataError
from pinisi.data import Document, fertility, load_tokenizer, tokenize, write_documents

from .conftest import TEXTS, write_corpus, write_tokenizer
from .test_trace import sentencepiece
from .text.test_words import reference


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fertility")
    small = write_tokenizer(folder / "small", size=300)
    return {"large": write_tokenizer(folder / "large"), "small": small, "bytes": sentencepiece(folder / "sp")}


@pytest.fixture(scope="module")
def result(corpus, folders):
    return fertility(corpus, folders, report=quiet)


def is_piece(name: str, content: bytes) -> bool:
    """By the bytes of a token: no whole characters."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return name.startswith("<0x")


def bytes_of(name: str, kind: str) -> bytes:
    if kind == "bytes":
        return bytes([int(name[3:5], 16)]) if name.startswith("<0x") else name.encode()
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
    return bytes(table[letter] for letter in name)


@pytest.mark.parametrize("kind", ["large", "small", "bytes"])
@pytest.mark.parametrize("language", sorted(TEXTS))
def test_figures_against_counts(result, folders, language, kind):
    tokenizer = load_tokenizer(folders[kind])
    found, texts = result["languages"][language], TEXTS[language]
    names = [
        tokenizer.convert_ids_to_tokens(id)
        for text in texts
        for id in tokenizer(text, add_special_tokens=False)["input_ids"]
    ]
    each, count = found["tokenizers"][kind], len(names)
    assert each["tokens"] == count
    assert each["tokens_per_character"] == pytest.approx(count / len("".join(texts)))
    assert each["tokens_per_byte"] == pytest.approx(count / len("".join(texts).encode()))
    assert (found["documents"], found["characters"]) == (len(texts), len("".join(texts)))
    if language in ("th", "lo", "km", "my", "zh"):
        assert found["words"] is None and each["tokens_per_word"] is None
    else:
        assert found["words"] == sum(len(reference(text)) for text in texts)
        assert each["tokens_per_word"] == pytest.approx(count / found["words"])
    pieces = [name for name in names if is_piece(name, bytes_of(name, kind))]
    assert each["pieces"] == pytest.approx(len(pieces) / count)
    assert each["unknown"] == 0


def test_without_parallel_documents_cost_is_by_byte(result):
    assert result["parallel_documents"] == 0 and result["reference"] == "en"
    for found in result["languages"].values():
        for name, each in found["tokenizers"].items():
            english = result["languages"]["en"]["tokenizers"][name]
            assert each["basis"] == "bytes"
            assert each["cost"] == pytest.approx(each["tokens_per_byte"] / english["tokens_per_byte"])


def spaced(folder):
    """A tokenizer of words: so that costs are counts of words, and an unknown word is one token."""
    known = {"<unk>": 0, "<end>": 1, "a": 2, "b": 3, "c": 4}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def parallel(folder, texts):
    for language, of in texts.items():
        write_documents(
            folder / f"{language}.jsonl", (Document(id, text, language) for id, text in of.items())
        )
    return folder


PARALLEL = {
    "en": {"p/1": "a b", "p/2": "a b c a b c", "en/1": "a " * 50},
    "id": {"p/1": "a b c", "p/2": "a b c zzz b c a a a", "p/3": "c " * 9},
    "lo": {"p/1": "a", "p/2": "a a", "p/3": "c", "lo/7": "a b"},
}


def test_cost_on_parallel_documents(tmp_path):
    """Only p/1 and p/2 stand in all three: 8, 12 and 3 words."""
    corpus, tokenizer = parallel(tmp_path / "c", PARALLEL), spaced(tmp_path / "t")
    found = fertility(corpus, {"words": tokenizer}, report=quiet)
    assert found["parallel_documents"] == 2
    costs = {code: each["tokenizers"]["words"] for code, each in found["languages"].items()}
    assert {code: (each["cost"], each["basis"]) for code, each in costs.items()} == {
        "en": (1.0, "parallel"),
        "id": (12 / 8, "parallel"),
        "lo": (3 / 8, "parallel"),
    }
    assert costs["id"]["tokens"] == 21 and costs["id"]["unknown"] == pytest.approx(1 / 21)
    other = fertility(corpus, {"words": tokenizer}, reference="lo", report=quiet)
    assert other["languages"]["en"]["tokenizers"]["words"]["cost"] == pytest.approx(8 / 3)
    json.dumps(found)


def test_parallel_text_may_lie_elsewhere(tmp_path):
    corpus, tokenizer = parallel(tmp_path / "c", PARALLEL), spaced(tmp_path / "t")
    more = {"vi": {"x": "a b"}, "en": {"y": "a"}, "id": {"z": "b"}}
    text = parallel(tmp_path / "d", more)
    found = fertility(text, {"words": tokenizer}, parallel=corpus, report=quiet)
    each = {code: of["tokenizers"]["words"] for code, of in found["languages"].items()}
    assert (each["id"]["cost"], each["id"]["basis"]) == (1.5, "parallel")
    assert each["vi"]["basis"] == "bytes"  # it has no parallel text


def test_line_numbers_as_ids_are_no_translations(tmp_path):
    """Equal ids whose documents' lengths have nothing to do with one another."""
    tokenizer = spaced(tmp_path / "t")
    lengths = {"en": [1, 90, 4, 40, 2, 70], "id": [80, 2, 30, 3, 60, 4], "lo": [2, 100, 5, 30, 3, 60]}
    texts = {code: {str(n): "a " * size for n, size in enumerate(sizes)} for code, sizes in lengths.items()}
    found = fertility(parallel(tmp_path / "c", texts), {"words": tokenizer}, report=quiet)
    basis = {code: each["tokenizers"]["words"]["basis"] for code, each in found["languages"].items()}
    assert basis == {"en": "parallel", "id": "bytes", "lo": "parallel"}


def test_without_the_reference_there_is_no_cost(tmp_path):
    tokenizer = spaced(tmp_path / "t")
    found = fertility(parallel(tmp_path / "c", {"id": PARALLEL["id"]}), {"words": tokenizer}, report=quiet)
    each = found["languages"]["id"]["tokenizers"]["words"]
    assert (each["cost"], each["basis"]) == (None, None) and found["parallel_documents"] == 0


def test_limit(tmp_path, folders):
    corpus = write_corpus(tmp_path / "c")
    found = fertility(corpus, {"large": folders["large"]}, limit=100, report=quiet)
    for language, texts in TEXTS.items():
        enough = next((n for n in range(len(texts)) if sum(map(len, texts[:n])) >= 100), len(texts))
        assert found["languages"][language]["documents"] == enough


def test_an_empty_language_and_blank_documents(tmp_path):
    tokenizer = spaced(tmp_path / "t")
    corpus = parallel(tmp_path / "c", {**PARALLEL, "ceb": {"p/1": " ", "p/2": "\n"}})
    (corpus / "war.jsonl").write_text("")
    found = fertility(corpus, {"words": tokenizer}, report=quiet)
    for language in ("ceb", "war"):
        each = found["languages"][language]["tokenizers"]["words"]
        assert each["tokens"] == 0 and not each["tokens_per_byte"] and not each["tokens_per_word"]
    assert found["parallel_documents"] == 0


def test_marks_do_not_make_words(tmp_path, folders):
    texts = {"en": ["x"], "vi": [unicodedata.normalize("NFD", TEXTS["vi"][0])]}
    found = fertility(write_corpus(tmp_path / "c", texts), {"large": folders["large"]}, report=quiet)
    assert found["languages"]["vi"]["words"] == len(TEXTS["vi"][0].split())


def test_a_special_token_that_is_spelled_out_costs_what_it_costs_in_shards(tmp_path, folders):
    corpus = write_corpus(tmp_path / "c", {"en": ["a<|end|>b", "<|end|>"]})
    found = fertility(corpus, {"large": folders["large"]}, report=quiet)
    made = tokenize(corpus, folders["large"], tmp_path / "s", report=quiet)["languages"]["en"]
    assert found["languages"]["en"]["tokenizers"]["large"]["tokens"] == made["tokens"] - made["documents"] > 8


def test_errors(tmp_path, corpus):
    with pytest.raises(DataError, match="no tokenizer was given"):
        fertility(corpus, {}, report=quiet)
    with pytest.raises(DataError, match="no tokenizer in"):
        fertility(corpus, {"x": tmp_path}, report=quiet)
    with pytest.raises(DataError, match="no corpus folder"):
        fertility(tmp_path / "none", {"x": tmp_path}, report=quiet)
