"""A device that computes nothing: one rank of a pipeline runs the real engine on it, and what a GPU would refuse is an error.

Tensors of the host are real, since sizes follow from them; tensors of the device are torch's fake ones, which have a shape, a
dtype and a device. Messages go to torch's fake process group. `install` changes torch for the whole process, so whoever uses
this starts one for it (see `pretend_ranks`).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.testing._internal.distributed.fake_pg import FakeStore, _create_fake_pg
from torch.utils import _pytree as pytree
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

import pinisi

NAME = "pretend"
DEVICE = torch.device("cpu")  # until `install`, which knows its name
aten = torch.ops.aten
PACKAGE = Path(pinisi.__file__).parent

# Where the host may read the device: at a step's end, and before a step the sums over replicas.
READS = {("engine/engine.py", "_result"), ("engine/engine.py", "_totals")}
# Where it may wait for it: before and after the step whose passes are timed.
WAITS = {("engine/executor.py", "__init__"), ("engine/executor.py", "spans")}


class HostReads(AssertionError):
    """The host reads the device, or waits for it, inside a step."""


class OtherDevice(AssertionError):
    """Tensors of the host and of the device meet, or a pass makes one where it should not be."""


def _innermost() -> FrameType | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE) and path.name != "devices.py":
            return frame
        frame = frame.f_back
    return None


def place() -> str:
    """Returns the innermost line of Pinisi's that is at work, such as "engine/worker.py:120 (_forward)"."""
    frame = _innermost()
    if frame is None:
        return "a backward pass of torch's own"
    path = Path(frame.f_code.co_filename).relative_to(PACKAGE)
    return f"{path}:{frame.f_lineno} ({frame.f_code.co_name})"


def _is_in(places: set[tuple[str, str]]) -> bool:
    frame = _innermost()
    if frame is None:
        return False
    path = Path(frame.f_code.co_filename).relative_to(PACKAGE)
    return (str(path), frame.f_code.co_name) in places


def _in_a_pass() -> bool:
    """Whether an instruction of a program is at work."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "do" and frame.f_code.co_filename.endswith("engine/executor.py"):
            return True
        frame = frame.f_back
    return False


def _keeps_random_numbers() -> bool:
    """Whether torch's own checkpointing, which sets torch's random numbers back, is at work itself."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename == torch.random.__file__


