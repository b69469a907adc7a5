"""Judges what a fault did: the run is struck, then resumed until it ends, and compared with one that nothing interrupted."""

import contextlib
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fault_kinds import KINDS, Kind, Scene, drop_capabilities, torchrun, unmount
from fault_runs import (
    TRAIN,
    Moment,
    Outcome,
    Strike,
    drawn_moment,
    is_evaluated,
    is_whole,
    left_behind,
    outside,
    records,
    second_of,
)

from pinisi.base.files import write_whole

SHARES = {
    (2, 1): 12,
    (3, 1): 4,
    (4, 1): 2,
    (2, 2): 4,
    (3, 2): 1,
    (4, 2): 1,
}  # of (ranks, replicas) among the draws
LIMIT = 120.0  # seconds; runtime.stuck_after = 5 takes ten times that outside of steps
SLOW = 6  # times what a run usually takes, where that is more: the machine may be at work on something else
TRIES = 3  # to resume
FAILURES = {
    "hung": "past its limit",
    "damaged": "took damage in, or named no damaged file",
    "left": "left a process 10 s after its launcher",
    "false_end": "ended with code 0 and was not whole",
    "not_equal": "was not whole after resuming, or with other losses than the uninterrupted run",
    "unclear": "failed without a message of one error, or with a traceback",
    "not_restarted": "did not end whole by itself where it should have",
}


@dataclass(frozen=True)
class Case:
    """One fault, all drawn from the seed and its number."""

    seed: int
    number: int
    kind: str
    ranks: int
    replicas: int
    moment: Moment


def drawn_cases(seed: int, count: int, kinds: list[str], steps: int) -> list[Case]:
    """Every kind equally often, in a drawn order."""
    cases: list[Case] = []
    while len(cases) < count:
        block = random.Random(f"{seed}/block/{len(cases)}")
        for kind in block.sample(kinds, len(kinds)):
            rng = random.Random(f"{seed}/{len(cases)}")
            (ranks, replicas), *_ = rng.choices(list(SHARES), list(SHARES.values()))
            cases.append(Case(seed, len(cases), kind, ranks, replicas, drawn_moment(rng, steps)))
    return cases[:count]


Start = Callable[[list[str], Path, Strike | None, float], Outcome]


def started_outside(arguments: list[str], run: Path, strike: Strike | None, usual: float) -> Outcome:
    return outside([*TRAIN, *arguments], run, strike=strike, limit=limit_of(usual), usual=usual)


def limit_of(usual: float) -> float:
    return max(LIMIT, SLOW * usual)


@dataclass
class Lab:
    """A project to run, and a folder for what is started. references: (ranks, replicas) -> a finished run and its seconds."""

    project: Path  # with config.toml and shards
    folder: Path
    steps: int
    settings: tuple[str, ...] = ()
    start: Start = started_outside
    again: Start = started_outside
    references: dict[tuple[int, int], tuple[Path, float]] = field(default_factory=dict)

    def arguments(self, run: Path, shards: Path, ranks: int, replicas: int) -> list[str]:
        return [
            str(self.project / "config.toml"),
            *(f"run.folder={run}", f"run.steps={self.steps}", f"data.shards={shards}"),
            *(f"pipeline.ranks={ranks}", f"pipeline.data_parallel={replicas}", *self.settings),
        ]

    def reference(self, ranks: int, replicas: int) -> tuple[Path, float]:
        """A run that nothing interrupts, with all its checkpoints; one that was made before is taken again."""
        if (ranks, replicas) not in self.references:
            home = self.folder / f"reference-{ranks}-{replicas}"
            if not (home / "seconds").exists():
                self._make_reference(home, ranks, replicas)
            self.references[ranks, replicas] = home / "run", float((home / "seconds").read_text())
        return self.references[ranks, replicas]

    def _make_reference(self, home: Path, ranks: int, replicas: int) -> None:
        run = home / "run"
        shutil.rmtree(home, ignore_errors=True)
        arguments = self.arguments(run, self.project / "shards", ranks, replicas)
        outcome = self.again([*arguments, "checkpoint.keep=99"], run, None, 0.0)
        if outcome.code != 0 or not is_whole(run, self.steps):
            raise SystemExit(f"error: a run that nothing interrupts failed: {outcome.errors}")
        write_whole(home / "seconds", str(outcome.seconds))


@dataclass
class Verdict:
    """What came of a case. failures: keys of FAILURES, each with what was seen."""

    struck: bool = True
    failures: dict[str, str] = field(default_factory=dict)
    code: int | None = None
    tries: int = 0
    evaluated: bool = True
    note: str = ""
    seconds: float = 0.0

    def fail(self, what: str, seen: str) -> None:
        self.failures.setdefault(what, seen)

    def add(self, outcome: Outcome, whole: bool) -> None:
        if outcome.code is None:
            self.fail("hung", f"after {outcome.seconds:.0f} s; it had said: {outcome.errors[-300:]}")
        if outcome.left:
            self.fail("left", ", ".join(outcome.left))
        if outcome.code == 0 and not whole:
            self.fail("false_end", outcome.text[-300:])

    def as_row(self, case: Case) -> dict[str, Any]:
        return {**asdict(case), **asdict(self)}


