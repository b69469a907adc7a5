"""A pipeline whose attention takes documents' bounds against one process with a dense mask."""

from __future__ import annotations

import torch

from tests.distributed.cases import Case
from tests.distributed.cases import check_cases as check
from tests.distributed.test_exactness import VALUES


def test_blocks_of_documents_equal_one_process_with_a_mask(pool):
    ways = [
        {"ranks": 2},
        {"ranks": 3, "schedule": "zb-h1", "barriers": 2},
        {"ranks": 2, "recompute": True, "tied": False},
        {"ranks": 4, "split": True, "ignored": "none"},
    ]
    cases = [
        Case(
            architecture=architecture,
            attention="blocks",
            # transformers takes gemma2's softmax in fp32 also where the model is in fp64
            dtype=torch.float32 if architecture.startswith("gemma") or at % 2 else torch.float64,
            seed=at,
            **ways[at % len(ways)],
        )
        for at, architecture in enumerate(VALUES["architecture"])
    ]
    check(pool, cases)
