"""Hardware: presets, files, and errors that name the key."""

from __future__ import annotations

import dataclasses
import json

import pytest

from pinisi.base.errors import ConfigError
from pinisi.base.settings import dump
from pinisi.costs import (
    PRESETS,
    Measured,
    Setting,
    gpt_shape,
    model_name,
    pass_costs,
    read_hardware,
    step_end,
)
from pinisi.costs.memory import parameters_of
from pinisi.schedule import layout_of

SHAPE, SETTING = gpt_shape(64, 5, 4, 1009, 64), Setting(64, 2)
MEASURED = Measured(
    model=model_name(SHAPE),
    sequence=64,
    microbatch=2,
    dtype="bfloat16",
    forward=(0.5, 3.0),
    backward=(0.25, 5.0),
    weight=(0.125, 2.0),
    s1=(0.1, 0.001),
    t1=(0.2, 0.002),
    s2=(0.3, 0.003),
    t2=(0.4, 0.004),
    whole_head=(7.0, 11.0, 0.0),
    whole_embedding=(0.01, 0.02),
    lookup=0.6,
    accumulate=0.9,
    update=1e-6,
    ring=5e9,
)
HERE = dataclasses.replace(
    PRESETS["H100"],
    measured=MEASURED,
    efficiency=dataclasses.replace(PRESETS["H100"].efficiency, contention=0.0, link=1.0),
)


def test_presets_are_the_datasheets() -> None:
    a100, h200 = PRESETS["A100-80G"], PRESETS["H200"]
    assert a100.rate("float16") == a100.rate("bfloat16") == 312e12 and a100.bandwidth == 2.039e12
    assert h200.rate("bfloat16") == 989.4e12 and h200.memory == 141e9
    assert read_hardware("b200") is PRESETS["B200"]
    cards = [read_hardware(name) for name in ("a100-40g", "l40s", "rtx4090")]
    assert [card.rate("bfloat16") for card in cards] == [312e12, 362.05e12, 165.2e12]
    assert [card.bandwidth for card in cards] == [1.555e12, 0.864e12, 1.008e12]
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
    with pytest.raises(ConfigError, match="A100-80G, A100-40G, L40S, RTX4090, H100, H200, B200"):
        read_hardware("V100")


def test_measured_passes_stand_for_counted_ones() -> None:
    for barriers in (0, 1, 2):
        layout = layout_of("1f1b", 2, barriers=barriers)
        costs = pass_costs(SHAPE, SETTING, HERE, layout, [2, 3], [400, 609])
        first, last = (0.01, 7.0) if not barriers else (0.0, 0.0)
        assert costs.forward == ((pytest.approx(0.5 + 6 + first),), (pytest.approx(0.5 + 9 + last),))
        first, last = (0.02, 11.0) if not barriers else (0.0, 0.0)
        assert costs.backward == ((pytest.approx(0.25 + 10 + first),), (pytest.approx(0.25 + 15 + last),))
        assert costs.weight == ((pytest.approx(4.125),), (pytest.approx(6.125),))
    # with 2 barriers
    assert costs.head_s == (pytest.approx(0.3 + 1.2), pytest.approx(0.3 + 1.827))
    assert costs.head_t == (pytest.approx(0.4 + 1.6), pytest.approx(0.4 + 2.436))
    assert costs.embedding_gradient == (pytest.approx(0.9 * 400 / 1009), pytest.approx(0.9 * 609 / 1009))
    again = pass_costs(SHAPE, dataclasses.replace(SETTING, recompute=True), HERE, layout, [2, 3], [400, 609])
    assert again.at("backward", 1) == pytest.approx(0.25 + 3 * (5.0 + 3.0))


def test_measured_updates_and_sums() -> None:
    layout, layers, rows = layout_of("1f1b", 2, barriers=1), [2, 3], [400, 609]
    held = parameters_of(SHAPE, layout, layers, rows)
    alone = step_end(SHAPE, SETTING, HERE, layout, layers, rows)
    assert alone == pytest.approx(1e-6 * max(held))
    two = step_end(SHAPE, SETTING, HERE, layout, layers, rows, 2)
    sums = [n * 4 / 5e9 + 2 * (12 * layer + 2) * 12e-6 for n, layer in zip(held, layers, strict=True)]
    assert two == pytest.approx(alone + max(sums))


def test_what_was_measured_is_written_and_read(tmp_path) -> None:
    path = tmp_path / "here.toml"
    path.write_text(dump(HERE))
    assert read_hardware(path) == HERE
    for name, (was, is_) in {
        "whole_head": ("[7.0, 11.0, 0.0]", "[7.0, 11.0]"),
        "forward": ("[0.5, 3.0]", "[0.5, -3.0]"),
        "ring": ("5000000000.0", "0"),
        "update": ("update = 1e-06", "updates = 1e-06"),
    }.items():
        assert was in path.read_text()
        wrong = tmp_path / "wrong.toml"
        wrong.write_text(path.read_text().replace(was, is_))
        with pytest.raises(ConfigError, match=rf"wrong.toml.*measured\.{name}"):
            read_hardware(wrong)


@pytest.mark.parametrize(
    ("shape", "setting", "message"),
    [
        (SHAPE, Setting(128, 2), "sequence 64, not 128"),
        (SHAPE, Setting(64, 1), "microbatch 2, not 1"),
        (SHAPE, Setting(64, 2, "float32"), "dtype bfloat16, not float32"),
        (gpt_shape(64, 5, 4, 1010, 64), SETTING, "model 5x64-v1009-.* not 5x64-v1010-"),
    ],
)
def test_measured_passes_are_of_one_model_and_microbatch(shape, setting, message) -> None:
    layout = layout_of("1f1b", 2)
    with pytest.raises(ConfigError, match=message + ".*measure again"):
        pass_costs(shape, setting, HERE, layout, [2, 3], [500, shape.vocabulary - 500])