def judge(lab: Lab, case: Case) -> Verdict:
    """Runs a case. Its folder, lab.folder/case-NUMBER, stays where it failed."""
    began = time.monotonic()
    kind, home = KINDS[case.kind], lab.folder / f"case-{case.number}"
    finished, usual = lab.reference(case.ranks, case.replicas)
    run, shards = home / "run", home / "shards"
    unmount(run)
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(lab.project / "shards", shards)
    scene = Scene(
        run=run,
        shards=shards,
        arguments=lab.arguments(run, shards, case.ranks, case.replicas),
        ranks=case.ranks * case.replicas,
        steps=lab.steps,
        moment=case.moment,
        rng=random.Random(f"{case.seed}/{case.number}/fault"),
        finished=finished,
    )
    verdict = Verdict()
    try:
        first = _first(lab, kind, scene, usual, verdict)
        scene.refused = first.code != 0
        _judge_first(kind, scene, first, verdict, is_whole(run, lab.steps))
        if kind.undo:
            kind.undo(scene)
        _resume(lab, scene, usual, verdict)
    finally:
        for other in scene.others:
            other.kill()
            other.wait()
        left_behind(run, 0)
        left_behind(second_of(run), 0)
        unmount(run)
    verdict.note, verdict.seconds = scene.note, round(time.monotonic() - began, 1)
    if not verdict.failures:
        shutil.rmtree(home)
    return verdict


def _first(lab: Lab, kind: Kind, scene: Scene, usual: float, verdict: Verdict) -> Outcome:
    if kind.prepare:
        kind.prepare(scene)
    strike = kind.strike
    at_moment: Strike | None = None if strike is None else lambda live: strike(scene, live)
    arguments = [*scene.arguments, *kind.more]
    if kind.torchrun:
        command = [*torchrun(scene.ranks), *arguments]
        outcome = outside(command, scene.run, strike=at_moment, limit=limit_of(2 * usual), usual=2 * usual)
    elif kind.unprivileged and os.geteuid() == 0:
        outcome = outside(
            [*TRAIN, *arguments],
            scene.run,
            strike=at_moment,
            limit=limit_of(usual),
            usual=usual,
            before=drop_capabilities,
        )
    else:
        outcome = lab.start(arguments, scene.run, at_moment, usual)
    verdict.struck, verdict.code = (outcome.struck or strike is None) and not scene.idle, outcome.code
    return outcome


def _judge_first(kind: Kind, scene: Scene, first: Outcome, verdict: Verdict, whole: bool) -> None:
    for other in scene.others:
        with contextlib.suppress(Exception):
            other.wait(LIMIT)
        if other.returncode is None:
            verdict.fail("hung", "the second of two runs")
        elif other.returncode == 0 and first.code == 0:
            verdict.fail("false_end", "both of two runs in a folder said that they had ended well")
        elif left := left_behind(second_of(scene.run)):
            verdict.fail("left", f"of the second of two runs: {', '.join(left)}")
    verdict.add(first, whole)
    if scene.damaged and str(scene.damaged[0]) not in first.text:
        verdict.fail(
            "damaged", f"code {first.code}, no message names {scene.damaged[0].name}: {first.text[-300:]}"
        )
    if scene.named and (scene.named not in first.errors or first.code == 0):
        verdict.fail("unclear", f"code {first.code}, no message names {scene.named}: {first.errors[-300:]}")
    errors = sum(line.startswith("error:") for line in first.errors.splitlines())
    if kind.told and not kind.torchrun and first.code and (errors != 1 or "Traceback" in first.errors):
        verdict.fail("unclear", f"code {first.code}: {first.errors[-600:]}")
    if kind.ends_itself and first.code is not None and not (whole and first.code == 0):
        verdict.fail("not_restarted", f"code {first.code}: {first.errors[-600:]}")


def _resume(lab: Lab, scene: Scene, usual: float, verdict: Verdict) -> None:
    said = ""
    while not is_whole(scene.run, lab.steps) and verdict.tries < TRIES:
        verdict.tries += 1
        outcome = lab.again(scene.arguments, scene.run, None, usual)
        said = outcome.text
        verdict.add(outcome, is_whole(scene.run, lab.steps))
        if outcome.code is None:
            break
    if not is_whole(scene.run, lab.steps):
        verdict.fail("not_equal", f"not whole after {verdict.tries} tries: {said[-600:]}")
    elif records(scene.run) != records(scene.finished):
        pairs = zip(records(scene.run), records(scene.finished), strict=True)
        step = next(mine[0] for mine, wanted in pairs if mine != wanted)
        verdict.fail("damaged" if scene.damaged else "not_equal", f"other losses from step {step} on")
    else:
        verdict.evaluated = is_evaluated(scene.run, lab.steps)
