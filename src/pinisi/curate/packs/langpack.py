"""langpack: a language pack from a user's text."""

from collections.abc import Callable, Iterator
from pathlib import Path

from pinisi.base.errors import DataError
from pinisi.curate.packs.build import LEAST, build_pack
from pinisi.curate.packs.pack import Pack
from pinisi.data.documents import Document, read_documents

LITTLE = 20_000  # characters: fewer make a weak pack
ENDINGS = (".txt", ".jsonl")


def langpack(
    language: str,
    source: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    licence: str | None = None,
    build: Callable[..., Pack] = build_pack,
    report: Callable[[str], None] = print,
) -> Pack:
    """Makes the pack of `language` from `source` - a .txt file (documents parted by empty lines), a .jsonl file
    with "text" on each line, or a folder of them - and saves it in the folder `out`. licence: the text's, which
    the pack keeps. build: what makes the pack, called as `build_pack` is (curate.fit.with_limits adds limits).

    Raises DataError: nothing there, not UTF-8 (with file and line), or fewer than 1,000 characters.
    """
    files = _files(Path(source))
    counts: dict[str, int] = {}
    documents = list(_documents(files, Path(source), language, counts))
    total = sum(counts.values())
    if total == 0:
        raise DataError(f"{source} holds no text: give a .txt or .jsonl file with text in '{language}'")
    if total < LEAST:
        raise DataError(
            f"{source}: got {total:,} characters of text, needed at least {LEAST:,} ({LITTLE:,} for a useful pack); "
            f"add more text in '{language}'"
        )
    sources = [
        {"name": file, "licence": licence or "not stated", "characters": count}
        for file, count in counts.items()
        if count
    ]
    pack = build(language, documents, name=name, sources=sources)
    pack.save(out)
    report(
        f"{pack.language}: {pack.sizes['characters']:,} characters in {pack.sizes['documents']:,} documents, "
        f"{', '.join(f'{script} {share:.0%}' for script, share in pack.scripts.items())}, words by {pack.segmentation}, "
        f"{len(pack.stop_words)} stop words, {len(pack.ngrams):,} n-grams -> {out}"
    )
    if total < LITTLE:
        report(
            f"warning: {total:,} characters are little; below {LITTLE:,} a pack confuses close languages and its limits "
            "are rough"
        )
    return pack


def _files(source: Path) -> list[Path]:
    if source.is_file():
        if source.suffix not in ENDINGS:
            raise DataError(f"{source}: got a '{source.suffix}' file, needed one that ends in .txt or .jsonl")
        return [source]
    if not source.is_dir():
        raise DataError(f"no file or folder {source}: give a .txt or .jsonl file, or a folder of them")
    files = sorted(path for path in source.rglob("*") if path.suffix in ENDINGS and path.is_file())
    if not files:
        raise DataError(f"{source} holds no .txt or .jsonl file: put the text there, or name the file")
    return files


def _documents(files: list[Path], root: Path, language: str, counts: dict[str, int]) -> Iterator[Document]:
    for file in files:
        found = read_documents(file, language) if file.suffix == ".jsonl" else _paragraphs(file, language)
        place = file.relative_to(root).as_posix() if root.is_dir() else file.name
        counts.setdefault(place, 0)
        for document in found:
            if document.text.strip():
                counts[place] += len(document.text)
                yield document


def _paragraphs(file: Path, language: str) -> Iterator[Document]:
    lines: list[str] = []
    begin = 1
    with file.open("rb") as raw:
        for number, line in enumerate(raw, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{file}:{number}: byte {error.start} of the line is not UTF-8; convert the file to UTF-8"
                ) from None
            if text.strip():
                lines.append(text)
            elif lines:
                yield Document(f"{file.name}:{begin}", "".join(lines), language)
                lines, begin = [], number + 1
    if lines:
        yield Document(f"{file.name}:{begin}", "".join(lines), language)
