"""A tokenizer that is cut to a size, held against one that was trained to it."""

import pytest

from pinisi.base.errors import DataError
from pinisi.data.vocabulary.bpe_file import read_bpe, write_bpe
from pinisi.data.vocabulary.sizes import cut_to_size
from pinisi.data.vocabulary.train import TrainOptions, train

from ...cookbook.made_models import drawn_texts, reading
from ..made_tokenizers import made

TEXTS = {language: drawn_texts(language, 60) for language in ("my", "th", "en")}


@pytest.mark.parametrize("kind", ["qwen", "llama"])
def test_it_is_the_one_that_was_trained_to_that_size(tmp_path, kind) -> None:
    base = read_bpe(made(tmp_path / "base", kind))
    large = train(base, reading(TEXTS), TrainOptions(600), report=lambda line: None)
    for where in ("memory", "file"):
        if where == "file":
            (tmp_path / "out").mkdir()
            write_bpe(large, tmp_path / "out")
            large = read_bpe(tmp_path / "out")
        for size in (400, 599):
            small, trained = (
                cut_to_size(large, size),
                train(base, reading(TEXTS), TrainOptions(size), report=lambda line: None),
            )
            assert small.size == trained.size == size
            assert small.pieces == trained.pieces
            assert [list(pair) for pair in small.merges] == [list(pair) for pair in trained.merges]
            assert small.added == trained.added
            assert small.data["post_processor"] == trained.data["post_processor"]
        assert cut_to_size(large, 600) is large


def test_another_order_and_no_room_are_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="isn't in the order of its merges"):
        cut_to_size(read_bpe(made(tmp_path / "base", "gemma")), 300)
    large = train(read_bpe(made(tmp_path / "qwen", "qwen")), reading(TEXTS), TrainOptions(500), report=print)
    with pytest.raises(DataError, match="leave no room for merges"):
        cut_to_size(large, 256)
