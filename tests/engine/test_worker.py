"""What a worker says to a loss that can't be right."""

import pytest
import torch

from pinisi.base.errors import ConfigError
from pinisi.engine.settings import Objective
from pinisi.engine.worker import PipelineWorker
from pinisi.losses import LossValue, weighted_cross_entropy
from pinisi.losses.cross_entropy import cross_entropy_with
from pinisi.schedule import layout_of
from pinisi.vocabulary import LogProbs


def answer(of) -> LossValue:
    layout, parts = layout_of("1f1b", 1, barriers=1), None  # an answer needs none
    worker = PipelineWorker(layout, 0, parts, Objective(of), torch.device("cpu"))
    return worker.answer(LogProbs(-torch.ones(3), torch.ones(3), torch.ones(3)), torch.ones(3), {})


@pytest.mark.parametrize("name", ["e", "n", "d"])
def test_a_derivative_by_what_the_loss_does_not_read_is_refused(name):
    def loss(lp, lse, weights, *more):
        return weighted_cross_entropy(lp, lse, weights)._replace(**{name: torch.zeros_like(lp)})

    with pytest.raises(ConfigError, match=f"gives a derivative {name} "):
        answer(loss)
    assert answer(cross_entropy_with(50, label_smoothing=0.1)).e is not None


@pytest.mark.parametrize("name", ["g", "k"])
@pytest.mark.parametrize("shape", [(), (1,), (2,), (3, 1)])
def test_a_derivative_that_is_not_a_number_a_token_is_refused(name, shape):
    def loss(lp, lse, weights, *more):
        return weighted_cross_entropy(lp, lse, weights)._replace(**{name: torch.ones(shape)})

    with pytest.raises(
        ConfigError, match=rf"gives a derivative {name} of shape \[.*needed \[3\]: a number a token"
    ):
        answer(loss)
