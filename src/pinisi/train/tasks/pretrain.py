"""Pre-trains, and goes on with a trained model: cross-entropy on packed documents of token shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pinisi.base.digests import of_value
from pinisi.base.errors import ConfigError, DataError
from pinisi.config import DataSection
from pinisi.data import Sampler, TokenShards, check_shards
from pinisi.data.components import Components, mixture
from pinisi.losses import Loss, cross_entropy_with
from pinisi.models import ModelSpec
from pinisi.train.phases import Phase, phases_of
from pinisi.train.task import Task
from pinisi.train.tasks.judging import text_losses

if TYPE_CHECKING:
    from pinisi.train.trainer import Trainer


class Pretrain(Task):
    """Trains on token shards, in the languages' mixture of each phase."""

    name = "pretrain"

    @cached_property
    def components(self) -> Components:
        """Opens what [data] names: the components, or a folder of shards, whose languages they are. Raises ConfigError for
        neither."""
        data = self.config.data
        if data.shards is None and not data.components:
            raise ConfigError(
                f"data.shards is not set, and the task {self.name!r} trains on token shards: name their folder, or "
                "[[data.components]]"
            )
        return Components(data.components or str(data.shards))

    @property
    def held_out(self) -> TokenShards | None:
        folder = self.config.data.evaluation
        return None if folder is None else TokenShards(folder)

    def check(self, spec: ModelSpec, tokenizer: str | None) -> None:
        folders = [*self.components.folders, *([self.held_out] if self.held_out else [])]
        check_shards(folders, spec.vocabulary, tokenizer)
        for phase in phases_of(self.config):
            mixture(
                self.components, *_mixture(phase.data, self.components)
            )  # raises DataError for a name that isn't there
        ends = {shards.end_of_document for shards in folders}
        if len(ends) > 1:
            raise DataError(
                f"the shards end their documents with different tokens ({', '.join(map(str, sorted(ends)))}): tokenize them alike"
            )

    @property
    def fingerprint(self) -> str:
        """Returns one folder's own, or of several a digest of all components."""
        if not self.config.data.components:
            return self.components.folders[0].fingerprint
        return of_value([(each.name, each.language, each.shards.fingerprint) for each in self.components])

    @property
    def end_of_document(self) -> int:
        return self.components.folders[0].end_of_document

    def damage(self) -> Iterator[tuple[str, Callable[[int, int], str | None]]]:
        for shards in (*self.components.folders, *([self.held_out] if self.held_out else [])):
            yield str(shards.folder), shards.damage

    def batches(
        self, phase: Phase, data_rank: int, data_ranks: int, earlier: dict[str, Any] | None = None
    ) -> Sampler:
        weights, temperature = _mixture(phase.data, self.components)
        return Sampler(
            self.components,
            sequence=phase.data.sequence,
            batch=phase.data.microbatch_size,
            balance=phase.data.balance,
            positions=phase.data.positions,
            seed=self.config.run.seed,
            weights=weights,
            temperature=temperature,
            data_rank=data_rank,
            data_ranks=data_ranks,
            start=earlier,
        )

    def loss(self, spec: ModelSpec) -> Loss:
        loss = self.config.loss
        return cross_entropy_with(spec.vocabulary, loss.label_smoothing, loss.z_loss)

    @property
    def evaluates(self) -> bool:
        return self.config.data.evaluation is not None

    def evaluate(self, trainer: Trainer) -> dict[str, dict[str, float]]:
        """Returns cross-entropy in nats a token, by language; "bytes": of the text that its tokens stand for."""
        shards = self.held_out
        return {} if shards is None else text_losses(trainer, shards)


def _mixture(data: DataSection, components: Components) -> tuple[dict[str, float] | None, float]:
    """Returns the sampler's weights and temperature: `data.temperature` is the exponent, the sampler's its inverse."""
    if data.mixture is not None or data.temperature is None:
        return data.mixture, 1.0
    if data.temperature == 0:
        return {each.name: 1.0 for each in components}, 1.0
    return None, 1.0 / data.temperature
