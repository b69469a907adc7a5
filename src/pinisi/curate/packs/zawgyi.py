"""Recognises Zawgyi: Burmese in the code points of Unicode, but not as Unicode orders them.

The Zawgyi font stores what stands left of a consonant - the vowel e (U+1031), the medial r (its U+103B) - before it,
and writes the killer, Unicode's U+103A, as U+1039, which in Unicode only stacks a consonant on another. To a model,
a search or a tokenizer it is another language in the same letters. Unicode's Burmese, Mon, Shan and Karen, whose
own letters (U+105A, U+1060 to U+1097) Zawgyi uses for stacked forms, have neither mark where Zawgyi has it.
"""

import re

LIMIT = 0.15  # of the marks that the two encodings order differently: in Zawgyi a third to all, in Mon a tenth at most
LEAST = 2  # marks out of order; one may be a slip or a quotation

# What may stand before U+1031 and the medials in Unicode: consonants and independent vowels of all languages in
# the script, medials, and the signs that Shan and the Karen languages write between.
_LETTER = (
    "\\u1000-\\u102a\\u103f\\u104e\\u1050-\\u1055\\u105a-\\u105d\\u1061\\u1065\\u1066\\u106e-\\u1070\\u1075-\\u1081\\u108e"
    "\\ua9e0-\\ua9e4\\ua9e7-\\ua9ef\\ua9fa-\\ua9fe\\uaa60-\\uaa6f\\uaa71-\\uaa76\\uaa7a\\uaa7e\\uaa7f"
)
_MEDIAL = "\\u103b-\\u103e\\u105e-\\u1060\\u1082"
_BETWEEN = "\\u1037\\u200c\\u200d"
_DIFFERENT = re.compile("[\\u1031\\u1039\\u103a-\\u103e]")
_LEFT = re.compile(
    f"(?<![{_LETTER}{_MEDIAL}{_BETWEEN}])\\u1031(?=[{_LETTER}])"
    f"|(?<![{_LETTER}{_MEDIAL}{_BETWEEN}\\u103a])[\\u103b-\\u103e](?=[{_LETTER}])"
)
_KILLER = re.compile(f"\\u1039(?![{_LETTER}])")


def share(text: str) -> float:
    """Share of the marks that Zawgyi and Unicode order differently which stand as in Zawgyi; 0 if hardly any do."""
    marks = len(_DIFFERENT.findall(text))
    misplaced = len(_LEFT.findall(text)) + len(_KILLER.findall(text))
    return min(misplaced / marks, 1.0) if misplaced >= LEAST else 0.0


def is_zawgyi(text: str) -> bool:
    """Whether a text is Burmese in Zawgyi's encoding, all of it or a good part."""
    return share(text) > LIMIT
