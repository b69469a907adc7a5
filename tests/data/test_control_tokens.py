"""No text spells a control token: drawn texts of all added tokens of tokenizers built as known ones are."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.base import digests
from pinisi.data import TokenShards, load_tokenizer, tokenize
from pinisi.data.control_tokens import TextOnly, is_control

from .conftest import write_corpus
from .made_tokenizers import KINDS, TEXT_TOKENS, looked_up_whole, made, unigram


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> dict[str, tuple[TextOnly, set[int]]]:
    """Each with the ids that texts must not become, by the lists that the tokenizers were made of."""
    found = {}
    for kind, (special, others, _) in KINDS.items():
        tokenizer = load_tokenizer(made(tmp_path_factory.mktemp(kind), kind))
        names = [name for name in special + others if name not in TEXT_TOKENS]
        found[kind] = TextOnly(tokenizer), {tokenizer.convert_tokens_to_ids(name) for name in names}
    return found


WORDS = (
    "user said ",
    "and",
    " ",
    "\n",
    "system\n",
    "<",
    ">",
    "|",
    "</",
    "Sông",
    "ນ",
    "🙂",
    "a\n\n\nb",
    "c  d",
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_text_of_added_tokens_is_text(encoders, kind, data):
    encoder, forbidden = encoders[kind]
    names = [name.replace("▁", " ") for name in KINDS[kind][0] + KINDS[kind][1]]
    text = "".join(data.draw(st.lists(st.sampled_from([*names, *WORDS]), max_size=8)))
    ((ids, _),) = encoder.encode([text])
    assert forbidden.isdisjoint(ids)
    assert encoder.backend.decode(ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("kind", KINDS)
def test_every_control_token_by_itself_and_inside_words(encoders, kind):
    encoder, forbidden = encoders[kind]
    assert encoder.controls.keys() - {encoder.backend.token_to_id("<|end|>")} == forbidden
    texts = [form.replace("@", name) for name in encoder.controls.values() for form in ("@", "a@b", " @ x @")]
    for text, (ids, _) in zip(texts, encoder.encode(texts), strict=True):
        assert forbidden.isdisjoint(ids) and encoder.backend.decode(ids, skip_special_tokens=False) == text


def test_what_is_no_control_token_stays_a_token(encoders):
    """The model knows runs of white space and tags of HTML as one token."""
    encoder, _ = encoders["gemma"]
    for text in TEXT_TOKENS:
        ((ids, _),) = encoder.encode([text])
        assert ids == [encoder.backend.token_to_id(text)]


@pytest.mark.parametrize(
    "content,special,templates,expected",
    [
        ("<td>", False, "", False),
        ("<td>", False, "{{ '<td>' }}", True),
        ("<s>", True, "", True),
        ("\n\n", False, "{{ '\n\n' }}", False),
        ("▁▁", False, "", False),
        ("<tool_response>", False, "", True),
        ("<|fim_pad|>", False, "", True),
        ("[INST]", False, "", True),
        ("<think>\n", False, "", True),
        ("▁<think>▁", False, "", True),
        ("<|im_start|>assistant\n", False, "", True),
        ("◁think▷", False, "", True),
        ("【tool】", False, "", True),
        ("<td>\n", False, "", False),
        ("▁", False, "", False),
        ("<", False, "", False),
        ("[", False, "", False),
        ("<｜tool▁calls▁begin｜>", False, "", True),
        ("kapal", False, "{{ 'kapal' }}", False),
        ("§§", False, "", False),
        ("§§", False, "{{ '§§' }}", True),
    ],
)
def test_the_rule(content, special, templates, expected):
    assert is_control(content, special, templates) == expected


@pytest.mark.parametrize("make", [unigram, looked_up_whole])
def test_a_model_that_has_control_tokens_as_pieces_does_not_find_them(tmp_path, make):
    encoder = TextOnly(load_tokenizer(make(tmp_path / "t")))
    texts = ["a<s>b</s>", "</s>", "<s><s>", "ab <s> a"] if make is unigram else ["<|end|>"]
    for text, (ids, first) in zip(texts, encoder.encode(texts), strict=True):
        assert encoder.controls.keys().isdisjoint(ids)
        assert encoder.backend.decode(ids, skip_special_tokens=False) == text
        assert first == 1  # the first token is the first character
    if make is unigram:
        ((ids, _),) = encoder.encode(["aZb"])  # and an unknown character stays unknown
        assert encoder.backend.token_to_id("<unk>") in ids


def test_shards_hold_none_and_index_says_so(tmp_path):
    text = "user said <think> and <|im_start|>system\n<|endoftext|><tool_call>"
    folder = made(tmp_path / "t", "qwen")
    index = tokenize(write_corpus(tmp_path / "c", {"en": [text]}), folder, tmp_path / "s", report=quiet)
    shards, tokenizer = TokenShards(tmp_path / "s"), load_tokenizer(folder)
    tokens = shards.shard("en").tokens.tolist()
    assert tokenizer.decode(tokens[:-1], clean_up_tokenization_spaces=False) == text
    assert not set(tokens[:-1]) & set(tokenizer.added_tokens_decoder)
    assert index["control_tokens"] == "as text" and index["languages"]["en"]["altered"] == {}


@pytest.mark.parametrize("spelled", [True, False])
def test_shards_of_before_are_made_anew_only_where_a_text_had_become_a_control_token(tmp_path, spelled):
    """The fingerprint is the same: what was right stays as it lies there, byte for byte."""
    folder = made(tmp_path / "t", "qwen")
    corpus, out = write_corpus(tmp_path / "c", {"en": ["a <think> b"]}), tmp_path / "s"
    good = tokenize(corpus, folder, out, report=quiet)
    index = {
        key: value for key, value in good.items() if key not in ("bos", "control_tokens", "digest", "files")
    }
    if spelled:
        tokens = np.fromfile(out / "00000/en.tokens", "<u4")
        tokens[1] = load_tokenizer(folder).convert_tokens_to_ids("<think>")
        tokens.tofile(out / "00000/en.tokens")
    (out / "index.json").write_text(json.dumps(index))
    before, said = (out / "index.json").read_bytes(), []
    again = tokenize(corpus, folder, out, report=said.append)
    if spelled:
        assert again == good and "<think>" in said[0] and "made anew" in said[0]
    else:
        assert (out / "index.json").read_bytes() == before and "up to date" in said[0]
        assert again == index and TokenShards(out).bos is None
    assert digests.of_file(out / "00000/en.tokens") == good["files"]["00000/en.tokens"]
