"""Likeliest tokens and answers of a model on one rank and several: those of transformers."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from pinisi.base.errors import ConfigError
from pinisi.data import load_tokenizer
from pinisi.evaluate.encoding import Continuation
from pinisi.evaluate.generation import TransformersGenerator
from pinisi.evaluate.model_ranks import ModelRanks, RanksGenerator
from pinisi.evaluate.model_source import open_model
from pinisi.evaluate.next_tokens import TokenWork
from pinisi.evaluate.prompting import GenerationSettings
from tests.data.conftest import TEXTS
from tests.effort import only_full
from tests.evaluate.test_generation import drawn_prompts


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=only_full), 2, pytest.param(3, marks=only_full)])
def test_answers_and_likeliest_tokens_are_those_of_transformers(model, ranks) -> None:
    """Answers of a batch by its stop text and by length; and greedy tokens inside texts."""
    opened, prompts = open_model(model, dtype="float64"), drawn_prompts()
    plain = TransformersGenerator(opened).generate(prompts, GenerationSettings(5))
    stop = next(answer.text for answer in plain if len(answer.text) > 3)[2]
    settings = GenerationSettings(5, (stop,))
    wanted = TransformersGenerator(opened, batch_size=16).generate(prompts, settings)
    assert {answer.ended for answer in wanted} >= {"text", "length"}
    tokenizer, loaded = (
        load_tokenizer(model),
        AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64),
    )
    texts = [tokenizer.encode(text) for of in TEXTS.values() for text in of][:9]
    items = [Continuation(tuple(text), 1 + len(text) // 3) for text in texts if len(text) > 2]
    with ModelRanks(opened, ranks=ranks, threads=1, row=64, at_once=3) as asked:
        generator = RanksGenerator(asked)
        found = generator.generate(prompts, settings)
        likeliest = asked.tokens(items, TokenWork())
        with pytest.raises(ConfigError, match="leave the temperature out"):
            generator.generate(prompts, settings._replace(temperature=0.5))
    # how many tokens were made before a stop text was seen is each one's own affair
    assert [(a.text, a.ended) for a in found] == [(a.text, a.ended) for a in wanted]
    for item, tokens in zip(items, likeliest, strict=True):
        with torch.no_grad():
            best = loaded(torch.tensor([item.tokens])).logits[0].argmax(-1)
        assert tokens.tolist() == best[item.first - 1 : -1].tolist()
