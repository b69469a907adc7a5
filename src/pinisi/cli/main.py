"""The command line. Each command imports what it needs when it runs, so that `pinisi --help` is instant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pinisi import __version__
from pinisi.base.errors import ConfigError, PinisiError

BENCHES = {
    "pipeline": ("pinisi.bench.pipeline", "throughput, memory and balance against torch's own 1F1B"),
    "emulated": (
        "pinisi.bench.emulated",
        "measured against simulated steps at p = 4, 8, 16, passes emulated",
    ),
    "heads": (
        "pinisi.bench.heads",
        "several heads at once: balance with the vocabulary split, passes emulated",
    ),
    "reference": ("pinisi.bench.reference", "predicted against measured iterations of a CSV of profiles"),
    "paper": ("pinisi.bench.paper", "predicted against published MFU and peak memory of a CSV of tables"),
    "ignored": ("pinisi.bench.ignored", "what the head costs when a share of the tokens has no target"),
    "vocabulary": ("pinisi.bench.vocabulary", "S and T of one shard against the matrix rate"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code. Errors meant for users are one line on stderr."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if arguments[:1] == ["bench"] and len(arguments) > 1 and arguments[1] in BENCHES:
            return _bench(arguments[1], arguments[2:])
        options = _parser(planning=arguments[:1] == ["plan"]).parse_args(arguments)
        return options.run(options, arguments)
    except PinisiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser(*, planning: bool = False) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pinisi", description="Language models with large vocabularies, in your languages."
    )
    parser.add_argument("--version", action="version", version=f"pinisi {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train (or resume) the run that a TOML file describes")
    train.add_argument("config", metavar="CONFIG", help="a TOML file")
    train.add_argument("overrides", nargs="*", metavar="key=value", help="such as run.steps=200")
    train.set_defaults(run=_train)

    plan = commands.add_parser(
        "plan", help="rank the ways of running a model on N ranks, before any is started"
    )
    if planning:  # its options name the presets, for which torch is imported
        from pinisi.plan.command import add_arguments

        add_arguments(plan)
    plan.set_defaults(run=_plan)

    export = commands.add_parser("export", help="write a run's checkpoint as a Hugging Face folder")
    export.add_argument("folder", metavar="RUN", help="the run's folder")
    export.add_argument("--out", required=True, help="the folder to write")
    export.add_argument("--step", type=int, help="the checkpoint's step; the newest if left out")
    export.add_argument(
        "--dtype",
        choices=["float32", "bfloat16", "float16"],
        help="of the weights; the run's own if left out",
    )
    export.add_argument("--tokenizer", help="a folder with a tokenizer; the run's own if left out")
    export.set_defaults(run=_export)

    report = commands.add_parser("report", help="write a run's report.html")
    report.add_argument("folder", metavar="RUN", help="the run's folder")
    report.add_argument("--out", help="the file; RUN/report.html if left out")
    report.set_defaults(run=_report)

    trace = commands.add_parser(
        "trace", help="write a run's timelines for ui.perfetto.dev or chrome://tracing"
    )
    trace.add_argument("folder", metavar="RUN", help="the run's folder")
    trace.add_argument("--out", help="the file; RUN/trace.json if left out")
    trace.set_defaults(run=_trace)

    _text_commands(commands)

    bench = commands.add_parser("bench", help="measure: " + ", ".join(BENCHES))
    bench.add_argument(
        "what",
        choices=list(BENCHES),
        metavar="WHAT",
        help="; ".join(f"{k}: {v[1]}" for k, v in BENCHES.items()),
    )
    bench.set_defaults(run=lambda options, _: _bench(options.what, []))

    demo = commands.add_parser(
        "demo", help="everything once on real text in fifteen languages, in a few minutes"
    )
    demo.add_argument("--folder", default="runs/demo", help="where to work")
    demo.add_argument("--steps", type=int, default=None, help="training steps")
    demo.set_defaults(run=_demo)
    return parser


def _langpack(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.curate.fit import with_limits
    from pinisi.curate.packs import langpack

    langpack(
        options.language,
        options.source,
        options.out,
        name=options.name,
        licence=options.licence,
        overwrite=options.overwrite,
        build=with_limits,
    )
    return 0


def _curate(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.curate.run import curate

    try:
        curate(options.config, options.overrides)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _text_commands(commands: Any) -> None:
    """Raw text to token shards."""
    corpus = commands.add_parser(
        "corpus", help="fetch the sample corpus: real text in fifteen languages, and a tokenizer"
    )
    corpus.add_argument("action", choices=["fetch"])
    corpus.add_argument("folder", help="where to put it: FOLDER/text and FOLDER/tokenizer")
    corpus.add_argument("--small", action="store_true", help="less text per language")
    corpus.set_defaults(run=_corpus)

    langpack = commands.add_parser(
        "langpack", help="make a language pack of clean text: what curate has to know of a language"
    )
    langpack.add_argument("language", metavar="LANG", help="its code, such as jv")
    langpack.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="TEXT",
        help="a file, a folder or a pattern of text, JSON lines, Parquet or WARC",
    )
    langpack.add_argument("--out", required=True, help="the pack's folder")
    langpack.add_argument("--name", help="the language's name in English")
    langpack.add_argument("--licence", help="the text's; the pack keeps it")
    langpack.add_argument(
        "--overwrite", action="store_true", help="put it in the place of a pack that is there"
    )
    langpack.set_defaults(run=_langpack)

    curate = commands.add_parser(
        "curate", help="clean documents of raw text: repair, rules, language, duplicates; resumes"
    )
    curate.add_argument("config", metavar="CONFIG", help="a TOML file")
    curate.add_argument("overrides", nargs="*", metavar="key=value", help="such as run.workers=8")
    curate.set_defaults(run=_curate)

    tokenize = commands.add_parser(
        "tokenize", help="turn text (JSON lines, text, Parquet, WARC; packed or not) into token shards"
    )
    tokenize.add_argument(
        "text", metavar="TEXT", help="a folder such as one with <language>.jsonl files, a file or a pattern"
    )
    tokenize.add_argument("--tokenizer", required=True, help="a folder with a Hugging Face tokenizer")
    tokenize.add_argument("--out", required=True, help="the folder of shards to write")
    tokenize.add_argument(
        "--bos",
        choices=["auto", "yes", "no"],
        default="auto",
        help="begin each document with the tokenizer's BOS; auto: where its post-processor puts one",
    )
    tokenize.add_argument(
        "--end-of-document",
        metavar="TOKEN",
        help="a string or an id; the tokenizer's end of a text if left out",
    )
    tokenize.add_argument(
        "--strict", action="store_true", help="a document that does not decode back to its text is an error"
    )
    tokenize.add_argument(
        "--workers", type=int, help="processes, of one core each; one that uses all cores if left out"
    )
    tokenize.add_argument(
        "--held-out",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="put this share of documents, such as 0.001, into shards of their own, by a hash of the text",
    )
    tokenize.add_argument(
        "--held-out-folder", metavar="FOLDER", help="of those shards; OUT-held-out if left out"
    )
    tokenize.set_defaults(run=_tokenize)

    inspect = commands.add_parser(
        "inspect",
        help="show the document that a token of a shard belongs to, or compare digests with --verify",
    )
    inspect.add_argument(
        "folder", metavar="FOLDER", help="of token shards; with --verify also a run or one of its checkpoints"
    )
    inspect.add_argument("language", metavar="LANGUAGE", nargs="?")
    inspect.add_argument(
        "position", metavar="POSITION", type=int, nargs="?", help="of the token in its language, from 0"
    )
    inspect.add_argument("--verify", action="store_true", help="read every file and compare its digest")
    inspect.add_argument("--json", action="store_true", help="for programs")
    inspect.set_defaults(run=_inspect)

    fertility = commands.add_parser(
        "fertility", help="tokens per word, character and byte by language, and the cost against English"
    )
    fertility.add_argument("text", metavar="TEXT", help="the folder of text")
    fertility.add_argument(
        "--tokenizer", action="append", required=True, metavar="[NAME=]FOLDER", help="one or several"
    )
    fertility.add_argument("--parallel", help="a folder of translations with equal ids; TEXT if left out")
    fertility.add_argument("--limit", type=int, help="characters of each language that are read")
    fertility.add_argument("--out", default="fertility.html", help="the page")
    fertility.add_argument("--json", help="the same for programs")
    fertility.set_defaults(run=_fertility)


def _train(options: argparse.Namespace, arguments: list[str]) -> int:
    from pinisi.config import load
    from pinisi.launch.ranks import warm_up
    from pinisi.launch.supervisor import writes_report
    from pinisi.parallel.place import joined

    if not joined():
        load(options.config, options.overrides)  # what is wrong with it is said before anything is started
        warm_up()  # now, since what comes next are the same imports for this process
    from pinisi.launch.start import start
    from pinisi.report import write_report

    code = start(options.config, options.overrides, arguments)
    if code in (0, 130, 143) and writes_report():
        try:
            print(f"report: {write_report(Path(load(options.config, options.overrides).run.folder))}")
        except (PinisiError, OSError) as error:
            print(f"the report could not be written: {error}", file=sys.stderr)
    return code


def _plan(options: argparse.Namespace, _: list[str]) -> int:
    if options.as_rank:
        from pinisi.bench.profile import as_rank

        return as_rank(Path(options.config))
    from pinisi.plan.command import run

    return run(options, _measure)


def _measure(source, setting, ranks: int):
    """`--hardware measure`: plan can't import the engine, so it is handed this."""
    from pinisi.bench.profile import profile

    threads = source.run.runtime.threads if source.run else 1
    return profile(source.spec, setting, ranks, threads=threads, report=print)


