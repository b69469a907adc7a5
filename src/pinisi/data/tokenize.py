"""Turns text into token shards: in parts that many processes make, atomic, resumable, and not done twice."""

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pinisi.base import digests
from pinisi.base.durations import duration
from pinisi.base.errors import DataError
from pinisi.base.files import free_bytes, write_whole
from pinisi.base.lock import only_one
from pinisi.base.made import MARK, check_ours, mark
from pinisi.base.progress import ProgressBar
from pinisi.data.document_bounds import beginning_id, end_of_document_id, token_id
from pinisi.data.inputs import inputs_of
from pinisi.data.shard_index import Joined, join
from pinisi.data.shards import FORMAT, INDEX, TOKENIZER, read_index
from pinisi.data.shards_before import CONTROLS, Report, files_of_before, fingerprint, same, spelled
from pinisi.data.storage import is_url
from pinisi.data.text_parts import CutText, cut
from pinisi.data.tokenize_part import HeldOut, TokenizeSettings, TokenizeTools, tell_altered, tokenize_part
from pinisi.data.tokenizer import load_tokenizer, vocabulary_size
from pinisi.recipe import (
    ExecutorSettings,
    RecipeStage,
    RecipeTask,
    Shared,
    TaskExecutor,
    begin,
    remove_others,
    stage_folders,
)

PROGRESS_SECONDS = 5.0

WHAT = "token shards"
STAGE = "tokens"

Workers = int | ExecutorSettings | None


def tokenize(
    corpus_folder: str | Path,
    tokenizer_folder: str | Path,
    out_folder: str | Path,
    *,
    end_of_document: int | str | None = None,
    bos: str = "auto",
    rows: int | None = None,
    strict: bool = False,
    report: Report = print,
    workers: Workers = None,
    held_out: float = 0.0,
    held_out_folder: str | Path | None = None,
) -> dict[str, Any]:
    """Turns a corpus into token shards (see shards.py), of each language by itself; returns their index.

    corpus_folder: a file, a folder or a pattern of JSON lines, text (a document a file), Parquet or WARC, packed or not (see
    inputs.py). A document's language is what its record says, or else the file's name.
    end_of_document: the token that ends each document, an id or a string; None takes the tokenizer's end of a text
        (see end_of_document_id), which is not the end of a chat's turn.
    bos: whether each document begins with the tokenizer's BOS: "auto" where its post-processor puts one, "yes" or "no".
    rows: rows of the model's vocabulary; a token beyond it is an error that names token and document.
    strict: a document whose tokens do not decode back to its text is an error that names it.
    workers: how many processes, each on one core, or where else tasks run. None: this process, whose tokenizer takes all cores.
        The bytes of the shards are the same for any of these.
    held_out: the share of documents, drawn by a hash of the text, that go into shards of their own, in `held_out_folder`
        (OUT-held-out if left out) and not into these. Equal texts are always on the same side.
    The folder appears only when complete, replaces older shards, and stays as it is if the fingerprint (tokenizer files, text
    files, end token, BOS) and the format are the same. A killed run leaves its parts beside it, and the next goes on with them.
    Control tokens spelled out in a text are encoded as ordinary text (see control_tokens.py). Every document is decoded again
    (a twentieth to a quarter of the time). Those whose text changed are counted in the index ("altered"), by language and kind
    (NFC, white space, other), each with its first document; their tokens stay. A file without text is named and left out.
    Raises DataError for unreadable text (file:line), no text at all, a broken tokenizer, a disk that is full or too small.
    """
    text = cut(inputs_of(corpus_folder, report))
    out, tokenizer = Path(out_folder), load_tokenizer(tokenizer_folder)
    aside = Path(held_out_folder) if held_out_folder else out.with_name(f"{out.name}-held-out")
    if held_out and (not 0 < held_out < 1 or aside == out):
        raise DataError(
            f"held_out is {held_out} into {aside}; give a share above 0 and below 1, and another folder than {out}"
        )
    end = end_of_document_id(tokenizer) if end_of_document is None else token_id(tokenizer, end_of_document)
    begins = beginning_id(tokenizer, bos)
    size = vocabulary_size(tokenizer) if rows is None else rows
    for what, id in (("end_of_document", end), ("bos", end if begins is None else begins)):
        if not 0 <= id < size:
            raise DataError(f"{what} is {id}, the vocabulary has ids 0 to {size - 1}")
    settings = TokenizeSettings(str(tokenizer_folder), end, rows, begins, strict, None)
    if not held_out:
        if (aside / INDEX).is_file():
            report(
                f"without a share held out: what {aside} holds of this text stands in {out} too, so don't judge a model on it; "
                "give the same --held-out again to keep it apart"
            )
        return _Maker(text, tokenizer, settings, report).make(out, workers)
    sides = [settings._replace(held_out=HeldOut(held_out, wanted)) for wanted in (True, False)]
    judged = _Maker(text, tokenizer, sides[0], report).make(aside, workers)
    trained = _Maker(text, tokenizer, sides[1], report).make(out, workers)
    _tell_missing(trained, judged, held_out, report)
    return trained


