"""Personal data in sentences: found as they are written in each country, and nothing else."""

import random
import time

import phonenumbers
import pytest
import stdnum.th.pin

from pinisi.curate.personal import find, masked
from pinisi.curate.personal.addresses import EMAIL, IPV4, IPV6
from pinisi.curate.personal.phones import PHONE

THAI = "110170023070" + stdnum.th.pin.calc_check_digit("110170023070")
THAI_DIGITS = str.maketrans("0123456789", "๐๑๒๓๔๕๖๗๘๙")
DASHED = f"{THAI[0]}-{THAI[1:5]}-{THAI[5:10]}-{THAI[10:12]}-{THAI[12]}"

# (language, kind, what stands before, what is found, what stands behind)
PLANTED = [
    ("en", "email", "Write to ", "john.doe+x@mail.company.co.id", ", thanks."),
    ("th", "email", "อีเมล", "somchai@gmail.com", "ครับ"),
    ("zh", "email", "邮箱：", "lisi＠qq.com", "。"),
    ("en", "email", "<", "a@b.org", ">"),
    ("en", "email", "_", "a@b.org", "_ or -"),
    ("en", "email", "'", "a.b-c@d-e.org", "'-"),
    ("zh", "email", "邮箱", "ｌｉｓｉ＠ｑｑ．ｃｏｍ", "。"),
    ("en", "ip", "http://", "118.97.12.34", ":8080/x"),
    ("en", "email", "see mailto:", "x.y@z.org", "?subject=1"),
    ("en", "ip", "It came from ", "118.97.12.34", "."),
    ("en", "ip", "IP: ", "8.8.8.8", " answers"),
    ("en", "ip", "host ", "2404:6800:4003:c00::71", " is up"),
    ("km", "ip", "អាសយដ្ឋាន ", "១១៨.៩៧.១២.៣៤", " ។"),
    ("id", "phone", "Hubungi saya di ", "0812-3456-7890", " ya."),
    ("id", "phone", "WA: ", "081234567890", ""),
    ("id", "phone", "Telp. ", "(021) 5301234", ""),
    ("id", "phone", "Kantor: ", "+62 21 530 1234", "."),
    ("jv", "phone", "nomere ", "0812 3456 7890", ", matur nuwun"),
    ("vi", "phone", "Gọi số ", "0912 345 678", " để đặt hàng"),
    ("vi", "phone", "liên hệ ", "0912.345.678", " gặp Lan"),
    ("vi", "phone", "số ", "0912 34 56 78", ""),
    ("vi", "phone", "ĐT: ", "024 3825 4125", ""),
    ("th", "phone", "โทร ", "๐๘๑-๒๓๔-๕๖๗๘", " ครับ"),
    ("th", "phone", "โทร.", "0812345678", ""),
    ("th", "phone", "เบอร์", "081 234 5678", "ครับ"),
    ("ms", "phone", "Hubungi ", "012-345 6789", " untuk maklumat"),
    ("my", "phone", "ဖုန်း ", "၀၉ ၄၂၀ ၁၂၃ ၄၅၆", ""),
    ("my", "phone", "ဖုန်း ", "09-420123456", ""),
    ("tl", "phone", "Tumawag sa ", "0917-123-4567", " ngayon"),
    ("ceb", "phone", "Tawag sa ", "+63 917 123 4567", "."),
    ("km", "phone", "ទូរស័ព្ទ ", "០១២ ៣៤៥ ៦៧៨", ""),
    ("lo", "phone", "ໂທ ", "໐໒໐ ໕໕໑໒ ໓໔໕໖", ""),
    ("zh", "phone", "电话", "13812345678", "联系"),
    ("zh", "phone", "电话：", "010-62345678", "。"),
    ("zh", "phone", "请拨打", "０１０－６２３４５６７８", ""),
    ("en", "phone", "Call ", "(415) 926-2671", " today"),
    ("en", "phone", "Call ", "+1 (415) 926-2671", " today"),
    ("en", "phone", "Phone: ", "6221 1234", "."),
    ("id", "identity", "NIK: ", "3171061708450001", ""),
    ("id", "identity", "dengan nomor ", "3171065708450001", " atas nama"),
    ("id", "identity", "NPWP ", "09.254.294.3-407.000", "."),
    ("vi", "identity", "CCCD ", "001089012345", " cấp ngày 1 tháng 2"),
    ("vi", "identity", "CMND: ", "012345678", ""),
    ("th", "identity", "เลขประจำตัวประชาชน ", THAI, ""),
    ("th", "identity", "นาย ก ", DASHED, " ครับ"),
    ("th", "identity", "นาย ก ", DASHED.translate(THAI_DIGITS), " ครับ"),
    ("ms", "identity", "No. KP: ", "880101-14-5678", ""),
    ("ms", "identity", "IC ", "880101145678", ""),
    ("my", "identity", "ဦးဘ ", "၁၂/ဗဟန(နိုင်)၁၂၃၄၅၆", " ကို"),
    ("my", "identity", "U Ba ", "12/BaHaNa(N)123456", ""),
    ("en", "identity", "NRC ", "12/ABC(N)123456", ""),
    ("tl", "identity", "SSS ", "34-1234567-8", ""),
    ("tl", "identity", "TIN: ", "123-456-789-000", ""),
    ("tl", "identity", "PhilSys ", "1234-5678-9012-3456", ""),
    ("km", "identity", "អត្តសញ្ញាណប័ណ្ណលេខ ", "០១០១២៣៤៥៦", ""),
    ("lo", "identity", "ບັດປະຈຳຕົວ ", "1234567890", ""),
    ("zh", "identity", "身份证", "11010519491231002X", "的"),
    ("en", "identity", "her NRIC ", "S1234567D", "."),
    ("en", "identity", "her SSN is ", "123-45-6789", "."),
    ("en", "account", "IBAN ", "GB82 WEST 1234 5698 7654 32", " AND MORE"),
    ("en", "account", "to ", "DE89370400440532013000", "."),
    ("id", "account", "kartu ", "4111111111111111", "."),
    ("en", "account", "card ", "3782 822463 10005", ""),
    ("th", "account", "บัตร ", "๔๑๑๑ ๑๑๑๑ ๑๑๑๑ ๑๑๑๑", ""),
]  # fmt: skip
MASKS = {"email": (EMAIL,), "ip": (IPV4, IPV6), "phone": (PHONE,)}


