"""TokenShards of many files against the same shards of one file a language: every number, token and name is the same."""

import itertools
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest

from pinisi.base.errors import DataError
from pinisi.data import Sampler, TokenShards, decode_span, eval_batches, trace
from pinisi.data.document_files import OpenDocumentFiles

from .conftest import TEXTS
from .test_sampler import same


def cut(whole, folder, seed):
    """Writes the shards of a folder as some files a language, cut at drawn documents; knows nothing of TokenShards."""
    index, rng = json.loads((whole / "index.json").read_text()), random.Random(seed)
    folder.mkdir()
    (folder / "tokenizer.json").write_bytes((whole / "tokenizer.json").read_bytes())
    for language, counts in index["languages"].items():
        source = f"{whole}/{counts['files'][0]['name']}"
        tokens, bounds = np.fromfile(f"{source}.tokens", "<u4"), np.fromfile(f"{source}.documents", "<i8")
        names = Path(f"{source}.names").read_bytes().splitlines(keepends=True)
        cuts = [0, *sorted(rng.sample(range(1, len(names)), rng.randrange(len(names)))), len(names)]
        counts["files"] = []
        for first, stop in itertools.pairwise(cuts):
            name = f"{rng.randrange(10**5):05}/{language}"
            (folder / name).parent.mkdir(exist_ok=True)
            tokens[bounds[first] : bounds[stop]].tofile(folder / f"{name}.tokens")
            (bounds[first : stop + 1] - bounds[first]).tofile(folder / f"{name}.documents")
            (folder / f"{name}.names").write_bytes(b"".join(names[first:stop]))
            sizes = np.cumsum([0, *map(len, names[first:stop])], dtype="<i8")
            sizes.tofile(folder / f"{name}.name_bounds")
            size = {"documents": stop - first, "tokens": int(bounds[stop] - bounds[first])}
            counts["files"].append({"name": name, **size})
    del index["files"], index["digest"]
    (folder / "index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(params=range(3))
def pair(request, shards_folder, tmp_path):
    pair = TokenShards(shards_folder), TokenShards(cut(shards_folder, tmp_path / "many", request.param))
    assert max(len(pair[1].counts(language)["files"]) for language in TEXTS) > 2
    return pair


def test_batches_are_the_same(pair):
    for sequence in (5, 61, 700):
        drawn = [Sampler(shards, sequence=sequence, batch=2, seed=3, temperature=3.0) for shards in pair]
        for _ in range(5):
            assert same(*(sampler.step(4) for sampler in drawn))
        assert drawn[0].state() == drawn[1].state()
    for language in TEXTS:
        assert same(*(eval_batches(each, sequence=31, batch=2, language=language) for each in pair))


def test_a_run_in_the_sorted_order_goes_on_the_same(pair):
    old = {"fingerprint": pair[0].fingerprint, "seed": 3, "sequence": 61, "sequences": 0, "tokens": {}}
    drawn = [Sampler(shards, sequence=61, batch=2, seed=3) for shards in pair]
    for sampler in drawn:
        sampler.restore(old)
    assert same(*(sampler.step(40) for sampler in drawn))


def test_every_position_leads_to_the_same_document(pair):
    one, many = pair
    for language in TEXTS:
        assert all(map(np.array_equal, one.shard(language), many.shard(language)))
        for position in range(one.counts(language)["tokens"]):
            assert decode_span(one, language, position) == decode_span(many, language, position)
        assert trace(one, language, 3) == trace(many, language, 3)
        with pytest.raises(DataError, match="is none"):
            decode_span(many, language, one.counts(language)["tokens"])


def test_few_files_are_open_at_once(pair):
    many = pair[1]
    many._opened = OpenDocumentFiles(3)
    before = len(os.listdir("/proc/self/fd"))
    sampler = Sampler(many, sequence=9, batch=4, seed=3, temperature=9.0)
    for _ in range(20):
        sampler.step(3)
        assert len(os.listdir("/proc/self/fd")) <= before + 3
    many._opened.close()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("name", ["../x/id", "/etc/id", "00000/../id", "00000/lo", "00000\n/id"])
def test_a_file_outside_the_parts_is_refused_by_name(pair, name):
    folder = pair[1].folder
    index = json.loads((folder / "index.json").read_text())
    index["languages"]["id"]["files"][0]["name"] = name
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError) as error:
        TokenShards(folder)
    assert repr(name) in str(error.value)


def test_a_document_without_tokens_is_damage(pair):
    many = pair[1]
    path = many.folder / f"{many.counts('id')['files'][-1]['name']}.documents"
    bounds = np.fromfile(path, "<i8")
    bounds[0] = bounds[1]
    bounds.tofile(path)
    with pytest.raises(DataError, match=rf"{path} is damaged: document \d+ has no tokens"):
        Sampler(many, sequence=700, batch=2, seed=3, weights={"id": 1}).step(4)
