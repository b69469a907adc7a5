"""TokenShards, states and batches that the version before multi-file shards wrote: format2/ is kept as it came out of it."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from pinisi.base.errors import DataError
from pinisi.data import Microbatch, Sampler, TokenShards, decode_span, eval_batches, tokenize

OLD = Path(__file__).parent / "format2"
RUNS = json.loads((OLD / "runs.json").read_text())
NAMES = ("tokens", "targets", "documents", "positions", "languages")


def digest(batches: list[Microbatch]) -> str:
    total = hashlib.sha256()
    for microbatch in batches:
        for name in NAMES:
            total.update(getattr(microbatch, name).numpy().astype("<i8").tobytes())
    return total.hexdigest()


def made_anew(folder: Path) -> Path:
    tokenize(OLD / "text", OLD / "tokenizer", folder, report=lambda line: None)
    return folder


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("anew", [False, True])
def test_a_run_of_then_goes_on_exactly(run, anew, tmp_path):
    """From each state that it saved, on shards of then and on the same text tokenized now."""
    shards = TokenShards(made_anew(tmp_path / "s") if anew else OLD / "shards")
    for at in range(0, len(run["steps"]), 3):
        sampler = Sampler(shards, **run["settings"])
        sampler.restore(run["steps"][at]["state"])
        for step in run["steps"][at:]:
            assert sampler.state() == step["state"]
            assert digest(sampler.step(4)) == step["batches"]


def test_a_run_that_begins_now_draws_the_same_from_both(tmp_path):
    drawn = [
        Sampler(shards, sequence=29, batch=2, seed=4).step(20)
        for shards in (OLD / "shards", made_anew(tmp_path / "s"))
    ]
    assert digest(drawn[0]) == digest(drawn[1])


def test_shards_of_then_are_read(tmp_path):
    old, new = TokenShards(OLD / "shards"), TokenShards(made_anew(tmp_path / "s"))
    assert old.damage() is None and old.fingerprint == new.fingerprint and old.languages == new.languages
    for language in old.languages:
        for one, other in zip(old.shard(language), new.shard(language), strict=True):
            assert one.tolist() == other.tolist()
        for position in range(0, old.counts(language)["tokens"], 7):
            assert decode_span(old, language, position) == decode_span(new, language, position)
        one, other = (eval_batches(each, sequence=31, batch=2, language=language) for each in (old, new))
        assert digest(one) == digest(other)


def test_an_order_of_a_later_version_is_refused_by_name():
    sampler = Sampler(OLD / "shards", sequence=8, batch=1, seed=0)
    with pytest.raises(DataError, match="the order 'spiral', which this version does not know"):
        sampler.restore({**sampler.state(), "order": "spiral"})


def test_torn_shards_of_then_are_found(tmp_path):
    shutil.copytree(OLD / "shards", tmp_path / "s")
    with (tmp_path / "s" / "id.tokens").open("r+b") as file:
        file.truncate(8)
    with pytest.raises(DataError, match=r"id\.tokens has 8 bytes"):
        Sampler(tmp_path / "s", sequence=8, batch=1, seed=0)
