"""Token shards: every document comes back whole, bounds and counts are right, and errors name the place."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from pinisi.base.errors import DataError
from pinisi.data import TokenShards, decode_span, load_tokenizer, tokenize
from pinisi.data.tokenize import fingerprint

from .conftest import TEXTS, write_corpus, write_tokenizer


def quiet(line: str) -> None:
    pass


def test_every_document_round_trips(shards_folder, tokenizer_folder):
    """Decoded from the bounds of the files themselves, read without TokenShards."""
    tokenizer = load_tokenizer(tokenizer_folder)
    index = json.loads((shards_folder / "index.json").read_text())
    assert index["languages"].keys() == TEXTS.keys()
    for language, texts in TEXTS.items():
        tokens = np.fromfile(shards_folder / f"00000/{language}.tokens", "<u4")
        bounds = np.fromfile(shards_folder / f"00000/{language}.documents", "<i8")
        names = [
            json.loads(line) for line in (shards_folder / f"00000/{language}.names").open(encoding="utf-8")
        ]
        assert len(bounds) == len(texts) + 1 == len(names) + 1
        assert bounds[0] == 0 and bounds[-1] == len(tokens)
        for number, text in enumerate(texts):
            document = tokens[bounds[number] : bounds[number + 1]].tolist()
            assert document[-1] == tokenizer.eos_token_id == index["end_of_document"]
            assert tokenizer.eos_token_id not in document[:-1]
            assert tokenizer.decode(document[:-1], clean_up_tokenization_spaces=False) == text
            url = f"https://example.org/{language}/{number}"
            assert names[number] == [f"{language}/{number}", url, "", {}]


def test_counts(shards_folder, tokenizer_folder):
    """predicted_bytes by decoding all but each document's first token, where that is whole characters."""
    tokenizer = load_tokenizer(tokenizer_folder)
    shards = TokenShards(shards_folder)
    for language, texts in TEXTS.items():
        counts = shards.counts(language)
        assert counts["documents"] == len(texts) and counts["dropped"] == {}
        assert counts["characters"] == sum(map(len, texts))
        assert counts["bytes"] == sum(len(text.encode()) for text in texts)
        tokens, bounds = shards.shard(language)
        predicted = 0
        for number, text in enumerate(texts):
            first = tokenizer.decode([int(tokens[bounds[number]])])
            whole = (
                first if "\ufffd" not in first else text[0]
            )  # a token inside a character counts as all of it
            assert text.startswith(whole)
            predicted += len(text.encode()) - len(whole.encode())
        assert counts["predicted_bytes"] == predicted


def test_special_tokens_in_a_text_stay_text(tmp_path, tokenizer_folder):
    text = "before<|end|>after"
    tokenize(write_corpus(tmp_path / "c", {"id": [text]}), tokenizer_folder, tmp_path / "s", report=quiet)
    shards = TokenShards(tmp_path / "s")
    tokens = shards.shard("id").tokens.tolist()
    assert tokens.count(shards.end_of_document) == 1 and tokens[-1] == shards.end_of_document
    assert load_tokenizer(tokenizer_folder).decode(tokens[:-1]) == text


def test_every_token_leads_to_its_document(shards_folder):
    shards = TokenShards(shards_folder)
    for language in ("id", "km"):
        bounds = shards.shard(language).bounds.tolist()
        number = -1
        for position in range(bounds[-1]):
            number += position in bounds
            span = decode_span(shards, language, position)
            assert span == (
                number,
                f"{language}/{number}",
                f"https://example.org/{language}/{number}",
                bounds[number],
                bounds[number + 1],
                "",
                {},
            )
        for outside in (-1, bounds[-1]):
            with pytest.raises(DataError, match=str(outside)):
                decode_span(shards_folder, language, outside)


