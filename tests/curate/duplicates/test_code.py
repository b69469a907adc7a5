"""Lines that are code and lines that are not."""

import time
from pathlib import Path

import pytest

import pinisi
from pinisi.curate.duplicates.code import code_lines

CODE = """\
import numpy as np
from collections import defaultdict
try:
else:
if __name__ == "__main__":
def run(self, n):
    return x
return None
x = f(y)
for (int i = 0; i < n; i++) {
#include <stdio.h>
using namespace std;
pip install pinisi
$ make test
>>> 1 + 1
runs-on: ubuntu-latest
- name: build
"key": [1, 2],
<div class="a">
</p>
std::vector
value_of_x""".splitlines()
PROSE = """\
Bahan:
Langkah-langkah:
Kapal itu berlayar dari Makassar ke Surabaya.
Import duties are high this year, and from then on nobody came.
If you sail: take care!
© 2024 Harian Layar. Hak cipta dilindungi undang-undang.
Home > Berita > Olahraga
We use cookies (small files) to improve your visit.
The file(s) that you want
Call it with run(x), which returns the value_of_x at once.
国民议会议员(AM)担心“看起来像笨蛋”
เรือ(ใบ)ลำนี้
សភា(AM)
Q: Enak?
- Gula pasir
1. Potong ikan
---
Harga: Rp 5.000,-
e-mail: kami@contoh.id, telepon 021-555""".splitlines()


@pytest.mark.parametrize("line", CODE)
def test_code_is_code(line):
    assert code_lines([line, *["Prose goes on."] * 9])[0]


@pytest.mark.parametrize("line", PROSE[:-1])
def test_prose_is_none(line):
    assert not code_lines([line, *["Prose goes on."] * 9])[0]


def test_fences_hold_code_if_they_are_closed():
    prose = ["Prose goes on."] * 20
    assert code_lines([*prose, "```", "load the model", "```", "End."])[-4:] == [True, True, True, False]
    assert code_lines(["```", *prose]) == [True] + [False] * 20


def test_programs_are_code_to_the_last_comment():
    files = sorted(Path(pinisi.__file__).parent.glob("data/**/*.py"))
    whole = [
        all(code_lines(path.read_text("utf-8").split("\n"))) for path in files if path.stat().st_size > 500
    ]
    assert len(whole) > 10 and all(whole)


def test_long_lines_take_linear_time():
    for unit in (" ", "a", "a ", "; ", ": ", "= ", "a_", "(", ". ", "a\t", "- ", "<a"):
        start = time.process_time()
        code_lines([unit * 2000])
        small = time.process_time() - start
        start = time.process_time()
        code_lines([unit * 200_000, "b"])
        assert time.process_time() - start < 400 * small + 0.5, unit
