import json

import pytest

from pinisi.errors import ConfigError
from pinisi.vocabulary.bench import main


def test_prints_a_table_and_writes_json(tmp_path, capsys):
    file = tmp_path / "out" / "vocabulary.json"
    sizes = ["--tokens", "7", "--hidden", "5", "--rows", "11", "13", "--rounds", "1"]
    assert main([*sizes, "--json", str(file)]) == 0
    rows = json.loads(file.read_text())["rows"]
    assert [(row["dtype"], row["V_r"], row["barriers"]) for row in rows] == [
        (dtype, rows_, barriers)
        for dtype in ("float32", "bfloat16")
        for rows_ in (11, 13)
        for barriers in (1, 2)
    ]
    for row in rows:
        assert row["flops"] / row["matrix_flops"] == pytest.approx(row["rate"])
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(rows)


def test_sizes_below_one_are_refused():
    with pytest.raises(ConfigError, match="1 or more"):
        main(["--tokens", "0"])