def test_the_same_input_is_not_tokenized_twice(tmp_path, tokenizer_folder):
    corpus, out = write_corpus(tmp_path / "c"), tmp_path / "s"
    first = tokenize(corpus, tokenizer_folder, out, report=quiet)
    stamps = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    said: list[str] = []
    assert tokenize(corpus, tokenizer_folder, out, report=said.append) == first
    assert stamps == {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert "up to date" in said[0]
    shutil.move(corpus, tmp_path / "elsewhere")  # where the files lie does not matter
    again = tokenize(tmp_path / "elsewhere", tokenizer_folder, tmp_path / "t", report=quiet)
    assert again["fingerprint"] == first["fingerprint"]


def test_fingerprint_follows_all_that_decides_the_content(tmp_path, tokenizer_folder):
    corpus, out = write_corpus(tmp_path / "c"), tmp_path / "s"
    seen = [tokenize(corpus, tokenizer_folder, out, report=quiet)["fingerprint"]]
    seen.append(tokenize(corpus, tokenizer_folder, out, end_of_document=5, report=quiet)["fingerprint"])
    other = write_tokenizer(tmp_path / "tokenizer", size=390)
    seen.append(tokenize(corpus, other, out, report=quiet)["fingerprint"])
    write_corpus(corpus, {"lo": ["ສະບາຍດີ"]})
    seen.append(tokenize(corpus, other, out, report=quiet)["fingerprint"])
    assert len(set(seen)) == len(seen)
    assert TokenShards(out).counts("lo")["documents"] == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


BAD = {
    "not json": (b'{"text": "a b"}\n{"text": \n', ["lo.jsonl:2", "not JSON"]),
    "not utf-8": (b'{"text": "a"}\n\n{"text": "\xff\xfe"}\n', ["lo.jsonl:3", "UTF-8"]),
    "no text": (b'{"id": "7", "body": "a"}\n', ["lo.jsonl:1", "'text'"]),
    "text is a number": (b'{"text": 7}\n', ["lo.jsonl:1", "int"]),
    "not an object": (b'["a"]\n', ["lo.jsonl:1", "list"]),
    "half a pair": (b'{"text": "a"}\n{"text": "ab\\ud83d"}\n', ["lo.jsonl:2", "character 2", "\\ud83d"]),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_name_file_and_line_and_keep_what_was_there(tmp_path, tokenizer_folder, name):
    content, words = BAD[name]
    corpus, out = write_corpus(tmp_path / "c"), tmp_path / "s"
    good = tokenize(corpus, tokenizer_folder, out, report=quiet)
    (corpus / "lo.jsonl").write_bytes(content)
    with pytest.raises(DataError) as error:
        tokenize(corpus, tokenizer_folder, out, report=quiet)
    assert all(word in str(error.value) for word in words)
    assert TokenShards(out).index == good
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "s"]


@pytest.mark.parametrize("content", [b"", b'{"text": " "}\n{"text": ""}\n'])
def test_an_emptied_language_is_said_and_left_out(tmp_path, tokenizer_folder, content):
    corpus, out, said = write_corpus(tmp_path / "c"), tmp_path / "s", []
    (corpus / "lo.jsonl").write_bytes(content)
    index = tokenize(corpus, tokenizer_folder, out, report=said.append)
    assert index["languages"].keys() == TEXTS.keys() - {"lo"}
    assert any("lo.jsonl holds no document with text: left out" in line for line in said)
    assert not list(out.glob("*/lo.*"))
    for path in corpus.iterdir():
        path.write_bytes(content)
    with pytest.raises(DataError, match="no document with text; remove the files or fill them"):
        tokenize(corpus, tokenizer_folder, out, report=quiet)
    assert TokenShards(out).index == index


def test_blank_documents_are_dropped_and_counted(tmp_path, tokenizer_folder):
    corpus = write_corpus(tmp_path / "c", {"id": ["satu dua", " \n", "tiga"]})
    index = tokenize(corpus, tokenizer_folder, tmp_path / "s", report=quiet)
    assert index["languages"]["id"]["documents"] == 2
    assert index["languages"]["id"]["dropped"] == {"empty text": 1}


def test_checkpoints_of_an_older_form_of_the_files_go_on(corpus, tokenizer_folder):
    """The fingerprint is of the tokens, not of the files around them."""
    index = json.loads((tokenizer_folder / "tokenizer_config.json").read_text())
    assert index["eos_token"] == "<|end|>"
    total = hashlib.sha256(b"[1, 0, null]")
    paths = [tokenizer_folder / "tokenizer.json", tokenizer_folder / "tokenizer_config.json"]
    for path in [*paths, *(corpus / f"{language}.jsonl" for language in sorted(TEXTS))]:
        total.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    files = {language: corpus / f"{language}.jsonl" for language in sorted(TEXTS)}
    assert fingerprint(files, tokenizer_folder, 0, None) == total.hexdigest()


def test_shards_of_another_format_say_so_and_are_made_anew(tmp_path, corpus, tokenizer_folder):
    out = tmp_path / "s"
    good = tokenize(corpus, tokenizer_folder, out, report=quiet)
    (out / "index.json").write_text(json.dumps({**good, "format": 1}))
    with pytest.raises(DataError, match=r"format 1, this version reads 2 and 3; tokenize again"):
        TokenShards(out)
    assert tokenize(corpus, tokenizer_folder, out, report=quiet) == good == TokenShards(out).index


def test_half_a_surrogate_pair_in_a_name_comes_back(tmp_path, tokenizer_folder):
    (tmp_path / "c").mkdir()
    line = b'{"text": "\xe0\xba\x81", "id": "a", "url": "x\\ud83d", "metadata": {"\xc3\xa9": "\\udc00"}}\n'
    (tmp_path / "c" / "lo.jsonl").write_bytes(line)
    tokenize(tmp_path / "c", tokenizer_folder, tmp_path / "s", report=quiet)
    span = decode_span(tmp_path / "s", "lo", 0)
    assert (span.url, span.metadata) == ("x\ud83d", {"é": "\udc00"})


def test_a_token_beyond_the_models_rows_names_token_and_document(tmp_path, corpus, tokenizer_folder):
    tokenizer = load_tokenizer(tokenizer_folder)
    ids = {
        f"{language}/{number}": tokenizer(text)["input_ids"]
        for language, texts in sorted(TEXTS.items())
        for number, text in enumerate(texts)
    }
    rows = max(map(max, ids.values()))  # one row too few for exactly the highest id in use
    first = next(name for name, tokens in ids.items() if max(tokens) == rows)
    with pytest.raises(DataError) as error:
        tokenize(corpus, tokenizer_folder, tmp_path / "s", rows=rows, report=quiet)
    assert f"document {first} " in str(error.value) and f"id {rows}," in str(error.value)
    assert repr(tokenizer.convert_ids_to_tokens(rows)) in str(error.value)
    assert not (tmp_path / "s").exists()
    tokenize(corpus, tokenizer_folder, tmp_path / "s", rows=rows + 1, report=quiet)


@pytest.mark.parametrize("file", ["thesis.txt", "index.json", "deep/er/thesis.txt"])
def test_does_not_replace_a_folder_that_is_not_its_own(tmp_path, corpus, tokenizer_folder, file):
    """Any folder with an index.json in it was taken for shards."""
    mine = tmp_path / "s" / file
    mine.parent.mkdir(parents=True)
    mine.write_text('{"years": "of work"}')
    with pytest.raises(DataError, match="was not made as token shards"):
        tokenize(corpus, tokenizer_folder, tmp_path / "s", report=quiet)
    assert mine.read_text() == '{"years": "of work"}'


@pytest.mark.parametrize("marked", [True, False])
def test_does_not_replace_shards_beside_which_something_else_was_put(tmp_path, tokenizer_folder, marked):
    """TokenShards of an older version have no mark, and their index says which files are theirs."""
    corpus, out = write_corpus(tmp_path / "c"), tmp_path / "s"
    tokenize(corpus, tokenizer_folder, out, report=quiet)
    if not marked:
        (out / ".pinisi.json").unlink()
    write_corpus(corpus, {"lo": ["ສະບາຍດີ"]})
    (out / "notes.md").write_text("years of work")
    with pytest.raises(DataError, match=r"holds notes\.md, which was not put there"):
        tokenize(corpus, tokenizer_folder, out, report=quiet)
    (out / "notes.md").unlink()
    assert list(tokenize(corpus, tokenizer_folder, out, report=quiet)["languages"]["lo"]) != []


def test_full_disk_leaves_the_older_shards(tmp_path, tokenizer_folder, monkeypatch):
    corpus, out = write_corpus(tmp_path / "c"), tmp_path / "s"
    good = tokenize(corpus, tokenizer_folder, out, report=quiet)
    write_corpus(corpus, {"lo": ["ສະບາຍດີ"]})

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "asarray", full)
    with pytest.raises(DataError, match="No space left"):
        tokenize(corpus, tokenizer_folder, out, report=quiet)
    monkeypatch.undo()
    assert TokenShards(out).index == good


