"""`pinisi vocabulary`: trains, trims and extends the vocabulary of a model, chooses its size, and reports what it costs."""

from __future__ import annotations

import argparse
from typing import Any

from pinisi.cli.described import Commands


def add(commands: Any) -> None:
    """Adds the command."""
    vocabulary = commands.add_parser(
        "vocabulary", help="train, trim, extend, choose or report on a vocabulary"
    )
    kinds = Commands(
        vocabulary.add_subparsers(dest="kind", required=True, metavar="train|trim|extend|advise|report")
    )
    _add_train(kinds)
    _add_trim(kinds)
    _add_extend(kinds)
    _add_advise(kinds)
    _add_report(kinds)


def _languages(text: str) -> list[str]:
    return [language.strip() for language in text.split(",") if language.strip()]


def _add_text(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", metavar="TEXT", help="a folder of text, a file or a pattern")
    parser.add_argument("--languages", type=_languages, help="such as my,km,lo; all of the text if left out")
    parser.add_argument("--held-out", help="text to judge by, of which nothing is learned")


def _add_temperature(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--temperature",
        type=float,
        default=3.0,
        help="of the balance of languages: 1 takes text as it is (3)",
    )


def _add_train(kinds: Any) -> None:
    train = kinds.add_parser(
        "train", help="a new tokenizer with the special tokens and chat template of another"
    )
    train.add_argument("base", metavar="BASE", help="the folder of the tokenizer that these are taken from")
    _add_text(train)
    train.add_argument("--size", type=int, required=True, help="tokens in all")
    _add_temperature(train)
    train.add_argument("--out", default="tokenizer", help="the new tokenizer's folder (tokenizer)")
    train.set_defaults(run=_train)


def _add_trim(kinds: Any) -> None:
    trim = kinds.add_parser("trim", help="leave out the tokens and rows that a text doesn't need")
    trim.add_argument("model", metavar="MODEL", help="the model's folder")
    _add_text(trim)
    trim.add_argument("--tokenizer", help="its tokenizer's folder, if it isn't the model's")
    trim.add_argument("--out", default="model-trimmed", help="the new model's folder (model-trimmed)")
    trim.set_defaults(run=_trim)


def _add_extend(kinds: Any) -> None:
    extend = kinds.add_parser("extend", help="add the tokens that save most over a text, and rows for them")
    extend.add_argument("model", metavar="MODEL", help="the model's folder")
    _add_text(extend)
    extend.add_argument("--tokenizer", help="its tokenizer's folder, if it isn't the model's")
    extend.add_argument("--tokens", type=int, required=True, help="how many are added at most")
    _add_temperature(extend)
    extend.add_argument(
        "--rows",
        choices=("mean", "similar", "regression", "random"),
        default="mean",
        help="how new rows begin: mean of the pieces (default), a mix of like tokens, a regression of the old rows, or chance",
    )
    extend.add_argument("--seed", type=int, default=0, help="of random rows")
    extend.add_argument(
        "--probe", type=int, default=256, help="tokens on which both models are run; 0: none (256)"
    )
    extend.add_argument("--out", default="model-extended", help="the new model's folder (model-extended)")
    extend.set_defaults(run=_extend)


def _add_advise(kinds: Any) -> None:
    advise = kinds.add_parser(
        "advise", help="what vocabularies of several sizes cost and bring, and which costs least"
    )
    advise.add_argument(
        "model", metavar="MODEL", help="the body: a preset of `pinisi plan`, a config.json or a folder"
    )
    _add_text(advise)
    advise.add_argument("--base", required=True, help="the folder of the tokenizer that is used now")
    advise.add_argument(
        "--sizes", type=_sizes, help="such as 16k,64k,256k (16k to 512k, each twice the one before)"
    )
    _add_temperature(advise)
    advise.add_argument("--devices", type=int, default=8, help="that the body is trained on (8)")
    advise.add_argument("--hardware", default="H100", help="as of `pinisi plan` (H100)")
    advise.add_argument("--replicas", type=int, help="copies of the pipeline; the fastest number if left out")
    advise.add_argument("--sequence", type=int, default=4096, help="tokens of a row (4096)")
    advise.add_argument("--seconds", type=float, default=10.0, help="of planning for each size and way (10)")
    advise.add_argument(
        "--bytes", type=float, default=1e11, help="of text that it is to be trained on (1e11)"
    )
    advise.add_argument(
        "--target", type=float, help="bits per byte to reach; those of the middle size if left out"
    )
    advise.add_argument(
        "--small-runs",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="on the operations of small trainings, which need --held-out; 0: none (1, some ten minutes)",
    )
    advise.add_argument(
        "--folder", default="runs/vocabulary-advice", help="for tokenizers and small trainings, to go on with"
    )
    advise.add_argument("--json", help="the same for programs")
    advise.add_argument("--out", help="a page of it")
    advise.set_defaults(run=_advise)


def _sizes(text: str) -> list[int]:
    """Numbers with commas between; k means 1,024."""
    try:
        return sorted({int(each[:-1]) * 1024 if each[-1:] in "kK" else int(each) for each in text.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give numbers such as 16k,65536") from None


def _add_report(kinds: Any) -> None:
    report = kinds.add_parser("report", help="cost by language, unused tokens, rows that never learned")
    report.add_argument("folder", metavar="FOLDER", help="a model's folder, or a tokenizer's alone")
    report.add_argument("text", metavar="TEXT", help="a folder of <language>.jsonl files")
    report.add_argument("--tokenizer", help="its tokenizer's folder, if it isn't the model's")
    report.add_argument("--reference", default="en", help="the language that costs are relative to (en)")
    report.add_argument("--json", help="the same for programs")
    report.add_argument("--out", help="a page of the costs")
    report.set_defaults(run=_report)


def _train(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.cookbook.vocabulary import compared, texts_of, train_tokenizer
    from pinisi.data.vocabulary.train import TrainOptions

    chosen = TrainOptions(options.size, options.temperature)
    train_tokenizer(options.base, texts_of(options.text, options.languages), options.out, chosen)
    compared(options.base, options.out, options.held_out)
    print(f"tokenizer: {options.out}")
    return 0


def _trim(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.cookbook.vocabulary import compared, texts_of, trim_model

    texts = texts_of(options.text, options.languages)
    trim_model(options.model, texts, options.out, tokenizer=options.tokenizer)
    compared(options.tokenizer or options.model, options.out, options.held_out)
    print(f"model: {options.out}")
    return 0


def _extend(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.cookbook.vocabulary import ExtendOptions, compared, extend_model, probed, texts_of

    chosen = ExtendOptions(options.tokens, options.temperature, options.rows, options.seed)
    texts = texts_of(options.text, options.languages)
    extension = extend_model(options.model, texts, options.out, chosen, tokenizer=options.tokenizer)
    old = options.tokenizer or options.model
    compared(old, options.out, options.held_out)
    if options.probe:
        probed(options.model, old, options.out, extension, texts, options.probe)
    print(f"model: {options.out}")
    return 0


def _advise(options: argparse.Namespace, _: list[str]) -> int:
    import json
    from pathlib import Path

    from pinisi.base.results import write_result
    from pinisi.cookbook.vocabulary import texts_of
    from pinisi.cookbook.vocabulary_advice import SIZES, AdviceOptions, advice_lines, advise, request_for
    from pinisi.report.vocabulary_advice import write_advice

    name, request = request_for(
        options.model,
        devices=options.devices,
        hardware=options.hardware,
        replicas=options.replicas,
        sequence=options.sequence,
        seconds=options.seconds,
    )
    texts = texts_of(options.text, options.languages)
    result = advise(
        name,
        request,
        options.base,
        options.text,
        texts,
        texts_of(options.held_out, options.languages) if options.held_out else texts,
        Path(options.folder),
        AdviceOptions(
            options.sizes or SIZES, options.bytes, options.target, options.temperature, options.small_runs
        ),
        held_out_folder=options.held_out,
    )
    print("\n".join(advice_lines(result)))
    if options.json:
        write_result(options.json, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    if options.out:
        print(f"page: {write_advice(result, options.out)}")
    return 0


def _report(options: argparse.Namespace, _: list[str]) -> int:
    import json

    from pinisi.base.files import write_whole
    from pinisi.cookbook.vocabulary_report import report_lines, vocabulary_report
    from pinisi.report.fertility import write_fertility

    result = vocabulary_report(
        options.folder, options.text, reference=options.reference, tokenizer=options.tokenizer
    )
    print("\n".join(report_lines(result)))
    if options.json:
        write_whole(options.json, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    if options.out:
        print(f"report: {write_fertility(result['fertility'], options.out)}")
    return 0
