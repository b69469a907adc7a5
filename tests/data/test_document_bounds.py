"""Which tokens a document begins and ends with, for tokenizers built as known ones are."""

import json

import pytest

from pinisi.base.errors import DataError
from pinisi.cli import main
from pinisi.data import (
    Sampler,
    TokenShards,
    beginning_id,
    end_of_document_id,
    eval_batches,
    load_tokenizer,
    token_id,
    tokenize,
    trace,
)

from .conftest import TEXTS, write_corpus, write_tokenizer
from .made_tokenizers import BEGINS, ENDS, KINDS, made


def quiet(line: str) -> None:
    pass


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_ends_with_the_end_of_a_text_not_of_a_turn(tmp_path, kind):
    tokenizer = load_tokenizer(made(tmp_path / "t", kind))
    assert tokenizer.eos_token != ENDS[kind]
    assert end_of_document_id(tokenizer) == tokenizer.convert_tokens_to_ids(ENDS[kind])


@pytest.mark.parametrize("eos", ["<|end_of_text|>", "<|endoftext|>", "<|im_end|>"])
def test_an_eos_token_that_ends_texts_is_taken(tmp_path, eos):
    kind = "qwen" if eos != "<|end_of_text|>" else "llama"
    tokenizer = load_tokenizer(made(tmp_path / "t", kind, eos_token=eos))
    assert end_of_document_id(tokenizer) == tokenizer.convert_tokens_to_ids(
        eos if "end_of" in eos else "<|endoftext|>"
    )


def chat_only(folder, **config):
    """Nothing but tokens of turns: the end of a text can't be told by its name."""
    from tokenizers import Tokenizer

    from .made_tokenizers import write

    tokenizer = Tokenizer.from_file(str(write_tokenizer(folder) / "tokenizer.json"))
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>", "<|stop_of_page|>", "<|end_of_page|>"])
    return write(folder, tokenizer, eos_token="<|im_end|>", **config)


