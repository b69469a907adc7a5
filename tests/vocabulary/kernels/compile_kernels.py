"""Compiles the kernels as their wrappers launch them, for a GPU that need not be here: python compile_kernels.py

Prints for each its name and the bytes of local memory that a thread of it uses, which is where registers spill.
"""

import re
import subprocess
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from pinisi.vocabulary.buffers import Scratch
from pinisi.vocabulary.kernels import Targets, fused
from pinisi.vocabulary.statistics import Combined
from pinisi.vocabulary.tiles import Curve


class Absent:
    """The driver of an H100 or H200 that is not here."""

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device=0):
        return 0


def compile_only(kernel, grid):
    """In place of a launch."""

    def launch(*values, **options):
        binary = kernel.run(*values, grid=grid, warmup=True, **options).asm["cubin"]
        print(kernel.__name__, local_bytes(binary), flush=True)

    return launch


def local_bytes(binary):
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        usage = subprocess.run(
            [tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    return sum(int(number) for number in re.findall(r"(?:STACK|LOCAL):(\d+)", usage))


def call_all(columns, hidden, tokens=64):
    """Every kernel with all it may be given: a soft-cap, a bias, a sum of logits, slopes."""
    z, x, weight = (
        torch.empty(n, w).bfloat16() for n, w in ((tokens, columns), (tokens, hidden), (columns, hidden))
    )
    product, gradient, vector, row = (
        torch.empty(*s) for s in ((tokens, hidden), (columns, hidden), (tokens,), (columns,))
    )
    targets, curve, scratch = Targets(torch.zeros(tokens).long(), 4096, columns), Curve(1.0, 30.0), Scratch()
    combined = Combined(vector, vector, vector, vector)
    statistics = torch.empty(3, tokens)
    fused.exponentiate_(z, z, targets, 0, statistics, vector, curve, scratch, vector, torch.empty_like(z))
    fused.exponentiate_again_(z, z, targets, 0, vector, curve, scratch, (vector, vector))
    fused.target_logits(x, weight, weight[:, 0].contiguous(), targets, statistics, curve, scratch)
    fused.combine(torch.empty(8, 4, tokens), targets)
    fused.coefficients(targets, combined, statistics, vector, 1.0, vector, vector, vector)
    fused.factor(vector, combined, vector, 1.0)
    fused.finished(product, weight, targets, vector, vector, scratch)
    fused.scaled(x, vector, scratch)
    fused.add_target_rows_(gradient, row, x, targets, vector, scratch)
    fused.add_column_sums_(row, z, vector, scratch)


if __name__ == "__main__":
    driver.set_active(Absent())
    JITFunction.__getitem__ = compile_only
    call_all(columns=fused.HELD, hidden=4096)
    call_all(columns=2 * fused.HELD, hidden=4096)
