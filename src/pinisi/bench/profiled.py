"""Makes the hardware that a plan takes of what `profile` has measured, and says it in a few lines."""

from __future__ import annotations

import os
from typing import Any

import torch

from pinisi.costs import PRESETS, Efficiency, Hardware, Measured, Setting, model_name, shape_of
from pinisi.models import ModelSpec

_LINKS = {"cpu": (2e9, 50e-6, 1.25e9, 100e-6)}


def device_name(cuda: bool) -> str:
    return torch.cuda.get_device_name() if cuda else "CPU"


def hardware_of(
    spec: ModelSpec, setting: Setting, found: dict[str, Any], processes: int, devices: int
) -> Hardware:
    cuda = torch.cuda.is_available()
    name = device_name(cuda)
    known = next((h for key, h in PRESETS.items() if key.split("-")[0] in name), PRESETS["H100"])
    default = (known.link, known.latency, known.network, known.network_latency) if cuda else _LINKS["cpu"]
    link, latency, network, network_latency = default
    links = found["links"]
    if links:
        link, latency = links["rate"], links["latency"]
    measured: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in found.items() if k in _FIGURES
    }
    of: dict[str, Any] = {
        "model": model_name(shape_of(spec)),
        "ring": links.get("ring", link),
        **{k: getattr(setting, k) for k in ("sequence", "microbatch", "dtype")},
    }
    return Hardware(
        name=f"{name}, measured",
        flops=known.flops if cuda and known.name.split("-")[0] in name else {setting.dtype: found["matrix"]},
        memory=float(_memory() / (1 if cuda else devices)),
        bandwidth=found["copy"],
        link=link,
        network=network,
        latency=latency,
        network_latency=network_latency,
        per_node=devices,
        efficiency=Efficiency(
            matrix=1.0,
            attention=1.0,
            memory=1.0,
            link=1.0,
            kernel=0.0,
            contention=0.0,
            workspace=96 * 2**20 if cuda else 0.0,
            reserved=3 * 2**30 if cuda else 2**29,
            source="rates as they were measured",
        ),
        source=f"passes{' and links' if links else ''} measured with {processes} processes; "
        + ("links between machines" if links else "links")
        + " are defaults",
        measured=Measured(**{**of, **measured}),
    )


_FIGURES = frozenset(Measured.__dataclass_fields__)


def _memory() -> int:
    """Bytes of a GPU, or of this machine."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_properties(0).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def summary(hardware: Hardware, rows: int) -> list[str]:
    """What was measured, for a reader."""
    m = hardware.measured
    assert m is not None

    def ms(seconds: float) -> str:
        return f"{1e3 * seconds:.3g}"

    layer = ", ".join(
        f"{k} {ms(pair[1])}" for k, pair in zip("FBW", (m.forward, m.backward, m.weight), strict=True)
    )
    shards = "; ".join(
        f"{b} barrier{'s' * (b > 1)} S {ms(s[0] + rows * s[1])}, T {ms(t[0] + rows * t[1])}"
        for b, (s, t) in ((b, m.passes(b)) for b in (1, 2))
    )
    head = ", ".join(f"{k} {ms(n)}" for k, n in zip("FB", m.whole_head, strict=False))
    return [
        f"measured: {hardware.name}; {hardware.source}",
        f"  ms a microbatch of {m.microbatch} x {m.sequence} tokens in {m.dtype}: layer {layer}",
        f"  {rows:,} rows of the head: {shards}; undivided head {head}",
        f"  optimizer {1e9 * m.update:.3g} ns a parameter; link {hardware.link / 1e9:.3g} GB/s, "
        f"{1e6 * hardware.latency:.3g} us; all-reduce {m.ring / 1e9:.3g} GB/s",
    ]
