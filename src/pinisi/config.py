"""Holds the configuration of a run: one TOML file, read into these classes and written back into the run's folder.

A relative path is meant from the folder of the file that names it; one in an override, or in a configuration made
in Python, from the working folder. Every key can be overridden on the command line as `section.key=value`; `none`
unsets an optional key. Read and written by `typed_toml`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pinisi.base import settings
from pinisi.base.paths import LATER, MODEL, PATH, absolute_paths
from pinisi.base.rounding import LARGEST_BETA
from pinisi.base.settings import at_least, byte_count, not_empty
from pinisi.base.typed_toml import Fault, SettingsSource, from_table, plain
from pinisi.data.components import Component
from pinisi.schedule import names


@dataclass(frozen=True)
class RunSection:
    """[run] says where a run writes and how long it goes."""

    folder: str = field(metadata=PATH)  # written to: config.toml, metrics.jsonl, checkpoints, report.html
    steps: int | None = None  # optimizer steps in all, resumed ones included; with [[phases]] their sum
    seed: int = 0  # what the random start and the order of documents are drawn with
    start: str | None = field(
        default=None, metadata=PATH
    )  # another run's checkpoint: its weights are the first
    # another run's checkpoint that this one branches off: weights, moments and the place in the text go on, steps count anew, and
    # the other run stays as it is. For several endings of one trunk, with the trunk's seed and data
    branch: str | None = field(default=None, metadata=PATH)
    # at a step without a finite loss or any target: end the run, or leave it out
    on_bad_step: Literal["stop", "skip"] = "stop"
    bad_steps: int = 10  # how many steps may be skipped in the whole run
    name: str = ""  # shown in the report; the folder's name if empty

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, steps=1, seed=0, bad_steps=0)
        yield from not_empty(self, "folder")
        if self.start is not None and self.branch is not None:
            yield Fault("branch", "to be left out where there is run.start, which takes weights alone")


@dataclass(frozen=True)
class ModelSection:
    """[model] says what is trained: exactly one of source and config."""

    source: str | None = field(default=None, metadata=MODEL)  # a folder or hub id: weights and configuration
    config: dict | None = None  # [model.config], a Hugging Face configuration with model_type: a random start
    tokenizer: str | None = field(default=None, metadata=PATH)  # a folder; the source's own if left out
    # of the weights at work; with bfloat16 the optimizer keeps float32 master weights. Left out, a run resumes in its own, and
    # begins in that in which the source's files are stored, or float32
    dtype: Literal["float32", "bfloat16", "float64"] | None = None
    # what computes attention: auto takes what knows the documents of packed rows where that gains; dense makes a mask of all pairs
    # of a row (in transformers' form sdpa or eager, if one is named); blocks for CPUs, flex and varlen for GPUs make none
    attention: Literal["auto", "dense", "blocks", "flex", "varlen", "sdpa", "eager"] = "auto"

    def validate(self) -> Iterator[Fault]:
        if (self.source is None) == (self.config is None):
            yield Fault("source", "to be given, or else a table [model.config]: one of the two, not both")
        if self.config is not None and not isinstance(self.config.get("model_type"), str):
            yield Fault("config", 'a model_type, such as model_type = "qwen2"')


@dataclass(frozen=True)
class DataSection:
    """[data] says what is read and how it is cut into sequences."""

    RENAMED = (("microbatch", "microbatch_size", "with the same meaning"),)

    sequence: int  # tokens per sequence
    shards: str | None = field(default=None, metadata=PATH)  # folder of token shards, of `pinisi tokenize`
    components: list[Component] = field(default_factory=list)  # instead of shards: several folders, by name
    microbatch_size: int = 1  # sequences per microbatch
    # weight by language or component, normalised; by size if left out
    mixture: dict[str, float] | None = None
    temperature: float | None = None  # without a mixture: weight = tokens ** temperature; 1 by size, 0 even
    evaluation: str | None = field(default=None, metadata=PATH)  # folder of held-out shards, if any
    verify: bool = True  # compare all shards with their digests at the start: about 1 s a GB and rank
    positions: Literal["document", "row"] = "document"  # begin again with each document, or run on
    balance: bool = False  # deal a step's rows to microbatches by their documents' lengths, for attention that skips what is masked

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, sequence=1, microbatch_size=1)
        if self.shards == "":
            yield Fault("shards", "a path")
        if self.shards is not None and self.components:
            yield Fault("shards", "to be left out where there are [[data.components]]")
        if self.mixture is not None and (
            not all(0 <= weight < float("inf") for weight in self.mixture.values())
            or not any(self.mixture.values())
        ):
            yield Fault("mixture", "weights of at least 0, one of them above 0")
        if self.temperature is not None and self.mixture is not None:
            yield Fault("temperature", "to be left out where a mixture is given")
        if self.temperature is not None and not 0 <= self.temperature <= 1:
            yield Fault("temperature", "a number from 0 to 1")


# microbatches x ranks of a step: its table takes 4 KiB and 90 us each before a run starts (1f1b, 2 ranks, one core: 100,000
# microbatches take 0.8 GiB and 17 s)
MOST_PLACES = 2**18


@dataclass(frozen=True)
class PipelineSection:
    """[pipeline] says how many ranks there are, in which order passes run, and how layers and rows are shared out."""

    RENAMED = (("replicas", "data_parallel", "with the same meaning"),)

    ranks: int  # processes that share the layers, a GPU or a core each
    microbatches: int  # that a step of each pipeline is cut into
    name: str = "1f1b"  # the schedule: 1f1b, gpipe, zb-h1, zbv, ... (an unknown one's error names them all)
    chunks: int | None = None  # stages of a rank, where the schedule leaves it open; 2 if left out
    data_parallel: int | None = None  # pipelines side by side; if left out as many as ranks are there for
    # exchanges for a microbatch's head; 0: embedding and head whole, on the first and last stage
    barriers: Literal[0, 1, 2] = 1
    layers: list[int] | None = None  # layers per stage; as even as they go if left out
    rows: Literal["even", "balanced"] | list[int] = "even"  # vocabulary rows per rank; balanced evens layers
    table: str | None = field(default=None, metadata=PATH)  # passes' order, of `pinisi plan --search`

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, ranks=1, microbatches=1, data_parallel=1)
        if self.ranks > 0 and self.microbatches * self.ranks > MOST_PLACES:
            yield Fault(
                "microbatches",
                f"at most {MOST_PLACES // self.ranks} on {self.ranks} ranks, for the memory of the step's table: use a larger "
                "data.microbatch_size",
            )
        if self.name not in names():
            yield Fault("name", f"one of {', '.join(names())}")
        if self.chunks is not None and self.chunks < 1:
            yield Fault("chunks", "a whole number of at least 1")
        if self.layers is not None and (min(self.layers, default=-1) < 0 or len(self.layers) % self.ranks):
            yield Fault("layers", f"counts of at least 0, as many as there are stages on {self.ranks} ranks")
        if isinstance(self.rows, list) and (min(self.rows, default=0) < 0 or len(self.rows) != self.ranks):
            yield Fault("rows", f"{self.ranks} counts of at least 0, one per rank")


@dataclass(frozen=True)
class OptimizerSection:
    """[optimizer] sets AdamW (Loshchilov and Hutter, arXiv 1711.05101) and its learning rate over the steps."""

    RENAMED = (
        ("epsilon", "eps", "with the same meaning"),
        ("clip", "max_grad_norm", "with the same meaning"),
        ("minimum", "min_lr_ratio", "with the same meaning"),
    )

    learning_rate: float  # the peak, after the warmup
    # decays of AdamW's moments; as in GPT-3 (arXiv 2005.14165, appendix B)
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8  # added to the root of the second moment; arXiv 1412.6980, algorithm 1
    weight_decay: float = 0.1  # of matrices, per step and learning rate; arXiv 2005.14165, appendix B
    max_grad_norm: float = 1.0  # largest norm of the whole gradient; 0: none
    # share master weights and moments out over the pipelines of data_parallel (ZeRO-1, arXiv 1910.02054)
    sharded: bool = False
    # dtype of the moments: that of the master weights, or bfloat16, half as many bytes for steps that are a few per cent off
    moments: Literal["master", "bfloat16"] = "master"
    # the rate after the warmup; wsd: stable, then decay (arXiv 2404.06395)
    schedule: Literal["constant", "cosine", "wsd"] = "cosine"
    warmup: int = 0  # steps in which the rate rises from 0 to the peak
    decay: int | None = None  # how many last steps decay under wsd; a tenth of all if left out
    min_lr_ratio: float = 0.1  # learning rate at the end / peak
    # what the schedule spans: each of [[phases]] anew, or the whole run, which keeps the rate continuous over their bounds
    schedule_over: Literal["phase", "run"] = "phase"
    average: float = 0.0  # decay of the weights' moving average, for `pinisi export --average ema`; 0: none

    def validate(self) -> Iterator[Fault]:
        yield from at_least(
            self, learning_rate=0, eps=0, weight_decay=0, max_grad_norm=0, warmup=0, decay=0, min_lr_ratio=0
        )
        if not all(0 <= beta < 1 for beta in self.betas):
            yield Fault("betas", "two numbers from 0 to below 1")
        elif self.moments == "bfloat16" and max(self.betas) > LARGEST_BETA:
            yield Fault(
                "betas",
                f"at most {LARGEST_BETA} with optimizer.moments = 'bfloat16', which loses slower changes",
            )
        if not 0 <= self.average < 1:
            yield Fault("average", "a number from 0 to below 1")
        if self.min_lr_ratio > 1:
            yield Fault("min_lr_ratio", "at most 1, being a ratio to the peak")


@dataclass(frozen=True)
class LossSection:
    """[loss] adds to cross-entropy. Metrics show plain cross-entropy whatever is added."""

    label_smoothing: float = 0.0  # share of the target that goes to all tokens alike (arXiv 1512.00567)
    z_loss: float = 0.0  # times the square of the log-sum-exp of the logits; 1e-4 in arXiv 2204.02311
    extra_heads: int = 0  # how many heads predict the tokens after the next one (arXiv 2404.19737)
    # what the mean of their losses is multiplied by (arXiv 2412.19437, section 4.2); their number makes it the plain sum
    extra_weight: float = 0.3

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, z_loss=0, extra_heads=0, extra_weight=0)
        if not 0 <= self.label_smoothing < 1:
            yield Fault("label_smoothing", "a number from 0 to below 1")


@dataclass(frozen=True)
class MemorySection:
    """[memory] says what is kept and what is computed again."""

    RENAMED = (("recompute", "activation_checkpointing", "with the same meaning"),)

    # with full a stage keeps its input alone and computes the rest again
    activation_checkpointing: Literal["none", "full"] = "none"
    head: str = "keep"  # the logits between S and T: keep, recompute, or how many a microbatch keeps: 512 MiB

    @property
    def head_budget(self) -> int | None:
        """Returns the bytes that the numbers of a head's microbatch may take; None: any."""
        return None if self.head == "keep" else 0 if self.head == "recompute" else byte_count(self.head)

    def validate(self) -> Iterator[Fault]:
        if self.head not in ("keep", "recompute") and not byte_count(self.head):
            yield Fault("head", 'keep, recompute, or a size such as "512 MiB" (KiB, MiB, GiB)')


