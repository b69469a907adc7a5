"""`pinisi generate`: prints how a model goes on with a text, or lets it answer a set of conversations."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pinisi.cli.served import add_served, is_address, served_of


def add(commands: Any) -> None:
    """Adds the command."""
    generate = commands.add_parser(
        "generate", help="print how a run's model, or a folder's, goes on with a text"
    )
    generate.add_argument(
        "source",
        metavar="RUN|FOLDER|URL",
        help="a run's folder (its newest checkpoint), a Hugging Face folder, or a server's address (with --served)",
    )
    generate.add_argument(
        "text",
        metavar="TEXT",
        nargs="?",
        help="what it goes on from, taken as it stands; with --chat, what a user says",
    )
    generate.add_argument("--chat", action="store_true", help="answer through the model's chat template")
    generate.add_argument(
        "--conversations", metavar="SET", help="answer all of a set (JSON lines, see `judge`), for --out"
    )
    generate.add_argument("--out", metavar="FILE", help="the answers of --conversations, as JSON lines")
    generate.add_argument(
        "--tokens", type=int, default=64, metavar="N", help="new tokens at most (default: %(default)s)"
    )
    generate.add_argument(
        "--temperature",
        type=float,
        default=0.0,
        metavar="T",
        help="above 0: draw tokens instead of taking the likeliest (default: %(default)g)",
    )
    generate.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of the draws (default: %(default)s)"
    )
    generate.add_argument(
        "--batch-size", type=int, default=8, help="prompts answered at once (default: %(default)s)"
    )
    add_served(generate, None)
    generate.set_defaults(run=_generate)


def _generate(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.base.errors import ConfigError

    if (options.text is None) == (options.conversations is None):
        raise ConfigError("needed TEXT, to go on from, or --conversations SET, and not both")
    if (options.conversations is None) != (options.out is None):
        raise ConfigError(
            "the answers of --conversations go to --out FILE, and nothing else does: give both or none"
        )
    if options.text is not None and not options.chat and not is_address(options.source):
        from pinisi.train.generate import generate

        how = {name: getattr(options, name) for name in ("tokens", "temperature", "seed")}
        print(options.text + generate(options.source, options.text, **how))
        return 0
    return _answer(options)


def _answer(options: argparse.Namespace) -> int:
    """Through the one interface of all generators."""
    from pinisi.base.errors import ConfigError
    from pinisi.evaluate.prompting import GenerationSettings, OpenPrompt

    if options.tokens < 1 or not 0 <= options.temperature < float("inf"):
        raise ConfigError(
            f"got {options.tokens} tokens at temperature {options.temperature:g}: needed at least 1, and a temperature of at "
            "least 0"
        )
    settings = GenerationSettings(options.tokens, (), options.temperature, options.seed)
    if options.conversations is None:
        said = {"role": "user", "content": options.text}
        prompt = OpenPrompt(messages=(said,)) if options.chat else OpenPrompt(options.text)
        generator, _ = _generator(options)
        (answer,) = generator.generate([prompt], settings)
        print(answer.text if options.chat else options.text + answer.text)
        return 0
    from pinisi.evaluate.answering import answer_all
    from pinisi.evaluate.judge.conversations import read_conversations

    conversations = read_conversations(options.conversations)
    generator, name = _generator(options)
    answers = answer_all(conversations, generator, settings, options.out, name=name)
    long = sum(answer.ended == "length" for answer in answers)
    print(f"{len(answers)} answers in {options.out}; {long} reached {options.tokens} tokens")
    return 0


def _generator(options: argparse.Namespace) -> tuple[Any, str]:
    """Who answers, and its name."""
    if is_address(options.source):
        from pinisi.evaluate.served.generator import ServedGenerator

        served = served_of(options, options.source)
        return ServedGenerator(served), f"{served.name} at {served.address}"
    from pinisi.evaluate.generation import TransformersGenerator
    from pinisi.evaluate.model_source import open_model

    model = open_model(options.source)
    name = f"{Path(options.source).absolute().name} {model.digest()[:12]}"
    return TransformersGenerator(model, batch_size=options.batch_size), name
