"""Holds two tokenizers against one another on text: how many tokens each needs, and whether both give the text back."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pinisi.data.tokenizer import load_tokenizer
from pinisi.data.vocabulary.words import Texts, batched


@dataclass(frozen=True)
class Comparison:
    """One language: documents, bytes, tokens before and after, documents whose tokens are the same pieces of text, and documents
    that the new tokenizer gives back otherwise than the old one (none, if all is well)."""

    documents: int
    bytes: int
    before: int
    after: int
    same: int
    wrong: int

    @property
    def share(self) -> float:
        """Tokens after / before."""
        return self.after / self.before if self.before else 1.0


def compare(old: str | Path, new: str | Path, texts: Texts) -> dict[str, Comparison]:
    """Encodes texts by language with both tokenizers' folders."""
    backends = [load_tokenizer(folder).backend_tokenizer for folder in (old, new)]
    found = {}
    for language in sorted(texts):
        counts: Counter[str] = Counter()
        for batch in batched(texts[language]()):
            before, after = (each.encode_batch(batch, add_special_tokens=False) for each in backends)
            for text, one, two in zip(batch, before, after, strict=True):
                decoded = [
                    each.decode(encoding.ids, skip_special_tokens=False)
                    for each, encoding in zip(backends, (one, two), strict=True)
                ]
                counts += Counter(
                    documents=1,
                    bytes=len(text.encode()),
                    before=len(one.ids),
                    after=len(two.ids),
                    same=int(one.tokens == two.tokens),
                    wrong=int(decoded[0] != decoded[1]),
                )
        keys = ("documents", "bytes", "before", "after", "same", "wrong")
        found[language] = Comparison(**{key: counts[key] for key in keys})
    return found


def told(comparisons: dict[str, Comparison]) -> list[str]:
    """The comparison as lines of text."""
    return [
        f"{language}: {each.before:,} tokens become {each.after:,} ({each.share:.1%}), {_rate(each.before, each.bytes)} a byte "
        f"become {_rate(each.after, each.bytes)}; {each.same} of {each.documents} documents encoded as before, {each.wrong} "
        "decoded otherwise"
        for language, each in comparisons.items()
    ]


def _rate(tokens: int, size: int) -> str:
    return f"{tokens / size:.3f}" if size else "none"
