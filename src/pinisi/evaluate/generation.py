"""Lets a model go on with prompts, through one interface; transformers' generate on a folder is the usual one."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, StoppingCriteria, StoppingCriteriaList

from pinisi.base.errors import ConfigError
from pinisi.evaluate.encoding import PromptEncoder
from pinisi.evaluate.model_source import MeasuredModel
from pinisi.evaluate.prompting import Generated, GenerationSettings, Generator, OpenPrompt
from pinisi.evaluate.stopping import answer_of, ends_of, fitted, prompt_room, prompt_tokens, text_of, turn_end
from pinisi.train.building import device_here
from pinisi.train.export import export

__all__ = ["Generated", "GenerationSettings", "Generator", "OpenPrompt", "TransformersGenerator"]


class TransformersGenerator:
    """Generates with transformers on one device: prompts of like length together, padded on the left.

    It stops at the model's own end tokens, at the one that ends documents, and in a chat at the one that ends a turn. Nothing of
    the model's generation config but its end tokens is used. cut: prompts that lost tokens on the left, since the model reads no
    more.
    """

    def __init__(self, model: MeasuredModel, *, batch_size: int = 8, longest: int | None = None) -> None:
        if batch_size < 1:
            raise ConfigError(f"a batch of {batch_size} prompts was asked for: it must be at least 1")
        self.batch_size, self.longest = batch_size, longest or model.longest
        self.encoder = PromptEncoder(model.tokenizer)
        self.device = device_here()
        self.model = _loaded(model).to(self.device).eval()
        self.ends = ends_of(model, self.encoder)
        self.turn_end = turn_end(self.encoder)
        self.cut = 0

    def generate(self, prompts: Sequence[OpenPrompt], settings: GenerationSettings) -> list[Generated]:
        room = prompt_room(self.longest, settings)
        tokens = [prompt_tokens(self.encoder, prompt) for prompt in prompts]
        self.cut += sum(len(each) > room for each in tokens)
        order = sorted(range(len(prompts)), key=lambda n: (-len(tokens[n]), n))
        found: dict[int, Generated] = {}
        # draws don't depend on what stands beside
        at_once = 1 if settings.temperature > 0 else self.batch_size
        for chat in (False, True):  # only a chat ends at the end of a turn
            of_kind = [n for n in order if prompts[n].is_chat is chat]
            for start in range(0, len(of_kind), at_once):
                some = of_kind[start : start + at_once]
                torch.manual_seed(settings.seed + some[0])
                answers = self._batch([fitted(self.encoder, tokens[n], room) for n in some], settings, chat)
                found.update(zip(some, answers, strict=True))
        return [found[n] for n in range(len(prompts))]

    def _batch(
        self, prompts: Sequence[Sequence[int]], settings: GenerationSettings, chat: bool
    ) -> list[Generated]:
        width = max(map(len, prompts))
        padding = min(self.ends)
        ids = torch.tensor([[padding] * (width - len(p)) + list(p) for p in prompts], device=self.device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=self.device)
        ends = self.ends | ({self.turn_end} if chat and self.turn_end is not None else set())
        drawn = (
            {"temperature": settings.temperature, "top_k": 0, "top_p": 1.0} if settings.temperature else {}
        )
        self.model.generation_config = GenerationConfig(
            **drawn,
            do_sample=settings.temperature > 0,
            max_new_tokens=settings.new_tokens,
            eos_token_id=sorted(ends),
            pad_token_id=padding,
        )
        tokenizer = self.encoder.tokenizer
        stopping = StoppingCriteriaList(
            [_StopTexts(tokenizer, width, settings.stop)] if settings.stop else []
        )
        with torch.no_grad():
            found = self.model.generate(ids, attention_mask=mask, stopping_criteria=stopping)
        return [answer_of(tokenizer, row, ends, settings) for row in found[:, width:].tolist()]


class _StopTexts(StoppingCriteria):
    """Tells which rows hold a stop string in what was generated."""

    def __init__(self, tokenizer: Any, width: int, stop: Sequence[str]) -> None:
        self.tokenizer, self.width, self.stop = tokenizer, width, stop

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        rows = (text_of(self.tokenizer, row) for row in input_ids[:, self.width :].tolist())
        done = [any(stop in text for stop in self.stop) for text in rows]
        return torch.tensor(done, device=input_ids.device)


def _loaded(model: MeasuredModel) -> Any:
    """The whole model in transformers; of a checkpoint, through an export."""
    if model.kind == "folder":
        return AutoModelForCausalLM.from_pretrained(
            model.path, dtype=model.dtype, local_files_only=True, trust_remote_code=False
        )
    run = model.path.parent.parent
    with tempfile.TemporaryDirectory(prefix="pinisi-evaluate-") as folder:
        dtype, step = str(model.dtype).removeprefix("torch."), int(model.path.name.removeprefix("step-"))
        out = export(run, Path(folder) / "model", step=step, dtype=dtype, tokenizer=str(model.tokenizer))
        return AutoModelForCausalLM.from_pretrained(
            out, dtype=model.dtype, local_files_only=True, trust_remote_code=False
        )
