"""A corpus of a few real sentences in nine languages, and a byte-level tokenizer trained on it."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from pinisi.data import Document, tokenize, write_documents

TEXTS = {
    "id": [
        "Semua orang dilahirkan merdeka dan mempunyai martabat dan hak-hak yang sama.",
        "Kapal pinisi dibuat di Sulawesi Selatan. Layarnya tujuh, tiangnya dua.",
        "Nasi goreng",
        "Pagi itu pasar sudah ramai; ikan, sayur dan buah dijual di tepi jalan sampai siang hari.",
        "Ia membaca buku di bawah pohon. Angin bertiup pelan.\n\nKemudian hujan turun.",
    ],
    "vi": [
        "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi.",
        "Sông Cửu Long chảy qua sáu nước.",
        "Phở",
    ],
    "km": [
        "មនុស្សទាំងអស់ កើតមកមានសេរីភាព និងសមភាព ក្នុងផ្នែកសេចក្ដីថ្លៃថ្នូរនិងសិទ្ធិ។",
        "ទន្លេសាប ជាបឹងទឹកសាបធំជាងគេ។",
    ],
    "lo": ["ມະນຸດທຸກຄົນເກີດມາມີກຽດສັກສີ, ສິດທິ, ເສລີພາບ ແລະ ຄວາມສະເໝີພາບເທົ່າທຽມກັນ."],
    "my": ["လူတိုင်းသည် တူညီ လွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့် မွေးဖွားလာသူများ ဖြစ်သည်။", "မြန်မာ"],
    "th": ["มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ", "แม่น้ำเจ้าพระยา"],
    "zh": ["人人生而自由,在尊严和权利上一律平等。", "他们赋有理性和良心,并应以兄弟关系的精神相对待。", "茶"],
    "ceb": ["Ang tanang katawhan gipakatawo nga may kagawasan ug managsama sa kabililhon."],
    "en": ["All human beings are born free and equal in dignity and rights. 🙂", "A 2-masted ship\tof 1906."],
}


def write_corpus(folder: Path, texts: dict[str, list[str]] = TEXTS) -> Path:
    for language, of_language in texts.items():
        write_documents(
            folder / f"{language}.jsonl",
            (
                Document(f"{language}/{number}", text, language, f"https://example.org/{language}/{number}")
                for number, text in enumerate(of_language)
            ),
        )
    return folder


def write_tokenizer(folder: Path, size: int = 400) -> Path:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        show_progress=False,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([text for of in TEXTS.values() for text in of], trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def shards_folder(tmp_path_factory, corpus, tokenizer_folder) -> Path:
    out = tmp_path_factory.mktemp("made") / "shards"
    tokenize(corpus, tokenizer_folder, out, report=lambda line: None)
    return out
