"""Lets a model go on with prompts, through one interface; transformers' generate on a folder is the usual one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, StoppingCriteria, StoppingCriteriaList

from pinisi.base.errors import ConfigError
from pinisi.data import end_of_document_id
from pinisi.evaluate.encoding import PromptEncoder
from pinisi.evaluate.model_source import MeasuredModel
from pinisi.evaluate.prompting import Generated, GenerationSettings, Generator, OpenPrompt
from pinisi.train.building import device_here
from pinisi.train.export import export

ANSWER = "answerplaceholder"
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
        self.ends = self._ends()
        self.turn_end = _turn_end(self.encoder)
        self.cut = 0

    def _ends(self) -> set[int]:
        tokenizer = self.encoder.tokenizer
        told = (self.model.generation_config, self.model.config)
        named = {id for config in told for id in _ids(getattr(config, "eos_token_id", None))}
        return {*named, *_ids(tokenizer.eos_token_id), end_of_document_id(tokenizer)}

    def generate(self, prompts: Sequence[OpenPrompt], settings: GenerationSettings) -> list[Generated]:
        room = self.longest - settings.new_tokens
        if room < 1:
            raise ConfigError(
                f"{settings.new_tokens} new tokens and a model that reads {self.longest}: ask for fewer new tokens"
            )
        tokens = [self._tokens(prompt) for prompt in prompts]
        self.cut += sum(len(each) > room for each in tokens)
        order = sorted(range(len(prompts)), key=lambda n: (-len(tokens[n]), n))
        found: dict[int, Generated] = {}
        at_once = (
            1 if settings.temperature > 0 else self.batch_size
        )  # draws don't depend on what stands beside
        for chat in (False, True):  # only a chat ends at the end of a turn
            of_kind = [n for n in order if bool(prompts[n].messages) is chat]
            for start in range(0, len(of_kind), at_once):
                some = of_kind[start : start + at_once]
                torch.manual_seed(settings.seed + some[0])
                answers = self._batch([self._fitted(tokens[n], room) for n in some], settings, chat)
                found.update(zip(some, answers, strict=True))
        return [found[n] for n in range(len(prompts))]

    def _fitted(self, tokens: list[int], room: int) -> list[int]:
        """The last tokens that fit; one that begins all text stays in front."""
        kept = tokens[:1] if tokens[:1] == self.encoder.before and room > 1 else []
        return tokens if len(tokens) <= room else [*kept, *tokens[len(kept) - room :]]

    def _tokens(self, prompt: OpenPrompt) -> list[int]:
        encoder = self.encoder
        if prompt.messages:
            return encoder.chat(encoder.rendered(prompt.messages))
        tokens = encoder.prompt(prompt.text)
        return tokens or [id for id in [encoder.prefix] if id is not None]

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
        stopping = StoppingCriteriaList([_StopTexts(self._text, width, settings.stop)])
        with torch.no_grad():
            found = self.model.generate(ids, attention_mask=mask, stopping_criteria=stopping)
        return [self._answer(row, ends, settings) for row in found[:, width:].tolist()]

    def _answer(self, tokens: list[int], ends: set[int], settings: GenerationSettings) -> Generated:
        """A row's new tokens up to its end; what stands behind is padding."""
        count = next((n for n, token in enumerate(tokens) if token in ends), len(tokens))
        text = self._text(tokens[:count])
        places = [place for stop in settings.stop if (place := text.find(stop)) >= 0]
        if places:
            return Generated(text[: min(places)], count, "text")
        return Generated(text, count, "token" if count < len(tokens) else "length")

    def _text(self, tokens: Sequence[int]) -> str:
        return self.encoder.tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )


class _StopTexts(StoppingCriteria):
    """Tells which rows hold a stop string in what was generated."""

    def __init__(self, text: Any, width: int, stop: Sequence[str]) -> None:
        self.text, self.width, self.stop = text, width, stop

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        rows = (self.text(row) for row in input_ids[:, self.width :].tolist())
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


def _ids(value: Any) -> Iterable[int]:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)


def _turn_end(encoder: PromptEncoder) -> int | None:
    """The control token that a chat template puts behind an answer; None without a template or such a token."""
    tokenizer = encoder.tokenizer
    if not getattr(tokenizer, "chat_template", None):
        return None
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": ANSWER}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    behind = encoder.chat(text[text.rfind(ANSWER) + len(ANSWER) :])
    return next((id for id in behind if id in encoder.text_only.controls), None)
