"""What a worker says to a loss that can't be right."""

import pytest
import torch

from pinisi.engine.worker import PipelineWorker
from pinisi.errors import ConfigError
from pinisi.schedule import layout_of
from pinisi.vocabulary import LogProbs, LossValue, weighted_cross_entropy
from pinisi.vocabulary.losses import cross_entropy_with


@pytest.mark.parametrize("name", ["e", "n", "d"])
def test_a_derivative_by_what_the_loss_does_not_read_is_refused(name):
    def loss(lp, lse, weights, *more):
        return weighted_cross_entropy(lp, lse, weights)._replace(**{name: torch.zeros_like(lp)})

    def answer(of) -> LossValue:
        worker = PipelineWorker(layout_of("1f1b", 1, barriers=1), 0, of, 1, torch.device("cpu"))
        return worker.answer(LogProbs(-torch.ones(3), torch.ones(3), torch.ones(3)), torch.ones(3), {})

    with pytest.raises(ConfigError, match=f"gives a derivative {name} "):
        answer(loss)
    assert answer(cross_entropy_with(50, label_smoothing=0.1)).e is not None
