"""Trains one rank of a model: parts, optimizer and executor, and the steps that use them.

engine = Engine(spec, weights, Ranks(communicator), Placement(schedule), ...)
result = engine.gradients(batch)        # every rank calls it with the same batch
norm = engine.update(result, rate)      # clip, AdamW, clear
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
import torch.distributed as dist

from pinisi.base.errors import ConfigError, DataError
from pinisi.data.batches import Microbatch
from pinisi.engine import loss_inputs as loss_data
from pinisi.engine.distill import check_objective
from pinisi.engine.dropout import Dropout
from pinisi.engine.executor import Executor
from pinisi.engine.extra_heads import head_weights
from pinisi.engine.gradient_sums import GradientSums, WholeSums
from pinisi.engine.gradients import WeightGradients
from pinisi.engine.optimizer import NoTargets, NotFinite, Optimizer, global_sum
from pinisi.engine.parts import Holding, build_parts, split_layers
from pinisi.engine.prepared import StepRequest, Want
from pinisi.engine.settings import Numerics, Objective, OptimizerSettings, Placement, Ranks
from pinisi.engine.sharded import ShardedOptimizer
from pinisi.engine.stage_norms import StageNorms
from pinisi.engine.worker import PipelineWorker
from pinisi.losses.loss import measures_of
from pinisi.models import ModelSpec, TrainedParts
from pinisi.models.stage import Weights
from pinisi.parallel.agree import agree_on
from pinisi.parallel.status import waiting
from pinisi.schedule import Kind, Layout, Schedule, Span, forward_only, lower, verify_once
from pinisi.schedule.execution.reduce import with_reductions
from pinisi.schedule.execution.verify_reductions import verify_reductions
from pinisi.schedule.program import MessageChannel, Program
from pinisi.vocabulary import Shards


@dataclass
class StepResult:
    """Holds what a whole step came to, the same on every rank. `loss` is the mean over targets of what is trained;
    `by_language` has (sum of -lp, number of targets) per language number, and `cross_entropy` is the mean of them;
    `extra_heads` has the same pair for each extra head (none in evaluation); `squared_norm` of the whole gradient (0 in
    evaluation); `stage_norms`: of each stage's part of it (none in evaluation); `bytes_sent`: by channel, what the ranks of this
    pipeline handed over, all together (see `traffic`); `measures`: means of what the loss tells besides, by name."""

    loss: float
    targets: int
    by_language: list[tuple[float, int]]
    squared_norm: float
    stop: bool
    spans: list[Span]
    extra_heads: list[tuple[float, int]] = field(default_factory=list)
    stage_norms: dict[str, float] = field(default_factory=dict)
    bytes_sent: dict[str, int] = field(default_factory=dict)
    measures: dict[str, float] = field(default_factory=dict)

    @property
    def cross_entropy(self) -> float:
        return sum(total for total, _ in self.by_language) / max(1, sum(n for _, n in self.by_language))


class Engine:
    """Trains one rank's share of a model, step by step: see the module's text and `settings`.

    frozen: forward passes only, for a reference or a teacher, without the memory of gradients and optimizer. Raises
    ScheduleError, or ConfigError for what doesn't go together, before anything is built.
    """

    def __init__(
        self,
        spec: ModelSpec,
        weights: Weights,
        ranks: Ranks,
        placement: Placement,
        *,
        numerics: Numerics = Numerics(),
        objective: Objective = Objective(),
        optimizer: OptimizerSettings = OptimizerSettings(),
        frozen: bool = False,
    ):
        schedule = placement.schedule
        layout, loss = schedule.layout, objective.loss
        verify_once(schedule, placement.verified)
        check_objective(spec, layout, objective, placement.shards)
        self.spec, self.schedule, self.frozen = spec, schedule, frozen
        self.communicator, self.rank = ranks.communicator, ranks.communicator.rank
        self.data_group, self.tied_group = ranks.data_group, ranks.tied_group
        self.device = numerics.device or torch.device("cpu")
        self.loss, self.extra_weight, self.teacher = loss, objective.extra_weight, objective.teacher
        self.dropout = Dropout(numerics.seed, ranks.data_group) if spec.dropout else None
        self.layers = split_layers(spec.layers, layout.last_stage + 1, placement.layers)
        self.shards = placement.shards or Shards.even(spec.vocabulary, layout.ranks)
        mine = Holding(layout, self.rank, self.layers, self.shards)
        later = WeightGradients() if any(p.kind is Kind.B for p in schedule.order[self.rank]) else None
        self.parts, self.slots = build_parts(
            spec, weights, mine, numerics, objective, later=later, frozen=frozen
        )
        self.worker = PipelineWorker(layout, self.rank, self.parts, objective, self.device, later)
        trained = [] if frozen else self.slots
        self.optimizer = (
            ShardedOptimizer(trained, optimizer, ranks.data_group)
            if optimizer.sharded and ranks.data_group is not None and not frozen
            else Optimizer(trained, optimizer)
        )
        self.sums = None if frozen else self._sums()
        self.executor = Executor(self.communicator, self.worker, self.device, ranks.status, self.sums)
        self.program: Program = self._lowered(schedule)
        self._forward_programs: dict[int, Program] = {}
        self.stage_norms = StageNorms(spec, self.layers, self.device)
        self._sent = Counter(self.communicator.bytes_sent)
        self._summed = False  # gradients hold sums over copies, which no update has used yet

    @property
    def layout(self) -> Layout:
        return self.schedule.layout

    def gradients(
        self, batch: Sequence[Microbatch], *, record: bool = False, stop: bool = False
    ) -> StepResult:
        """Runs forward and backward of one step; afterwards every slot's gradient is the whole step's.

        `batch`: the step's microbatches, `pipeline.microbatches` of them, the same on every rank of the pipeline. `stop`: any
        rank's wish to end, which the result carries to all. Raises DataError if no token of the step has a target.
        """
        if self.frozen:
            raise ConfigError("this engine is frozen, so it makes no gradients: build it with frozen=False")
        if len(batch) != self.schedule.microbatches:
            raise DataError(f"the schedule runs {self.schedule.microbatches} microbatches, got {len(batch)}")
        loss_data.check(batch, self.loss)
        targets, totals = self._totals(batch)
        if targets == 0:
            raise NoTargets(
                "every token of this step is ignored, so it has no loss: check the data's targets, or use larger steps"
            )
        if not totals[0] > 0:
            raise NoTargets(
                f"the weights of this step's targets sum to {totals[0]:g}, so that nothing can be divided by them: check the "
                "batch's weights, of which some must be above 0"
            )
        teacher = self._taught(batch)
        seeds = self.dropout.seeds(self.optimizer.updates, len(batch)) if self.dropout else None
        weights = head_weights(totals, self.extra_weight)
        self.worker.begin(batch, StepRequest(weights, totals[0], teacher=teacher, seeds=seeds))
        self._begin_again()
        spans = self.executor.step(self.program, record=record)
        self._sum_over_copies()
        self.optimizer.clear_frozen()
        return self._result(targets, spans, stop)

    def train(self, parts: TrainedParts | None) -> None:
        """Trains these parts alone from now on, all else unchanged to the bit; None: the whole model. Where that is a change, the
        optimizer's moments begin at zero."""
        self.optimizer.train(parts)

    def use(self, schedule: Schedule, verified: Collection[str] = ()) -> None:
        """Takes another schedule of the same stages for the steps to come, such as one of more microbatches; verified: see
        `Placement`. With replicas a collective call of them."""
        if schedule.layout != self.layout:
            raise ConfigError(
                "another schedule must have the same stages and barriers as the one the engine was built with"
            )
        verify_once(schedule, verified)
        self.schedule, self.program = schedule, self._lowered(schedule)

    def update(self, result: StepResult, learning_rate: float) -> float:
        """Takes one optimizer step; returns the gradient's norm before clipping. Raises NotFinite, with the weights
        untouched, if the loss or the norm isn't finite."""
        norm = math.sqrt(result.squared_norm) if result.squared_norm >= 0 else math.nan
        if not (math.isfinite(result.loss) and math.isfinite(norm)):
            raise NotFinite(
                f"the loss is {result.loss} and the gradient's norm {norm}: the weights were left as they were"
            )
        self.optimizer.step(learning_rate, norm)
        self.skip()
        return norm

    def skip(self) -> None:
        """Forgets the gradients of a step that makes no update."""
        self.optimizer.zero()
        self._summed = False

    def evaluate(self, batch: Sequence[Microbatch]) -> StepResult:
        """Runs forward passes only, of any number of microbatches; the result's loss is the mean over their targets.

        Replicas don't add up here: each answers for its own batch, and all may be given the same."""
        loss_data.check(batch, self.loss)
        total = loss_data.totals(batch, self.loss, 1)[0]
        total = total if total > 0 else 1.0  # nothing to learn from is no error here
        teacher = self._taught(batch)
        self.worker.begin(batch, StepRequest([1.0 / total], total, training=False, teacher=teacher))
        spans = self._forward(batch)
        return self._result(sum(b.target_count for b in batch), spans, False, training=False)

    def log_probs(self, batch: Sequence[Microbatch]) -> list[torch.Tensor]:
        """Returns lp [b, s] of every target, 0 where it is ignored, for each microbatch, the same on every rank; forward
        passes only, any number of microbatches. What losses that compare with a reference model, or with an older self, start
        from.

        In fp32, of an fp64 model fp64. Replicas answer for their own batches.
        """
        loss_data.check_weights(batch)
        self.worker.begin(batch, StepRequest([1.0], training=False, want=Want.LOG_PROBS))
        self._forward(batch)
        found = self.worker.log_probs()
        self.worker.end()
        self._bytes()  # no step's
        if self.layout.barriers:
            return [lp for lp in found if lp is not None]
        dtype = self.parts.statistics_dtype
        result = []
        for lp, microbatch in zip(found, batch, strict=True):
            if lp is None:
                lp = torch.empty(microbatch.tokens.shape, dtype=dtype, device=self.device)
            root = self.communicator.ranks[self.layout.last_rank]
            dist.broadcast(lp, root, group=self.communicator.world)
            result.append(lp)
        return result

    def hidden_states(self, batch: Sequence[Microbatch]) -> list[torch.Tensor]:
        """Returns X [K, h], the last stage's output after the final norm, of the K tokens that have a target, for each
        microbatch, on every rank. Forward passes without the head's work. Raises ConfigError with 0 barriers, where the last
        rank alone has X."""
        if not self.layout.barriers:
            raise ConfigError(
                "hidden states stay on the last rank with 0 barriers: build the engine with 1 or 2"
            )
        loss_data.check_weights(batch)
        self.worker.begin(batch, StepRequest([1.0], training=False, want=Want.HIDDEN_STATES))
        self._forward(batch)
        found = self.worker.hidden_states()
        self.worker.end()
        self._bytes()  # no step's
        return found

    def _taught(self, batch: Sequence[Microbatch]) -> list[torch.Tensor] | None:
        if self.teacher is None:
            return None
        found = self.teacher.hidden_states(batch)
        self._bytes()  # a teacher's messages aren't the step's, though they take the same channels
        return found

    def _forward(self, batch: Sequence[Microbatch]) -> list[Span]:
        count = len(batch)
        if count not in self._forward_programs:
            self._forward_programs[count] = lower(forward_only(self.layout, count))
        return self.executor.step(self._forward_programs[count])

    def _totals(self, batch: Sequence[Microbatch]) -> tuple[int, list[float]]:
        """The step's number of targets, and what each head's weights are divided by, over all data ranks."""
        mine = loss_data.totals(batch, self.loss, 1 + self.spec.extra_heads)
        sums = torch.tensor([float(sum(b.target_count for b in batch)), *mine], dtype=torch.float64)
        if self.data_group is not None:
            sums = global_sum(sums.to(self.device), self.data_group).cpu()
        targets, *totals = sums.tolist()
        return round(targets), totals

    def _sums(self) -> GradientSums | None:
        """What sums gradients over replicas, where there are any."""
        group, sent = self.data_group, self.communicator.bytes_sent
        if group is None or dist.get_world_size(group) == 1:
            return None
        if isinstance(self.optimizer, ShardedOptimizer):
            return self.optimizer.sums(sent)
        return WholeSums(self.slots, group, sent)

    def _lowered(self, schedule: Schedule) -> Program:
        """The schedule's program; with replicas sums of gradients are among its instructions, in one order on all of them."""
        program = lower(schedule)
        if self.sums is None:
            return program
        program = with_reductions(program, tied=self.spec.tied)
        verify_reductions(program)
        agree_on(
            self.data_group, sums_of_gradients=[str(m) for m in program.reductions if m.source == self.rank]
        )
        return program

    def _begin_again(self) -> None:
        """Before passes that add to the sums of a step before: each sum stays with one of those that have it."""
        if self._summed and self.sums is not None:
            self.sums.keep_own()
        for slot in self.slots if self._summed else []:
            if not slot.counted:
                slot.gradient.zero_()
        self._summed = True

    def _sum_over_copies(self) -> None:
        """Gradients that no instruction has summed: of tied ends with 0 barriers, then of what else replicas share."""
        if self.tied_group is not None and self.rank in (self.layout.first_rank, self.layout.last_rank):
            name = self.spec.architecture.embedding_name
            for slot in self.slots:
                if slot.name == name:
                    with waiting():
                        dist.all_reduce(slot.gradient, group=self.tied_group)
        if self.sums is not None:
            self.sums.rest(
                [message.stage for message in self.program.reductions if message.source == self.rank]
            )

    def _result(self, targets: int, spans: list[Span], stop: bool, *, training: bool = True) -> StepResult:
        """One small all-reduce carries all that every rank must know of the step."""
        totals = self.worker.end()
        last = self.rank == self.layout.last_rank
        norm, by_stage = self.stage_norms(self.optimizer.squares() if training else [])
        sums = torch.cat([totals.loss[None], totals.by_language.flatten(), totals.measured])
        sums = sums * (1.0 if last else 0.0)
        wish = torch.tensor([float(stop)], dtype=torch.float64, device=self.device)
        mine = torch.cat([sums, wish])
        if training and self.data_group is not None:
            # a wish to stop must reach every replica, or the others wait in the next step
            global_sum(mine, self.data_group)
        mine = torch.cat([mine[:-1], norm[None], mine[-1:], self._bytes(), by_stage])
        values = global_sum(mine, self.communicator.world).tolist()
        values, stages = values[: -len(by_stage)], values[-len(by_stage) :]
        values, sent = values[: -len(MessageChannel)], values[-len(MessageChannel) :]
        n, languages = totals.by_language.shape[1], self.worker.languages
        pairs = list(zip(values[1 : 1 + n], map(round, values[1 + n : 1 + 2 * n]), strict=True))
        measured = zip(measures_of(self.loss), values[1 + 2 * n :], strict=False)
        by_head = [pairs[at : at + languages] for at in range(0, n, languages)]
        return StepResult(
            loss=values[0],
            targets=targets,
            by_language=by_head[0],
            extra_heads=[(sum(a for a, _ in head), sum(b for _, b in head)) for head in by_head[1:]],
            squared_norm=values[-2],
            stage_norms=self.stage_norms.named(stages) if training else {},
            stop=values[-1] > 0,
            spans=spans,
            bytes_sent={c.value: round(n) for c, n in zip(MessageChannel, sent, strict=True) if n},
            measures={name: value / self.worker.request.total for name, value in measured},
        )

    def _bytes(self) -> torch.Tensor:
        """By channel, what this rank has handed over since it was last asked."""
        sent, self._sent = self._sent, Counter(self.communicator.bytes_sent)
        news = [self._sent[channel.value] - sent[channel.value] for channel in MessageChannel]
        return torch.tensor(news, dtype=torch.float64, device=self.device)
