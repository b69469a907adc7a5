"""A training run on one rank: from a configuration to checkpoints and metrics, resumable at any step.

What is written into `run.folder`: config.toml, metrics.jsonl, timeline.json, memory.json, checkpoints/. The report and the
export read these.
"""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from pinisi.base.errors import CheckpointError, ConfigError, DataError, PinisiError
from pinisi.base.files import write_whole
from pinisi.config import RunConfig
from pinisi.data import Sampler, eval_batches, load_tokenizer, vocabulary_size
from pinisi.data import Shards as TokenShards
from pinisi.engine.engine import Engine, StepResult
from pinisi.engine.executor import gather_timeline
from pinisi.engine.measure import measured_costs
from pinisi.engine.optimizer import NoTargets, NotFinite
from pinisi.engine.settings import Numerics, Objective, OptimizerSettings, Placement, Ranks
from pinisi.losses import cross_entropy_with
from pinisi.models import FolderWeights, ModelSpec, RandomWeights, read_spec, with_extra_heads
from pinisi.models.stage import Weights
from pinisi.parallel.agree import gather_json
from pinisi.parallel.communicator import Communicator
from pinisi.parallel.mesh import Mesh
from pinisi.parallel.place import local_place, place
from pinisi.parallel.rendezvous import init_process_group
from pinisi.parallel.status import Status
from pinisi.parallel.watchdog import JOINING, longest_wait, watched
from pinisi.schedule import simulate
from pinisi.train import checkpoint, memory
from pinisi.train.identity import check_identity, identity
from pinisi.train.metrics import Metrics
from pinisi.train.model_files import keep_companions, state_of
from pinisi.train.planned import planned, tied_ends
from pinisi.train.rates import rate_jump, rate_of
from pinisi.train.tables import one_table

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def train(config: RunConfig) -> int:
    """Runs this process' rank to the end of the run; returns the exit code: 0 if it is whole, 128 + the signal that stopped it."""
    rank, ranks = place()
    with watched(Path(config.run.folder), rank, ranks, config.runtime.stuck_after) as status:
        return train_watched(config, status)


def train_watched(config: RunConfig, status: Status) -> int:
    """`train` for a rank that is watched already."""
    return _Run(config, status).go()


