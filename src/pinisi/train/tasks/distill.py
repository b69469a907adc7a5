"""Distils: pre-training that also learns from the whole distribution of a larger model with the same vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pinisi.base.errors import ConfigError
from pinisi.base.paths import MODEL
from pinisi.base.settings import at_least, not_empty
from pinisi.base.typed_toml import Fault
from pinisi.losses import Loss, WithDistillation
from pinisi.models import FolderWeights, ModelSpec
from pinisi.train.building import frozen_spec
from pinisi.train.tasks.pretrain import Pretrain

TEACHER = "teacher"


@dataclass(frozen=True)
class DistillSettings:
    """Holds [task] of name = "distill"."""

    # a Hugging Face folder or hub id with as many rows of vocabulary as the model
    teacher: str = field(metadata=MODEL)
    share: float = 0.5  # of the loss that is the divergence from the teacher; the rest is cross-entropy

    def validate(self) -> Iterator[Fault]:
        yield from not_empty(self, "teacher")
        yield from at_least(self, share=0)
        if self.share > 1:
            yield Fault("share", "a number from 0 to 1")


class Distill(Pretrain):
    """Adds share · KL(teacher ‖ model) to (1 - share) · cross-entropy (Hinton et al., arXiv 1503.02531, section 2)."""

    name = "distill"
    settings_class = DistillSettings

    def check(self, spec: ModelSpec, tokenizer: str | None) -> None:
        super().check(spec, tokenizer)
        if not self.config.pipeline.barriers:
            raise ConfigError(
                "a teacher's distribution is read from its rows on every rank: pipeline.barriers = 0 has none, give 1 or 2"
            )
        teacher = frozen_spec(self.config, self.settings.teacher)
        if teacher.vocabulary != spec.vocabulary:
            raise ConfigError(
                f"task.teacher = {self.settings.teacher!r} has {teacher.vocabulary} rows of vocabulary, the model "
                f"{spec.vocabulary}: choose a teacher with the model's own tokenizer, or give the model as many rows"
            )
        FolderWeights(teacher, teacher.folder or self.settings.teacher).check()

    def loss(self, spec: ModelSpec) -> Loss:
        return WithDistillation(super().loss(spec), self.settings.share)

    def frozen(self) -> dict[str, str | None]:
        return {TEACHER: self.settings.teacher}
