"""Every token of a shard, traced, against the offsets that the tokenizer gives when it encodes the text."""

import json
import unicodedata

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from pinisi.base.errors import DataError
from pinisi.cli import main
from pinisi.data import Document, TokenShards, decode_span, load_tokenizer, tokenize, trace, write_documents

from .conftest import TEXTS, write_corpus

HERE = [*TEXTS["id"][3:], "a\ufffdb ກ🙂 ", *TEXTS["km"], "🙂🙂🙂", TEXTS["lo"][0], " b  c"]


def quiet(line: str) -> None:
    pass


def sentencepiece(folder):
    """A tokenizer with ▁ for spaces and single bytes for characters it does not know."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    names = ["<unk>", "<end>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, show_progress=False, special_tokens=names)
    tokenizer.train_from_iterator(TEXTS["id"] + TEXTS["en"][:1], trainer)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module", params=["byte level", "byte fallback"])
def made(request, tmp_path_factory, tokenizer_folder):
    folder = tmp_path_factory.mktemp("traced")
    tokenizer = tokenizer_folder if request.param == "byte level" else sentencepiece(folder / "t")
    documents = (
        Document(f"d{n}", text, "lo", f"https://example.org/{n}", "made", {"input": f"x.jsonl:{n}", "n": n})
        for n, text in enumerate(HERE)
    )
    write_documents(folder / "c" / "lo.jsonl", documents)
    tokenize(folder / "c", tokenizer, folder / "s", strict=True, report=quiet)
    return folder / "s", tokenizer


def whole_characters(text, offsets, at):
    """The characters of token `at` and the tokens that share any of them, by the encoder's offsets."""
    first, stop = offsets[at]
    left = right = at
    while left and offsets[left - 1][1] > first:
        left -= 1
        first = min(first, offsets[left][0])
    while right + 1 < len(offsets) and offsets[right + 1][0] < stop:
        right += 1
        stop = max(stop, offsets[right][1])
    return first, stop, left, right + 1


@pytest.mark.parametrize("around", [3, 48])
def test_every_token(made, around):
    folder, tokenizer_folder = made
    backend = load_tokenizer(tokenizer_folder).backend_tokenizer
    backend.encode_special_tokens = True
    shards = TokenShards(folder)
    position, parts = 0, 0
    for number, text in enumerate(HERE):
        encoding = backend.encode(text, add_special_tokens=False)
        start = position
        offsets = encoding.offsets
        for at, id in enumerate(encoding.ids):
            found = trace(shards, "lo", position, around=around)
            assert (found.token, found.position, found.ends_document) == (id, position, False)
            assert found.entry == backend.id_to_token(id)
            assert found.span == decode_span(shards, "lo", position)
            assert (found.span.document, found.span.id) == (number, f"d{number}")
            assert found.span.metadata == {"input": f"x.jsonl:{number}", "n": number}
            if around == 48 and byte_exact(text, offsets):
                first, stop, left, right = whole_characters(text, offsets, at)
                assert (found.text_start, found.text_stop) == (start + left, start + right)
                assert found.text == text[first:stop]
                parts += right - left > 1
            assert found.before + found.text + found.after in text
            if at <= around and len(offsets) - at <= around:
                assert found.before + found.text + found.after == text
            position += 1
        found = trace(shards, "lo", position, around=around)
        assert found.ends_document and found.text == "" and text.endswith(found.before)
        assert found.token == shards.end_of_document and found.after == ""
        position += 1
    assert parts or around == 3  # some tokens were parts of characters


def byte_exact(text, offsets):
    """Offsets of byte tokens are those of the whole character; a tokenizer that gives each its own differs."""
    return all(a < b for a, b in offsets) and offsets[-1][1] == len(text)