def test_where_it_can_not_be_told_the_user_is_asked(tmp_path):
    tokenizer = load_tokenizer(chat_only(tmp_path / "t"))
    with pytest.raises(
        DataError, match=r"--end-of-document TOKEN; candidates: .*<\|im_end\|>.*<\|end_of_page\|>"
    ):
        end_of_document_id(tokenizer)
    template = "{{ '<|end|>' }}"
    other = write_tokenizer(tmp_path / "u")
    config = json.loads((other / "tokenizer_config.json").read_text())
    assert end_of_document_id(load_tokenizer(other)) == 0
    (other / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": template}))
    with pytest.raises(DataError, match=r"ends turns of chats with its eos_token <\|end\|>"):
        end_of_document_id(load_tokenizer(other))


def test_the_generation_config_tells_what_names_do_not(tmp_path):
    folder = chat_only(tmp_path / "t")
    ids = load_tokenizer(folder).convert_tokens_to_ids(["<|im_end|>", "<|end_of_page|>"])
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
    assert end_of_document_id(load_tokenizer(folder)) == ids[1]


def test_it_can_be_given_as_a_string_or_an_id(tmp_path, capsys):
    folder, corpus = chat_only(tmp_path / "t"), write_corpus(tmp_path / "c")
    id = load_tokenizer(folder).convert_tokens_to_ids("<|end_of_page|>")
    command = ["tokenize", str(corpus), "--tokenizer", str(folder), "--out"]
    assert main([*command, str(tmp_path / "a")]) == 2
    assert "--end-of-document TOKEN" in capsys.readouterr().err
    for number, given in enumerate(("<|end_of_page|>", str(id))):
        assert main([*command, str(tmp_path / f"b{number}"), "--end-of-document", given]) == 0
        assert TokenShards(tmp_path / f"b{number}").end_of_document == id
    assert "7" in load_tokenizer(folder).get_vocab() and token_id(load_tokenizer(folder), "7") == 7
    with pytest.raises(DataError, match=r"no token '<\|nope\|>'; candidates: .*<\|im_end\|>"):
        token_id(load_tokenizer(folder), "<|nope|>")


@pytest.mark.parametrize("kind", KINDS)
def test_each_document_begins_with_what_the_post_processor_puts_there(tmp_path, kind):
    """Exactly one, also where the text spells it; the tokens between are those of the text without."""
    texts = {"en": [*TEXTS["en"], f"{BEGINS[kind] or ''}spelled"], "lo": TEXTS["lo"]}
    folder, corpus = made(tmp_path / "t", kind), write_corpus(tmp_path / "c", texts)
    index = {how: tokenize(corpus, folder, tmp_path / how, bos=how, report=quiet) for how in ("auto", "no")}
    tokenizer = load_tokenizer(folder)
    begin = tokenizer.convert_tokens_to_ids(BEGINS[kind]) if BEGINS[kind] else None
    shards, without = TokenShards(tmp_path / "auto"), TokenShards(tmp_path / "no")
    assert (shards.bos, without.bos) == (begin, None) and index["auto"]["bos"] == begin
    for language, of in texts.items():
        tokens, bounds = shards.shard(language)
        plain, plain_bounds = without.shard(language)
        counts, fewer = shards.counts(language), without.counts(language)
        assert counts["tokens"] == len(tokens) == fewer["tokens"] + (0 if begin is None else len(of))
        assert counts["bytes"] == fewer["bytes"] == sum(len(text.encode()) for text in of)
        assert counts["predicted_bytes"] == (fewer["predicted_bytes"] if begin is None else counts["bytes"])
        for number, text in enumerate(of):
            document = tokens[bounds[number] : bounds[number + 1]].tolist()
            expected = plain[plain_bounds[number] : plain_bounds[number + 1]].tolist()
            assert document == ([] if begin is None else [begin]) + expected
            assert begin not in expected
            assert tokenizer.decode(expected[:-1], clean_up_tokenization_spaces=False) == text
    assert (index["auto"]["fingerprint"] == index["no"]["fingerprint"]) == (begin is None)


def test_bos_is_no_target_and_the_first_token_of_the_text_is_one(tmp_path):
    folder, corpus = made(tmp_path / "t", "gemma"), write_corpus(tmp_path / "c")
    tokenize(corpus, folder, tmp_path / "s", report=quiet)
    shards = TokenShards(tmp_path / "s")
    tokens, bounds = shards.shard("id")
    batches = Sampler(shards, sequence=31, batch=2, seed=1).step(9)
    held_out = eval_batches(shards, sequence=31, batch=1, language="id")
    for microbatch in batches + held_out:
        assert not (microbatch.targets == shards.bos).any()
    assert sum(microbatch.target_count for microbatch in held_out) == len(tokens) - (len(bounds) - 1)
    firsts = tokens[bounds[:-1] + 1]
    seen = [int(target) for m in held_out for target in m.targets[m.tokens == shards.bos]]
    assert seen == firsts.tolist()
    found = trace(shards, "id", 1)
    assert found.before == "<bos>" and TEXTS["id"][0].startswith(found.text)


def test_bos_is_what_is_asked_for(tmp_path):
    tokenizer = load_tokenizer(made(tmp_path / "t", "qwen", bos_token="<|im_start|>"))
    id = tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert [beginning_id(tokenizer, how) for how in ("auto", "yes", "no")] == [None, id, None]
    added = load_tokenizer(made(tmp_path / "u", "qwen", bos_token="<|im_start|>", add_bos_token=True))
    assert beginning_id(added) == id
    with pytest.raises(DataError, match="--bos yes"):
        beginning_id(load_tokenizer(made(tmp_path / "v", "qwen")), "yes")
    with pytest.raises(DataError, match="needed auto, yes or no"):
        beginning_id(added, "maybe")


def test_the_command_takes_bos(tmp_path):
    folder, corpus = made(tmp_path / "t", "llama"), write_corpus(tmp_path / "c")
    command = ["tokenize", str(corpus), "--tokenizer", str(folder), "--out", str(tmp_path / "s")]
    for how, expected in (("no", False), ("yes", True), ("auto", True)):
        assert main([*command, "--bos", how]) == 0
        assert (TokenShards(tmp_path / "s").bos is not None) == expected
