"""Label smoothing and z-loss through the engine: as one process with the whole logits has them, with every number of barriers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pinisi.models import read_spec
from tests.distributed.cases import Case, batches, engine_of, reference_gradients, reference_model
from tests.distributed.cases import check_cases as check
from tests.distributed.cases import config_of as config
from tests.effort import first


@pytest.mark.parametrize("barriers", first(2, [1, 2, 0]))
def test_one_step_with_label_smoothing_and_z_loss(pool, barriers):
    both = Case(barriers=barriers, label_smoothing=0.2, z_loss=0.05)
    check(
        pool,
        [
            both,
            replace(both, ranks=3, rows="one", dtype=torch.float32),
            replace(both, ranks=2, architecture="gemma2", rows="uneven"),  # soft-capped logits
            replace(both, ranks=3, schedule="zb-h1", tied=False, ignored="microbatch", z_loss=0.0),
            replace(both, ranks=2, architecture="llama", label_smoothing=0.0),
        ],
    )


@pytest.mark.parametrize("barriers", first(2, [1, 2, 0]))
def test_weights_agree_after_steps(pool, barriers):
    """What is summed over rows once a step must be that of the step's weights."""
    check(pool, [Case(barriers=barriers, ranks=2, steps=5, label_smoothing=0.3, z_loss=0.05)])


def cross_entropies(world, cases: list[Case]) -> list[tuple[float, float, float]]:
    """(plain cross-entropy, what is trained) of the engine, and one process' cross-entropy."""
    found = []
    for case in cases:
        if world.rank < case.ranks:
            spec = read_spec(config(case))
            engine = engine_of(case, spec, world.communicators[case.ranks])
            batch = batches(case)
            result = engine.gradients(batch)
            plain = reference_gradients(spec, reference_model(spec, case), batch, case.dtype)
            found.append((result.cross_entropy, result.loss, plain))
    return found


def test_cross_entropy_is_reported_without_the_terms(pool):
    cases = [Case(barriers=barriers, label_smoothing=0.2, z_loss=0.05) for barriers in (0, 1, 2)]
    for seen, trained, plain in pool.run("tests.distributed.test_loss_terms:cross_entropies", cases)[0]:
        assert seen == pytest.approx(plain, rel=1e-11) and trained > plain + 0.5
