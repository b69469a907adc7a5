"""T makes again what S did not keep, through the engine: as one process with the whole logits has it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.distributed.cases import Case, check_cases


@pytest.mark.parametrize("barriers", [1, 2])
def test_one_step_with_logits_made_again(pool, barriers):
    again = Case(barriers=barriers, head_budget=0)
    check_cases(
        pool,
        [
            again,
            replace(again, ranks=3, rows="one", dtype=torch.float32, head_budget=2**16),
            replace(again, ranks=2, architecture="gemma2", rows="uneven", label_smoothing=0.2, z_loss=0.05),
            replace(again, ranks=3, schedule="zb-h1", tied=False, ignored="microbatch", vocabulary=1409),
        ],
    )
