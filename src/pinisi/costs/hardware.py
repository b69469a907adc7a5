"""Describes what a machine can do: peak rates from datasheets, and one small set of efficiencies for each kind of device."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinisi.base.errors import ConfigError
from pinisi.costs.measured import Measured

GIB = 2**30


@dataclass(frozen=True)
class Efficiency:
    """What of the peaks a training run gets: the same for every model, schedule and number of ranks.

    matrix: share of the peak matrix rate in dense products. attention: the same for attention kernels, counted as if
    every token saw every token (a causal kernel that skips half has up to twice its real share). memory: share of the
    memory's bandwidth in element-wise kernels. link: share of a link's bandwidth. kernel: seconds of a kernel's launch
    and tail. contention: by how much passes slow down where the vocabulary's collectives run beside them.
    workspace: bytes of library buffers inside the allocator. reserved: bytes outside it (context, communicators) or
    lost to fragments, which no tensor can have. source: where the numbers come from.
    """

    matrix: float
    attention: float
    memory: float
    link: float
    kernel: float
    contention: float
    workspace: float
    reserved: float
    source: str


@dataclass(frozen=True)
class Hardware:
    """One device of a cluster, a GPU unless its name begins with CPU.

    Rates per second: flops by dtype (dense), bytes of memory, bytes per direction of links.
    measured: seconds of one model's passes on it, which then stand for those counted from the rates.
    """

    name: str
    flops: dict[str, float]
    memory: float  # bytes
    bandwidth: float  # bytes / s of the device's memory
    link: float  # bytes / s to a device of the same node, one direction
    network: float  # bytes / s to a device of another node, one direction
    latency: float  # seconds of the shortest message within a node
    network_latency: float  # the same between nodes
    per_node: int  # devices of a node
    efficiency: Efficiency
    source: str
    measured: Measured | None = None

    def rate(self, dtype: str) -> float:
        """Peak matrix FLOP/s in a dtype; raises ConfigError for one that the hardware's description lacks."""
        if dtype not in self.flops:
            raise ConfigError(f"{self.name} has no rate for {dtype}: it has {', '.join(sorted(self.flops))}")
        return self.flops[dtype]

    @property
    def device(self) -> str:
        """What kind it is: "cpu" where the name begins with that, as a measured CPU's does, else "cuda"."""
        return "cpu" if self.name.lower().startswith("cpu") else "cuda"

    @property
    def usable(self) -> float:
        """Bytes that tensors can have."""
        return self.memory - self.efficiency.reserved


# Of an A100: the pass times of one 4B model on 8 devices in the artifact of arXiv 2411.05288 (its baseline's inner stages
# and last stage at four vocabularies), taken apart into products, attention and traffic as `work` counts them.
_A100 = Efficiency(
    matrix=0.75,
    attention=0.60,
    memory=0.80,
    link=0.80,
    kernel=3e-6,
    contention=0.06,
    workspace=96 * 2**20,
    reserved=2.5 * GIB,
    source="pass times and allocated memory of 8 A100 in the artifact of arXiv 2411.05288",
)
# Larger devices: the matrix share that published kernels reach in 16 bit. H100: 620 to 740 of 989 TFLOP/s in products
# and up to 740 in attention (FlashAttention-3, arXiv 2407.08608, figures 5 and 6, causal counted as half).
_HOPPER = dataclasses.replace(
    _A100,
    matrix=0.67,
    attention=0.55,
    kernel=2.5e-6,
    reserved=3 * GIB,
    source="arXiv 2407.08608, section 4, for products and attention on H100; the rest as for the A100",
)
_BLACKWELL = dataclasses.replace(
    _HOPPER, matrix=0.65, attention=0.50, source="as for the H100, lowered: no run of it was at hand"
)

_ADA = dataclasses.replace(_A100, source="as for the A100: no run of it was at hand")

