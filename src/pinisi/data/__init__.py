"""Turns text files into packed microbatches: sources, tokenizer, token shards, sampler.

Batches and the sampler are imported when they are first used: they are made of torch tensors, and what only reads text shall not
wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pinisi.data.components import Component, Components, mixture
from pinisi.data.document_bounds import beginning_id, end_of_document_id, token_id
from pinisi.data.documents import Document, corpus_files, read_documents, write_documents
from pinisi.data.fertility import fertility
from pinisi.data.languages import LANGUAGES
from pinisi.data.sample.corpus import fetch, fetch_corpus
from pinisi.data.shards import DocumentSpan, TokenShards, decode_span
from pinisi.data.shards_check import check_shards
from pinisi.data.tokenize import tokenize
from pinisi.data.tokenizer import check_vocabulary, load_tokenizer, vocabulary_size
from pinisi.data.tokenizer_source import fetch_tokenizer
from pinisi.data.trace import Trace, trace

if TYPE_CHECKING:
    from pinisi.data.batches import Microbatch, eval_batches
    from pinisi.data.sampler import Drawing, Sampler

_LATE = {
    "Microbatch": "batches",
    "eval_batches": "batches",
    "Sampler": "sampler",
    "Drawing": "sampler",
}

__all__ = [
    "LANGUAGES",
    "Component",
    "Components",
    "Document",
    "DocumentSpan",
    "Drawing",
    "Microbatch",
    "Sampler",
    "TokenShards",
    "Trace",
    "beginning_id",
    "check_shards",
    "check_vocabulary",
    "corpus_files",
    "decode_span",
    "end_of_document_id",
    "eval_batches",
    "fertility",
    "fetch",
    "fetch_corpus",
    "fetch_tokenizer",
    "load_tokenizer",
    "mixture",
    "read_documents",
    "token_id",
    "tokenize",
    "trace",
    "vocabulary_size",
    "write_documents",
]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
