"""What `pinisi bench ignored` leaves out, what its ranks find, and what it does with bad numbers."""

import json
import tempfile

import pytest
import torch

from pinisi.base.errors import ConfigError
from pinisi.base.ids import IGNORE
from pinisi.bench.ignored import main, masked
from pinisi.data.batches import Microbatch


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


def test_ranks_are_started_and_fewer_tokens_carry_fewer_bytes(tmp_path, capsys):
    file = tmp_path / "ignored.json"
    sizes = [
        "--hidden",
        "16",
        "--layers",
        "2",
        "--vocabulary",
        "96",
        "--sequence",
        "40",
        "--microbatches",
        "2",
        "--rounds",
        "1",
    ]
    assert main([*sizes, "--shares", "0.5", "--barriers", "2", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert found["setting"]["hidden"] == 16 and found["setting"]["barriers"] == 2
    assert [row["ignored"] for row in found["rows"]] == [0.0, 0.5]
    assert found["rows"][1]["head_bytes_saved"] == pytest.approx(0.5)
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_a_rank_that_fails_ends_the_bench_and_its_log_stays(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as end:
        main(
            ["--hidden", "16", "--layers", "2", "--vocabulary", "96", "--sequence", "8", "--rounds", "0"]
        )  # of no rounds there is no median
    assert end.value.code not in (0, None)
    said = capfd.readouterr().err
    assert "rank" in said and "pinisi-bench-" in said
    assert list(tmp_path.glob("pinisi-bench-*/logs/*"))


def test_no_rank_is_an_error():
    with pytest.raises(ConfigError, match="--ranks 0"):
        main(["--ranks", "0"])
