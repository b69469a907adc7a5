"""Made-up languages: words of their own syllables, with a frequency each, in sentences and lines."""

import random

from pinisi.data.documents import Document

SYLLABLES = {
    "xa": [
        "ka",
        "lo",
        "mi",
        "tan",
        "rue",
        "bes",
        "ari",
        "ong",
        "dup",
        "sil",
        "nga",
        "wen",
        "ho",
        "pat",
        "eru",
        "zi",
    ],
    "xb": [
        "vru",
        "schte",
        "ölf",
        "qua",
        "nitz",
        "bär",
        "gnom",
        "flü",
        "drei",
        "kelp",
        "ümb",
        "strag",
        "pfon",
        "jux",
        "hau",
        "ytt",
    ],
    # without spaces between words
    "xk": [
        "កា",
        "ខ្មែ",
        "រី",
        "ណូ",
        "ស្រ៊ុ",
        "ទឹ",
        "ផ្លែ",
        "ឈើ",
        "ង៉ៃ",
        "មួ",
        "យា",
        "ដូ",
        "ច្បា",
        "ហ៊ា",
        "ឡេ",
        "វ៉ា",
    ],
}


class Language:
    """Documents of one language: the same for the same seed."""

    def __init__(self, code: str, seed: int = 0) -> None:
        self.code, self.draw = code, random.Random(f"{code} {seed}")
        words = random.Random(code)
        self.words = ["".join(words.choices(SYLLABLES[code], k=words.randrange(1, 4))) for _ in range(600)]
        self.weights = [1 / (rank + 2) for rank in range(600)]
        self.space = "" if code == "xk" else " "

    def sentence(self) -> str:
        chosen = self.draw.choices(self.words, self.weights, k=self.draw.randrange(5, 16))
        text = self.space.join(chosen)
        return text.capitalize() + ("។" if self.code == "xk" else ".")

    def text(self, lines: int = 10) -> str:
        return "\n".join(
            " ".join(self.sentence() for _ in range(self.draw.randrange(2, 5))) for _ in range(lines)
        )

    def documents(self, count: int, name: str = "d") -> list[Document]:
        return [
            Document(
                f"{name}/{self.code}/{n}",
                self.text(),
                self.code,
                f"https://example.org/{self.code}/{name}/{n}",
            )
            for n in range(count)
        ]
