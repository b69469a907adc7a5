"""The sampler against a slow walk over tokens, and its state against an uninterrupted run."""

import itertools
import json
from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.base.errors import DataError
from pinisi.base.ids import IGNORE
from pinisi.data import Microbatch, Sampler, TokenShards, eval_batches, load_tokenizer, mixture, tokenize
from pinisi.data.permutation import Permutation

from .conftest import TEXTS, write_corpus

NAMES = [field.name for field in fields(Microbatch) if field.name not in ("weights", "loss_data")]


def same(a: list[Microbatch], b: list[Microbatch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(getattr(x, name), getattr(y, name)) for x, y in zip(a, b, strict=True) for name in NAMES
    )


def rows_by_language(
    shards: TokenShards, batches: list[Microbatch]
) -> dict[str, list[tuple[Microbatch, int]]]:
    found: dict[str, list[tuple[Microbatch, int]]] = {}
    for microbatch in batches:
        for row in range(microbatch.tokens.shape[0]):
            language = shards.languages[int(microbatch.languages[row, 0])]
            found.setdefault(language, []).append((microbatch, row))
    return found


def documents_of(shards: TokenShards, language: str) -> list[tuple[int, ...]]:
    tokens, bounds = shards.shard(language)
    return [tuple(tokens[bounds[i] : bounds[i + 1]].tolist()) for i in range(len(bounds) - 1)]


@settings(max_examples=25, deadline=None)
@given(
    sequence=st.sampled_from([1, 2, 7, 31, 101, 1009]),
    batch=st.sampled_from([1, 3]),
    seed=st.integers(-5, 2**40),
    language=st.sampled_from(sorted(TEXTS)),
)
def test_stream_holds_every_document_once_per_epoch(shards_folder, sequence, batch, seed, language):
    """Glues the rows back together token by token and cuts them at the end tokens of the known texts."""
    shards = TokenShards(shards_folder)
    sampler = Sampler(shards, sequence=sequence, batch=batch, seed=seed, weights={language: 2.0})
    size = shards.counts(language)["tokens"]
    batches = sampler.step(2 * size // (sequence * batch) + 1)
    rows = rows_by_language(shards, batches)[language]
    stream = [int(token) for microbatch, row in rows for token in microbatch.tokens[row]]
    targets = [int(token) for microbatch, row in rows for token in microbatch.targets[row]]
    end = shards.end_of_document
    for epoch in range(2):
        part = stream[epoch * size : (epoch + 1) * size]
        cuts = [0, *(i + 1 for i, token in enumerate(part) if token == end)]
        pieces = [tuple(part[a:b]) for a, b in itertools.pairwise(cuts)]
        assert sorted(pieces) == sorted(documents_of(shards, language))
    for target, (token, following) in zip(targets, itertools.pairwise(stream), strict=False):
        assert target == (IGNORE if token == end else following)
    assert sum(m.target_count for m in batches) == sum(target != IGNORE for target in targets)


@pytest.mark.parametrize("sequence,batch", [(13, 1), (29, 3), (257, 2)])
def test_fields_agree_with_each_other(shards_folder, sequence, batch):
    sampler = Sampler(shards_folder, sequence=sequence, batch=batch, seed=3, temperature=3.0)
    end = sampler.shards.end_of_document
    for microbatch in sampler.step(5):
        expected, number, places = [], 0, []
        for row in microbatch.tokens.tolist():
            for place, token in enumerate(row):
                expected.append(number)
                places.append(0 if expected[-2:-1] != [number] else places[-1] + 1)
                number += token == end or place == sequence - 1
        assert microbatch.documents.flatten().tolist() == expected
        assert microbatch.positions.flatten().tolist() == places
        assert all(len(set(row)) == 1 for row in microbatch.languages.tolist())
        assert microbatch.weights is None and not microbatch.loss_data
        for name in NAMES:
            tensor = getattr(microbatch, name)
            assert (
                tensor.shape == (batch, sequence) and tensor.dtype == torch.int64 and tensor.is_contiguous()
            )


def test_positions_run_on_through_the_row_where_that_is_asked_for(shards_folder):
    """And nothing else changes, in training and in evaluation."""
    settings = {"sequence": 29, "batch": 3}
    make = {
        how: Sampler(shards_folder, seed=3, positions=how, **settings).step(4) for how in ("row", "document")
    }
    held_out = {how: eval_batches(shards_folder, language="id", positions=how, **settings) for how in make}
    for found in (make, held_out):
        for by_row, by_document in zip(found["row"], found["document"], strict=True):
            assert by_row.positions.tolist() == [list(range(29))] * 3
            assert same([replace(by_row, positions=by_document.positions)], [by_document])
        assert not same(found["row"], found["document"])


@pytest.mark.parametrize("before", [0, 1, 5, 17])
def test_restore_goes_on_exactly(shards_folder, before):
    def make(seed: int = 11) -> Sampler:
        return Sampler(shards_folder, sequence=37, batch=3, seed=seed, temperature=2.0)

    whole = make()
    for _ in range(before):
        whole.step(4)
    state = json.loads(json.dumps(whole.state()))
    rest = [whole.step(4) for _ in range(6)]
    resumed = make()
    resumed.step(3)  # a used sampler forgets what it drew
    resumed.restore(state)
    assert all(same(resumed.step(4), batches) for batches in rest)
    assert resumed.state() == whole.state()
    assert not same(make(seed=12).step(4), make().step(4))


@pytest.mark.parametrize("data_ranks", [1, 2, 3])
def test_data_ranks_share_one_stream(shards_folder, data_ranks):
    """Dealing the one-rank stream out in turn gives what the ranks draw, and all have the same state."""
    alone = Sampler(shards_folder, sequence=23, batch=2, seed=5).step(4 * data_ranks)
    states = []
    for rank in range(data_ranks):
        sampler = Sampler(shards_folder, sequence=23, batch=2, seed=5, data_rank=rank, data_ranks=data_ranks)
        assert same(sampler.step(3) + sampler.step(1), alone[rank::data_ranks])
        states.append(sampler.state())
    assert all(state == states[0] for state in states)


def test_weights_are_respected(shards_folder):
    weights = {"id": 5.0, "lo": 3.0, "zh": 2.0, "km": 0.0}
    sampler = Sampler(shards_folder, sequence=3, batch=5, seed=1, weights=weights)
    drawn = Counter(int(row[0]) for m in sampler.step(800) for row in m.languages)
    share = {sampler.languages[number]: count / 4000 for number, count in drawn.items()}
    assert share.keys() == {"id", "lo", "zh"}
    for language, weight in weights.items():
        # 4000 draws: a standard deviation is at most .008
        assert share.get(language, 0) == pytest.approx(weight / 10, abs=0.03)


def test_temperature_evens_out(shards_folder):
    shards = TokenShards(shards_folder)
    total = sum(shards.counts(language)["tokens"] for language in shards.languages)
    plain, even = mixture(shards, None), mixture(shards, None, temperature=1e9)
    for language in shards.languages:
        assert plain[language] == pytest.approx(shards.counts(language)["tokens"] / total)
        assert even[language] == pytest.approx(1 / len(shards.languages), rel=1e-6)


def test_epochs_differ_in_order(shards_folder):
    sampler = Sampler(shards_folder, sequence=1, batch=1, seed=0, weights={"id": 1})
    size = sampler.shards.counts("id")["tokens"]
    epochs = [[int(m.tokens[0, 0]) for m in sampler.step(size)] for _ in range(4)]
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert sampler.epochs == {"id": 4.0}


@pytest.mark.parametrize(
    "weights,words",
    [
        ({"xx": 1.0}, ["xx", "ceb, en"]),
        ({"id": -1.0}, ["id", "-1.0"]),
        ({"id": float("nan")}, ["nan"]),
        ({"id": 0.0}, ["all mixture weights are 0"]),
    ],
)
def test_bad_weights(shards_folder, weights, words):
    with pytest.raises(DataError) as error:
        Sampler(shards_folder, sequence=3, batch=1, seed=0, weights=weights)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("name", ["sequence", "batch", "temperature", "data_ranks"])
def test_sizes_must_be_positive(shards_folder, name):
    with pytest.raises(DataError, match=f"{name} is 0"):
        Sampler(shards_folder, **{"sequence": 3, "batch": 1, "seed": 0, name: 0})


def test_restore_refuses_another_data_set(shards_folder, tokenizer_folder, tmp_path):
    texts = {**TEXTS, "lo": ["ເຂົ້າ"]}
    tokenize(write_corpus(tmp_path / "c", texts), tokenizer_folder, tmp_path / "s", report=lambda line: None)
    here = Sampler(shards_folder, sequence=8, batch=1, seed=0)
    other = Sampler(tmp_path / "s", sequence=8, batch=1, seed=0)
    with pytest.raises(DataError) as error:
        other.restore(here.state())
    assert here.shards.fingerprint in str(error.value) and other.shards.fingerprint in str(error.value)
    for change in ({"seed": 1}, {"sequence": 9}):
        with pytest.raises(DataError, match=next(iter(change))):
            Sampler(shards_folder, **{"sequence": 8, "batch": 1, "seed": 0, **change}).restore(here.state())


@pytest.mark.parametrize("sequence", [7, 31, 89])
def test_an_end_token_inside_a_document_ends_nothing(corpus, tokenizer_folder, tmp_path, sequence):
    """Bounds come from the index: here the end token is one that texts are full of."""
    text = load_tokenizer(tokenizer_folder)("a b", add_special_tokens=False)["input_ids"]
    space = text[1] if len(text) == 3 else text[0]
    tokenize(corpus, tokenizer_folder, tmp_path / "s", end_of_document=space, report=lambda line: None)
    shards = TokenShards(tmp_path / "s")
    tokens, bounds = shards.shard("id")
    assert (tokens == space).sum() > len(bounds) - 1  # some stand inside documents
    size = len(tokens)
    sampler = Sampler(shards, sequence=sequence, batch=2, seed=4, weights={"id": 1})
    order = Permutation(len(bounds) - 1, 4, "id", 0).at(np.arange(len(bounds) - 1))
    places = [
        (document, place, place == bounds[document + 1] - 1)
        for document in order.tolist()
        for place in range(bounds[document], bounds[document + 1])
    ]
    batches = sampler.step(size // (2 * sequence))
    rows = [(m, row) for m in batches for row in range(2)]
    assert len(rows) * sequence > size // 2
    for number, (microbatch, row) in enumerate(rows):
        here = places[number * sequence : (number + 1) * sequence]
        assert microbatch.tokens[row].tolist() == [tokens[place] for _, place, _ in here]
        assert microbatch.targets[row].tolist() == [
            IGNORE if last else tokens[place + 1] for _, place, last in here
        ]
        mine = microbatch.documents[row].tolist()
        assert [a == b for a, b in itertools.pairwise(mine)] == [
            a == b for (a, _, _), (b, _, _) in itertools.pairwise(here)
        ]
    held_out = eval_batches(shards, sequence=sequence, batch=1, language="id")
    assert sum(m.target_count for m in held_out) == size - (len(bounds) - 1)
