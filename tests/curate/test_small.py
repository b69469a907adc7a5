"""Short documents and lists of names are kept: one sentence of each language, names in any."""

import pytest

from pinisi.curate import records
from pinisi.curate.names import says_enough, without_names
from pinisi.curate.run import curate
from pinisi.data.documents import Document, write_documents

GERMAN = """Persönliche Übersicht

Punkte in der Saison: 0

Platz der Gesamtliste: 63.

Siege: 0

Spiel Übersicht	Zurück

Titel	Punkte	Rang

Kategorie Übersicht

Titel	Punkte	Rang	Punkte Gesamt	Rang Gesamt

 Nachrichten Ticker Box

LiVE Rennen Besuche 2013

Besuche 2012: 5.369

Besuche 2011: 4.342	Besuche 2007: 1.759"""
SENTENCES = {
    "id": "Ibu membeli beras dan minyak di pasar.",
    "en": "She bought rice and oil at the market.",
    "th": "แม่ซื้อข้าวสารและน้ำมันที่ตลาด",
    "vi": "Mẹ mua gạo và dầu ở chợ.",
    "lo": "ກອງປະຊຸມເລີ່ມເວລາເກົ້າໂມງເຊົ້າ",
    "km": "កិច្ចប្រជុំចាប់ផ្តើមម៉ោងប្រាំបួនព្រឹក។",
    "my": "အမေသည် ဈေးတွင် ဆန်နှင့် ဆီ ဝယ်သည်။",
    "zh": "会议上午九点在村委会开始。",
    "jv": "Ibu tuku beras lan lenga ing pasar.",
    "tl": "Bumili ang nanay ng bigas at mantika sa palengke.",
    "ceb": "Mipalit si nanay ug bugas ug mantika sa merkado.",
    "ilo": "Gimmatang ni nanang iti bagas ken manteka idiay merkado.",
    "war": "Pinmalit hi nanay hin bugas ngan mantika ha merkado.",
}
NAMES = {
    "id": "Daftar nama siswa kelas 5A:\nAndi Saputra\nBudi Santoso\nCitra Dewi\nDian Permata\nEka Putri\nFajar Nugroho",
    "jv": "Daftar jeneng warga:\n1. Suparjo\n2. Sumiyati\n3. Tukijan\n4. Ngatinem\n5. Paijo\n6. Wagiyem",
    "tl": "Mga nanalo:\n1. Juan dela Cruz\n2. Maria Santos\n3. Jose Reyes\n4. Ana Bautista\n5. Pedro Garcia",
    "en": "Winners:\n1. John Smith\n2. Mary Johnson\n3. Robert Brown\n4. Patricia Davis\n5. Michael Wilson",
    "zh": "参赛名单：\n李晓明\n王丽华\n赵建国\n陈思思\n刘洋\n孙小雨\n周杰\n吴芳",
}
TABLE = "城市 | 省份 | 人口（万）\n---|---|---\n成都 | 四川 | 2,119\n武汉 | 湖北 | 1,365\n昆明 | 云南 | 860\n厦门 | 福建 | 530"
MENU = "Beranda\nTentang Kami\nProduk\nLayanan\nBerita\nGaleri\nKontak\nMasuk\nDaftar"


def kept(folder, documents, language="") -> dict[str, str]:
    write_documents(folder / "x.jsonl", documents)
    (folder / "c.toml").write_text(
        f'[run]\nfolder = "{folder}/out"\nworkers = 1\n[alarm]\nshare = 1\n[[sources]]\npath = "{folder}/x.jsonl"\n'
        f'language = "{language}"\n'
    )
    curate(folder / "c.toml", report=lambda line: None)
    files = (folder / "out" / "documents").glob("*.zst")
    return {document.id: document.text for path in files for document in records.read_documents(path)}


@pytest.mark.parametrize("language", ["", "auto"])
def test_one_sentence_is_a_document_in_any_script(tmp_path, language):
    documents = (Document(code, text, code) for code, text in SENTENCES.items())
    assert kept(tmp_path, documents, language) == SENTENCES


def test_a_list_of_names_or_a_table_is_kept_where_its_language_is_declared(tmp_path):
    wanted = NAMES | {"table": TABLE}
    documents = [Document(id, text, "zh" if id == "table" else id) for id, text in wanted.items()]
    assert kept(tmp_path, documents) == wanted


def test_names_are_no_way_in_for_another_language_with_a_pack(tmp_path):
    documents = [Document(code, MENU, code) for code in ("th", "en", "zh", "vi")]
    assert kept(tmp_path, documents) == {}


def test_a_list_in_a_foreign_language_is_none_of_ours_where_nobody_says_so(tmp_path):
    """German writes its nouns with capitals; what stands between them was Cebuano."""
    assert kept(tmp_path, [Document("list", GERMAN, "")], "auto") == {}


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Ketua: Siti Aminah, M.Pd. (SDN 2 Buaran)", ":  , .. ( 2 )"),
        ("daftar nama Siti Aminah Dewi Lestari Joko Susilo", "daftar nama      "),
        ("Der Zug fuhr um acht Uhr ab, und Hans kam an.", None),
        ("แม่ซื้อข้าว", None),
        ("HELLO WORLDWIDE AUDIENCE", None),
        ("aB Cd eF gHi", None),
        ("123", None),
        ("", None),
    ],
)
def test_only_lists_of_names_lose_their_names(text, rest):
    assert without_names(text) == (text if rest is None else rest)


def test_what_is_left_of_a_list_says_something_or_not():
    assert says_enough(": nama siswa kelas 5 :") and not says_enough("dan di ke") and not says_enough("")