@pytest.mark.parametrize(("language", "kind", "before", "data", "behind"), PLANTED)
def test_it_is_found_as_it_is_written(language, kind, before, data, behind):
    text = before + data + behind
    found = find(text, language)
    assert [(one.kind, text[one.start : one.end]) for one in found] == [(kind, data)]
    mask = found[0].mask
    if kind in MASKS:
        assert mask in MASKS[kind]
    else:
        assert len(mask) == len(data)
        assert [int(sign) for sign in mask if sign.isdecimal()] == [0] * sum(
            sign.isdecimal() for sign in data
        )
        assert all(new == old or old.isdecimal() for new, old in zip(mask, data, strict=True))
    assert masked(text, found) == before + mask + behind
    assert find(masked(text, found), language) == []


OTHERS = [
    ("en", "as 4.2.1.3 says"),
    ("en", "version 1.2.3.4 and section 4.2.1.3, build 10.240.16384.1, v24.11.0.77"),
    ("en", "10.0.0.1, 192.168.1.1, 127.0.0.1, ::1"),
    ("en", "networks 69.208.0.0/16 and 12.34.56.255"),
    ("en", "email@example.com, you@test, 192.0.2.1 and 2001:db8::1 stand for others"),
    ("en", "icon@2x.png, @user, user@, a@b"),
    ("en", "at 12:30:45, GPS 13.7563, 100.5018"),
    ("en", "call 0800 555 111 or +1 800 555 0199"),
    ("en", "ISBN 978-0-306-40615-7, 0-306-40615-2, 0306406152 and 9780306406157"),
    ("en", "EAN 8851234567890, case 12-3456789"),
    ("en", "pi is 3.14159265358979, a third 0.3333333333"),
    ("en", "from 1999-2004 and 2005-2009, on 2020-12-31, 31-12-2020"),
    ("id", "Rp 1.250.000.000 atau Rp1250000000"),
    ("id", "pada 17-08-1945, pukul 08.00-17.00 WIB, 08.00 - 17.00, 06.00 09.00 12.00"),
    ("id", "tahun 2019/2020, No. 001/SK/2019, UU No. 11 Tahun 2008, skor 21-19 21-18 21-17"),
    ("id", "hasilnya 0.8509181282 dan 0,7768698399"),
    ("vi", "1.234.567 đồng, 12.345.678.901 đồng, ngày 01/02/2019 - 03/04/2020"),
    ("th", "1,234,567 บาท ปี ๒๕๖๓-๒๕๖๔ พ.ศ. 2500-2543"),
    ("th", "51 Franklin Street, Boston, MA 02110-1301, USA"),
    ("zh", "人口138123456人，0.9999999999，2001-11-15，-327680101"),
    ("km", "ពី -2147483648 ដល់ 2147483647"),
    ("en", "0000 0000 0000 0000, 0000000000000000, S0000000J, 000-00-0000, 4111 1111 1111 1112"),
    ("en", "commit 4f3a2b1c9d8e7f60, order 1234567890123456, sum 1234567890123"),
]


