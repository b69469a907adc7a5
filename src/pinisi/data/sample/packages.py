"""Fetches packages of npm, pip and apt by the ordinary clients into a cache folder, and opens them as files in memory.

Nothing is installed and no archive is unpacked to disk, so no path in an archive can lead out of a folder.
"""

import io
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pinisi.base.files import cache_folder

TIMEOUT = 300  # seconds for one download
FAILURES = 2  # of a client that never worked, after which it is not asked again: no network, most likely
Report = Callable[[str], None]


class Unavailable(Exception):
    """A package cannot be had here; the message says why in one line. Never leaves the data folder."""


@dataclass(frozen=True)
class Package:
    """An archive that was fetched. kind: npm, pip or apt."""

    kind: str
    name: str
    version: str
    path: Path

    def members(self, pattern: str) -> Iterator[tuple[str, bytes]]:
        """(path, content) of the files whose whole path matches the regular expression."""
        wanted = re.compile(pattern)
        try:
            if self.kind == "pip":
                yield from zip_members(self.path.read_bytes(), wanted)
            elif self.kind == "npm":
                with tarfile.open(self.path, "r:gz") as archive:
                    yield from _tar_members(archive, wanted)
            else:
                yield from self._deb_members(wanted)
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
            self.path.unlink(missing_ok=True)  # a torn download would fail for ever
            raise Unavailable(f"{self.name} is damaged ({error}); it was removed, run again") from error

    def _deb_members(self, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
        command = ["dpkg-deb", "--fsys-tarfile", str(self.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                yield from _tar_members(archive, wanted)


def zip_members(content: bytes, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            if wanted.fullmatch(name):
                yield name, archive.read(name)


def _tar_members(archive: tarfile.TarFile, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
    for member in archive:
        name = member.name.removeprefix("./")
        if member.isfile() and wanted.fullmatch(name):
            content = archive.extractfile(member)
            assert content is not None
            yield name, content.read()


class Fetcher:
    """Fetches packages from the allowed sources ("npm", "pip", "apt"); what fails is reported once."""

    def __init__(self, cache: str | Path | None, sources: tuple[str, ...], report: Report):
        self.cache = Path(cache) if cache else cache_folder()
        self.cache.mkdir(parents=True, exist_ok=True)
        self.sources, self.report = sources, report
        self._said: set[str] = set()
        self._updated = False
        self._failures: Counter[str] = Counter()

    def get(self, kind: str, name: str, version: str = "") -> Package | None:
        """The package, or None after one line that says why not."""
        if kind not in self.sources or self._failures[kind] >= FAILURES:
            return None
        try:
            package = getattr(self, f"_{kind}")(name, version)
        except Unavailable as error:
            self._failures[kind] += 1
            if (line := f"without {kind}: {error}") not in self._said:
                self._said.add(line)
                self.report(line)
            return None
        self._failures[kind] = -1_000  # a client that works is asked for every package
        return package

    def prefetch(self, names: list[str]) -> None:
        """Downloads Debian packages in one go, which saves a second for each."""
        missing = [name for name in names if not self._cached(f"{name}_*.deb")]
        if "apt" in self.sources and self._failures["apt"] < FAILURES and missing and shutil.which("apt-get"):
            _run(["apt-get", "download", *missing], self.cache)

    def _cached(self, pattern: str) -> Path | None:
        return next(iter(sorted(self.cache.glob(pattern))), None)

    def _npm(self, name: str, version: str) -> Package:
        file = f"{name.removeprefix('@').replace('/', '-')}-{version}.tgz"
        if not (path := self.cache / file).is_file():
            _client("npm")
            command = [
                "npm",
                "pack",
                f"{name}@{version}",
                "--loglevel=error",
                "--ignore-scripts",
                "--fetch-retries=1",
            ]
            self._download(command, name, file)
        return Package("npm", name, version, path)

    def _pip(self, name: str, version: str) -> Package:
        pattern = f"{name.replace('-', '_')}-{version or '*'}-*.whl"
        if not (path := self._cached(pattern)):
            spec = f"{name}=={version}" if version else name
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += [
                "--disable-pip-version-check",
                "--retries=1",
                "--only-binary",
                ":all:",
                "--dest",
                ".",
                spec,
            ]
            path = self._download(command, name, pattern)
        return Package("pip", name, path.name.split("-")[1], path)

    def _apt(self, name: str, version: str) -> Package:
        _client("apt-get")
        _client("dpkg-deb")
        pattern = f"{name}_*.deb"
        if not (path := self._cached(pattern)):
            try:
                path = self._download(["apt-get", "download", name], name, pattern)
            except Unavailable:
                if self._updated:
                    raise
                self._updated = True  # package lists may be missing or old; updating them needs root
                _run(["apt-get", "update"], self.cache)
                path = self._download(["apt-get", "download", name], name, pattern)
        return Package("apt", name, path.name.split("_")[1].replace("%3a", ":"), path)

    def _download(self, command: list[str], name: str, pattern: str) -> Path:
        error = _run(command, self.cache)
        path = self._cached(pattern)
        if path is None:
            raise Unavailable(f"{name} could not be fetched ({error or 'the client gave no file'})")
        return path


def _client(name: str) -> None:
    if not shutil.which(name):
        raise Unavailable(f"{name} is not installed")


def _run(command: list[str], folder: Path) -> str:
    """Runs a client; returns the last line of its complaint, or nothing if it ended well."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return f"no answer in {TIMEOUT} s"
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(npm (error|ERR)|E:|ERROR)", line)]
    return ((errors or lines or [f"exit status {done.returncode}"])[-1])[:160]