class PretendMode(TorchDispatchMode):
    """Runs what touches the device with fake tensors, all else for real."""

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeTensorMode()
        self.operations = 0  # of the device

    def __enter__(self) -> PretendMode:
        self._lifts = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=...) begins on the host
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch._C._set_only_lift_cpu_tensors(self._lifts)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.prim.device.default:
            return args[0].fake_device if isinstance(args[0], FakeTensor) else func(*args)
        kwargs = kwargs or {}
        if func is aten.is_pinned.default:
            return False
        if func is aten._pin_memory.default:
            return args[0].clone()
        tensors = list(_tensors(args)) + list(_tensors(kwargs.values()))
        device = kwargs.get("device")
        there = device is not None and torch.device(device).type == NAME
        if not there and not any(isinstance(x, FakeTensor) for x in tensors):
            return self._on_the_host(func, tensors, args, kwargs)
        self.operations += 1
        if not all(isinstance(x, FakeTensor) for x in tensors):
            self._check(func, tensors, there)
            args, kwargs = pytree.tree_map_only(torch.Tensor, self._faked, (args, kwargs))
        if _reads(func, tensors, device):
            return self._read(func, tensors)
        return self._pretend(func, types, args, kwargs)

    def _on_the_host(self, func: Any, tensors: list[torch.Tensor], args: Any, kwargs: Any) -> Any:
        found = func(*args, **kwargs)
        made = isinstance(found, torch.Tensor) and found.dim() and not tensors
        if made and _in_a_pass() and not _keeps_random_numbers():
            raise OtherDevice(
                f"{place()}: a pass makes {list(found.shape)} numbers on {found.device} ({func})"
            )
        return found

    def _faked(self, tensor: torch.Tensor) -> FakeTensor:
        return tensor if isinstance(tensor, FakeTensor) else self.fake.from_tensor(tensor)

    def _check(self, func: Any, tensors: list[torch.Tensor], there: bool) -> None:
        """Raises OtherDevice where tensors of the host come in, but for copies to the device and single numbers."""
        real = [x for x in tensors if not isinstance(x, FakeTensor) and x.dim()]
        copies = (func is aten._to_copy.default and there) or func is aten.copy_.default
        if real and not copies:
            raise OtherDevice(f"{place()}: {func} of tensors on {sorted({str(x.device) for x in tensors})}")
        if real and _in_a_pass():
            raise OtherDevice(
                f"{place()}: a pass copies {list(real[0].shape)} numbers between host and device"
            )

    def _read(self, func: Any, tensors: list[torch.Tensor]) -> Any:
        """Some number, where the host may read."""
        if not _is_in(READS):
            raise HostReads(f"{place()}: {func} reads the device")
        if func is aten._local_scalar_dense.default:
            return 1.0 if tensors[0].is_floating_point() else 1
        found = torch.ones(tensors[-1].shape, dtype=tensors[-1].dtype)
        return tensors[0].copy_(found) if func is aten.copy_.default else found

    def _pretend(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        try:
            found = self.fake.__torch_dispatch__(func, types, args, kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise HostReads(f"{place()}: {func} reads the device") from error
        for x in _tensors((found,)):
            if isinstance(x, FakeTensor) and x.fake_device.type != NAME:
                raise OtherDevice(f"{place()}: {func} of tensors of the device makes one on {x.fake_device}")
        return found


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _reads(func: Any, tensors: list[torch.Tensor], device: Any) -> bool:
    """Whether an operation copies from the device to the host."""
    if func is aten._local_scalar_dense.default:
        return True
    if func is aten.copy_.default:
        return not isinstance(tensors[0], FakeTensor)
    leaves = device is not None and torch.device(device).type != NAME
    return func is aten._to_copy.default and leaves and isinstance(tensors[0], FakeTensor)


class PretendStream:
    """Stands in for a stream; the host gives all in one order, so that nothing has to wait."""

    def __init__(self, device: Any = None, **_: Any):
        self.device = device

    def wait_stream(self, other: PretendStream) -> None:
        """Waits for nothing."""


class PretendEvent:
    """Stands in for an event; its time is the number of events recorded before."""

    recorded = 0

    def __init__(self, enable_timing: bool = False):
        self.at: int | None = None

    def record(self, stream: Any = None) -> None:
        PretendEvent.recorded += 1
        self.at = PretendEvent.recorded

    def wait(self, stream: Any = None) -> None:
        assert self.at is not None, f"{place()} waits for an event that was never recorded"

    def elapsed_time(self, other: PretendEvent) -> float:
        assert self.at is not None and other.at is not None
        return float(other.at - self.at)


class PretendModule(backend_registration._DummyBackendModule):
    """What torch.cuda is for GPUs, of this device."""

    Stream, Event = PretendStream, PretendEvent

    def __init__(self) -> None:
        self._streams = [PretendStream()]

    def current_stream(self, device: Any = None) -> PretendStream:
        return self._streams[-1]

    @contextlib.contextmanager
    def stream(self, stream: PretendStream) -> Iterator[None]:
        self._streams.append(stream)
        yield
        self._streams.pop()

    def synchronize(self, device: Any = None) -> None:
        if not _is_in(WAITS):
            raise HostReads(f"{place()}: the host waits for the device")

    @contextlib.contextmanager
    def device(self, device: Any) -> Iterator[None]:
        yield

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        return torch.zeros(16, dtype=torch.uint8)

    def set_rng_state(self, state: torch.Tensor, device: Any = None) -> None:
        assert state.shape == (16,)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float32, torch.bfloat16, torch.float16]


def install() -> None:
    """Makes this process know the device and its process group."""
    global DEVICE
    backend_registration._setup_privateuseone_for_python_backend(rename=NAME, backend_module=PretendModule())
    dist.Backend.register_backend("pretending", _create_fake_pg, extended_api=True, devices=["cpu", NAME])
    DEVICE = torch.device(NAME, 0)


@contextlib.contextmanager
def pretend_rank(rank: int, ranks: int) -> Iterator[PretendMode]:
    """Makes this process one rank of several that aren't there."""
    dist.init_process_group("pretending", rank=rank, world_size=ranks, store=FakeStore())
    try:
        with PretendMode() as mode:
            yield mode
    finally:
        dist.destroy_process_group()
