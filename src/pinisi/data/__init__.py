"""Text files to packed microbatches: sources, tokenizer, token shards, sampler."""

from pinisi.data.batches import IGNORE, Microbatch, eval_batches
from pinisi.data.corpus import fetch, fetch_corpus
from pinisi.data.documents import Document, corpus_files, read_documents, write_documents
from pinisi.data.fertility import fertility
from pinisi.data.languages import LANGUAGES
from pinisi.data.sampler import Sampler, mixture
from pinisi.data.shards import Shards, Span, decode_span
from pinisi.data.tokenize import tokenize
from pinisi.data.tokenizer import check_vocabulary, end_of_document_id, load_tokenizer, vocabulary_size
from pinisi.data.tokenizer_source import fetch_tokenizer
from pinisi.data.trace import Trace, trace

__all__ = [
    "IGNORE",
    "LANGUAGES",
    "Document",
    "Microbatch",
    "Sampler",
    "Shards",
    "Span",
    "Trace",
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
    "tokenize",
    "trace",
    "vocabulary_size",
    "write_documents",
]
