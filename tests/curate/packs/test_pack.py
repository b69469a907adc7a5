"""Packs on disk, and what a text costs."""

import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pinisi.base.errors import DataError
from pinisi.curate.packs import Pack, build_pack
from pinisi.curate.packs.others import CODE_POINTS, learn
from pinisi.curate.packs.stream import stream
from pinisi.data.text.scripts import classes
from pinisi.data.text.segmentation import normal_codes
from tests.curate.packs.texts import documents


@pytest.fixture(scope="module")
def pack():
    sources = [{"name": "made up", "licence": "none", "characters": 9}]
    return build_pack(
        "bb", documents("bb"), name="Made up", sources=sources, limits={"words": 7.25, "ก": 0.5}
    )


def same(one: Pack, other: Pack) -> bool:
    arrays = [(p.ngrams.keys, p.ngrams.weights, p.others.codes, p.others.logs) for p in (one, other)]
    plain = [{**vars(p)} for p in (one, other)]
    facts = [{key: p[key] for key in FACTS} for p in plain]
    constants = [(p.ngrams.unknown, p.ngrams.other_run) for p in (one, other)]
    equal = all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(*arrays, strict=True))
    return equal and facts[0] == facts[1] and constants[0] == constants[1]


FACTS = (
    "language",
    "name",
    "version",
    "segmentation",
    "scripts",
    "stop_shares",
    "limits",
    "sources",
    "sizes",
)


def test_a_pack_comes_back_as_it_was(pack, tmp_path):
    assert pack.save(tmp_path / "deep" / "bb") == tmp_path / "deep" / "bb"
    back = Pack.load(tmp_path / "deep" / "bb")
    assert same(pack, back)
    assert back.stop_words == pack.stop_words == frozenset(pack.stop_shares)
    assert back.limits == {"words": 7.25, "ก": 0.5}
    text = "Kipo tibi, 12 qé"
    assert back.bits_per_character(text) == pack.bits_per_character(text)


def test_the_same_text_gives_the_same_bytes(pack, tmp_path):
    again = build_pack(
        "bb", iter(documents("bb")), name=pack.name, sources=pack.sources, limits=dict(pack.limits)
    )
    files = {}
    for folder, made in (("one", pack), ("other", again)):
        made.save(tmp_path / folder)
        files[folder] = {file.name: file.read_bytes() for file in (tmp_path / folder).iterdir()}
    assert files["one"] == files["other"]
    assert files["one"].keys() == {"pack.json", "ngrams.npz"}
    assert build_pack("bb", documents("bb", seed=1)).version != pack.version


def test_saving_again_replaces(pack, tmp_path):
    pack.save(tmp_path)
    replace(pack, limits={"special": 0.3}).save(tmp_path)
    assert Pack.load(tmp_path).limits == {"special": 0.3}


def test_a_pack_holds_no_text(pack, tmp_path):
    pack.save(tmp_path)
    facts = json.loads((tmp_path / "pack.json").read_text())
    runs = {word for text in documents("bb") for word in pack.words(text)}
    known = {word for word in runs if word in (tmp_path / "pack.json").read_text()}
    assert set(facts["stop_words"]) <= known
    assert len(facts["stop_words"]) <= 100 < len(runs)


@pytest.mark.parametrize("file", ["pack.json", "ngrams.npz"])
@pytest.mark.parametrize("harm", ["gone", "empty", "cut", "foreign", "flipped"])
def test_a_torn_or_foreign_pack_names_its_file(pack, tmp_path, file, harm):
    pack.save(tmp_path)
    path = tmp_path / file
    raw = path.read_bytes()
    if harm == "gone":
        path.unlink()
    elif harm == "flipped" and file == "pack.json":
        path.write_bytes(raw.replace(b'"stop_words": {', b'"stop_wordz": {'))
    else:
        middle = len(raw) // 2
        flipped = raw[:middle] + bytes([raw[middle] ^ 255]) + raw[middle + 1 :]
        path.write_bytes({"empty": b"", "cut": raw[:middle], "foreign": b"[1, 2]", "flipped": flipped}[harm])
    with pytest.raises(DataError, match=str(path)):
        Pack.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda facts: {**facts, "format": "pinisi language pack 9"}, "got format 'pinisi language pack 9'"),
        (lambda facts: {**facts, "segmentation": "syllables"}, "segmentation 'syllables'"),
        (lambda facts: {**facts, "limits": [1]}, "'limits' is list, needed dict"),
        (
            lambda facts: {**facts, "ngrams": {"sha256": facts["ngrams"]["sha256"]}},
            "'unknown' and 'other_run'",
        ),
    ],
)
def test_a_changed_pack_says_what_is_wrong(pack, tmp_path, change, says):
    pack.save(tmp_path)
    path = tmp_path / "pack.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(DataError, match=says):
        Pack.load(tmp_path)