class _Run:
    def __init__(self, config: RunConfig, status: Status):
        self.config = config
        self.folder = Path(config.run.folder)
        torch.set_num_threads(config.runtime.threads)
        self.device = device_here()
        self.status = status
        self.status.phase("reading the configuration")
        self.spec = spec_of(config)
        self.status.phase(JOINING, times=1)
        init_process_group(config.runtime.backend, self.device, config.runtime.stuck_after)
        self.global_rank = dist.get_rank()
        self.timeout = timedelta(seconds=longest_wait(config.runtime.stuck_after))
        ends = tied_ends(config, self.spec)
        self.mesh = Mesh.connect({"pipeline": config.schedule.ranks}, tied=ends, timeout=self.timeout)
        communicator = Communicator.connect(self.mesh.lines("pipeline"), self.device, self.timeout)
        assert communicator is not None, "every process is in a pipeline"
        self.communicator = communicator
        self.data_rank, self.data_ranks = self.mesh.coordinate("data"), self.mesh.size("data")
        self.leader = self.global_rank == 0
        self.stop_signal: int | None = None
        for s in (signal.SIGTERM, signal.SIGINT):
            signal.signal(s, self._wish_stop)

        self.status.phase("reading the data")
        self.sampler = self._sampler()
        self.engine = self._engine()
        self.metrics = Metrics(self.folder, self.leader, config)
        self.step = 0
        self.bad_steps = 0  # of those, skipped
        self.model_files = state_of(config, self.spec, self.sampler.shards)
        if self.leader:
            keep_companions(self.folder, config, self.spec)

    def _wish_stop(self, number: int, _: object) -> None:
        self.stop_signal = number

    # -- what is built before the first step ---------------------------------------------------------------------------

    def _sampler(self) -> Sampler:
        data = self.config.data
        shards = TokenShards(data.shards)
        self._verify(shards)
        if data.evaluation is not None:
            self._verify(TokenShards(data.evaluation))
        mixture, temperature = data.mixture, 1.0
        if mixture is None and data.temperature is not None:
            if data.temperature == 0:
                mixture = dict.fromkeys(shards.languages, 1.0)
            else:
                temperature = 1.0 / data.temperature
        return Sampler(
            shards,
            sequence=data.sequence,
            batch=data.microbatch,
            balance=data.balance,
            positions=data.positions,
            seed=self.config.run.seed,
            weights=mixture,
            temperature=temperature,
            data_rank=self.data_rank,
            data_ranks=self.data_ranks,
        )

    def _verify(self, shards: TokenShards) -> None:
        """Raises DataError on every rank if a file of the shards is not as it was written."""
        if not self.config.data.verify:
            return
        self.status.phase(f"comparing the digests of {shards.folder}")
        for wrong in gather_json(shards.damage(self.global_rank, dist.get_world_size())):
            if wrong:
                raise DataError(f"{wrong}; tokenize again, or bring back a copy")

    def _engine(self) -> Engine:
        config, spec = self.config, self.spec
        dtype = DTYPES[config.model.dtype]
        schedule, layers, rows = planned(config, spec)
        verified = one_table(schedule, [len(r) for r in layers], rows.to_list())
        self.status.phase("building the model")
        memory.mark()
        weights = first_weights(config, spec, dtype)
        o = config.optimizer
        return Engine(
            spec,
            weights,
            Ranks(self.communicator, self.mesh.group("data"), self.mesh.tied, self.status),
            Placement(schedule, [len(r) for r in layers], rows, verified),
            numerics=Numerics(
                dtype=dtype,
                device=self.device,
                activation_checkpointing=config.memory.recompute == "full",
                head_budget=config.memory.head_budget,
                seed=config.run.seed,
            ),
            objective=Objective(
                loss=cross_entropy_with(spec.vocabulary, config.loss.label_smoothing, config.loss.z_loss),
                extra_weight=config.loss.extra_weight,
                languages=len(self.sampler.languages),
            ),
            optimizer=OptimizerSettings((o.betas[0], o.betas[1]), o.epsilon, o.weight_decay, o.clip),
        )

    # -- the run -------------------------------------------------------------------------------------------------------

    def go(self) -> int:
        config = self.config
        self._resume()
        self.metrics.start(self.step)
        if self.step == 0:
            self._evaluate()
            self._save()  # so that a run that dies in its first steps resumes, and the report has the untrained model
        timeline_step = self._timeline_steps()
        stopped = False
        while self.step < config.run.steps and not stopped:
            stopped = self._one_step(record=self.step in timeline_step) and self.step < config.run.steps
            every = config.checkpoint.every
            if stopped or self.step == config.run.steps or (every and self.step % every == 0):
                self._save()
            if (
                config.evaluation.every
                and self.step % config.evaluation.every == 0
                and self.step < config.run.steps
            ):
                self._evaluate()
        if not stopped:
            self._evaluate()
        elif self.leader:
            print(f"stopped after step {self.step}; run the same command again to go on", flush=True)
        self._write_memory()
        self.metrics.close()
        self.status.phase("ending")
        with self.status.waiting():
            dist.barrier()
        dist.destroy_process_group()
        # As a shell has it for a process that a signal ended: an interrupted run is no whole one.
        return 128 + (self.stop_signal or signal.SIGTERM) if stopped else 0

    def _timeline_steps(self) -> set[int]:
        every, last = self.config.report.timeline_every, self.config.run.steps
        return set(range(every - 1, last, every)) if every else {max(0, last - 2)}

    def _one_step(self, record: bool) -> bool:
        o = self.config.optimizer
        self.status.step = self.step
        start = time.perf_counter()
        batch = self.sampler.step(self.config.schedule.microbatches)
        rate = rate_of(o, self.step, self.config.run.steps)
        try:
            result = self.engine.gradients(batch, record=record, stop=self.stop_signal is not None)
            norm = self.engine.update(result, rate)
        except (NoTargets, NotFinite) as error:
            return self._skipped(error)
        except DataError as error:
            raise DataError(f"step {self.step + 1}: {error}") from error
        self.step += 1
        self.metrics.training(
            self.step, result, time.perf_counter() - start, rate, norm, self.sampler.languages
        )
        if record:
            self._write_timeline(result)
        return result.stop

    def _skipped(self, error: PinisiError) -> bool:
        """Leaves a bad step out, as every rank does, or raises the error with advice; returns whether the run is to stop."""
        run, message = self.config.run, f"step {self.step + 1}: {error}"
        if isinstance(error, NotFinite):
            message += self._advice()
        if run.on_bad_step == "stop":
            raise type(error)(f"{message}; run.on_bad_step = 'skip' leaves such steps out")
        if self.bad_steps >= run.bad_steps:
            raise type(error)(
                f"{message}; {self.bad_steps} steps were skipped before, and run.bad_steps = {run.bad_steps}"
            )
        self.bad_steps += 1
        self.step += 1
        self.engine.skip()
        self.metrics.skipped(self.step, str(error), self.bad_steps)
        return any(gather_json(self.stop_signal is not None))

    def _advice(self) -> str:
        """What to do about a loss that isn't finite: it may be what was loaded, or what was learned."""
        names = [name for name in gather_json(self.engine.optimizer.first_not_finite()) if name]
        if names:
            where = self.config.model.source or "the checkpoint"
            return f". {names[0]} holds a NaN or an infinity already: mend {where}, or start from another one"
        return ". Resume from the last checkpoint with a lower optimizer.learning_rate, or a smaller optimizer.clip"

    def _evaluate(self) -> None:
        folder = self.config.data.evaluation
        if folder is None:
            return
        self.status.phase("evaluating")
        shards = TokenShards(folder)
        data = self.config.data
        found: dict[str, dict] = {}
        for language in shards.languages:
            batches = eval_batches(
                shards,
                sequence=data.sequence,
                batch=data.microbatch,
                language=language,
                positions=data.positions,
            )
            batches = batches[: self.config.evaluation.microbatches]
            total, count = 0.0, 0
            for at in range(0, len(batches), 8):
                result = self.engine.evaluate([_one_language(b) for b in batches[at : at + 8]])
                total += result.by_language[0][0]
                count += result.by_language[0][1]
            counts = shards.counts(language)
            seen = count / max(
                1, counts["tokens"] - counts["documents"]
            )  # share of the text's targets that were seen
            if count:
                found[language] = {
                    "loss": total / count,
                    "tokens": count,
                    "bytes": seen * counts["predicted_bytes"],
                }
        self.metrics.evaluation(self.step, found)

    # -- what is written -----------------------------------------------------------------------------------------------

    @property
    def _checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def _save(self) -> None:
        self.status.phase("saving a checkpoint")
        if self.data_rank == 0:
            state = {
                **identity(self.spec, self.sampler.shards),
                **self.model_files,
                "updates": self.step - self.bad_steps,
                "bad_steps": self.bad_steps,
                "rates": {"steps": self.config.run.steps, "optimizer": asdict(self.config.optimizer)},
                "sampler": self.sampler.state(),
                "dtype": self.config.model.dtype,
            }
            checkpoint.save(
                self._checkpoints,
                self.step,
                self.engine.optimizer,
                json.loads(json.dumps(state, default=str)),
                rank=self.communicator.rank,
                group=self.communicator.world,
                keep=self.config.checkpoint.keep,
            )
        if self.data_ranks > 1:
            with self.status.waiting():
                dist.barrier()

    def _resume(self) -> None:
        self.status.phase(f"reading {self._checkpoints}")
        reader, passed_over = checkpoint.newest_whole(self._checkpoints, group=dist.group.WORLD)
        if self.leader:
            for wrong in passed_over:
                print(f"passed over: {wrong}", flush=True)
        if reader is None:
            return
        found = reader.folder
        check_identity(reader, self.spec, self.sampler.shards)
        if reader.step > self.config.run.steps:
            raise CheckpointError(
                f"{found} is past the end of this run (run.steps = {self.config.run.steps}): give more steps or another run.folder"
            )
        checkpoint.restore(reader, self.engine.optimizer)
        self.sampler.restore(reader.index["sampler"])
        self.step = reader.step
        self.bad_steps = reader.index.get("bad_steps", 0)
        if self.leader:
            print(f"resumed from {found} (step {self.step} of {self.config.run.steps})", flush=True)
            if jump := rate_jump(reader.index.get("rates"), self.config, self.step):
                print(jump, flush=True)

    def _write_timeline(self, result: StepResult) -> None:
        measured = gather_timeline(self.engine.schedule, result.spans, self.communicator)
        predicted = simulate(self.engine.schedule, measured_costs(measured))
        if self.leader:
            record = {
                "step": self.step,
                "schedule": self.engine.schedule.to_text(),
                "predicted": predicted.to_dict(),
                "measured": measured.to_dict(),
            }
            write_whole(self.folder / "timeline.json", json.dumps(record))

    def _write_memory(self) -> None:
        mine = memory.parts(self.engine)
        everyone = gather_json(mine, self.communicator.world)
        if self.leader:
            record = {"ranks": [{"rank": r, **m} for r, m in enumerate(everyone)]}
            write_whole(self.folder / "memory.json", json.dumps(record))