def _tell_missing(trained: dict[str, Any], judged: dict[str, Any], held_out: float, report: Report) -> None:
    """Names the languages that have documents on one side alone."""
    for one, other, lacks in ((trained, judged, "held out"), (judged, trained, "left for training")):
        if missing := sorted(set(one["languages"]) - set(other["languages"])):
            report(
                f"no document of {', '.join(missing)} is {lacks}: give more text, or another share than {held_out:g}"
            )


class _Maker:
    """Makes one folder of shards of a text that is cut into parts."""

    def __init__(self, text: CutText, tokenizer: Any, settings: TokenizeSettings, report: Report) -> None:
        self.text, self.tokenizer, self.settings, self.report = text, tokenizer, settings, report
        files = {path: path if is_url(path) else Path(path) for path in text.digests}
        folder = Path(settings.tokenizer)
        self.fingerprint = fingerprint(files, folder, settings.end, settings.rows, settings.bos, text.digests)
        if settings.held_out is not None:
            self.fingerprint = digests.of_value([self.fingerprint, list(settings.held_out)])

    def make(self, out: Path, workers: Workers) -> dict[str, Any]:
        """Makes the shards, unless they are there; returns their index."""
        if (
            (out / INDEX).is_file()
            and same(out, self.fingerprint)
            and not spelled(out, self.tokenizer, self.report)
        ):
            self.report(f"token shards in {out} are up to date")
            index = read_index(out)
            self._tell(index["languages"])
            return index
        check_ours(out, WHAT, "--out", files_of_before)
        work = out.with_name(f".{out.name}.parts")
        stages = stage_folders(
            work, [RecipeStage(STAGE, [FORMAT, self.fingerprint, [p.size for p in self.text.parts]])]
        )
        with only_one(out, work / "lock", "--out"):
            try:
                index = self._made(out, work, stages, workers)
            except BaseException:
                if not any(part.is_dir() for part in stages[STAGE].glob("[0-9]*")):
                    shutil.rmtree(work, ignore_errors=True)  # nothing that a later run could go on from
                raise
            shutil.rmtree(work)
        found = index["languages"].values()
        tokens, documents = (sum(of[what] for of in found) for what in ("tokens", "documents"))
        nouns = "document" + "s" * (documents != 1), "language" + "s" * (len(found) != 1)
        self.report(f"{tokens:,} tokens of {documents:,} {nouns[0]} in {len(found)} {nouns[1]}: {out}")
        return index

    def _made(self, out: Path, work: Path, stages: dict[str, Path], workers: Workers) -> dict[str, Any]:
        folder = stages[STAGE]
        parts = [folder / f"{number:05}" for number in range(len(self.text.parts))]
        begin(stages, self.report, "the text or the tokenizer")
        remove_others(stages)
        _check_room(
            sum(part.size for part, path in zip(self.text.parts, parts, strict=True) if not path.exists()),
            out,
        )
        tasks = [
            RecipeTask(STAGE, tokenize_part, (part, path))
            for part, path in zip(self.text.parts, parts, strict=True)
        ]
        progress = _Progress([part.size for part in self.text.parts], tasks, self.report)
        executor = (
            workers if isinstance(workers, ExecutorSettings) else ExecutorSettings(workers=workers or 1)
        )
        with (
            _threads(workers is None),
            TaskExecutor(
                executor, Shared(TokenizeTools, self.settings), name="tokenize", section="tokenize"
            ) as running,
        ):
            try:
                running.run(tasks, work / "logs", progress.done)
            finally:
                progress.bar.close()
        joined = join(parts)
        for path in joined.empty:
            self.report(f"{path} holds no document with text: left out")
        self._tell(joined.languages)
        index = self._index(folder, joined)
        _put(folder, out, work)
        return index

    def _index(self, folder: Path, joined: Joined) -> dict[str, Any]:
        """Writes what belongs to all parts."""
        if not joined.languages:
            whole = (
                f"{', '.join(list(self.text.digests)[:3])} ..."
                if len(self.text.digests) > 3
                else ", ".join(self.text.digests)
            )
            if (aside := self.settings.held_out) is not None:
                side = "held out" if aside.wanted else "left for training"
                raise DataError(
                    f"{whole}: of a share held out of {aside.share} no document with text is {side}: too few documents, so give "
                    "more, or another share"
                )
            raise DataError(f"{whole}: holds no document with text; remove the files or fill them")
        write_whole(folder / TOKENIZER, self.tokenizer.backend_tokenizer.to_str())
        index = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "end_of_document": self.settings.end,
            "bos": self.settings.bos,
            CONTROLS: "as text",
            "vocabulary": vocabulary_size(self.tokenizer),
            "languages": joined.languages,
            "files": {**joined.files, TOKENIZER: digests.of_file(folder / TOKENIZER)},
        }
        index["digest"] = digests.of_index(index)
        write_whole(folder / INDEX, json.dumps(index, indent=1))
        (folder / MARK).unlink(missing_ok=True)
        mark(folder, WHAT)
        return index

    def _tell(self, languages: dict[str, dict[str, Any]]) -> None:
        for line in tell_altered(languages, self.settings.strict):
            self.report(line)


