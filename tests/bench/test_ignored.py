"""What `pinisi bench ignored` leaves out, and what it does with bad numbers."""

import pytest
import torch

from pinisi.bench.ignored import main, masked
from pinisi.data.batches import IGNORE, Microbatch
from pinisi.errors import ConfigError


def test_the_share_asked_for_is_ignored_and_nothing_else_changes():
    tokens = torch.arange(2 * 50).view(2, 50)
    batch = [Microbatch(tokens, tokens + 1, *(torch.zeros_like(tokens) for _ in range(3)))]
    (found,) = masked(batch, 0.8)
    assert found.target_count == 20
    assert torch.equal(found.tokens, tokens)
    kept = found.targets != IGNORE
    assert torch.equal(found.targets[kept], (tokens + 1)[kept])
    assert batch[0].target_count == 100


@pytest.mark.parametrize("shares", ["1.0", "-0.1", "half"])
def test_a_share_that_leaves_nothing_is_an_error(shares, capsys):
    with pytest.raises(SystemExit):
        main(["--shares", shares])
    assert f"--shares {shares}" in capsys.readouterr().err


def test_no_rank_is_an_error():
    with pytest.raises(ConfigError, match="--ranks 0"):
        main(["--ranks", "0"])