def spec_of(config: RunConfig) -> ModelSpec:
    source = config.model.source if config.model.source is not None else config.model.config
    assert source is not None
    spec = read_spec(source, attention=config.model.attention, strict=True)
    return with_extra_heads(spec, config.loss.extra_heads)


def first_weights(config: RunConfig, spec: ModelSpec, dtype: torch.dtype) -> Weights:
    """What a run that resumes nothing starts from: model.source, a folder or a hub id, or else a random start."""
    if config.model.source is None:
        return RandomWeights(spec, config.run.seed, dtype)
    return FolderWeights(spec, spec.folder or config.model.source, dtype)


def check_rows(spec: ModelSpec, tokenizer: str | None) -> None:
    """The tokenizer's ids must have rows in the model. Raises DataError naming both numbers, or a folder without one."""
    if tokenizer is None:
        return
    size = vocabulary_size(load_tokenizer(tokenizer))
    if size > spec.vocabulary:
        raise DataError(
            f"the tokenizer in {tokenizer} has {size} entries, the model {spec.vocabulary} rows (vocab_size): "
            f"make the model's vocab_size at least {size}"
        )


def _one_language(batch):
    """An evaluation batch counts under number 0: it is of one language, which the caller knows."""
    from dataclasses import replace

    return replace(batch, languages=torch.zeros_like(batch.languages))


def device_here() -> torch.device:
    """Of this process: its GPU by the rank on this machine, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    local = local_place() if "RANK" in os.environ else 0
    if local >= torch.cuda.device_count():
        unnamed = "" if "LOCAL_RANK" in os.environ else "set LOCAL_RANK to the rank on its machine, "
        raise ConfigError(
            f"rank {local} of this machine has no GPU: there are {torch.cuda.device_count()}. Start a rank per GPU "
            f"(schedule.ranks), {unnamed}or set CUDA_VISIBLE_DEVICES= to train on the CPU"
        )
    device = torch.device("cuda", local)
    torch.cuda.set_device(device)
    return device
