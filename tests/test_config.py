"""A file becomes the configuration that it says, or one error that names file, key, got and needed."""

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.base import settings as settings_of
from pinisi.base.errors import ConfigError
from pinisi.base.settings import dump, fingerprint
from pinisi.base.typed_toml import to_toml
from pinisi.config import load
from pinisi.curate.config import CurateConfig

TEXT = """\
[run]
folder = "runs/a"
steps = 100

[model.config]
model_type = "qwen2"
hidden_size = 48

[data]
shards = "shards"
sequence = 37

[data.mixture]
id = 1
vi = 0.5

[pipeline]
ranks = 3
microbatches = 7

[optimizer]
learning_rate = 1   # an integer is a number
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "run.toml"
    file.write_text(TEXT)
    return file


def test_reads_every_value_and_default(path: Path) -> None:
    got = load(path)
    assert (got.run.folder, got.run.steps, got.run.seed) == (str(path.parent / "runs/a"), 100, 0)
    assert got.model.config == {"model_type": "qwen2", "hidden_size": 48}
    assert got.data.mixture == {"id": 1.0, "vi": 0.5}
    assert type(got.optimizer.learning_rate) is float
    assert got.optimizer.betas == (0.9, 0.95)
    assert (got.pipeline.name, got.pipeline.barriers, got.pipeline.rows) == ("1f1b", 1, "even")
    assert got.runtime.stuck_after == 300 and got.model.source is None


def test_overrides_win_in_their_order(path: Path) -> None:
    overrides = [
        "model.dtype=bfloat16",  # a bare word
        'run.name="a b"',
        "run.folder=2026-01-01",  # TOML would read a date
        "pipeline.ranks=5",
        "pipeline.ranks=2",
        "pipeline.rows=[11, 13]",
        "optimizer.betas=[0, 0.5]",
        "data.mixture.vi=2",
        "model.config.hidden_size=96",
        "model.config.rope.theta=5e5",
        "optimizer.learning_rate=3e-4",
    ]
    got = load(path, overrides)
    assert (got.model.dtype, got.run.name) == ("bfloat16", "a b")
    assert got.run.folder == str(Path.cwd() / "2026-01-01")
    assert (got.pipeline.ranks, got.pipeline.rows) == (2, [11, 13])
    assert got.optimizer.betas == (0.0, 0.5) and got.optimizer.learning_rate == 3e-4
    assert got.data.mixture == {"id": 1.0, "vi": 2.0}
    assert got.model.config == {"model_type": "qwen2", "hidden_size": 96, "rope": {"theta": 5e5}}


def test_none_unsets_an_optional_key_but_stays_a_choice_where_it_is_one(path: Path) -> None:
    got = load(path, ["data.mixture=none", "memory.activation_checkpointing=none"])
    assert got.data.mixture is None and got.memory.activation_checkpointing == "none"


def test_loss_terms_are_off_and_their_range_is_checked(path: Path) -> None:
    assert (load(path).loss.label_smoothing, load(path).loss.z_loss) == (0.0, 0.0)
    got = load(path, ["loss.label_smoothing=0.1", "loss.z_loss=1e-4"])
    assert (got.loss.label_smoothing, got.loss.z_loss) == (0.1, 1e-4)
    for wrong in (
        "label_smoothing=1",
        "label_smoothing=-0.1",
        "z_loss=-1",
        "extra_heads=-1",
        "extra_weight=-1",
    ):
        with pytest.raises(ConfigError, match="loss." + wrong.split("=")[0]):
            load(path, ["loss." + wrong])


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("optimizer.learning_rat", "optimizer.learning_rate"),
        ("data.seqence", "data.sequence"),
        ("pipelin", "pipeline"),
        ("run.learning_rate", "optimizer.learning_rate"),  # right name, wrong section
        ("steps", "run.steps"),
    ],
)
def test_unknown_key_names_the_nearest(path: Path, key: str, near: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(path, [f"{key}=1"])
    assert f"unknown key '{key}'" in str(caught.value)
    assert f"nearest valid key is '{near}" in str(caught.value)
    assert f"override '{key}=1'" in str(caught.value)


def test_a_key_that_has_a_new_name_names_it(tmp_path: Path) -> None:
    file = tmp_path / "curate.toml"
    file.write_text('[run]\nfolder = "out"\n[[sources]]\npath = "raw"\n[exact]\nbytes = 100\n')
    said = "there is no 'exact.bytes' any more; use 'exact.characters', which counts"
    with pytest.raises(ConfigError, match=rf"curate\.toml, line 6: {said}"):
        settings_of.load(file, into=CurateConfig)
    file.write_text('[run]\nfolder = "out"\n[[sources]]\npath = "raw"\n')
    with pytest.raises(ConfigError, match=f"override 'exact.bytes=90': {said}"):
        settings_of.load(file, ["exact.bytes=90"], into=CurateConfig)
    assert settings_of.load(file, ["exact.characters=90"], into=CurateConfig).exact.characters == 90


@pytest.mark.parametrize(
    ("section", "old", "new"),
    [
        ("data", "microbatch", "microbatch_size"),
        ("pipeline", "replicas", "data_parallel"),
        ("optimizer", "epsilon", "eps"),
        ("optimizer", "clip", "max_grad_norm"),
        ("optimizer", "minimum", "min_lr_ratio"),
        ("memory", "recompute", "activation_checkpointing"),
    ],
)
def test_a_runs_old_key_names_the_new_one(path: Path, section: str, old: str, new: str) -> None:
    said = f"there is no '{section}.{old}' any more; use '{section}.{new}', with the same meaning"
    with pytest.raises(ConfigError, match=said):
        load(path, [f"{section}.{old}=1"])


def test_the_old_section_names_the_new_one(path: Path) -> None:
    old = "schedule"
    with pytest.raises(
        ConfigError, match=f"there is no '{old}' any more; use 'pipeline', with the same keys but"
    ):
        load(path, [f"{old}.ranks=1"])


def test_errors_in_the_file_name_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(TEXT.replace("microbatches = 7", "microbatches = 7.5"))
    line = TEXT.splitlines().index("microbatches = 7") + 1
    with pytest.raises(
        ConfigError, match=rf"bad\.toml, line {line}: pipeline\.microbatches is number 7\.5.*integer"
    ):
        load(file)
    file.write_text(TEXT.replace("microbatches = 7", "microbatchs = 7"))
    with pytest.raises(
        ConfigError, match=rf"line {line}: unknown key 'pipeline.microbatchs'.*'pipeline.microbatches'"
    ):
        load(file)
    file.write_text(TEXT.replace("microbatches = 7", ""))
    with pytest.raises(
        ConfigError, match=r"bad\.toml: required key 'pipeline.microbatches' is missing.*integer"
    ):
        load(file)
    file.write_text(TEXT.replace("[optimizer]\nlearning_rate = 1", ""))
    with pytest.raises(ConfigError, match=r"required key 'optimizer.learning_rate' is missing.*number"):
        load(file)
    file.write_text(TEXT + "oops")
    with pytest.raises(ConfigError, match=r"bad\.toml: not valid TOML"):
        load(file)
    with pytest.raises(ConfigError, match=r"missing\.toml: no such file"):
        load(tmp_path / "missing.toml")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.steps=ten", 'run.steps is string "ten"; it needs integer'),
        ("run.steps=true", "run.steps is boolean true; it needs integer"),
        ("run.steps=0", "run.steps is 0; it needs at least 1"),
        ("data.sequence=0", "data.sequence is 0; it needs at least 1"),
        ("pipeline.barriers=3", "pipeline.barriers is integer 3; it needs one of 0, 1, 2"),
        ("pipeline.barriers=true", "pipeline.barriers is boolean true"),  # True == 1 in Python
        ("pipeline.rows=evn", 'needs one of "even", "balanced" or a list of integers'),
        ("pipeline.rows=[1, 2]", "pipeline.rows is [1, 2]; it needs 3 counts"),
        ("pipeline.layers=[1, 2]", "pipeline.layers is [1, 2]; it needs counts"),
        ("pipeline.layers=[]", "pipeline.layers is []; it needs counts"),
        ("optimizer.betas=[0.9]", "optimizer.betas is [0.9]; it needs a list of 2 numbers"),
        ("optimizer.betas=[0.9, 1]", "it needs two numbers from 0 to below 1"),
        ("optimizer.learning_rate=true", "optimizer.learning_rate is boolean true; it needs number"),
        ("optimizer.learning_rate=nan", "optimizer.learning_rate is nan; it needs at least 0"),
        ("optimizer.learning_rate=-1e-3", "optimizer.learning_rate is -0.001; it needs at least 0"),
        ("optimizer.warmup=101", "into run.steps = 100"),
        ("data.mixture.vi=x", "it needs a table of numbers"),
        ("data.mixture={}", "it needs weights of at least 0"),
        ("data.temperature=0.5", "to be left out where a mixture is given"),
        ("model.source=gpt", "one of the two, not both"),
        ("model.config={}", "a model_type"),
        ("model.dtype=float16", 'needs one of "float32", "bfloat16", "float64"'),
        ("run=5", "run is integer 5; it needs a table"),
        ("run.steps.more=5", "run.steps is a value, not a table"),
        ("runtime.port=70000", "a port number"),
        ("nonsense", "needs the form key=value"),
    ],
)
def test_a_wrong_value_says_got_and_needed(path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load(path, [override])
    assert "override" in str(caught.value)


def test_config_made_in_python_is_checked_alike(path: Path) -> None:
    good = load(path)
    settings_of.validate(good)
    bad = dataclasses.replace(good, data=dataclasses.replace(good.data, sequence=0))
    with pytest.raises(ConfigError, match=r"data\.sequence is 0; it needs at least 1"):
        settings_of.validate(bad)


def test_round_trip(path: Path, tmp_path: Path) -> None:
    got = load(
        path, ['run.name="q\\"uo\\\\te\\u007f \\u0e01"', "model.config.layer_types=['a', 'b']", "run.seed=9"]
    )
    saved = tmp_path / "config.toml"
    saved.write_text(dump(got), encoding="utf-8")
    assert load(saved) == got


PLAIN = st.one_of(
    st.integers(-(2**62), 2**62),
    st.booleans(),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
TABLES = st.recursive(
    PLAIN | st.lists(PLAIN, max_size=3),
    lambda inner: st.dictionaries(st.text('ab. -é"\n', max_size=4), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text("xyz", min_size=1, max_size=2), TABLES, max_size=4))
def test_to_toml_is_the_inverse_of_reading(table: dict) -> None:
    assert tomllib.loads(to_toml(table)) == table


def test_fingerprint_sees_its_keys_and_no_others(path: Path) -> None:
    first = load(path)
    other = load(path, ["optimizer.learning_rate=2"])
    assert fingerprint(first, "model", "data.sequence") == fingerprint(other, "model", "data.sequence")
    assert fingerprint(first) != fingerprint(other)
    longer = load(path, ["data.sequence=38"])
    assert fingerprint(first, "data.sequence") != fingerprint(longer, "data.sequence")
    assert fingerprint(first, "model") != fingerprint(load(path, ["model.config.hidden_size=49"]), "model")


def test_load_into_another_class(tmp_path: Path) -> None:
    @dataclasses.dataclass
    class Inner:
        choices: tuple[int, ...] = (1,)

    @dataclasses.dataclass
    class Outer:
        name: str | None = None
        count: dict[str, float] = dataclasses.field(default_factory=dict)

    file = tmp_path / "outer.toml"
    file.write_text("choices = [1, 2, 3]")
    assert settings_of.load(file, into=Inner) == Inner((1, 2, 3))
    file.write_text("[count]\na = 1")
    assert settings_of.load(file, ["name=x"], into=Outer) == Outer("x", {"a": 1.0})


@pytest.mark.parametrize(
    "text, budget", [("keep", None), ("recompute", 0), ("512 MiB", 2**29), ("1.5GiB", 3 * 2**29)]
)
def test_memory_of_the_head(path: Path, text: str, budget: int | None) -> None:
    assert load(path, [f"memory.head={text}"]).memory.head_budget == budget


@pytest.mark.parametrize("text", ["all", "512 MB", "0 MiB", "-1 MiB", "MiB"])
def test_memory_of_the_head_in_other_words_is_refused(path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r'memory\.head.*a size such as "512 MiB"'):
        load(path, [f"memory.head={text}"])


def test_a_byte_order_mark_is_no_part_of_the_file(path: Path, tmp_path: Path) -> None:
    marked = tmp_path / "marked.toml"
    marked.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load(marked) == load(path)


@pytest.mark.parametrize("text", ["a = " + "9" * 10_000, "a = " + "[" * 100_000])
def test_what_python_can_not_read_is_no_toml(tmp_path: Path, text: str) -> None:
    (tmp_path / "huge.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"huge\.toml: not valid TOML"):
        load(tmp_path / "huge.toml")


@pytest.mark.parametrize(
    "override",
    [
        "run.seed=" + "9" * 10_000,
        "run.seed=" + "[" * 100_000,
        "memory.head=" + "9" * 400 + " GiB",
        "data.mixture={en=nan}",
        "data.mixture={en=inf}",
        "runtime.stuck_after=nan",
        "runtime.stuck_after=inf",
        "runtime.stuck_after=1e300",
    ],
    ids=lambda text: text[:24],
)
def test_numbers_beyond_all_bounds_are_refused_in_one_line(path: Path, override: str) -> None:
    key = override.partition("=")[0]
    with pytest.raises(ConfigError, match=f"{key} is "):
        load(path, [override])
