"""Hardware: presets, files, and errors that name the key."""

from __future__ import annotations

import json

import pytest

from pinisi.errors import ConfigError
from pinisi.plan import PRESETS, read_hardware


def test_presets_are_the_datasheets() -> None:
    a100, h200 = PRESETS["A100-80G"], PRESETS["H200"]
    assert a100.rate("float16") == a100.rate("bfloat16") == 312e12 and a100.bandwidth == 2.039e12
    assert h200.rate("bfloat16") == 989.4e12 and h200.memory == 141e9
    assert read_hardware("b200") is PRESETS["B200"]
    for hardware in PRESETS.values():
        efficiency = hardware.efficiency
        assert hardware.source and efficiency.source
        assert 0 < efficiency.matrix < 1 and 0 < efficiency.attention < 1 and 0 < efficiency.memory < 1
        assert hardware.usable < hardware.memory
    with pytest.raises(ConfigError, match="no rate for int8"):
        a100.rate("int8")


def test_a_file_stands_on_a_preset(tmp_path) -> None:
    path = tmp_path / "ours.toml"
    path.write_text('like = "H100"\nmemory = 9.6e10\n[efficiency]\nmatrix = 0.5\n[flops]\nbfloat16 = 1e15\n')
    found = read_hardware(path)
    assert (found.name, found.memory, found.efficiency.matrix) == ("ours", 9.6e10, 0.5)
    assert found.rate("bfloat16") == 1e15 and found.rate("float32") == PRESETS["H100"].rate("float32")
    assert found.efficiency.memory == PRESETS["H100"].efficiency.memory
    path = tmp_path / "ours.json"
    path.write_text(json.dumps({"like": "A100-80G", "name": "mine"}))
    assert read_hardware(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('like = "H1000"', "no preset"),
        ('like = "H100"\nmemry = 1', "unknown key memry"),
        ('like = "H100"\n[efficiency]\nmatrices = 1', "unknown key efficiency.matrices"),
        ('like = "H100"\nmemory = -1', "memory is -1"),
        ('like = "H100"\nmemory = "80"', "memory is '80'"),
        ('like = "H100"\n[flops]\nbfloat16 = 0', "flops.bfloat16 is 0"),
        ('name = "alone"', "is missing"),
        ("like = ", "can't be read"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, text: str, message: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_hardware(path)
    assert "wrong.toml" in str(caught.value)


def test_neither_preset_nor_file() -> None:
    with pytest.raises(ConfigError, match="A100-80G, H100, H200, B200"):
        read_hardware("V100")