@dataclass(frozen=True)
class CheckpointSection:
    """[checkpoint] says when states are saved: before the first step and at the end always."""

    every: int = 0  # steps between checkpoints; 0: before the first step and at the end only
    keep: int = 2  # newest checkpoints kept
    best: bool = False  # keep that of the least held-out loss besides, saved when it is found

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, every=0, keep=1)


@dataclass(frozen=True)
class EvaluationSection:
    """[evaluation] says how often held-out text is judged, by language, and which tasks are asked."""

    every: int = 0  # steps between evaluations; 0: before the first step and after the last one only
    microbatches: int = 8  # how many of a language are judged at most
    patience: int = 0  # evaluations without a better mean loss that end the run; 0: none do
    # a TOML file of [[tasks]], as of `pinisi evaluate --tasks`: choices that the model is asked while it is trained
    tasks: str | None = field(default=None, metadata=PATH)
    tasks_every: int = 0  # steps between those, a multiple of every; 0: with each evaluation

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, every=0, microbatches=1, patience=0, tasks_every=0)
        if self.tasks_every and (not self.every or self.tasks_every % self.every):
            yield Fault("tasks_every", "a multiple of evaluation.every, or 0")
        if self.patience and not self.every:
            yield Fault("patience", "to be 0, or evaluation.every to say how often it is counted")


