"""Trains one rank's part of a run: steps, evaluation, checkpoints and metrics, resumable at any step.

    Trainer(config).run()          # pre-training, or the task that [task] names
    Trainer(config, MyTask).run()  # a task of one's own

Every rank makes one with the same arguments: `pinisi.run` starts the ranks on this machine, torchrun or Slurm do it elsewhere. What
is written into `run.folder`: config.toml, metrics.jsonl, timeline.json, memory.json, checkpoints/.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from pinisi.base.errors import DataError, PinisiError
from pinisi.base.progress import say
from pinisi.config import RunConfig
from pinisi.engine.devices import works_beside
from pinisi.engine.engine import Engine
from pinisi.engine.optimizer import NoTargets, NotFinite
from pinisi.engine.settings import Numerics, Objective, Placement, Ranks
from pinisi.models import ModelSpec, trained_parts
from pinisi.models.stage import Weights
from pinisi.parallel.agree import gather_json
from pinisi.parallel.communicator import Communicator
from pinisi.parallel.mesh import Mesh
from pinisi.parallel.place import place
from pinisi.parallel.rendezvous import init_process_group
from pinisi.parallel.status import STRETCH, Status
from pinisi.parallel.watchdog import JOINING, longest_wait, watched
from pinisi.schedule import Edge, edges_of
from pinisi.train import building, memory, records
from pinisi.train.adapters import base_of
from pinisi.train.advice import not_finite_advice
from pinisi.train.ahead import BatchesAhead
from pinisi.train.best import BestLoss
from pinisi.train.damage import verify_data
from pinisi.train.forgetting import ForgettingWatch
from pinisi.train.metrics import Metrics, StepRates
from pinisi.train.model_files import files_of, keep_companions, tokenizer_of
from pinisi.train.phases import Phase, phase_at, phases_of, rate_jumps
from pinisi.train.planned import planned, tied_ends
from pinisi.train.probe import Probe
from pinisi.train.result import Result
from pinisi.train.resuming import resume, rewind, save
from pinisi.train.spikes import LossSpikes
from pinisi.train.tables import one_table
from pinisi.train.task import Task
from pinisi.train.tasks import task_of
from pinisi.train.utilization import Utilization


class Trainer:
    """Runs this process' rank of a run.

    task: of the configuration if left out. status: where the rank is watched already. probes: called after each evaluation. Raises
    ConfigError, DataError or CheckpointError for what doesn't go together.
    """

    def __init__(
        self,
        config: RunConfig,
        task: Task | type[Task] | None = None,
        *,
        status: Status | None = None,
        probes: Sequence[Probe] = (),
    ):
        self.folder, self.probes = Path(config.run.folder), probes
        self.task = task_of(config) if task is None else task if isinstance(task, Task) else task(config)
        self.config = building.with_dtype(self.task.config, say=os.environ.get("RANK", "0") == "0")
        self.dtype = building.DTYPES[str(self.config.model.dtype)]
        self.status = status or Status.silent()
        self.phases = phases_of(config)
        self.phase = self.phases[0]
        self.step = 0
        self.bad_steps = 0  # of those, skipped
        self.saved: int | None = None  # the step of the newest checkpoint
        self.best = BestLoss(config)
        self.spikes = LossSpikes(config.watch)
        self.forgetting = ForgettingWatch(config)
        self.stop_signal: int | None = None
        self._watched = status is not None

    def run(self) -> Result:
        """Goes to the end of the run, or until it is told to stop by SIGINT or SIGTERM."""
        with self._watch(), self._signals():
            torch.set_num_threads(self.config.runtime.threads)
            self._join()
            self._build()
            return self._go()

    @contextmanager
    def _watch(self) -> Iterator[None]:
        if self._watched:
            yield
            return
        rank, ranks = place()
        with watched(self.folder, rank, ranks, self.config.runtime.stuck_after) as self.status:
            yield

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def wish(number: int, _: object) -> None:
            self.stop_signal = number

        before = {number: signal.signal(number, wish) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    # -- what is built before the first step ---------------------------------------------------------------------------

    def _join(self) -> None:
        """Finds the other ranks."""
        config = self.config
        self.device = building.device_here()
        self.status.phase("reading the configuration")
        self.spec = building.spec_of(config)
        self.status.phase(JOINING, times=1)
        init_process_group(config.runtime.backend, self.device, config.runtime.stuck_after)
        self.timeout = timedelta(seconds=longest_wait(config.runtime.stuck_after))
        ends = tied_ends(config, self.spec)
        self.mesh = Mesh.connect({"pipeline": config.pipeline.ranks}, tied=ends, timeout=self.timeout)
        self.data_rank, self.data_ranks = self.mesh.coordinate("data"), self.mesh.size("data")
        self.leader = dist.get_rank() == 0

    def _build(self) -> None:
        """Makes batches, engines and what writes the metrics."""
        config = self.config
        self.status.phase("reading the data")
        self.tokenizer = tokenizer_of(config, self.spec)
        if config.data.verify:
            verify_data(self.task, self.status)
        self.batches = self._batches(self.phase)
        self._make_tables()
        for jump in rate_jumps(self.phases) if self.leader else ():
            say(jump)
        self._connect()
        self.status.phase("building the model")
        memory.mark()
        self.frozen = {name: self._frozen_engine(source) for name, source in self.task.frozen().items()}
        self.task.before_training(self)
        weights = building.first_weights(config, self.spec, self.dtype)
        self.engine = self._engine(self.spec, weights)
        self._go_over_to(self.phase)
        self.metrics = Metrics(self.folder, self.leader, config)
        self.utilization = Utilization(config, self.spec)
        ends = self.task.end_of_document, self.task.stops
        self.model_files = files_of(self.spec, self.tokenizer, config.model.config, *ends)
        self.model_files |= base_of(config, self.spec)
        if self.leader:
            keep_companions(self.folder, self.tokenizer, self.spec)

    def _batches(self, phase: Phase, earlier: dict | None = None) -> BatchesAhead:
        batches = self.task.batches(phase, self.data_rank, self.data_ranks, earlier)
        return BatchesAhead(batches, early=self.task.ahead, pinned=works_beside(self.device))

    def _make_tables(self) -> None:
        """Makes each phase's schedule, the same on all ranks."""
        self.tables, verified = [], set()
        for phase in self.phases:
            schedule, self.layers, self.rows = planned(self.config, self.spec, phase)
            self.tables.append(schedule)
            verified |= {*one_table(schedule, [len(r) for r in self.layers], self.rows.to_list())}
        self.verified = frozenset(verified)

    def _connect(self) -> None:
        """Connects the ranks of each pipeline where its tables send."""
        edges = frozenset[Edge]().union(*(edges_of(table.layout) for table in self.tables))
        lines = self.mesh.lines("pipeline")
        communicator = Communicator.connect(lines, self.device, self.timeout, edges)
        assert communicator is not None, "every process is in a pipeline"
        self.communicator = communicator

    def _placement(self, layers: Sequence[int] | None = None) -> Placement:
        return Placement(self.tables[self.phase.number], layers, self.rows, self.verified)

    def _engine(self, spec: ModelSpec, weights: Weights) -> Engine:
        config = self.config
        return Engine(
            spec,
            weights,
            Ranks(self.communicator, self.mesh.group("data"), self.mesh.tied, self.status),
            self._placement([len(r) for r in self.layers]),
            numerics=self._numerics(),
            objective=Objective(
                loss=self.task.loss(spec),
                extra_weight=config.loss.extra_weight,
                languages=len(self.batches.languages),
                teacher=self.frozen.get("teacher"),
            ),
            optimizer=building.optimizer_settings(config.optimizer),
        )

    def _frozen_engine(self, source: str | None) -> Engine:
        """A model that the task reads: on the same ranks, with the same rows on each."""
        config = self.config
        spec, dtype = building.frozen_spec(config, source), self.dtype
        return Engine(
            spec,
            building.frozen_weights(config, spec, source, dtype),
            Ranks(self.communicator, status=self.status),
            self._placement(),
            numerics=self._numerics(),
            objective=Objective(languages=len(self.batches.languages)),
            frozen=True,
        )

    def _numerics(self) -> Numerics:
        return Numerics(
            dtype=self.dtype,
            device=self.device,
            activation_checkpointing=self.config.memory.activation_checkpointing == "full",
            compiler=self.config.runtime.compiler if self.config.runtime.compile == "layers" else None,
            head_budget=self.config.memory.head_budget,
            seed=self.config.run.seed,
        )

    # -- the run -------------------------------------------------------------------------------------------------------

    def _go(self) -> Result:
        config, steps = self.config, self.config.steps
        resume(self)
        self.begin_records()
        # where one is due that isn't there, the run before ended between saving and evaluating
        due = self.step < steps and _due(self.step, config.evaluation.every)
        if self.step == 0 or (due and self.task.evaluates and self.best.lacks(self.step)):
            self._evaluate()
            save(
                self
            )  # so that a run that dies in its first steps resumes, and the report has the untrained model
        elif due:
            self._probe([probe for probe in self.probes if probe.lacks(self)])
        stopped = False
        while self.step < steps and not (stopped or self.best.exhausted):
            before = self.step
            stopped = self._one_step() and self.step < steps
            if stopped or self.step == steps or _due(self.step, config.checkpoint.every):
                save(self)
            if before < self.step < steps and _due(self.step, config.evaluation.every):
                self._evaluate()
        self.metrics.components(self.step, self.batches.counters())
        early = self.best.exhausted and self.step < steps and not stopped
        if early:
            save(self)
        evaluation = {} if stopped else self.best.last if early else self._evaluate()
        if (early or stopped) and self.leader:
            again = f"stopped after step {self.step}; run the same command again to go on"
            say(again if stopped else self.best.told())
        self._end()
        # As a shell has it for a process that a signal ended: an interrupted run is no whole one.
        code = 128 + (self.stop_signal or signal.SIGTERM) if stopped else 0
        return Result(self.folder, self.step, code, evaluation)

    def _end(self) -> None:
        records.write_memory(self.folder, self.engine, self.leader)
        self.metrics.close()
        self.batches.close()
        self.status.phase("ending")
        with self.status.waiting():
            dist.barrier()
        dist.destroy_process_group()

    def _one_step(self) -> bool:
        """One step; returns whether the run is to stop."""
        self._enter_phase()
        self.status.step = self.step
        record = records.is_recorded(self.step, self.config.report.timeline_every, self.config.steps)
        start = time.perf_counter()
        rate = self.phase.learning_rate(self.step)
        try:
            batch = self.task.prepare(self.batches.step(self.phase.microbatches), self.frozen)
            result = self.engine.gradients(batch, record=record, stop=self.stop_signal is not None)
            if why := self.spikes.judge(result.loss, result.squared_norm):
                return self._spiked(why)
            norm = self.engine.update(result, rate)
        except (NoTargets, NotFinite) as error:
            return self._skipped(error)
        except DataError as error:
            raise DataError(f"step {self.step + 1}: {error}") from error
        self.step += 1
        self.status.patience = 1
        seconds = time.perf_counter() - start
        used = self.utilization.share(self.phase, seconds)
        self.metrics.training(self.step, result, StepRates(seconds, rate, norm, used), self.batches)
        if record:
            records.write_timeline(self.folder, self.step, self.engine, result, self.leader)
        return result.stop

    def begin_records(self) -> None:
        """Lets metrics, and what is judged by them, go on behind this step; a collective call."""
        self.metrics.start(self.step, self.spikes.rewinds)
        self.best.read(self.step)
        if self.leader:
            self.forgetting.start(self.step)

    def enter(self, phase: Phase, earlier: dict | None = None) -> None:
        """Takes a phase's data and schedule. earlier: the state of the data that it goes on behind."""
        self.batches.close()
        self.batches = self._batches(phase, earlier)
        self._go_over_to(phase)

    def _enter_phase(self) -> None:
        """Goes over to the phase that the next step belongs to: its data go on where those of the one before ended."""
        phase = phase_at(self.phases, self.step)
        if phase.number == self.phase.number:
            return
        self.enter(phase, self.batches.state())
        self.spikes.forget()
        if self.leader:
            say(f"{phase.told(len(self.phases))} from step {self.step + 1} on")

    def _go_over_to(self, phase: Phase) -> None:
        if self.tables[phase.number] is not self.engine.schedule:
            self.engine.use(self.tables[phase.number], self.verified)
        self.engine.train(trained_parts(self.spec, phase.train))
        self.phase = phase
        if self.config.runtime.compile != "none":  # of other shapes once more, in the next pass
            self.status.patience = STRETCH

    def _skipped(self, error: PinisiError) -> bool:
        """Leaves a bad step out, as every rank does, or raises the error with advice; returns whether the run is to stop."""
        run, message = self.config.run, f"step {self.step + 1}: {error}"
        if isinstance(error, NotFinite):
            message += not_finite_advice(self.engine, self.config.model.source)
        if run.on_bad_step == "stop":
            raise type(error)(f"{message}; run.on_bad_step = 'skip' leaves such steps out")
        if self.bad_steps >= run.bad_steps:
            raise type(error)(
                f"{message}; {self.bad_steps} steps were skipped before, and run.bad_steps = {run.bad_steps}"
            )
        self.bad_steps += 1
        return self._leave_out(str(error), self.bad_steps)

    def _spiked(self, why: str) -> bool:
        """Answers a spike of the loss as the configuration says, on every rank alike; returns whether the run is to stop."""
        self.spikes.counted(self.step + 1, why)
        if not self.spikes.rewinds_asked:
            return self._leave_out(why, self.spikes.count)
        rewind(self, why)
        return any(gather_json(self.stop_signal is not None))

    def _leave_out(self, why: str, count: int) -> bool:
        """Makes no update of a step; returns whether the run is to stop."""
        self.step += 1
        self.engine.skip()
        self.metrics.skipped(self.step, why, count)
        return any(gather_json(self.stop_signal is not None))

    def _evaluate(self) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        self.metrics.components(self.step, self.batches.counters())
        if self.task.evaluates:
            self.status.phase("evaluating")
            found = self.task.evaluate(self)
            standings = self.forgetting.evaluated(self.step, found, write=self.leader)
            self.metrics.evaluation(self.step, found, standings)
            if self.best.add(self.step, found) and self.best.keep:
                save(self)
        self._probe(self.probes)
        return found

    def _probe(self, probes: Sequence[Probe]) -> None:
        for probe in probes:
            probe(self)


def _due(step: int, every: int) -> bool:
    return bool(every) and step % every == 0
