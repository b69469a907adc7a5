"""Says what each kind of fault does to a run: before it starts, or at a moment in it."""

import ctypes
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fault_runs import MARK, TRAIN, Live, Moment, processes, second_of

from pinisi.train import checkpoint


@dataclass
class Scene:
    """What a fault has to work on."""

    run: Path
    shards: Path  # this run's own copy
    arguments: list[str]  # of the command
    ranks: int
    steps: int
    moment: Moment
    rng: random.Random
    finished: Path  # a run of the same settings that nothing interrupted
    damaged: list[Path] = field(default_factory=list)  # of which a message must name one
    named: str = ""  # what else a message must name
    note: str = ""
    idle: bool = False  # the fault can't be made on this machine
    refused: bool = False  # the first start ended with another code than 0
    others: list[subprocess.Popen] = field(default_factory=list)
    kept: dict[Path, bytes | None] = field(default_factory=dict)  # files as they were

    def reached(self, live: Live) -> bool:
        return live.reach(self.moment, self.steps)

    def drawn_rank(self, live: Live) -> int | None:
        """A rank's process, waited for."""
        number = self.rng.randrange(self.ranks)
        while live.alive() and live.rank(number) is None:
            time.sleep(0.005)
        return live.rank(number)


@dataclass(frozen=True)
class Kind:
    """prepare: before the start. strike: at its moment, returns whether it did. undo: before the run is resumed. more: settings of
    the first start."""

    prepare: Callable[[Scene], None] | None = None
    strike: Callable[[Scene, Live], bool] | None = None
    undo: Callable[[Scene], None] | None = None
    more: tuple[str, ...] = ()
    torchrun: bool = False
    unprivileged: bool = False
    ends_itself: bool = False  # the first start must end whole
    told: bool = True  # a message must say what was wrong where it ends in failure


def _send(pid: int | None, number: int) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


# -- signals ---------------------------------------------------------------------------------------------------------------


def _kill_rank(scene: Scene, live: Live) -> bool:
    return scene.reached(live) and _send(scene.drawn_rank(live), signal.SIGKILL)


def _kill_launcher(scene: Scene, live: Live) -> bool:
    return scene.reached(live) and _send(live.launcher, signal.SIGKILL)


def _to_launcher(*numbers: int) -> Callable[[Scene, Live], bool]:
    def strike(scene: Scene, live: Live) -> bool:
        if not scene.reached(live):
            return False
        for number in numbers:
            _send(live.launcher, number)
            time.sleep(scene.rng.random() * 0.3)
        return True

    return strike


def _stop_rank(scene: Scene, live: Live) -> bool:
    return scene.reached(live) and _send(scene.drawn_rank(live), signal.SIGSTOP)


def _stop_and_go_on(scene: Scene, live: Live) -> bool:
    pid = scene.drawn_rank(live) if scene.reached(live) else None
    struck = _send(pid, signal.SIGSTOP)
    time.sleep(scene.rng.uniform(0.1, 2.0))
    _send(pid, signal.SIGCONT)
    return struck


def _stop_rank_and_kill_launcher(scene: Scene, live: Live) -> bool:
    if not _stop_rank(scene, live):
        return False
    time.sleep(scene.rng.random() * 0.2)
    return _send(live.launcher, signal.SIGKILL)


# -- what can't be written -------------------------------------------------------------------------------------------------


def _full_disk(scene: Scene, live: Live) -> bool:
    """A limit on the size of files stands for the disk: the same calls fail in the same places."""
    limit = int(4000 * 100 ** scene.rng.random())
    scene.note = f"{limit} bytes"
    if not scene.reached(live):
        return False
    for pid in processes(scene.run):
        try:
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, hard))
        except ProcessLookupError:
            continue
    return True


def _mount(scene: Scene, size: int, *options: str) -> bool:
    """Gives the run's folder a disk of its own; returns whether this process may."""
    settings = ",".join((*options, f"size={size}"))
    command = ["mount", "-t", "tmpfs", "-o", settings, "none", str(scene.run)]
    return subprocess.run(command, capture_output=True).returncode == 0


def _small_disk(scene: Scene) -> None:
    """Too small for the whole run, mostly; what fits decides in which phase it is full."""
    size = int(100_000 * 40 ** scene.rng.random())
    scene.run.mkdir(parents=True)
    scene.idle = not _mount(scene, size)
    scene.note = "no rights to mount" if scene.idle else f"{size} bytes"


def _larger_disk(scene: Scene) -> None:
    if not scene.idle:
        _mount(scene, 2**26, "remount")


def unmount(run: Path) -> None:
    if run.is_mount():
        subprocess.run(["umount", "--lazy", str(run)], capture_output=True)


def _read_only(scene: Scene, live: Live) -> bool:
    folder = scene.run / "checkpoints"
    if not scene.reached(live):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o555)
    return True


def _writable(scene: Scene) -> None:
    (scene.run / "checkpoints").chmod(0o755)


