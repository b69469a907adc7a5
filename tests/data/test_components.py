"""Components of several folders, and phases that go on in each other's streams, against the streams drawn alone."""

import json
from collections import Counter

import pytest

from pinisi.base.errors import DataError
from pinisi.data import Component, Components, Sampler, TokenShards, tokenize

from .conftest import TEXTS, write_corpus
from .test_format2 import OLD, RUNS
from .test_sampler import same


@pytest.fixture(scope="module")
def books(tmp_path_factory, tokenizer_folder):
    """Another folder, with text of two of the languages."""
    folder = tmp_path_factory.mktemp("books")
    texts = {"id": [f"Bab {n}: laut dan angin." for n in range(9)], "en": ["A book.", "Of the sea."]}
    tokenize(write_corpus(folder / "c", texts), tokenizer_folder, folder / "s", report=lambda line: None)
    return folder / "s"


def components(shards_folder, books) -> list[Component]:
    return [
        Component("web-id", str(shards_folder), "id"),
        Component("web-lo", str(shards_folder), "lo"),
        Component("books-id", str(books), "id", source="books", quality="top"),
    ]


def by_component(sampler: Sampler, steps: int) -> dict[str, list[int]]:
    """Each component's tokens in the order in which they come, in steps of three microbatches."""
    names, draw = [], sampler._draw

    def spied():
        place = draw()
        names.append(place[0])
        return place

    sampler._draw = spied
    rows = [row.tolist() for _ in range(steps) for batch in sampler.step(3) for row in batch.tokens]
    pairs = list(zip(names, rows, strict=True))
    return {name: [token for n, row in pairs if n == name for token in row] for name in sampler.weights}


def stream_of(data, name: str, seed: int, tokens: int) -> list[int]:
    """A component's tokens drawn alone, one by one."""
    alone = Sampler(data, sequence=1, batch=1, seed=seed, weights={name: 1.0})
    return [int(batch.tokens[0, 0]) for batch in alone.step(tokens)]


def test_phases_see_each_text_once_an_epoch(shards_folder, books):
    """Three phases of other mixtures and lengths, one of which leaves a component out, cut the same streams up."""
    data, state = components(shards_folder, books), None
    phases = [
        (23, {"web-id": 2, "web-lo": 1, "books-id": 1}, 3),
        (61, {"web-id": 1, "books-id": 3}, 2),
        (17, {"web-id": 1, "web-lo": 1, "books-id": 1}, 5),
    ]
    seen: dict[str, list[int]] = {each.name: [] for each in data}
    for sequence, weights, steps in phases:
        sampler = Sampler(data, sequence=sequence, batch=2, seed=9, weights=weights, start=state)
        for name, tokens in by_component(sampler, steps).items():
            seen[name] += tokens
        state = json.loads(json.dumps(sampler.state()))
        assert state["components"].keys() == seen.keys() and state["sequence"] == sequence
    assert state["sequences"] == 60
    for name, tokens in seen.items():
        assert tokens == stream_of(data, name, 9, len(tokens)) and len(tokens) > 100


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_a_phase_is_resumed_exactly(shards_folder, books, steps):
    data = components(shards_folder, books)
    first = Sampler(data, sequence=40, batch=2, seed=9)
    first.step(7)

    def second() -> Sampler:
        weights = {"web-lo": 1, "books-id": 2}
        return Sampler(data, sequence=25, batch=1, seed=9, weights=weights, start=first.state())

    whole, resumed = second(), second()
    for _ in range(steps):
        whole.step(3)
    resumed.restore(json.loads(json.dumps(whole.state())))
    assert resumed.state() == whole.state() and same(resumed.step(5), whole.step(5))
    assert resumed.state()["components"]["web-id"] == first.state()["components"]["web-id"]
    with pytest.raises(DataError, match="trained with sequence 40, this run has 25"):
        whole.restore(first.state())


def test_languages_of_plain_shards_are_components_named_like_them(shards_folder):
    named = [Component(language, str(shards_folder), language) for language in TEXTS]
    drawn = [Sampler(data, sequence=31, batch=2, seed=1) for data in (shards_folder, named)]
    assert drawn[0].weights == drawn[1].weights and drawn[0].languages == drawn[1].languages
    assert same(*(sampler.step(20) for sampler in drawn)) and drawn[0].state() == drawn[1].state()


def test_microbatches_count_in_languages(shards_folder, books):
    sampler = Sampler(
        components(shards_folder, books), sequence=9, batch=2, seed=1, weights={"books-id": 1, "web-lo": 1}
    )
    assert sampler.languages == ("id", "lo") and len(sampler.components.folders) == 2
    numbers = Counter(int(row[0]) for batch in sampler.step(50) for row in batch.languages)
    assert numbers.keys() == {0, 1}


def test_a_phase_in_the_sorted_order_goes_on_in_it():
    """Of a run that began with the version before: another length and mixture, the same streams."""
    state = RUNS[0]["steps"][3]["state"]
    pieces = []
    for sequence in (37, 1):
        sampler = Sampler(OLD / "shards", sequence=sequence, batch=1, seed=11, weights={"id": 1}, start=state)
        pieces.append([t for b in sampler.step(370 // sequence) for t in b.tokens.flatten().tolist()])
        assert sampler.state()["tokens"] == {**state["tokens"], "id": state["tokens"]["id"] + 370}
    assert pieces[0] == pieces[1]


def test_other_shards_under_a_name_are_refused(shards_folder, books):
    data = components(shards_folder, books)
    state = Sampler(data, sequence=9, batch=1, seed=1).state()
    moved = [*data[:2], Component("books-id", str(shards_folder), "id")]
    ours, theirs = (TokenShards(each).fingerprint for each in (shards_folder, books))
    with pytest.raises(DataError, match=f"the data set of 'books-id', {theirs}, this run has {ours}"):
        Sampler(moved, sequence=9, batch=1, seed=1, start=state)
    Sampler(moved, sequence=9, batch=1, seed=1, start=state, weights={"web-id": 1.0})  # draws from none of it
    with pytest.raises(DataError, match="the seed 1, this run has 2"):
        Sampler(data, sequence=9, batch=1, seed=2, start=state)


def test_wrong_components(shards_folder, books):
    data = components(shards_folder, books)
    for wrong, words in (
        ([*data, data[0]], "two components have the name 'web-id'"),
        ([], "there are no components"),
        ([Component("a", str(books))], "has to say which language of .* it is: en, id"),
        ([Component("a", str(books), "lo")], "has no language 'lo'; it has en, id"),
    ):
        with pytest.raises(DataError, match=words):
            Components(wrong)
    with pytest.raises(DataError, match="no component 'web'; it has books-id, web-id, web-lo"):
        Sampler(data, sequence=9, batch=1, seed=1, weights={"web": 1.0})