def test_missing_and_torn_folders(tmp_path, tokenizer_folder):
    with pytest.raises(DataError, match="no corpus folder"):
        tokenize(tmp_path / "none", tokenizer_folder, tmp_path / "s", report=quiet)
    with pytest.raises(DataError, match="make them first: pinisi tokenize"):
        TokenShards(tmp_path)
    tokenize(write_corpus(tmp_path / "c"), tokenizer_folder, tmp_path / "s", report=quiet)
    with (tmp_path / "s" / "00000" / "id.tokens").open("r+b") as file:
        file.truncate(8)
    with pytest.raises(DataError, match=r"id\.tokens has 8 bytes"):
        TokenShards(tmp_path / "s").shard("id")
    with pytest.raises(DataError, match="no language 'xx'"):
        TokenShards(tmp_path / "s").shard("xx")


@pytest.mark.parametrize(
    "file",
    [*(f"00000/id.{end}" for end in ("tokens", "documents", "names", "name_bounds")), "tokenizer.json"],
)
def test_a_flipped_byte_of_any_file_is_named(shards_folder, tmp_path, file):
    shutil.copytree(shards_folder, tmp_path / "shards")
    assert TokenShards(tmp_path / "shards").damage() is None
    data = bytearray((tmp_path / "shards" / file).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "shards" / file).write_bytes(data)
    shards = TokenShards(tmp_path / "shards")
    assert f"{file} is damaged" in shards.damage()
    found = [shards.damage(share, 3) for share in range(3)]
    assert sum(wrong is not None for wrong in found) == 1


def test_an_index_that_was_changed_is_refused_and_one_of_before_is_read(shards_folder, tmp_path):
    shutil.copytree(shards_folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "index.json"
    index = json.loads(path.read_text())
    path.write_text(json.dumps({**index, "end_of_document": 3}))
    with pytest.raises(DataError, match=r"index\.json is damaged"):
        TokenShards(tmp_path)
    del index["files"], index["digest"]
    path.write_text(json.dumps(index))
    assert TokenShards(tmp_path).damage() is None
    path.write_text("[1]")
    with pytest.raises(DataError, match="JSON list"):
        TokenShards(tmp_path)