def drop_capabilities() -> None:
    """In a process before it starts the command: root then minds the rights of files."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


# -- damage ----------------------------------------------------------------------------------------------------------------


def _begun(scene: Scene, *, ended: bool = True) -> Path:
    """Lets the run stand as one that was killed after a drawn checkpoint, the last one too if `ended`; returns that."""
    saved = checkpoint.steps(scene.finished / "checkpoints")
    saved = saved if ended else saved[:-1]
    last = scene.rng.randrange(len(saved))
    first = max(0, last + 1 - scene.rng.randint(1, 3))
    (scene.run / "checkpoints").mkdir(parents=True)
    for _, folder in saved[first : last + 1]:
        shutil.copytree(folder, scene.run / "checkpoints" / folder.name)
    shutil.copy(scene.finished / "metrics.jsonl", scene.run)
    step, folder = saved[last]
    scene.note = f"newest of {last + 1 - first}, step {step}"
    return scene.run / "checkpoints" / folder.name


def _flipped(path: Path, rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    at, bit = rng.randrange(len(content)), rng.randrange(8)
    content[at] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {at} of {len(content)}"


def _truncated(path: Path, rng: random.Random) -> str:
    size = rng.randrange(path.stat().st_size)
    os.truncate(path, size)
    return f"{size} bytes are left"


def _zeroed(path: Path, rng: random.Random) -> str:
    if rng.random() < 0.5:
        path.write_bytes(b"")
        return "empty"
    path.write_bytes(bytes(path.stat().st_size))
    return "zeros"


def _deleted(path: Path, _: random.Random) -> str:
    path.unlink()
    return "deleted"


def _checkpoint(damage: Callable[[Path, random.Random], str], name: str) -> Callable[[Scene], None]:
    def prepare(scene: Scene) -> None:
        path = scene.rng.choice(sorted(_begun(scene).glob(name)))
        scene.damaged = [path, path.parent]
        scene.note += f", {path.name}: {damage(path, scene.rng)}"

    return prepare


def _without_damaged(scene: Scene) -> None:
    """Removes the damaged checkpoint, as the message says, where the run was refused."""
    if scene.refused:
        shutil.rmtree(scene.damaged[1], ignore_errors=True)


def _shard(scene: Scene) -> None:
    if scene.rng.random() < 0.7:
        _begun(scene, ended=False)  # a run that has ended reads no shards
    path = scene.rng.choice(sorted(p for p in scene.shards.rglob("*") if p.is_file() and p.stat().st_size))
    scene.kept = {path: path.read_bytes()}
    scene.damaged = [path]
    scene.note += f", {path.name}: {_flipped(path, scene.rng)}"


def _restored(scene: Scene) -> None:
    for path, content in scene.kept.items():
        if content is not None:
            path.write_bytes(content)


# -- the rest --------------------------------------------------------------------------------------------------------------


def _second(scene: Scene, live: Live) -> bool:
    """A second run in the folder; it is left at work when this returns. Its processes have a mark of their own: it may take
    longer to look at the folder than the first one takes to end."""
    if not scene.reached(live):
        return False
    with (scene.run.parent / "second.err").open("w") as err:
        scene.others.append(
            subprocess.Popen(
                [*TRAIN, *scene.arguments],
                stdout=subprocess.DEVNULL,
                stderr=err,
                env={**os.environ, "OMP_NUM_THREADS": "1", MARK: str(second_of(scene.run))},
                start_new_session=True,
            )
        )
    return True


def _port(scene: Scene) -> None:
    port = scene.rng.choice((-1, 0, 65536, 70000, 10**12))
    scene.arguments.append(f"runtime.port={port}")
    scene.named, scene.note = "runtime.port", str(port)


def _without_port(scene: Scene) -> None:
    scene.arguments = [a for a in scene.arguments if not a.startswith("runtime.port")]


def torchrun(ranks: int) -> list[str]:
    """The command line up to `pinisi`'s arguments, for ranks that torchrun starts, and again after a failure."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts", "2"]
    return [*launcher, "--nproc-per-node", str(ranks), "-m", "pinisi", "train"]


STUCK = ("runtime.stuck_after=5",)
KINDS = {
    "rank killed": Kind(strike=_kill_rank),
    "launcher killed": Kind(strike=_kill_launcher, told=False),
    "SIGTERM": Kind(strike=_to_launcher(signal.SIGTERM), told=False),
    "SIGINT": Kind(strike=_to_launcher(signal.SIGINT), told=False),
    "SIGTERM twice": Kind(strike=_to_launcher(signal.SIGTERM, signal.SIGTERM), told=False),
    "SIGINT twice": Kind(strike=_to_launcher(signal.SIGINT, signal.SIGINT), told=False),
    "rank stopped": Kind(strike=_stop_rank, more=STUCK),
    "rank stopped a while": Kind(strike=_stop_and_go_on, ends_itself=True),
    "rank stopped and launcher killed": Kind(strike=_stop_rank_and_kill_launcher, more=STUCK, told=False),
    "disk full": Kind(strike=_full_disk),
    "small disk": Kind(_small_disk, undo=_larger_disk),
    "checkpoint truncated": Kind(_checkpoint(_truncated, "*"), undo=_without_damaged),
    "tensors flipped": Kind(_checkpoint(_flipped, "*.safetensors"), undo=_without_damaged),
    "index flipped": Kind(_checkpoint(_flipped, "index.json"), undo=_without_damaged),
    "checkpoint zeroed": Kind(_checkpoint(_zeroed, "*"), undo=_without_damaged),
    "checkpoint deleted": Kind(_checkpoint(_deleted, "*"), undo=_without_damaged),
    "shard flipped": Kind(_shard, undo=_restored),
    "two at once": Kind(strike=_second, told=False),
    "rank of torchrun killed": Kind(strike=_kill_rank, torchrun=True, ends_itself=True),
    "read-only": Kind(strike=_read_only, undo=_writable, unprivileged=True),
    "port out of range": Kind(_port, undo=_without_port),
}
