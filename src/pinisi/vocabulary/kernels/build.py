"""Compiles `native.cpp` by this machine's C++ compiler when it is needed first, then keeps it in the user's cache. The
environment's CXX and CXXFLAGS are heeded."""

import ctypes
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path

from pinisi.base.errors import ConfigError
from pinisi.base.files import cache_folder

SOURCE = Path(__file__).with_name("native.cpp")
# -ffast-math is not among them: NaN and infinities must show, and it would change how the whole process rounds small numbers.
FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
    *("-fPIC", "-shared", "-fno-exceptions", "-fno-rtti"),
)
# The second for a compiler that has no OpenMP library (clang's is a package of its own): the lanes of a vector still share a sum,
# which is worth digits too, but one thread does all.
THREADS = ("-fopenmp", "-fopenmp-simd")
COMPILERS = ("c++", "g++", "clang++")
TIMEOUT = 120  # seconds; it takes two


def compiler() -> str | None:
    """The environment's CXX, or the first one that is found; Linux only."""
    if not sys.platform.startswith("linux"):
        return None
    named = os.environ.get("CXX")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, COMPILERS)), None)


@cache
def library() -> ctypes.CDLL | None:
    """None, with a warning, where it can't be compiled; None where there is no compiler."""
    try:
        return load()
    except ConfigError as error:
        if compiler() is not None:
            warnings.warn(
                f"{error} Until then torch's own operations are used, which are slower.", stacklevel=2
            )
        return None


@cache
def load() -> ctypes.CDLL:
    """ConfigError where there is no compiler or it fails."""
    found = compiler()
    if found is None:
        raise ConfigError(
            "The native kernels need a C++ compiler on Linux, and none was found; install g++ (apt install g++) or set CXX."
        )
    try:
        try:
            return ctypes.CDLL(str(_cached(found)))
        except OSError:  # not a library, or of a machine that has one which this one lacks
            return ctypes.CDLL(str(_cached(found, anew=True)))
    except (OSError, RuntimeError) as error:  # the latter of a user without a home
        raise ConfigError(
            f"The native kernels could not be kept in the user's cache: {error}; "
            "make that folder writable or set XDG_CACHE_HOME."
        ) from error


def folder() -> Path:
    return cache_folder() / "kernels"


def _cached(found: str, *, anew: bool = False) -> Path:
    """The library's path, compiled if it is not there. Its name tells all that it depends on: a home folder may serve machines of
    several kinds, and -march=native is for this one. anew: compiled in any case, in the place of the one that is there."""
    command = [found, *FLAGS, *os.environ.get("CXXFLAGS", "").split(), str(SOURCE)]
    told = "\0".join(
        [
            SOURCE.read_text("utf-8"),
            *command[:-1],
            *THREADS,
            *_identity(Path(found).resolve()),
            platform.machine(),
            *platform.libc_ver(),
            _features(),
        ]
    )
    path = _own_folder() / f"{hashlib.sha256(told.encode()).hexdigest()[:24]}.so"
    if not anew and _trusted(path):
        return path
    with open(path.with_suffix(".lock"), "w") as lock:  # one of a machine's ranks compiles, the others wait
        fcntl.flock(lock, fcntl.LOCK_EX)
        if anew or not _trusted(path):
            _compile(command, path)
    return path


def _own_folder() -> Path:
    """The cache's folder, made if it is not there. Raises ConfigError where somebody else could put a library into it."""
    path = folder()
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with suppress(
        OSError
    ):  # a umask may have let the group in, who could put another folder in this one's place
        path.parent.chmod(path.parent.stat().st_mode & 0o755)
    path.mkdir(mode=0o700, exist_ok=True)
    if stranger := _stranger(path):
        raise ConfigError(
            f"The native kernels are run from {path}, which {stranger}: remove it, or set XDG_CACHE_HOME to a folder of your own."
        )
    return path


def _trusted(path: Path) -> bool:
    """Whether the library is there and nobody but this user or root can have written it."""
    return path.exists() and not _stranger(path)


def _stranger(path: Path) -> str:
    """What lets others than this user and root write to `path`; empty if nothing does."""
    found = path.stat()
    if found.st_uid not in (0, os.getuid()):
        return f"belongs to user {found.st_uid}"
    if found.st_mode & 0o022:
        return f"can be written by others (mode {found.st_mode & 0o777:o})"
    return ""


def _compile(command: list[str], path: Path) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    failed = []
    try:
        for threads in THREADS:
            # Before CXXFLAGS, which may undo it.
            line = [command[0], threads, *command[1:], "-o", str(partial)]
            done = subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT)
            if done.returncode == 0:
                partial.chmod(0o755)  # whatever the umask allows others
                partial.replace(path)
                break
            failed.append(_first_error(done.stderr))
        else:
            raise ConfigError(
                f"{command[0]} could not compile the native kernels: {failed[0]}; set CXX to another compiler, or "
                "PINISI_KERNELS=torch."
            )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"{command[0]} took more than {TIMEOUT} s to compile the native kernels; try again."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    if failed:
        warnings.warn(
            f"{command[0]} compiled the native kernels for one thread ({failed[0]}). For more install its OpenMP library (apt "
            f"install libomp-dev) and delete {path}.",
            stacklevel=2,
        )


def _first_error(printed: str) -> str:
    lines = printed.strip().splitlines() or ["it said nothing"]
    told = (line for word in ("cannot find", "error") for line in lines if word in line)
    return next(told, lines[0])  # the linker's own line says more than the compiler's of it


def _identity(program: Path) -> list[str]:
    """A compiler at the same path may be another one, on another machine or after an upgrade; to ask it would take a process."""
    file = program.stat()
    return [str(program), str(file.st_size), str(file.st_mtime_ns)]


def _features() -> str:
    """What this processor knows, which -march=native reads."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    wanted = ("flags", "Features", "cpu family", "model\t", "CPU part")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))
