"""Components as data, and a start from another run's weights."""

from __future__ import annotations

import pytest
import torch

from pinisi.base.errors import ConfigError, DataError
from pinisi.config import load
from pinisi.data import TokenShards
from pinisi.launch.check import check
from pinisi.train.checkpoint import Reader
from tests.engine.runs import losses, pinisi


def with_components(project, tmp_path, lines: str, *more: str):
    text = (project / "config.toml").read_text().replace(f'shards = "{project}/shards"\n', "", 1)
    file = tmp_path / "run.toml"
    file.write_text(text.replace(f'folder = "{project}/run"', f'folder = "{tmp_path}/run"') + lines)
    return file


def test_components_named_like_their_languages_train_as_the_folder_does(project, whole, tmp_path) -> None:
    each = "".join(
        f'[[data.components]]\nname = "{language}"\nshards = "{project}/shards"\nlanguage = "{language}"\n'
        for language in TokenShards(project / "shards").languages
    )
    file = with_components(project, tmp_path, each)
    done = pinisi("train", str(file))
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "run") == losses(whole)


def test_a_mixture_names_components(project, tmp_path) -> None:
    first, second, *_ = TokenShards(project / "shards").languages
    lines = "".join(
        f'[[data.components]]\nname = "{name}"\nshards = "{project}/shards"\nlanguage = "{language}"\n'
        for name, language in (("web", first), ("books", first), ("other", second))
    )
    file = with_components(project, tmp_path, lines + "[data.mixture]\nweb = 1\nbooks = 2\n")
    assert pinisi("train", str(file)).returncode == 0
    drawn = Reader(tmp_path / "run" / "checkpoints" / "step-00000006").index["sampler"]
    assert drawn["components"].keys() == {"web", "books"}
    check(load(file, ["run.steps=9"]))
    with pytest.raises(DataError, match="no component 'wep'"):
        check(load(file, ["run.steps=9", "data.mixture={wep = 1.0}"]))


def test_no_data_and_both_kinds_of_data_are_refused(project, tmp_path) -> None:
    file = with_components(project, tmp_path, "")
    with pytest.raises(ConfigError, match=r"data\.shards is not set"):
        check(load(file))
    one = f"data.components=[{{name = 'a', shards = '{project}/shards'}}]"
    with pytest.raises(ConfigError, match=r"data\.shards is .* to be left out where there are"):
        load(file, [one, f"data.shards={project}/shards"])


def test_a_run_starts_from_another_ones_weights_alone(project, whole, tmp_path) -> None:
    start = whole / "checkpoints" / "step-00000006"
    more = [
        f"run.folder={tmp_path}/run",
        "run.steps=1",
        "optimizer.learning_rate=0",
        "optimizer.weight_decay=0",
    ]
    done = pinisi("train", str(project / "config.toml"), f"run.start={start}", *more)
    assert done.returncode == 0, done.stderr
    before, after = Reader(start), Reader(tmp_path / "run" / "checkpoints" / "step-00000001")
    assert all(torch.equal(before.get(name), after.get(name)) for name in before.names())
    assert after.index["sampler"]["sequences"] < before.index["sampler"]["sequences"]
    command = ("train", str(project / "config.toml"), f"run.start={start}", *more[1:])
    other = pinisi(*command, f"run.folder={tmp_path}/other", "model.config.hidden_size=16")
    assert other.returncode == 2 and "another model" in other.stderr
