"""benchmarks/gpu.py, by which all is measured where there is a GPU, runs on a CPU; what it finds there is right."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "gpu.py"


def test_it_runs_to_its_end_and_ours_is_no_worse_than_torch(tmp_path):
    out = tmp_path / "gpu.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--device", "cpu", "--small", "--json", str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads(out.read_text())["rows"]
    assert {row["what"] for row in rows} == {"errors", "kernel", "shard", "step"}
    assert all(row["no_worse"] for row in rows if row["what"] == "errors")
    steps = [row for row in rows if row["what"] == "step" and row["dtype"] == "torch.float32"]
    assert steps and all(row["gradient_difference"] < 1e-5 for row in steps)
