"""`pinisi judge`: judges a model's answers, by another model behind an address or by rules."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pinisi.cli.served import add_served, served_of


def add(commands: Any) -> None:
    """Adds the command."""
    judge = commands.add_parser(
        "judge", help="judge a model's answers: against a baseline's, or whether they refuse what is harmful"
    )
    judge.add_argument(
        "set", metavar="SET", help="conversations as JSON lines, in WildBench's form or plainer"
    )
    judge.add_argument("answers", metavar="ANSWERS", help="a model's, by `pinisi generate --conversations`")
    judge.add_argument("--baseline", metavar="ANSWERS", help="another model's answers to the same set")
    judge.add_argument(
        "--refusals", action="store_true", help="whether answers refuse: by rules, or with --at by a judge"
    )
    judge.add_argument("--limit", type=int, help="only so many conversations, the first ones")
    judge.add_argument(
        "--margin",
        type=int,
        default=500,
        metavar="CHARACTERS",
        help="by which a slight winner may be longer; beyond, it ties (default: %(default)s; -1: length is free)",
    )
    judge.add_argument("--template", metavar="FILE", help="of the judge's prompt, such as WildBench's own")
    add_served(judge, "of the judge")
    judge.add_argument(
        "--judgements",
        metavar="FILE",
        help="where what the judge says is kept, and taken from again (default: beside ANSWERS)",
    )
    judge.add_argument("--new-tokens", type=int, default=4096, help="that a judge may say")
    judge.add_argument("--seed", type=int, default=0, help="of the intervals")
    judge.add_argument("--json", metavar="FILE", help="the result; - for standard output")
    judge.add_argument("--items", metavar="FILE", help="what was found of each conversation, as JSON lines")
    judge.set_defaults(run=_judge)


def _judge(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.base.errors import ConfigError
    from pinisi.base.files import write_whole
    from pinisi.base.results import write_result
    from pinisi.evaluate.judge import run
    from pinisi.evaluate.judge.conversations import answers_of, read_answers, read_conversations
    from pinisi.evaluate.judge.table import judged_table

    if options.refusals == bool(options.baseline):
        raise ConfigError("needed --baseline ANSWERS, to compare with, or --refusals, and not both")
    if options.baseline and not options.at:
        raise ConfigError("a judge compares answers: give its server's address with --at")
    if options.limit is not None and options.limit < 1:
        raise ConfigError(f"--limit {options.limit}: needed at least 1")
    conversations = read_conversations(options.set)[: options.limit]
    ours = answers_of(conversations, read_answers(options.answers), options.answers)
    judging = _judging(options) if options.at else None
    if options.baseline:
        assert judging is not None
        baseline = answers_of(conversations, read_answers(options.baseline), options.baseline)
        result, items = run.judge_pairs(
            conversations,
            ours,
            baseline,
            judging,
            template=_template(options),
            margin=None if options.margin < 0 else options.margin,
            seed=options.seed,
        )
    else:
        result, items = run.judge_refusals(conversations, ours, judging, seed=options.seed)
    files = {"set": options.set, "answers": options.answers, "baseline": options.baseline}
    result["digests"] = run.file_digests(**files)
    print(judged_table(result))
    if options.json:
        write_result(options.json, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    if options.items:
        write_whole(options.items, "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items))
    undecided = [name for name, of in result["languages"].items() if not of["decides"]]
    if undecided:
        print(f"undecided, since more than a tenth has no verdict: {', '.join(undecided)}")
    return 1 if undecided else 0


def _judging(options: argparse.Namespace) -> Any:
    from pinisi.evaluate.judge.judging import Judging
    from pinisi.evaluate.served.generator import ServedGenerator

    served = served_of(options, options.at)
    answers = Path(options.answers)
    file = Path(options.judgements or answers.with_name(f"{answers.stem}.judgements.jsonl"))
    generator = ServedGenerator(served)
    return Judging(generator, served.name, file, parallel=served.parallel, new_tokens=options.new_tokens)


def _template(options: argparse.Namespace) -> str:
    from pinisi.base.json_text import read_utf8
    from pinisi.evaluate.judge.pairs import TEMPLATE, check_template

    if options.template is None:
        return TEMPLATE
    text = read_utf8(Path(options.template))
    check_template(text, options.template)
    return text
