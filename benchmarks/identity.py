"""Shows whether a checkout computes bit for bit what another one did: shards, curated documents, losses, weights.

    python benchmarks/identity.py [--source FOLDER] --json FILE                 # write down what this code does
    python benchmarks/identity.py [--source FOLDER] --against FILE [--json FILE]  # compare; exit code 1 if anything differs

A small project is made from fixed seeds and run by the command line only: tokenize, curate, and train and export for three
settings that share little, one of which is killed and goes on. So the same script judges any checkout, whatever its modules are
called. FOLDER is the checkout's src, that beside this file if left out. Losses are those of one processor and one torch: both
stand in the file, and where they differ from those here the comparison says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import identity_digests as digests
import identity_project as project
from identity_project import SETTINGS, Setting

OWN_SOURCE = Path(__file__).resolve().parent.parent / "src"
PACKAGES = ("torch", "transformers", "tokenizers", "numpy")
LIMIT = 300.0  # seconds for one command
RENAMED = re.compile(r"there is no '([\w.]+)' any more; use '([\w.]+)'")  # what a checkout says of an old key


class Checkout:
    """Runs a checkout's commands in a project's folder."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.folder = folder
        paths = [str(source), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONDONTWRITEBYTECODE": "1",  # nothing is written into the checkout
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "HF_HUB_OFFLINE": "1",
        }

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "pinisi", *arguments],
                cwd=self.folder,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def run(self, *arguments: str) -> None:
        """Raises SystemExit with the end of the log if the command fails."""
        if code := ended(self.start(*arguments)):
            raise self.failed(code, *arguments)

    def failed(self, code: int, *arguments: str) -> SystemExit:
        told = "\n".join(self.log()[-20:])
        return SystemExit(f"error: pinisi {' '.join(arguments)} ended with {code}\n{told}")

    def log(self) -> list[str]:
        return (self.folder / "log.txt").read_text(errors="replace").splitlines()


def ended(process: subprocess.Popen[bytes], enough: Callable[[], bool] = lambda: False) -> int:
    """Waits for a command's end, or kills it when `enough` says so or its time is over; returns its code."""
    end = time.monotonic() + LIMIT
    while process.poll() is None:
        if enough() or time.monotonic() > end:
            process.kill()
        time.sleep(0.002)
    return process.returncode


def observed(source: Path, folder: Path) -> dict[str, Any]:
    """Makes the project in `folder`, runs all of it, and returns what is compared."""
    checkout = Checkout(source, folder)
    project.make(folder)
    found: dict[str, Any] = {
        "inputs": {name: digests.of_folder(folder / name) for name in ("text", "tokenizer")},
        "shards": {},
        "runs": {},
    }
    for part in ("train", "held_out"):
        checkout.run("tokenize", f"text/{part}", "--tokenizer", "tokenizer", "--out", f"shards/{part}")
        found["shards"][part] = digests.shards(folder / "shards" / part)
    checkout.run("curate", "curate.toml")
    found["curated"] = digests.curated(folder / "curated")
    for number, (name, setting) in enumerate(SETTINGS.items()):
        found["runs"][name] = trained(checkout, f"run{number}", setting)
    return found


def trained(checkout: Checkout, name: str, setting: Setting) -> dict[str, Any]:
    """Trains and exports; returns all losses, and the digests of the weights."""
    config, metrics = checkout.folder / f"{name}.toml", checkout.folder / name / "metrics.jsonl"
    config.write_text(setting.toml(name))
    train(checkout, setting, config, metrics)
    checkout.run("export", name, "--out", f"{name}-exported")
    return {
        "metrics": digests.metrics(metrics),
        "weights": digests.tensors(checkout.folder / f"{name}-exported"),
    }


def train(checkout: Checkout, setting: Setting, config: Path, metrics: Path) -> None:
    """Runs a setting to its end, with the kill that it asks for. Raises SystemExit where it fails, or ends before the kill."""
    arguments, kill_at = ("train", config.name), setting.kill_at

    def seen() -> bool:
        line = f'"step": {kill_at}, "loss"'
        return kill_at > 0 and metrics.exists() and line in metrics.read_text(errors="replace")

    while True:
        code = ended(checkout.start(*arguments, PINISI_KERNELS=setting.kernels), seen)
        if code == 0 and not kill_at:
            return
        if code == -signal.SIGKILL and kill_at and seen():
            kill_at = 0
        elif code != 2 or not respelled(config, checkout.log()[-1]):
            raise checkout.failed(code, *arguments)


def respelled(config: Path, error: str) -> bool:
    """Gives a key the name that it has in this checkout, if that is what the error asks for."""
    found = RENAMED.search(error)
    if found is None:
        return False
    old, new = (re.escape(found[1]), found[2])
    text, count = re.subn(rf"^{old}(?=[. ])", new, config.read_text(), flags=re.MULTILINE)
    config.write_text(text)
    return count > 0


def about(source: Path) -> dict[str, Any]:
    """What the numbers depend on besides the code, and the code's commit."""
    git = ["git", "-C", str(source), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    return {
        "commit": commit or "unknown",
        "processor": processor(),
        **{name: version(name) for name in PACKAGES},
    }


def processor() -> str:
    """The architecture, and the sets of instructions that torch and oneDNN choose their code by."""
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text().split()) if info.exists() else set()
    chosen = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    return " ".join([platform.machine(), *chosen])


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of everything in nested dictionaries."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flat(item, f"{name}.{key}" if name else key)
    else:
        yield name, value


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """A line for each value that is another one, or stands on one side only."""
    old, new = dict(flat(before)), dict(flat(now))
    names = [*old, *(name for name in new if name not in old)]
    return [
        f"{name}: was {old.get(name, 'not there')}, is {new.get(name, 'not there')}"
        for name in names
        if old.get(name) != new.get(name)
    ]


def compare(before: dict[str, Any], now: dict[str, Any]) -> int:
    """Prints every difference; returns the exit code."""
    lines = differences(before["found"], now["found"])
    print("\n".join(lines) or "", end="\n" if lines else "")
    elsewhere = [
        line for line in differences(before["about"], now["about"]) if not line.startswith("commit:")
    ]
    if elsewhere and lines:
        print("this may come from what lies outside of the code:\n  " + "\n  ".join(elsewhere))
    count = sum(1 for _ in flat(before["found"]))
    old, new = before["about"]["commit"], now["about"]["commit"]
    print(f"{len(lines)} differences of {count} values between {old} and {new}")
    return 1 if lines else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, default=OWN_SOURCE, help="the folder that holds pinisi/")
    parser.add_argument("--against", type=Path, help="what --json has written for another checkout")
    parser.add_argument("--json", type=Path, help="write what was found")
    parser.add_argument("--folder", type=Path, help="make the project here, in a new folder, and keep it")
    options = parser.parse_args()
    before = json.loads(options.against.read_text()) if options.against else None
    source = options.source.resolve()
    if not (source / "pinisi").is_dir():
        parser.error(f"{source} holds no pinisi/: give a checkout's src")
    with tempfile.TemporaryDirectory(prefix="pinisi-identity-") as temporary:
        folder = options.folder or Path(temporary) / "project"
        folder.mkdir(parents=True)
        now = {"about": about(source), "found": observed(source, folder.resolve())}
    if options.json:
        options.json.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n")
    return compare(before, now) if before else 0


if __name__ == "__main__":
    sys.exit(main())
