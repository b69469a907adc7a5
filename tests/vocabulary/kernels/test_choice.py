"""Which kernels are chosen, and that nobody pays for those that are not."""

import os
import subprocess
import sys
from importlib import import_module

import pytest
import torch

from pinisi.base.errors import ConfigError
from pinisi.vocabulary.kernels import kernels_for, reference, use

from .compilers import compiler

ON_CPU = torch.zeros(2, dtype=torch.bfloat16)


def test_a_cpu_gets_native_ones_in_the_dtypes_that_they_have():
    compiler()
    native = import_module("pinisi.vocabulary.kernels.native")
    for dtype in (torch.float32, torch.bfloat16):
        assert kernels_for(torch.zeros(2, dtype=dtype)) is native
    for dtype in (torch.float16, torch.float64):
        assert kernels_for(torch.zeros(2, dtype=dtype)) is reference


def test_others_by_choice_and_only_within_it():
    fused, before = pytest.importorskip("pinisi.vocabulary.kernels.fused"), kernels_for(ON_CPU)
    with use("triton"):
        assert kernels_for(ON_CPU) is fused
        with use("torch"):
            assert kernels_for(ON_CPU) is reference
        assert kernels_for(ON_CPU) is fused
    assert kernels_for(ON_CPU) is before


def test_a_gpu_gets_tritons_kernels_unless_the_order_of_sums_is_to_be_fixed(monkeypatch):
    fused = pytest.importorskip("pinisi.vocabulary.kernels.fused")

    class OnGpu:
        device, dtype = torch.device("cuda"), torch.bfloat16

    class InFp64(OnGpu):
        dtype = torch.float64

    assert kernels_for(OnGpu()) is fused
    assert kernels_for(InFp64()) is reference
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert kernels_for(OnGpu()) is reference


def test_what_is_not_there_is_named():
    with pytest.raises(ConfigError, match='Kernels are torch, native or triton, got "cuda"'), use("cuda"):
        pass
    pytest.importorskip("triton")
    with use("triton"), pytest.raises(ConfigError, match="float64, which they do not have"):
        kernels_for(torch.zeros(2, dtype=torch.float64))


def test_a_cpu_has_no_triton_kernels_but_interpreted_ones():
    """In processes of their own, since this one interprets them."""
    pytest.importorskip("triton")
    run = (
        "import os, torch\n"
        "for kernels in ('', 'torch', 'fast', 'triton'):\n"
        "  if child := os.fork():\n"
        "    os.waitpid(child, 0)\n"
        "    continue\n"
        "  os.environ.update({'PINISI_KERNELS': kernels} if kernels else {})\n"
        "  from pinisi.vocabulary import HeadShard\n"
        "  try: said = len(HeadShard(torch.randn(5, 4), torch.zeros(5, 4), 0).s(torch.randn(3, 4), torch.arange(3)).tiles)\n"
        "  except Exception as error: said = f'{type(error).__name__} {error}'\n"
        "  print(said, flush=True)\n"
        "  os._exit(0)"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("TRITON_INTERPRET", "PINISI_KERNELS")}
    command = [sys.executable, "-c", run]
    done = subprocess.run(command, env=environment, timeout=300, capture_output=True, text=True, check=True)
    by_default, torchs, unknown, tritons = done.stdout.splitlines()
    assert by_default == torchs == "1"
    assert unknown.startswith("ConfigError") and 'torch, native or triton, got "fast"' in unknown
    assert tritons.startswith("ConfigError") and tritons.count("PINISI_KERNELS") == 2
    assert "TRITON_INTERPRET=1" in tritons and 'choose "torch"' in tritons


@pytest.mark.parametrize(
    "value,known", [("1", True), ("True", True), ("on", True), ("0", False), (None, False)]
)
def test_the_interpreter_is_known_by_its_variable(monkeypatch, value, known):
    fused = pytest.importorskip("pinisi.vocabulary.kernels.fused")
    monkeypatch.delenv("TRITON_INTERPRET") if value is None else monkeypatch.setenv("TRITON_INTERPRET", value)
    with use("triton"):
        if known:
            assert kernels_for(ON_CPU) is fused
        else:
            with pytest.raises(ConfigError, match="on a CPU"):
                kernels_for(ON_CPU)


def test_a_machine_without_triton_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr("pinisi.vocabulary.kernels._has_triton", lambda: False)
    with pytest.raises(ConfigError, match=r'pip install "pinisi\[triton\]"'), use("triton"):
        pass


def test_native_kernels_are_for_a_cpu_in_fp32_and_bf16():
    compiler()

    class OnGpu:
        device, dtype = torch.device("cuda"), torch.bfloat16

    with use("native"):
        with pytest.raises(ConfigError, match="on a GPU and they are for a CPU"):
            kernels_for(OnGpu())
        with pytest.raises(ConfigError, match="float16, which they do not have: use float32, bfloat16"):
            kernels_for(torch.zeros(2, dtype=torch.float16))


def test_triton_is_imported_only_when_it_is_used():
    run = "import sys, pinisi.vocabulary; sys.exit('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", run], timeout=300).returncode == 0