@dataclass(frozen=True)
class WatchSection:
    """[watch] says when a run speaks up: a language that is forgotten, a loss that leaps."""

    languages: list[str] | None = None  # of data.evaluation and tasks, not to be forgotten; all if left out
    # a language counts as forgotten where its bits per byte are this share above the best that the run had, its start included
    tolerance: float = 0.02
    # and so many units of noise more: of documents drawn again, and from one evaluation to the next; 0: no alarm
    noise: float = 3.0
    # items of each kind (copy, pattern) that such a language is asked, as often as evaluation.tasks (evaluation.tasks_every): they
    # show forgetting that the loss hides (arXiv 2506.00288); 0: none
    few_shot: int = 0
    # where a step's loss leaps, or isn't finite: nothing is done, or it makes no update, or the run goes back to the newest
    # checkpoint and on with the text behind that step (PaLM, arXiv 2204.02311, section 5.1)
    spike: Literal["none", "skip", "rewind"] = "none"
    spike_noise: float = 10.0  # units of noise above the median of the steps before
    spike_window: int = 64  # steps before, of one phase; the first 16 aren't judged
    most_spikes: int = 10  # in the whole run

    def validate(self) -> Iterator[Fault]:
        least = {"spike_noise": 1, "spike_window": 16}
        yield from at_least(self, tolerance=0, noise=0, few_shot=0, most_spikes=0, **least)


