"""Extends and trims a model's folder: its tokenizer and the rows of its weights together."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pinisi.base.errors import DataError
from pinisi.base.files import new_folder
from pinisi.base.made import check_ours, mark
from pinisi.cookbook.step_zero import StepZero, step_zero
from pinisi.data.inputs import documents_in, inputs_of
from pinisi.data.tokenizer import load_tokenizer
from pinisi.data.vocabulary.bpe_file import BpeFile, read_bpe, write_bpe
from pinisi.data.vocabulary.compare import compare, told
from pinisi.data.vocabulary.extend import Extension, extend
from pinisi.data.vocabulary.similar import like_tokens
from pinisi.data.vocabulary.sizes import cut_to_size
from pinisi.data.vocabulary.train import TrainOptions, train
from pinisi.data.vocabulary.trim import Trimmed, trim
from pinisi.data.vocabulary.words import Texts
from pinisi.models import ModelSpec, read_spec, write_folder
from pinisi.models.new_parts import write_new_rows
from pinisi.models.surgery.start_rows import Start, StartFacts
from pinisi.models.surgery.vocabulary import (
    added_rows,
    configured_ids,
    kept_rows,
    stored_weights,
    with_vocabulary,
)

Report = Callable[[str], None]
WHAT = "a trained tokenizer"


def texts_of(given: str | Path, languages: Sequence[str] | None = None) -> Texts:
    """The texts of a corpus by language, read anew each time; of all languages if none is named.

    Raises DataError for a language that isn't there.
    """
    inputs = [
        each
        for each in inputs_of(given)
        if languages is None or not each.is_corpus or each.language in languages
    ]
    found: list[str] = list(
        dict.fromkeys(document.language for each in inputs for document in documents_in(each))
    )
    if missing := sorted(set(languages or ()) - set(found)):
        raise DataError(
            f"{given} has no text in {', '.join(missing)}; it has {', '.join(sorted(found)) or 'none'}"
        )

    def reading(language: str) -> Callable[[], Iterable[str]]:
        return lambda: _texts(given, language)

    return {language: reading(language) for language in sorted(languages or found)}


def _texts(given: str | Path, language: str) -> Iterator[str]:
    for each in inputs_of(given):
        if each.is_corpus and each.language != language:
            continue
        yield from (document.text for document in documents_in(each) if document.language == language)


@dataclass(frozen=True)
class ExtendOptions:
    """How a vocabulary is extended.

    tokens: how many are added at most. temperature: of the balance of languages. start: of the new rows. seed: of random rows.
    """

    tokens: int
    temperature: float = 3.0
    start: Start = "mean"
    seed: int = 0


def extend_model(
    model: str | Path,
    texts: Texts,
    out: str | Path,
    options: ExtendOptions,
    *,
    tokenizer: str | Path | None = None,
    report: Report = print,
) -> Extension:
    """Writes a model's folder with new tokens and their rows; returns what was added.

    tokenizer: its folder, if it isn't the model's. Raises DataError or ModelError, `out` unchanged.
    """
    spec = read_spec(model)
    stored_weights(spec)  # what is wrong with them is said first
    old = read_bpe(tokenizer or model)
    extension = extend(
        old,
        texts,
        options.tokens,
        rows=spec.vocabulary,
        taken=configured_ids(spec),
        temperature=options.temperature,
        report=report,
    )
    write_extended(spec, old, extension, texts, out, options, report)
    return extension


def write_extended(
    spec: ModelSpec,
    old: BpeFile,
    extension: Extension,
    texts: Texts,
    out: str | Path,
    options: ExtendOptions,
    report: Report = print,
) -> None:
    """Writes the folder of a model with an extension's tokens and their first rows.

    spec: of the model as it was, read from its folder. old: its tokenizer. texts: that rows of like tokens are found by.
    """
    inside = sum(id < spec.vocabulary for id in extension.pieces)
    report(
        f"{len(extension.pieces):,} new tokens: {inside:,} in rows that had no token, {len(extension.pieces) - inside:,} in new "
        f"rows; {spec.vocabulary:,} rows become {extension.rows:,}"
    )
    changed = with_vocabulary(spec, extension.rows)
    facts = _facts(old, extension, texts, options.start, spec.vocabulary)
    rows = added_rows(spec, stored_weights(spec), extension.rows, facts, options.start, options.seed)
    with tempfile.TemporaryDirectory() as files:
        write_bpe(extension.tokenizer, Path(files))
        write_new_rows(Path(files), extension.pieces)
        write_folder(changed, rows, out, files)


def _facts(old: BpeFile, extension: Extension, texts: Texts, start: Start, rows: int) -> StartFacts:
    """What new rows are made of by a rule, and no more."""
    like = like_tokens(extension.tokenizer, extension.pieces, texts) if start == "similar" else {}
    parts = []
    for left, right in old.merges if start == "regression" else ():
        ids = [old.pieces.get(piece, rows) for piece in (left + right, left, right)]
        if max(ids) < rows:
            parts.append((ids[0], ids[1], ids[2]))
    return StartFacts(extension.pieces, like, parts)


def trim_model(
    model: str | Path,
    texts: Texts,
    out: str | Path,
    *,
    tokenizer: str | Path | None = None,
    report: Report = print,
) -> Trimmed:
    """Writes a model's folder with the tokens and rows that texts need, and no others; returns what stayed.

    tokenizer: its folder, if it isn't the model's. Raises DataError or ModelError, `out` unchanged.
    """
    spec = read_spec(model)
    weights = stored_weights(spec)
    trimmed = trim(read_bpe(tokenizer or model), texts, taken=configured_ids(spec), report=report)
    rows = [id for id in trimmed.kept if id < spec.vocabulary]  # a tokenizer may have tokens beyond the rows
    moved = len(rows) - spec.vocabulary
    changed = with_vocabulary(spec, len(rows), lambda id: trimmed.new_id.get(id, id + moved))
    report(
        f"{spec.vocabulary:,} rows become {len(rows):,}: {trimmed.used:,} that the text uses, and parts of these, single bytes "
        "and added tokens"
    )
    with tempfile.TemporaryDirectory() as files:
        write_bpe(trimmed.tokenizer, Path(files))
        write_folder(changed, kept_rows(spec, weights, rows), out, files)
    return trimmed


def train_tokenizer(
    base: str | Path, texts: Texts, out: str | Path, options: TrainOptions, *, report: Report = print
) -> Path:
    """Writes the folder of a new tokenizer with the added tokens and templates of another; returns it.

    Raises DataError, `out` unchanged.
    """
    out = Path(out)
    check_ours(out, WHAT, "--out")
    trained = train(read_bpe(base), texts, options, report=report)
    report(f"{trained.size:,} tokens: {len(trained.merges):,} merges, {len(trained.added):,} added tokens")
    with new_folder(out) as folder:
        write_bpe(trained, folder)
        mark(folder, WHAT)
    return out


def tokenizers_of_sizes(
    base: str | Path,
    texts: Texts,
    sizes: Sequence[int],
    folder: Path,
    *,
    temperature: float = 3.0,
    report: Report = print,
) -> list[Path]:
    """Writes a tokenizer for each size into `folder`, unless they are there: one is trained, the others are cut from it.

    Where the text has too few pairs that occur twice, the largest are smaller than asked for.
    """
    outs = [folder / f"tokenizer-{size}" for size in sizes]
    if all(out.is_dir() for out in outs):
        return outs
    trained = train(read_bpe(base), texts, TrainOptions(max(sizes), temperature), report=report)
    for size, out in zip(sizes, outs, strict=True):
        if out.is_dir():
            continue
        with new_folder(out) as target:
            write_bpe(cut_to_size(trained, size), target)
            mark(target, WHAT)
    return outs


def compared(old: str | Path, new: str | Path, held_out: str | Path | None, report: Report = print) -> None:
    """Reports what both tokenizers make of held-out text, if there is any."""
    if held_out is not None:
        for line in told(compare(old, new, texts_of(held_out))):
            report(line)


def probed(
    model: str | Path,
    tokenizer: str | Path,
    new: str | Path,
    extension: Extension,
    texts: Texts,
    tokens: int,
    report: Report = print,
) -> StepZero:
    """Runs a model and its extension on the first tokens of a text, in old ids, and reports what differs."""
    rows = read_spec(model).vocabulary
    common = {id: id for id in range(rows) if id not in extension.pieces}
    backend = load_tokenizer(tokenizer).backend_tokenizer
    text = next(text for language in sorted(texts) for text in texts[language]() if text.strip())
    ids = backend.encode(text, add_special_tokens=False).ids[:tokens]
    found = step_zero(model, new, ids, common)
    report(
        f"before any training, over {len(ids)} tokens: old tokens' logits differ by at most {found.difference:.1e}, and the new "
        f"rows have {found.share:.2%} of the softmax"
    )
    return found
