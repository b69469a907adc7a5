"""Token weights of several heads, and what a step's weights are divided by, token by token."""

import torch

from pinisi.base.ids import IGNORE
from pinisi.data.batches import Microbatch
from pinisi.engine.loss_inputs import flat_data, target_weights, totals
from pinisi.losses import data_names, loss_named, weighted_cross_entropy


def made(seed: int, weighted: bool = True) -> Microbatch:
    random = torch.Generator().manual_seed(seed)
    tokens, targets = (torch.randint(0, 50, (3, 7), generator=random) for _ in range(2))
    targets[torch.rand(targets.shape, generator=random) < 0.3] = IGNORE
    documents = (torch.rand((3, 7), generator=random) < 0.3).cumsum(1) + torch.tensor([[0], [10], [20]])
    weights = torch.rand((3, 7), generator=random, dtype=torch.float64) if weighted else None
    data = {"sequences": torch.randint(-1, 4, (3, 7), generator=random), "reference": torch.zeros(4)}
    return Microbatch(tokens, targets, documents, torch.arange(7).expand(3, 7), tokens * 0, weights, data)


def test_a_weight_goes_with_the_token_that_is_predicted():
    for batch in (made(0), made(1), made(2, weighted=False)):
        found = target_weights(batch, 3, torch.float64)
        for k in range(3):
            for row in range(3):
                for at in range(7):
                    inside = at + k < 7 and batch.documents[row, at] == batch.documents[row, at + k]
                    wanted = 0.0
                    if inside and batch.targets[row, at + k] != IGNORE:
                        wanted = 1.0 if batch.weights is None else float(batch.weights[row, at + k])
                    assert found[k, row, at] == wanted
        assert totals([batch], weighted_cross_entropy, 3) == found.sum((1, 2)).tolist()


def test_a_loss_that_counts_says_the_total():
    batch = [made(0), made(1), made(2, weighted=False)]
    assert abs(totals(batch, loss_named("dpo"), 1)[0] - 6.0) < 1e-12  # two pairs each


def test_values_per_token_are_compacted_and_vectors_are_not():
    batch, kept = made(0), torch.tensor([1, 4, 20])
    found = flat_data(batch, data_names(loss_named("dpo")), torch.float32, kept)
    assert found["sequences"].tolist() == batch.loss_data["sequences"].flatten()[kept].tolist()
    assert found["reference"].tolist() == [0.0] * 4 and found["reference"].dtype is torch.float32