def test_what_is_printed(made):
    folder, _ = made
    position = TokenShards(folder).shard("lo").bounds.tolist()[1]
    lines = dict(line.split(maxsplit=1) for line in str(trace(folder, "lo", position)).splitlines())
    assert lines["document"] == "d1" and lines["url"] == "https://example.org/1"
    assert lines["source"] == "made" and lines["input"] == "x.jsonl:1"
    assert "token 1 of" in lines["place"] and f"{position} of lo" in lines["place"]
    assert lines["text"].startswith("⟦") and "\\n\\nKemudian" in lines["text"]
    end = str(trace(folder, "lo", TokenShards(folder).shard("lo").bounds.tolist()[1] - 1))
    assert "the document's end" in end and end.endswith("⟦⟧")
    json.dumps(trace(folder, "lo", 0).to_dict())
    with pytest.raises(DataError, match="position -1 is none"):
        trace(folder, "lo", -1)
    with pytest.raises(DataError, match="no language 'xx'"):
        trace(folder, "xx", 0)


def test_part_of_a_character_says_so(shards_folder):
    shards = TokenShards(shards_folder)
    tokens = shards.shard("lo").tokens
    found = [trace(shards, "lo", position) for position in range(len(tokens) - 1)]
    parts = [each for each in found if each.text_stop - each.text_start > 1]
    assert parts and all(f"tokens that make {each.text!r}" in str(each) for each in parts)
    assert all("\ufffd" not in each.before + each.text + each.after for each in found)


def test_what_prints_nothing_is_shown(tmp_path, tokenizer_folder):
    write_documents(tmp_path / "c" / "km.jsonl", [Document("d", "a\u200bb", "km")])
    tokenize(tmp_path / "c", tokenizer_folder, tmp_path / "s", report=quiet)
    found = trace(tmp_path / "s", "km", 1)
    assert found.text == "\u200b" and str(found).endswith("a⟦\\u200b⟧b")


def test_names_are_read_in_place(tmp_path, tokenizer_folder):
    """A name is found by its bounds: with all other names destroyed it is still there."""
    tokenize(write_corpus(tmp_path / "c"), tokenizer_folder, tmp_path / "s", report=quiet)
    path = tmp_path / "s" / "00000" / "id.names"
    bounds = TokenShards(tmp_path / "s").shard("id").bounds.tolist()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line if n == 3 else b"#" * len(line) for n, line in enumerate(lines)))
    assert decode_span(tmp_path / "s", "id", bounds[3] + 1).id == "id/3"
    with pytest.raises(DataError, match=r"id\.names does not agree with its bounds"):
        decode_span(tmp_path / "s", "id", bounds[2])
    (tmp_path / "s" / "00000" / "id.name_bounds").write_bytes(b"")
    with pytest.raises(DataError, match=r"id\.name_bounds has 0 bytes"):
        decode_span(tmp_path / "s", "id", bounds[3])


def test_combining_marks_stay_where_they_are(tmp_path, tokenizer_folder):
    text = unicodedata.normalize("NFD", TEXTS["vi"][0])
    write_documents(tmp_path / "c" / "vi.jsonl", [Document("d", text, "vi")])
    tokenize(tmp_path / "c", tokenizer_folder, tmp_path / "s", strict=True, report=quiet)
    shards = TokenShards(tmp_path / "s")
    for position in range(len(shards.shard("vi").tokens) - 1):
        found = trace(shards, "vi", position, around=1000)
        assert found.before + found.text + found.after == text and found.text


def test_inspect_says_what_shards_hold(made, tmp_path, capsys):
    folder = str(made[0])
    shards = TokenShards(folder)
    assert main(["inspect", folder, "--json"]) == 0
    held = json.loads(capsys.readouterr().out)
    characters = sum(len(shards_text) for shards_text in HERE)
    assert list(held) == ["lo"] and held["lo"]["characters"] == characters
    assert held["lo"]["tokens"] == len(shards.shard("lo").tokens) and held["lo"]["documents"] == len(HERE)
    assert main(["inspect", folder]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["documents", "tokens", "characters", "bytes"] and len(table) == 2
    assert table[1].split()[0] == "lo" and table[1].split()[3] == f"{characters:,}"
    assert main(["inspect", folder, "lo"]) == 2 and "without POSITION" in capsys.readouterr().err
    assert main(["inspect", str(tmp_path / "nowhere")]) == 2
    assert f"{tmp_path / 'nowhere'}: no such folder" in capsys.readouterr().err
