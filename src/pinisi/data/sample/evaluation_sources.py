"""Names the public addresses of evaluation sets, with licence and source, in the languages of the sample corpus.

Digests are of the files at the named commits, as they were on GitHub and on Meta's server; the Hugging Face hub names its own, and
what nobody names is recorded when it is first fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

HUB = "https://huggingface.co/datasets"
GITHUB = "https://raw.githubusercontent.com"
FLORES_CODES = {
    "ceb": "ceb_Latn", "en": "eng_Latn", "id": "ind_Latn", "ilo": "ilo_Latn", "jv": "jav_Latn", "km": "khm_Khmr", "lo": "lao_Laoo",
    "ms": "zsm_Latn", "my": "mya_Mymr", "su": "sun_Latn", "th": "tha_Thai", "tl": "tgl_Latn", "vi": "vie_Latn", "war": "war_Latn",
    "zh": "zho_Hans",
}  # fmt: skip
XCOPA = {  # test, validation
    "id": (
        "b6fe1cfc10bcf02f724dddf876d01df370be0a049cdf1ebf7be8f34504ff66da",
        "b3ac8c87c516d64c05ee39becc038ae747b1522010f385796f6c19019f75c77c",
    ),
    "th": (
        "63030f192c4fd8b3c066a8954203d5cdd57d803e8e1069fcca97ff0e7b669423",
        "b4c8ae4d5392e7e74667a366c5ed2e39729d67522c1bd35d82e6473505236d47",
    ),
    "vi": (
        "24cb28827066abb00a2f4004d86c447c4a30a9edb17938b26b61fb2385f94170",
        "6f804ec3c25b12a3d51f58e338b631bc1b45e7223b15481f8593923e0bdb26fa",
    ),
    "zh": (
        "c9b42590399214b9f066adacac2465d7286f5e590181fe6bfd7f6139531b83d4",
        "8f638466c196342104bdbe9276e7d91fe0abcc044e9a9ad715f30c8ad618bcdd",
    ),
}
XQUAD = {
    "en": "e4c57d1c9143aaa1c5d265ba5987a65f4e69528d2a98f29d6e75019b10344f29",
    "th": "5cdda11d0e1e075f7872abf4e6ae830388ce7f617964d542308e9ae4257e0f43",
    "vi": "f619a1eb11fb42d3ab0834259e488a65f585447ef6154437bfb7199d85161a04",
    "zh": "691d0b3359bc6b8faa8de931dfdfe21d50a65861ae348e32a0d1a0190b0c8835",
}
# Burmese is left out: nine tenths and more of NTREX's is Zawgyi, which no other set is written in.
NTREX = {
    "en": ("src.eng", "389e8f5796c66db4f646dfad33e1ec622d74767af5ef112b42a1f2cd814df3cc"),
    "id": ("ref.ind", "a28ea049cc73a7042bbea75abd6ed02a24362d3cf8d1a1cc519a7efd8bf5ceb5"),
    "km": ("ref.khm", "00df54f9091c99d405de6a6babdec97525daecaa1be72099cbe8bb95d33b39da"),
    "lo": ("ref.lao", "20c6d53b1aaaeed2b4124d591d14d992cf77feae2bf9de804a559d470f2b9347"),
    "ms": ("ref.msa", "fda495147854225508455ec1034eee35636ecfad960e32141aa0fdc9592f1d85"),
    "th": ("ref.tha", "45a57c4f9fdbae282eb2c94821535ae3c88b09186a23c5506eb0907ba429d6a5"),
    "tl": ("ref.fil", "a87a71b901d91b00c8c4df1fdd949c3480d620193e6e1c8215fad63764e8c35b"),
    "vi": ("ref.vie", "dd5d16cf246da57f5ccb7490ae13b8df428e7cb53e17fa04552406d657abfe3c"),
    "zh": ("ref.zho-CN", "8bcd6f0868d33f26c8da12f55a82f66088a7b60a5f7b0b1a99dcec51daa8054a"),
}
M3EXAM = {  # test, examples
    "jv": ("javanese/test-00000-of-00001-f6680602b22919ef", "javanese/dev-00000-of-00001-942fd08a3655cf71"),
    "th": ("thai/test-00000-of-00001-70944ea28e3b0503", "thai/dev-00000-of-00001-51be75e66013467a"),
    "vi": ("vietnamese/test-00000-of-00001-b0456f3217addaf5", None),
    "zh": ("chinese/test-00000-of-00001-a9ef43568bebf5d0", None),
    "en": ("english/test-00000-of-00001-8e3fdaa299e1d8f8", None),
}
GLOBAL_MMLU = {"en": "en", "id": "id", "ms": "ms", "tl": "fil", "vi": "vi", "zh": "zh"}
TYDIQA = {"en": "english", "id": "indonesian"}


class SourceFile(NamedTuple):
    """Names a file to be fetched and what becomes of it.

    name: below the folder. sha256: None where nobody names one. becomes: "" (as it is), "lines" (parquet to JSON lines), "flores"
    (an archive of sentences) or "tydiqa:<prefix>" (a file of all languages). examples: what stands before questions, not asked.
    """

    set: str
    language: str
    name: str
    url: str
    sha256: str | None = None
    becomes: str = ""
    examples: bool = False


class SetNotes(NamedTuple):
    """Says whose a set is. format: what `pinisi evaluate` calls it."""

    format: str
    licence: str
    source: str


SETS = {
    "belebele": SetNotes("belebele", "CC-BY-SA-4.0", "Belebele, arXiv 2308.16884; facebook/belebele"),
    "xcopa": SetNotes("xcopa", "CC-BY-4.0", "XCOPA, arXiv 2005.00333; github.com/cambridgeltl/xcopa"),
    "m3exam": SetNotes("m3exam", "CC-BY-NC-SA-4.0", "M3Exam, arXiv 2306.05179; chiayewken/m3exam"),
    "xquad": SetNotes("xquad", "CC-BY-SA-4.0", "XQuAD, arXiv 1910.11856; github.com/google-deepmind/xquad"),
    "tydiqa": SetNotes("tydiqa", "Apache-2.0", "TyDiQA, gold passages, arXiv 2003.05002"),
    "global-mmlu": SetNotes(
        "global-mmlu", "Apache-2.0", "Global-MMLU, arXiv 2412.03304; CohereLabs/Global-MMLU"
    ),
    "indoculture": SetNotes(
        "indoculture", "CC-BY-NC-SA-4.0", "IndoCulture, arXiv 2404.01854; indolem/IndoCulture"
    ),
    "flores": SetNotes("flores", "CC-BY-SA-4.0", "FLORES-200, arXiv 2207.04672"),
    "ntrex": SetNotes(
        "ntrex", "CC-BY-SA-4.0", "NTREX-128, SumEval 2022; github.com/MicrosoftTranslator/NTREX"
    ),
}


def source_files() -> Iterator[SourceFile]:
    """All files of all sets."""
    for language, code in FLORES_CODES.items():
        url = f"{HUB}/facebook/belebele/resolve/main/data/{code}.jsonl"
        yield SourceFile("belebele", language, f"belebele/{language}.jsonl", url)
    home = f"{GITHUB}/cambridgeltl/xcopa/e2e9d7f105a758ee869cd13e0fe251ef93a29840/data"
    for language, digests in XCOPA.items():
        for part, digest in zip(("test", "val"), digests, strict=True):
            name, url = f"xcopa/{part}.{language}.jsonl", f"{home}/{language}/{part}.{language}.jsonl"
            yield SourceFile("xcopa", language, name, url, digest, examples=part == "val")
    home = f"{GITHUB}/google-deepmind/xquad/7d30520c717524000f0d9d2f9c10a069acd9d285"
    for language, digest in XQUAD.items():
        yield SourceFile("xquad", language, f"xquad/{language}.json", f"{home}/xquad.{language}.json", digest)
    home = f"{GITHUB}/MicrosoftTranslator/NTREX/8561f6a622db9edad1217683e5c83daefd8bb2bf/NTREX-128"
    for language, (code, digest) in NTREX.items():
        yield SourceFile(
            "ntrex", language, f"ntrex/{language}.txt", f"{home}/newstest2019-{code}.txt", digest
        )
    for language, names in M3EXAM.items():
        for part, parquet in zip(("test", "dev"), names, strict=True):
            if parquet is not None:
                url = f"{HUB}/chiayewken/m3exam/resolve/main/{parquet}.parquet"
                file = f"m3exam/{part}.{language}.jsonl"
                yield SourceFile("m3exam", language, file, url, becomes="lines", examples=part == "dev")
    home = f"{HUB}/CohereLabs/Global-MMLU/resolve/5f933e380108be04f21b7ba85fed21c136e825d2"
    for language, code in GLOBAL_MMLU.items():
        for part in ("test", "dev"):
            url, file = f"{home}/{code}/{part}-00000-of-00001.parquet", f"global-mmlu/{part}.{language}.jsonl"
            yield SourceFile("global-mmlu", language, file, url, becomes="lines", examples=part == "dev")
    url = f"{HUB}/indolem/IndoCulture/resolve/d5f33af62c9b6e808ee11b75c13f042c3e5c7690/test.csv"
    yield SourceFile("indoculture", "id", "indoculture/id.csv", url)
    url = "https://storage.googleapis.com/tydiqa/v1.1/tydiqa-goldp-v1.1-dev.json"
    for language, prefix in TYDIQA.items():
        yield SourceFile("tydiqa", language, f"tydiqa/{language}.json", url, becomes=f"tydiqa:{prefix}")
    url = "https://dl.fbaipublicfiles.com/nllb/flores200_dataset.tar.gz"
    digest = "b8b0b76783024b85797e5cc75064eb83fc5288b41e9654dabc7be6ae944011f6"
    for language in FLORES_CODES:
        yield SourceFile("flores", language, f"flores/{language}.txt", url, digest, becomes="flores")