def _export(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.train.export import export

    print(
        export(
            Path(options.folder),
            Path(options.out),
            step=options.step,
            dtype=options.dtype,
            tokenizer=options.tokenizer,
        )
    )
    return 0


def _report(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.report import write_report

    print(write_report(Path(options.folder), Path(options.out) if options.out else None))
    return 0


def _trace(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.report.trace import write_trace

    print(write_trace(options.folder, options.out))
    return 0


def _corpus(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.data.sample.corpus import fetch

    fetch(Path(options.folder), small=options.small)
    return 0


def _tokenize(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.data import tokenize

    tokenize(
        options.text,
        options.tokenizer,
        options.out,
        strict=options.strict,
        bos=options.bos,
        end_of_document=options.end_of_document,
        workers=options.workers,
        held_out=options.held_out,
        held_out_folder=options.held_out_folder,
    )
    return 0


def _inspect(options: argparse.Namespace, _: list[str]) -> int:
    import json

    if options.verify:
        from pinisi.train.verify_files import verify_files

        return verify_files(Path(options.folder))
    if options.language is None or options.position is None:
        raise ConfigError("inspect needs FOLDER LANGUAGE POSITION, or FOLDER --verify")
    from pinisi.data import trace

    found = trace(options.folder, options.language, options.position)
    print(json.dumps(found.to_dict(), ensure_ascii=False) if options.json else found)
    return 0


def _fertility(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.data import fertility
    from pinisi.report.fertility import write_fertility, write_fertility_json

    named = [text.partition("=") for text in options.tokenizer]
    tokenizers = {name if folder else Path(name).name: folder or name for name, _, folder in named}
    result = fertility(options.text, tokenizers, parallel=options.parallel, limit=options.limit)
    if options.json:
        write_fertility_json(result, options.json)
    print(f"report: {write_fertility(result, options.out)}")
    return 0


def _bench(what: str, rest: list[str]) -> int:
    from importlib import import_module

    return import_module(BENCHES[what][0]).main(rest)


def _demo(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.cli.main.demo import demo

    return demo(Path(options.folder), steps=options.steps)


if __name__ == "__main__":
    sys.exit(main())