@dataclass(frozen=True)
class ReportSection:
    """[report] says what is measured for report.html."""

    timeline_every: int = 0  # steps between measured timelines; 0: one, near the end
    # a device as of `pinisi plan --hardware`: metrics then have the share of its peak that a step uses (MFU)
    hardware: str | None = field(default=None, metadata=MODEL)
    live: float = 30.0  # seconds between two writings of live.html, the page of a run under way; 0: none
    wandb: str | None = None  # a project of Weights & Biases that metrics go to, too: pinisi[wandb]
    log_every: int = 1  # steps between progress lines; in a log at most one a second is written

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, timeline_every=0, log_every=1, live=0)


MOST_PATIENCE = (
    10**7
)  # seconds; the limits of collectives are twelve times as long, and counted in nanoseconds


@dataclass(frozen=True)
class RuntimeSection:
    """[runtime]: processes and communication. With emulate, communication is real."""

    backend: Literal["gloo", "nccl"] | None = None  # nccl on GPUs and gloo on CPUs if left out
    threads: int = 1  # CPU threads per rank
    compile: Literal["none", "layers"] = "none"  # layers: each decoder layer, by torch.compile
    # Joining may take as long, at least 20 s; building, reading, saving and evaluating ten times as long.
    stuck_after: float = 300.0  # seconds that a step may stand still before the run ends and says why
    port: int | None = None  # where ranks meet; a free one if left out
    emulate: str | None = field(default=None, metadata=PATH)  # JSON of pass costs: passes sleep so long

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, threads=1)
        if not 0 < self.stuck_after <= MOST_PATIENCE:
            yield Fault("stuck_after", f"more than 0 and at most {MOST_PATIENCE:,} seconds")
        if self.port is not None and not 1 <= self.port <= 65535:
            yield Fault("port", "a port number from 1 to 65535")