@pytest.mark.parametrize(("language", "text"), OTHERS)
def test_numbers_of_other_kinds_stay(language, text):
    assert find(text, language) == []


def test_drawn_numbers_of_each_country():
    """Numbers that libphonenumber gives as examples, with drawn last digits, in its own international and national forms."""
    regions = {
        "id": "ID",
        "vi": "VN",
        "th": "TH",
        "ms": "MY",
        "my": "MM",
        "tl": "PH",
        "km": "KH",
        "lo": "LA",
        "zh": "CN",
        "en": "US",
    }
    draw, missed, drawn = random.Random(1), 0, 0
    for language, region in regions.items():
        example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        for form in (phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.NATIONAL):
            for _ in range(50):
                national = example.national_number // 10**4 * 10**4 + draw.randrange(10**4)
                number = phonenumbers.PhoneNumber(country_code=example.country_code, national_number=national)
                if phonenumbers.is_valid_number(number):
                    drawn += 1
                    written = phonenumbers.format_number(number, form)
                    text = f"x {written}."
                    missed += [text[one.start : one.end] for one in find(text, language)] != [written]
    assert drawn > 800 and missed == 0


def test_the_rest_of_a_text_stays_as_it_was():
    """Drawn mixtures: what is put in is found where it is, and every other character comes back."""
    draw = random.Random(2)
    fillers = ["สวัสดี ", "kata ", "𝒳😀 ", "\n", "ខ្ញុំ ", "12 ", "3,5 % ", "é ", "(a) ", "中文", "၁၂၃ "]
    items = {language: [] for language in ("id", "th", "zh", "en")}
    for language, kind, before, data, _ in PLANTED:
        if language in items and kind != "phone":
            items[language].append((before, data))
    for _ in range(300):
        language = draw.choice(list(items))
        text, expected = "", []
        for _ in range(draw.randrange(1, 6)):
            text += "".join(draw.choices(fillers, k=draw.randrange(1, 8))) + "\n"
            before, data = draw.choice(items[language])
            expected.append((len(text + before), data))
            text += before + data + "\n"
        found = find(text, language)
        assert [(one.start, text[one.start : one.end]) for one in found] == expected
        end, pieces = 0, []
        for one in found:
            pieces.append(text[end : one.start])
            end = one.end
        cut = masked(text, [one._replace(mask="\0") for one in found])
        assert cut.split("\0") == [*pieces, text[end:]]


HOSTILE = {
    "digits": "1", "thai digits": "๑", "at": "@", "dots": "a.", "a@": "a@", "a.@": "a.@", "groups": "12 ", "phones": "0812-",
    "plus": "+1 ", "colons": ":", "ipv4": "1.", "ipv6": "2000:", "iban": "GB82 ", "capitals": "A", "nrc": "12/က", "brackets": "(0",
    "cards": "4111 ", "card list": "4111111111111111,", "nric": "S1234567D ", "underscores": "_",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_takes_no_longer_than_other_text(name):
    """200,000 characters: a second at most, which a quadratic search would exceed by far."""
    text = "x@" + HOSTILE[name] * (200_000 // len(HOSTILE[name]))
    start = time.process_time()
    find(text, "id")
    assert time.process_time() - start < 2


def test_kinds_and_countries_are_chosen():
    text = "a@b.org, 118.97.12.34, +62 812-3456-7890, S1234567D and 123-45-6789"
    assert [one.kind for one in find(text, "id", ["ip"])] == ["ip"]
    found = find(text, "id", ["identity"], ["sg"])
    assert [text[one.start : one.end] for one in found] == ["S1234567D"]
    assert [one.kind for one in find(text, "id")] == ["email", "ip", "phone", "identity", "identity"]
