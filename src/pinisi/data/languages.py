"""Names languages: the fifteen of the sample corpus, and what a code looks like.

A code is BCP 47's: ISO 639 of two or three letters, then parts such as a script or a country.
"""

import re

LANGUAGES: dict[str, str] = {
    "id": "Indonesian",
    "vi": "Vietnamese",
    "en": "English",
    "km": "Khmer",
    "zh": "Chinese (simplified)",
    "th": "Thai",
    "ms": "Malay",
    "my": "Burmese",
    "tl": "Filipino",
    "jv": "Javanese",
    "ilo": "Ilocano",
    "su": "Sundanese",
    "war": "Waray",
    "lo": "Lao",
    "ceb": "Cebuano",
}

# ISO 639-2, 639-3 and older codes that stand for the same as one above.
_SAME = {
    "ind": "id", "in": "id", "vie": "vi", "eng": "en", "khm": "km", "zho": "zh", "chi": "zh", "cmn": "zh", "tha": "th", "msa": "ms",
    "may": "ms", "zsm": "ms", "mya": "my", "bur": "my", "tgl": "tl", "fil": "tl", "jav": "jv", "jw": "jv", "sun": "su", "lao": "lo",
}  # fmt: skip
_CODE = re.compile(r"(?:[a-z]{2,3}|x)(?:[-_][a-z0-9]{1,8}){0,8}", re.I)


def is_code(name: str) -> bool:
    """Tells whether `name` has the form of a language's code; `zh_Hans` counts as zh-Hans. It may still stand for no language."""
    return _CODE.fullmatch(name) is not None and name.lower() != "x"


def same_language(one: str, other: str) -> bool:
    """Tells whether two codes name one language, whatever script or country they add: id, ind, id-ID and ind_Latn do."""
    return _first(one) == _first(other)


def _first(code: str) -> str:
    parts = re.split("[-_]", code.lower())
    return "-".join(parts) if parts[0] == "x" else _SAME.get(parts[0], parts[0])
