"""The fifteen languages of the sample corpus. Nothing else in Pinisi depends on this list."""

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