PRESETS: dict[str, Hardware] = {
    "A100-80G": Hardware(
        name="A100-80G",
        flops={"float16": 312e12, "bfloat16": 312e12, "float32": 19.5e12, "float64": 19.5e12},
        memory=80 * GIB,
        bandwidth=2.039e12,
        link=300e9,
        network=25e9,
        latency=15e-6,
        network_latency=25e-6,
        per_node=8,
        efficiency=_A100,
        source="NVIDIA A100 80GB SXM datasheet; network of the DGX A100 datasheet (8 x 200 Gb/s)",
    ),
    # The 80 GB card's rates (nvidia-a100-datasheet-us-nvidia-1758950-r4-web.pdf); 5,120 bit x 2.43 Gb/s of HBM2 = 1,555 GB/s.
    # Of 600 GB/s of NVLink half is one direction's. The PCIe form has the same memory, no NVLink but a bridge, and 250 W.
    "A100-40G": Hardware(
        name="A100-40G",
        flops={"float16": 312e12, "bfloat16": 312e12, "float32": 19.5e12, "float64": 19.5e12},
        memory=40 * GIB,
        bandwidth=1.555e12,
        link=300e9,
        network=25e9,
        latency=15e-6,
        network_latency=25e-6,
        per_node=8,
        efficiency=_A100,
        source="NVIDIA A100 40GB SXM datasheet; network of the DGX A100 datasheet (8 x 200 Gb/s)",
    ),
    # No NVLink: the link is PCIe 4.0 x16, 32 GB/s in one direction, and between nodes 100 Gb/s Ethernet is assumed.
    "L40S": Hardware(
        name="L40S",
        flops={"float16": 362.05e12, "bfloat16": 362.05e12, "float32": 91.6e12, "float64": 1.43e12},
        memory=48e9,
        bandwidth=0.864e12,
        link=32e9,
        network=12.5e9,
        latency=20e-6,
        network_latency=30e-6,
        per_node=8,
        efficiency=_ADA,
        source="NVIDIA L40S datasheet (half of its figures with sparsity); links of PCIe 4.0 x16 and 100 Gb/s Ethernet",
    ),
    # 512 tensor cores x 64 x 2 x 2.52 GHz = 165.2 TFLOP/s of 16 bit with float32 sums, a half of those with 16-bit sums; measured
    # 159.7 to 165.5 in bf16 (github.com/JustAResearcher/gpu-unlock-ada). 384 bit x 21 Gb/s = 1,008 GB/s. NVIDIA's driver lets these
    # cards not read each other's memory (github.com/NVIDIA/nccl/issues/1127), so a message goes through the host's: the link's
    # rate is PCIe's, a bound that pairs of cards on one bus share.
    "RTX4090": Hardware(
        name="RTX4090",
        flops={"float16": 165.2e12, "bfloat16": 165.2e12, "float32": 82.6e12, "float64": 1.29e12},
        memory=24 * GIB,
        bandwidth=1.008e12,
        link=32e9,
        network=12.5e9,
        latency=20e-6,
        network_latency=30e-6,
        per_node=8,
        efficiency=_ADA,
        source="NVIDIA Ada GPU Architecture whitepaper, appendix A: RTX 4090, dense, float32 sums; PCIe 4.0 x16, 100 Gb/s Ethernet",
    ),
    "H100": Hardware(
        name="H100",
        flops={"float16": 989.4e12, "bfloat16": 989.4e12, "float32": 67e12, "float64": 67e12},
        memory=80 * GIB,
        bandwidth=3.35e12,
        link=450e9,
        network=50e9,
        latency=12e-6,
        network_latency=22e-6,
        per_node=8,
        efficiency=_HOPPER,
        source="NVIDIA H100 SXM datasheet; network of the DGX H100 datasheet (8 x 400 Gb/s)",
    ),
    "H200": Hardware(
        name="H200",
        flops={"float16": 989.4e12, "bfloat16": 989.4e12, "float32": 67e12, "float64": 67e12},
        memory=141e9,
        bandwidth=4.8e12,
        link=450e9,
        network=50e9,
        latency=12e-6,
        network_latency=22e-6,
        per_node=8,
        efficiency=_HOPPER,
        source="NVIDIA H200 SXM datasheet; network of the DGX H200 datasheet (8 x 400 Gb/s)",
    ),
    "B200": Hardware(
        name="B200",
        flops={"float16": 2250e12, "bfloat16": 2250e12, "float32": 75e12, "float64": 37e12},
        memory=180e9,
        bandwidth=8e12,
        link=900e9,
        network=50e9,
        latency=12e-6,
        network_latency=22e-6,
        per_node=8,
        efficiency=_BLACKWELL,
        source="NVIDIA DGX B200 datasheet (72 PFLOP/s in FP8 with sparsity, 1,440 GB, 64 TB/s, 14.4 TB/s for 8 devices)",
    ),
}


