"""A whole run with compiled layers against the same run without, through the configuration."""

from __future__ import annotations

import pytest

from pinisi import run
from tests.effort import only_full
from tests.train.test_sft import chats, model, sft, total_losses

__all__ = ["chats", "model"]  # fixtures


@only_full
@pytest.mark.parametrize("compiler", ["aot_eager", "inductor"])
@pytest.mark.parametrize("name", ["1f1b", "zb-h1"])
def test_a_run_with_compiled_layers_has_the_losses_of_one_without(model, chats, tmp_path, name, compiler):
    losses = [
        total_losses(
            run(
                sft(
                    model,
                    chats,
                    tmp_path / how,
                    pipeline={"name": name, "microbatches": 2},
                    runtime={"compile": how, "compiler": compiler},
                )
            )
        )
        for how in ("none", "layers")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-7)
    assert len(set(losses[0])) == len(losses[0])
