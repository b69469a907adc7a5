"""Evaluation batches against a walk over the documents, token by token."""

from dataclasses import fields, replace
from itertools import pairwise

import pytest
import torch

from pinisi.base.ids import IGNORE
from pinisi.data import TokenShards, eval_batches

from .conftest import TEXTS


@pytest.mark.parametrize("language", sorted(TEXTS))
@pytest.mark.parametrize("sequence,batch", [(5, 1), (23, 3), (89, 2), (1009, 1)])
def test_every_token_once(shards_folder, sequence, batch, language):
    """Pieces are read back by document number; glued together they are the documents, in order."""
    shards = TokenShards(shards_folder)
    tokens, bounds = shards.shard(language)
    documents = [tokens[a:b].tolist() for a, b in pairwise(bounds)]
    batches = eval_batches(shards, sequence=sequence, batch=batch, language=language)
    end = shards.end_of_document
    read, targets, whole = [], [], []
    for microbatch in batches:
        assert microbatch.tokens.shape == (batch, sequence)
        assert (microbatch.languages == shards.languages.index(language)).all()
        for row in range(batch):
            numbers = microbatch.documents[row]
            for number in numbers.unique().tolist():
                piece = microbatch.tokens[row][numbers == number].tolist()
                target = microbatch.targets[row][numbers == number].tolist()
                # no document is its end token alone, so after a finished one that can only be padding
                if set(piece) == {end} and read[-1] == end:
                    assert set(target) == {IGNORE} and number == numbers[-1]
                else:
                    read += piece
                    targets += target
                    whole.append(piece)
    assert read == tokens.tolist()
    assert targets == [token for document in documents for token in [*document[1:], IGNORE]]
    assert sum(microbatch.target_count for microbatch in batches) == len(tokens) - len(documents)
    for document in documents:
        if len(document) <= sequence:
            assert document in whole


def test_padding_attends_to_no_document(shards_folder):
    for microbatch in eval_batches(shards_folder, sequence=101, batch=2, language="id"):
        flat = microbatch.documents.flatten()
        assert flat[0] == 0 and (flat.diff() >= 0).all() and (flat.diff() <= 1).all()
        same = microbatch.documents[:, :, None] == microbatch.documents[:, None, :]
        end = microbatch.tokens == TokenShards(shards_folder).end_of_document
        for row in range(2):
            for place in range(100):
                # after the last end token of the row there is padding, else another document starts
                if end[row, place] and not end[row, place + 1]:
                    assert not same[row, place + 1 :, : place + 1].any()


def test_to_moves_every_field(shards_folder):
    batch = eval_batches(shards_folder, sequence=23, batch=2, language=sorted(TEXTS)[0])[0]
    assert batch.to("meta").weights is None
    data = {"old": torch.zeros(2, 23), "reference": torch.zeros(4)}
    moved = replace(batch, weights=torch.ones(2, 23), loss_data=data).to("meta")
    tensors = [getattr(moved, field.name) for field in fields(moved) if field.name != "loss_data"]
    assert all(tensor.device == torch.device("meta") for tensor in [*tensors, *moved.loss_data.values()])
    assert moved.loss_data.keys() == data.keys()
