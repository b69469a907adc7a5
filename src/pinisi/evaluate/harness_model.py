"""Lets lm-evaluation-harness ask its tasks of a model on any number of ranks, as the harness's model `pinisi`.

From Python: simple_evaluate(model="pinisi", model_args={"model": "FOLDER", "ranks": 2}, tasks=[...]) after this module is imported;
by `pinisi evaluate MODEL --harness TASK`; or from the harness's own command line, with this module in front of it:
python -m pinisi.evaluate.harness_model run --model pinisi --model_args model=FOLDER,ranks=2 --tasks TASK.

Borders, prefixes and cuts are the harness's own (see `encoding`), so likelihoods are those of its model `hf`, but for two things
that `hf` does: a text of loglikelihood_rolling has one token before it, not a second one where the tokenizer puts one there itself;
and text of a prompt can't spell control tokens, unless a chat template writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from pinisi.base.errors import ConfigError
from pinisi.evaluate.encoding import Continuation, PromptEncoder, truncated
from pinisi.evaluate.generation import TransformersGenerator
from pinisi.evaluate.likelihood import ROW
from pinisi.evaluate.model_ranks import ModelRanks, RanksGenerator
from pinisi.evaluate.model_source import MeasuredModel, open_model
from pinisi.evaluate.next_tokens import TokenWork
from pinisi.evaluate.prompting import GenerationSettings, Generator, OpenPrompt

NEW_TOKENS = 256  # of an answer, where a task doesn't say: the harness's own number
GREEDY = (
    "do_sample",
    "temperature",
    "until",
    "max_gen_toks",
)  # what of a task's way of generating is known here


@register_model("pinisi")
class HarnessModel(LM):
    """Answers the harness's requests. model: a Hugging Face folder, a run or a checkpoint; the rest as of `pinisi evaluate`.

    batch_size: rows in the pipeline, or prompts answered, at once. generator: "transformers" takes the whole model onto one device,
    "ranks" leaves it where it is; usual is the first on one rank.
    """

    def __init__(
        self,
        model: str | MeasuredModel,
        *,
        ranks: int = 1,
        dtype: str | None = None,
        batch_size: int | str = 8,
        generator: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__()
        chosen = generator or ("transformers" if int(ranks) == 1 else "ranks")
        if chosen not in ("transformers", "ranks"):
            raise ConfigError(f"generator={chosen}: needed transformers or ranks")
        if unknown := more.keys() - {
            "step",
            "tokenizer",
            "longest",
            "threads",
            "row_tokens",
            "max_batch_size",
            "device",
        }:
            raise ConfigError(f"the harness's model pinisi has no argument {min(unknown)}")
        if isinstance(model, MeasuredModel):
            self.opened = model
        else:
            self.opened = open_model(
                model, step=more.get("step"), dtype=dtype, tokenizer=more.get("tokenizer")
            )
        threads = more.get("threads")
        self.asked = ModelRanks(
            self.opened,
            ranks=int(ranks),
            threads=None if threads is None else int(threads),
            row=int(more.get("row_tokens") or ROW),
            at_once=int(batch_size),
        )
        self.longest = int(more.get("longest") or self.opened.longest)
        self.encoder = PromptEncoder(self.opened.tokenizer)
        self._generator: Generator | None = None
        self._chosen, self.chat = chosen, False
        self.cut = 0

    @property
    def tokenizer_name(self) -> str:
        """Names the tokenizer in the harness's caches."""
        return str(self.opened.tokenizer).replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The tokenizer's template, as text, for the harness's records."""
        found = getattr(self.encoder.tokenizer, "chat_template", None)
        return found if chat_template and isinstance(found, str) else None

    def apply_chat_template(
        self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A chat as its template writes it: from then on prompts are chats."""
        self.chat = True
        how = {
            "add_generation_prompt": add_generation_prompt,
            "continue_final_message": not add_generation_prompt,
        }
        self.encoder.check_chat([dict(message) for message in chat_history])
        return self.encoder.tokenizer.apply_chat_template(list(chat_history), tokenize=False, **how)

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        """(log-probability of the continuation, whether each of its tokens is the likeliest)."""
        items = [self._pair(*request.args) for request in requests]
        sums = [float(score.sum()) for score in self.asked.score(items)]
        likeliest = self.asked.tokens(items, TokenWork())
        greedy = [
            tuple(found.tolist()) == item.tokens[item.first :]
            for item, found in zip(items, likeliest, strict=True)
        ]
        answers = list(zip(sums, greedy, strict=True))
        for request, answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial("loglikelihood", request.args, answer)
        return answers

    def _pair(self, context: str, continuation: str) -> Continuation:
        """As the harness joins them: where the border is within a token, the context's own tokens stay."""
        whole = self.encoder.pair(context, continuation, chat=self.chat)
        if whole.merged:
            before, both = self.encoder.border(context, continuation, chat=self.chat)
            if rest := both[len(before) :]:
                whole = Continuation((*before, *rest), len(before))
        fits = truncated(whole, self.longest)
        self.cut += fits is not whole
        return fits

    def loglikelihood_rolling(self, requests: Sequence[Instance]) -> list[float]:
        """Log-probabilities of whole texts, in stretches of as many tokens as the model reads."""
        items: list[Continuation] = []
        counts = []
        for request in requests:
            found = list(self._windows(request.args[0]))
            items += found
            counts.append(len(found))
        scores = iter(self.asked.score(items) if items else [])
        answers = [sum(float(score.sum()) for score in islice(scores, count)) for count in counts]
        for request, answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, answer)
        return answers

    def _windows(self, text: str) -> list[Continuation]:
        encoder = self.encoder
        prefix: int | None = encoder.before[0] if encoder.before else encoder.prefix
        if prefix is None:
            raise ConfigError(
                "the tokenizer names no token that begins or ends a text: texts can't be scored from their start"
            )
        windows = get_rolling_token_windows(encoder.text([text])[0], prefix, self.longest, 1)
        pairs = map(make_disjoint_window, windows)
        return [Continuation((*before, *scored), len(before)) for before, scored in pairs]

    def generate_until(self, requests: Sequence[Instance]) -> list[str]:
        """Answers, cut at the first of a request's texts that end it."""
        by_settings: dict[GenerationSettings, list[int]] = {}
        for number, request in enumerate(requests):
            by_settings.setdefault(_settings(request.args[1]), []).append(number)
        answers = [""] * len(requests)
        for settings, numbers in by_settings.items():
            prompts = [self._prompt(requests[n].args[0]) for n in numbers]
            for n, found in zip(numbers, self._generates().generate(prompts, settings), strict=True):
                answers[n] = found.text
                self.cache_hook.add_partial("generate_until", requests[n].args, found.text)
        return answers

    def _prompt(self, text: str) -> OpenPrompt:
        """The harness hands over chats as rendered text."""
        return OpenPrompt(text, rendered=self.chat)

    def _generates(self) -> Generator:
        if self._generator is None:
            if self._chosen == "ranks":
                self._generator = RanksGenerator(self.asked, self.longest)
            else:
                self._generator = TransformersGenerator(
                    self.opened, batch_size=self.asked.at_once, longest=self.longest
                )
        return self._generator


def _settings(given: Mapping[str, Any]) -> GenerationSettings:
    """A task's way of generating. Raises ConfigError for one that isn't known here."""
    known = normalize_gen_kwargs(dict(given), NEW_TOKENS)
    if other := [name for name, value in known.items() if name not in GREEDY and value not in (None, 1, 1.0)]:
        raise ConfigError(
            f"a task generates with {', '.join(sorted(other))}, which isn't known here: override it with --gen_kwargs"
        )
    stop = tuple(text for text in handle_stop_sequences(known["until"], None) if text)
    return GenerationSettings(
        known["max_gen_toks"], stop, known["temperature"] if known["do_sample"] else 0.0
    )


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
