"""Asks tasks of a model while it is trained: on the run's own engine, whose ranks, weights and data stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

from pinisi.base.errors import ConfigError
from pinisi.config import RunConfig
from pinisi.data import TokenShards
from pinisi.evaluate.choices import ChoiceRequests, accuracies
from pinisi.evaluate.encoding import Continuation, PromptEncoder
from pinisi.evaluate.formats import MADE
from pinisi.evaluate.induction import vocabulary_words
from pinisi.evaluate.likelihood import AT_ONCE, LikelihoodScorer
from pinisi.evaluate.model_source import longest_of
from pinisi.evaluate.packing import packed
from pinisi.evaluate.tasks import AskedTask, EvaluationTask, check_titles, read_tasks
from pinisi.parallel.agree import gather_json
from pinisi.train.building import spec_of
from pinisi.train.metrics import TASKS, has_record
from pinisi.train.model_files import tokenizer_of
from pinisi.train.probe import Probe
from pinisi.train.trainer import Trainer


def probes_of(config: RunConfig) -> Sequence[Probe]:
    """The probes that a run's configuration asks for. Raises ConfigError or DataError for tasks that can't be asked."""
    return (TaskProbe(config),) if config.evaluation.tasks is not None or config.watch.few_shot else ()


class TaskProbe:
    """Asks the choices of `evaluation.tasks`, and what `watch.few_shot` makes: pipelines share the rows, and every rank takes part
    in its pipeline's passes.

    Items and their tokens are made once, before the run begins.
    """

    def __init__(self, config: RunConfig) -> None:
        file = config.evaluation.tasks
        key = "watch.few_shot" if file is None else "evaluation.tasks"
        if config.loss.extra_heads:
            raise ConfigError(
                f"{key} can't be asked of a model with extra heads (loss.extra_heads): leave it out, and ask "
                "exports with `pinisi evaluate`"
            )
        spec = spec_of(config)
        tokenizer = tokenizer_of(config, spec)
        if tokenizer is None:
            raise ConfigError(f"{key} needs the model's tokenizer: name its folder (model.tokenizer)")
        encoder, longest = PromptEncoder(tokenizer), longest_of(spec.config)
        tasks = [*(read_tasks(file) if file is not None else ()), *few_shot_tasks(config)]
        check_titles(tasks)
        self.tasks = [_requests(task, file or key, encoder, longest) for task in tasks]
        self.every = config.evaluation.tasks_every

    def __call__(self, trainer: Trainer) -> None:
        if not self._due(trainer):
            return
        trainer.status.phase("asking tasks")
        items = [each for requests in self.tasks for each in requests.continuations]
        scores = self._scores(trainer, items)
        if scores is not None:
            found = self._found(scores)
            standings = trainer.forgetting.answered(trainer.step, found) if trainer.leader else {}
            trainer.metrics.tasks(trainer.step, found, standings)

    def lacks(self, trainer: Trainer) -> bool:
        """Tells whether the run before ended before the tasks of this step were answered."""
        there: bool = gather_json(has_record(trainer.folder, trainer.step, TASKS))[0]
        return self._due(trainer) and not there

    def _due(self, trainer: Trainer) -> bool:
        ends = trainer.step in (0, trainer.config.steps) or trainer.best.exhausted
        return ends or not self.every or trainer.step % self.every == 0

    def _scores(self, trainer: Trainer, items: Sequence[Continuation]) -> list[np.ndarray] | None:
        """As `LikelihoodScorer.score`, shared out to the pipelines; None if the run is to stop, which saves before all else."""
        data = trainer.phase.data
        scorer = LikelihoodScorer(trainer.engine, row=data.sequence * data.microbatch_size)
        rows = packed([len(item.tokens) - 1 for item in items], scorer.row)
        together = AT_ONCE * trainer.data_ranks
        mine: dict[int, list[float]] = {}
        for start in range(0, len(rows), together):
            if any(gather_json(trainer.stop_signal is not None)):
                return None
            some = rows[start : start + together][trainer.data_rank :: trainer.data_ranks]
            if some:
                mine |= {number: values.tolist() for number, values in scorer.score_rows(items, some)}
        shares = (
            gather_json(list(mine.items()), trainer.mesh.group("data"))
            if trainer.data_ranks > 1
            else [list(mine.items())]
        )
        found = {number: np.array(values) for share in shares for number, values in share}
        return [found[number] for number in range(len(items))]

    def _found(self, scores: Sequence[np.ndarray]) -> dict[str, dict]:
        given, found = iter(scores), {}
        for requests in self.tasks:
            records = requests.records(list(islice(given, len(requests.continuations))))
            found[requests.asked.task.title] = {
                "language": requests.asked.task.language,
                "items": len(records),
                "chance": requests.chance,
                "scores": {name: list(score[:3]) for name, score in accuracies(records).items()},
            }
        return found


def few_shot_tasks(config: RunConfig) -> list[EvaluationTask]:
    """The made tasks of `watch.few_shot`: every kind in each watched language, or in all of the held-out text."""
    watch, held_out = config.watch, config.data.evaluation
    if not watch.few_shot:
        return []
    if watch.languages is None and held_out is None:
        raise ConfigError(
            "watch.few_shot asks in the languages of data.evaluation: name that, or watch.languages"
        )
    languages = watch.languages or (TokenShards(held_out).languages if held_out is not None else ())
    return [
        EvaluationTask(kind, language, limit=watch.few_shot)
        for language in languages
        for kind in sorted(MADE)
    ]


def _requests(task: EvaluationTask, file: str, encoder: PromptEncoder, longest: int) -> ChoiceRequests:
    if task.kind != "choice":
        raise ConfigError(
            f"{file}: the task {task.title} has answers to be written, and a run asks choices alone: ask its checkpoints with "
            "`pinisi evaluate`"
        )
    return ChoiceRequests(
        AskedTask(task, lambda language: vocabulary_words(encoder.tokenizer, language)), encoder, longest
    )