def _put(folder: Path, out: Path, work: Path) -> None:
    """Gives whole shards their place; what was there goes."""
    try:
        if out.exists():
            old = work / "old"
            shutil.rmtree(old, ignore_errors=True)
            out.rename(old)
        folder.rename(out)
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror or error}") from error


@contextmanager
def _threads(many: bool) -> Iterator[None]:
    """Lets the tokenizers library, here and in processes that are started meanwhile, use threads or not."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    if not many:
        os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


def _check_room(size: int, out: Path) -> None:
    """Raises DataError if shards of `size` bytes of text can't have room: of the bytes that a token stands for, eight are very
    many, and it takes four."""
    need = size // 2
    out.parent.mkdir(parents=True, exist_ok=True)
    if (free := free_bytes(out)) < need:
        raise DataError(
            f"{out} needs {need / 2**30:.2f} GiB or more for its token shards, {free / 2**30:.2f} GiB are free: free some space, "
            "or choose a folder on another disk"
        )


class _Progress:
    """Counts bytes of the text whose parts are done, and says, at most every few seconds, their share and the time left."""

    def __init__(self, sizes: Sequence[int], tasks: Sequence[RecipeTask], report: Report) -> None:
        self._sizes = {task.folder: size for task, size in zip(tasks, sizes, strict=True)}
        self._total, self._report = sum(sizes), report
        self._before = sum(
            size for folder, size in self._sizes.items() if folder.exists()
        )  # by an earlier run
        self._done = 0
        self._start = self._last = time.monotonic()
        self.bar = ProgressBar(100)  # per cent

    def done(self, task: RecipeTask) -> None:
        self._done += self._sizes[task.folder]
        now, new = time.monotonic(), self._done - self._before
        if new <= 0:
            return
        left = duration((now - self._start) * (self._total - self._done) / new)
        share, size = self._done / self._total, f"{self._total / 1e6:.1f} MB"
        self.bar.at(int(100 * share), f"% of {size}, {left} left")
        if now - self._last >= PROGRESS_SECONDS and not self.bar.shown:
            self._last = now
            self._report(f"tokenize: {share:.0%} of {size}, {left} left")