def read_hardware(source: str | Path) -> Hardware:
    """A preset by name (any case), or a TOML or JSON file with the fields of Hardware.

    In a file `like = "H100"` names a preset whose values stand for those left out, those of [efficiency] too. Raises
    ConfigError that names the file and the key.
    """
    by_name = {name.lower(): hardware for name, hardware in PRESETS.items()}
    if str(source).lower() in by_name:
        return by_name[str(source).lower()]
    path = Path(source)
    if not path.is_file():
        raise ConfigError(
            f"hardware '{source}' is neither a preset ({', '.join(PRESETS)}) nor a TOML or JSON file"
        )
    return _from_table(_read(path), path)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        table = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} can't be read as {path.suffix or 'TOML'}: {error}") from None
    if not isinstance(table, dict):
        raise ConfigError(f"{path} must hold one table of hardware")
    return table


def _from_table(table: dict[str, Any], path: Path) -> Hardware:
    like = table.pop("like", None)
    if like is not None and like not in PRESETS:
        raise ConfigError(f"{path}: like = {like!r} is no preset: choose one of {', '.join(PRESETS)}")
    base = dataclasses.asdict(PRESETS[like]) if like else {}
    efficiency = {**base.get("efficiency", {}), **_section(table, "efficiency", path)}
    flops = {**base.get("flops", {}), **_section(table, "flops", path)}
    values = {**base, "name": path.stem, "source": str(path), **table, "flops": flops}
    values["efficiency"] = _make(Efficiency, {"source": str(path), **efficiency}, path, "efficiency.")
    measured = _section(values, "measured", path) if values.get("measured") else None
    values["measured"] = None if measured is None else _measured(measured, path)
    found = _make(Hardware, values, path, "")
    for dtype, rate in flops.items():
        _positive(rate, path, f"flops.{dtype}")
    return found


def _measured(table: dict[str, Any], path: Path) -> Measured:
    lengths = {"whole_head": 3}
    for field in dataclasses.fields(Measured):
        if not field.type.startswith("tuple") or field.name not in table:
            continue
        value, length = table[field.name], lengths.get(field.name, 2)
        if not isinstance(value, list) or len(value) != length or not all(_is_time(n) for n in value):
            raise ConfigError(
                f"{path}: measured.{field.name} is {value!r}: it must be {length} numbers of seconds"
            )
        table[field.name] = tuple(value)
    return _make(Measured, table, path, "measured.")


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _section(table: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    value = table.pop(name, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {name} is {value!r}: it must be a table")
    return value


def _make(cls: Any, values: dict[str, Any], path: Path, prefix: str) -> Any:
    known = {field.name for field in dataclasses.fields(cls)}
    if unknown := sorted(set(values) - known):
        raise ConfigError(
            f"{path}: unknown key {prefix}{unknown[0]}: the keys are {', '.join(sorted(known))}"
        )
    if missing := sorted(known - set(values)):
        raise ConfigError(f"{path}: {prefix}{missing[0]} is missing: give it, or like = a preset's name")
    for field in dataclasses.fields(cls):
        if field.type in ("float", "int"):
            _positive(values[field.name], path, prefix + field.name)
    return cls(**values)


def _positive(value: object, path: Path, key: str) -> None:
    zero = key in (
        "efficiency.contention",
        "efficiency.workspace",
        "efficiency.reserved",
        "efficiency.kernel",
    )
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not (value > 0 or (zero and value == 0))
    ):
        raise ConfigError(f"{path}: {key} is {value!r}: it must be a number above 0")