def test_arrays_that_are_no_packs_are_refused(pack, tmp_path):
    unsorted = replace(pack, ngrams=replace(pack.ngrams, keys=pack.ngrams.keys[::-1].copy()))
    short = replace(pack, ngrams=replace(pack.ngrams, weights=pack.ngrams.weights[:-1]))
    wide = replace(pack, ngrams=replace(pack.ngrams, weights=pack.ngrams.weights.astype(np.int64)))
    objects = replace(pack, ngrams=replace(pack.ngrams, keys=np.array([{}], object)))
    for number, wrong in enumerate((unsorted, short, wide, objects)):
        wrong.save(tmp_path / str(number))
        with pytest.raises(DataError, match=r"ngrams\.npz"):
            Pack.load(tmp_path / str(number))


def test_arrays_of_another_pack_are_refused(pack, tmp_path):
    pack.save(tmp_path / "bb")
    build_pack("aa", documents("aa")).save(tmp_path / "aa")
    (tmp_path / "bb" / "ngrams.npz").write_bytes((tmp_path / "aa" / "ngrams.npz").read_bytes())
    with pytest.raises(DataError, match=r"bb/ngrams\.npz is not the file that pack\.json beside it"):
        Pack.load(tmp_path / "bb")


def test_a_pack_that_cannot_be_written_says_so(pack, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write the pack"):
        pack.save(tmp_path / "file" / "bb")


TEXTS = [
    "",
    " ",
    "kipo",
    "Kipo tibi me.",
    "12 + 34 = 46",
    "a\u00ad\u200bb",
    "ngié",
    "Kipo\n\n7 tibi — 中 " * 50,
    "🙂" * 9,
]


@pytest.mark.parametrize("text", TEXTS)
def test_bits_are_those_of_runs_and_of_what_stands_between(pack, text):
    normal = "".join(c for c in text.lower() if c not in "\u00ad\u200b")
    codes = normal_codes(text)
    runs = -pack._table.log_likelihood(stream(codes))[0]
    known = dict(zip(map(chr, pack.others.codes.tolist()), pack.others.logs.tolist(), strict=False))
    between, inside = 0.0, False
    for c in normal + "a":
        c = "0" if c.isdecimal() else " " if c.isspace() else c
        if not c.isalpha():
            between -= known.get(c, pack.others.logs[-1])
        elif inside:
            between -= pack.others.logs[-2]  # the run of others ends
        inside = not c.isalpha()
    expected = (runs + between) / math.log(2) / max(len(normal), 1)
    assert pack.bits_per_character(text) == pytest.approx(expected, rel=1e-6)
    assert math.isfinite(pack.bits_per_character(text))


def test_bits_tell_a_language_from_noise(pack):
    own = pack.bits_per_character("\n".join(documents("bb", 3, seed=7)))
    other = pack.bits_per_character("\n".join(documents("cc", 3, seed=7)))
    signs = pack.bits_per_character("=-" * 300 + "|" * 300)
    assert own < 3 < other
    assert signs > 2 * own


def test_long_texts_are_read_in_pieces(pack):
    text = "\n".join(documents("bb", 3, seed=7)) + "\n"
    many = text * (200_000 // len(text))
    assert pack.bits_per_character(many) == pytest.approx(pack.bits_per_character(text), rel=2e-3)


def test_other_characters_sum_to_at_most_one_and_follow_their_counts():
    text = "ab, cd 12; ef - 345 ... " * 40 + "¿"
    codes = normal_codes(text)
    learned = learn(codes, classes()[codes])
    shares = np.exp(learned.logs)
    total = shares[:-1].sum() + (CODE_POINTS - len(learned.codes)) * shares[-1]
    assert 0.99 < total <= 1 + 1e-9
    counts = Counter("0" if c.isdecimal() else c for c in text if not c.isalpha())
    most = [chr(learned.codes[row]) for row in np.argsort(-shares[: len(learned.codes)])]
    assert most[0] == " " and counts[most[0]] == max(counts.values())
    assert set(most) == set(counts)


def test_others_of_text_without_any():
    codes = normal_codes("abc")
    learned = learn(codes, classes()[codes])
    assert np.isfinite(learned.logs).all()
    assert np.exp(learned.logs[-2]) + CODE_POINTS * np.exp(learned.logs[-1]) <= 1 + 1e-9


@pytest.mark.parametrize("language", ["../../x", "<b>", "", "a/b"])
def test_a_language_that_is_no_code_is_refused(pack, tmp_path, language):
    """A curation names files after it."""
    folder = pack.save(tmp_path / "bb")
    facts = json.loads((folder / "pack.json").read_text())
    (folder / "pack.json").write_text(json.dumps({**facts, "language": language}))
    with pytest.raises(DataError, match="no language's code"):
        Pack.load(folder)


def test_limits_of_a_pack_of_before_are_not_read(tmp_path):
    """They lay at the edge of the pack's own text, and a pack of help pages dropped nearly all news."""
    pack = build_pack("bb", documents("bb"), limits={"bits": 2.0, "stop_words": 0.5})
    path = pack.save(tmp_path) / "pack.json"
    assert Pack.load(tmp_path).limits == {"bits": 2.0, "stop_words": 0.5}
    path.write_text(path.read_text().replace("pinisi language pack 2", "pinisi language pack 1"))
    assert Pack.load(tmp_path).limits == {}
    path.write_text(path.read_text().replace("pinisi language pack 1", "pinisi language pack 0"))
    with pytest.raises(DataError, match="'pinisi language pack 0', needed 'pinisi language pack 2'"):
        Pack.load(tmp_path)