@dataclass(frozen=True)
class PhaseSection:
    """[[phases]] is a stretch of steps; what it leaves out is as [data], [pipeline] and [optimizer] say."""

    steps: int  # how many steps the phase has
    name: str = ""  # said when it begins
    # what learns: all, or nothing but the rows that new_rows.json beside model.source names, of `pinisi vocabulary extend`, or the
    # layers that new_layers.json there names, of `pinisi expand`
    train: Literal["all", "new_rows", "new_layers"] = "all"
    mixture: dict[str, float] | None = None  # as in [data]
    temperature: float | None = None  # as in [data]
    sequence: int | None = None  # as in [data]
    microbatch_size: int | None = None  # as in [data]
    microbatches: int | None = None  # as in [pipeline]
    learning_rate: float | None = None  # as in [optimizer]
    # of the learning rate, over this phase's steps
    schedule: Literal["constant", "cosine", "wsd"] | None = None
    warmup: int | None = None  # as in [optimizer]
    decay: int | None = None  # as in [optimizer]
    min_lr_ratio: float | None = None  # as in [optimizer]

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, steps=1, sequence=1, microbatch_size=1, microbatches=1, learning_rate=0)
        yield from at_least(self, warmup=0, decay=0, min_lr_ratio=0)
        if self.mixture is not None and self.temperature is not None:
            yield Fault("temperature", "to be left out where a mixture is given")


@dataclass(frozen=True)
class RunConfig:
    """Holds a whole run; each field is a section of the file."""

    RENAMED = (("schedule", "pipeline", "with the same keys but replicas, which is data_parallel"),)

    run: RunSection
    model: ModelSection
    data: DataSection
    pipeline: PipelineSection
    optimizer: OptimizerSection
    loss: LossSection = field(default_factory=LossSection)
    memory: MemorySection = field(default_factory=MemorySection)
    checkpoint: CheckpointSection = field(default_factory=CheckpointSection)
    evaluation: EvaluationSection = field(default_factory=EvaluationSection)
    watch: WatchSection = field(default_factory=WatchSection)
    report: ReportSection = field(default_factory=ReportSection)
    runtime: RuntimeSection = field(default_factory=RuntimeSection)
    # [task] has a name, and what that task takes besides: see `pinisi.train.tasks`
    task: dict = field(default_factory=lambda: {"name": "pretrain"}, metadata=LATER)
    phases: list[PhaseSection] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Counts the optimizer steps of the whole run."""
        return sum(phase.steps for phase in self.phases) or self.run.steps or 0

    def validate(self) -> Iterator[Fault]:
        if self.run.steps is None and not self.phases:
            yield Fault("run.steps", "a number of steps, or [[phases]] with theirs")
        if self.phases and self.run.steps not in (None, self.steps):
            yield Fault("run.steps", f"to be left out, or the phases' sum, {self.steps}")
        if not self.phases and self.optimizer.warmup + (self.optimizer.decay or 0) > self.steps:
            yield Fault("optimizer.warmup", f"to fit, with optimizer.decay, into run.steps = {self.steps}")
        if not isinstance(self.task.get("name"), str):
            yield Fault("task", 'the name of a task, such as name = "pretrain"')


def head_text(budget: int | None) -> str:
    """Returns memory.head of a budget in bytes, rounded up to whole KiB."""
    return "keep" if budget is None else f"{-(-budget // 2**10)} KiB" if budget else "recompute"


def load(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Reads a run's TOML file, then `key=value` overrides in their order. Raises ConfigError that names file and key."""
    return settings.load(path, overrides, into=RunConfig)


def configure(**sections: dict[str, Any] | list[dict[str, Any]]) -> RunConfig:
    """Makes a run's configuration of Python values, checked as a file's: each argument is a section."""
    source = SettingsSource("the configuration", root=RunConfig)
    table = absolute_paths({name: plain(value) for name, value in sections.items()}, RunConfig, Path.cwd())
    return from_table(table, RunConfig, source)
