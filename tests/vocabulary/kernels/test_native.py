"""The C++ kernels as a library: how it is compiled and kept, and that threads do not show."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pinisi.base.errors import ConfigError
from pinisi.vocabulary.buffers import Scratch
from pinisi.vocabulary.kernels import Targets, build, native
from pinisi.vocabulary.tiles import Curve

from ...effort import only_full
from ..simulation import bits
from .compilers import compiler

RUN = """
import warnings, torch
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    from pinisi.vocabulary.kernels import kernels_for, use
    for _ in range(2):
        print(kernels_for(torch.zeros(1)).__name__.rpartition(".")[2])
    try:
        with use("native"):
            print("compiled")
    except Exception as error:
        print(type(error).__name__, error)
print(*[one.message for one in seen], sep="\\n")
"""


def run(folder, **more):
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder), **more}
    environment.pop("PINISI_KERNELS", None)
    return subprocess.Popen(
        [sys.executable, "-c", RUN],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def printed(folder, **more):
    with run(folder, **more) as process:
        out, _ = process.communicate(timeout=300)
    return out


def libraries(folder):
    return sorted((folder / "pinisi" / "kernels").glob("*.so"))


def test_it_is_compiled_once_for_all_processes(tmp_path):
    compiler()
    first = [run(tmp_path) for _ in range(2)]  # at the same time
    said = [process.communicate(timeout=300)[0] for process in first]
    assert all(one.startswith("native\nnative\ncompiled\n") for one in said)  # of a warning one may tell
    (library,) = libraries(tmp_path)
    made = library.stat().st_mtime_ns
    assert not list(library.parent.glob("*partial"))
    assert printed(tmp_path) == "native\nnative\ncompiled\n\n" and library.stat().st_mtime_ns == made


def test_a_machine_without_a_compiler_uses_torchs_operations_and_says_so_where_asked(tmp_path):
    said = printed(tmp_path, PATH=str(tmp_path), CXX="")
    assert said.startswith("reference\nreference\nConfigError The native kernels need a C++ compiler")
    assert "install g++" in said and said.endswith("CXX.\n\n")  # and no warning


def test_a_compiler_that_fails_is_named_once(tmp_path):
    failing = tmp_path / "broken"
    failing.write_text("#!/bin/sh\necho some note >&2\necho 'fatal error: no such header' >&2\nexit 1\n")
    failing.chmod(0o755)
    said = printed(tmp_path, CXX=str(failing))
    assert said.startswith("reference\nreference\nConfigError") and not libraries(tmp_path)
    told = said.partition("set CXX to another")[0]
    assert str(failing) in told and "fatal error: no such header" in told
    assert said.count("torch's own operations are used") == 1


@only_full
def test_a_compiler_without_an_openmp_library_compiles_for_one_thread(tmp_path):
    without = tmp_path / "without"
    without.write_text(
        f"""#!/bin/sh
for flag in "$@"; do
  if [ "$flag" = -fopenmp ]; then
    echo 'ld: cannot find -lomp' >&2
    echo 'error: linker command failed' >&2
    exit 1
  fi
done
exec {compiler()} "$@"
"""
    )
    without.chmod(0o755)
    said = printed(tmp_path, CXX=str(without))
    assert said.startswith("native\nnative\ncompiled\n") and said.count("for one thread") == 1
    (library,) = libraries(tmp_path)
    assert "(ld: cannot find -lomp)" in said and f"delete {library}" in said
    assert "one thread" not in printed(tmp_path, CXX=str(without))  # it is there now
    they_pass(
        tmp_path, "soft_cap and native or same_bits", "test_whole_head.py", "test_native.py", CXX=str(without)
    )
    assert len(libraries(tmp_path)) == 1


def test_a_cache_that_can_not_be_written_is_named(tmp_path):
    compiler()
    (tmp_path / "pinisi").write_text("a file where the folder belongs")
    said = printed(tmp_path)
    assert said.startswith("reference\nreference\nConfigError") and str(tmp_path / "pinisi") in said
    assert "set XDG_CACHE_HOME" in said


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    compiler()

    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(ConfigError, match=r"home directory.*set XDG_CACHE_HOME"):
        build.load.__wrapped__()


@only_full
def test_another_machine_gets_a_library_of_its_own(tmp_path, monkeypatch):
    """A home folder may be several machines'."""
    found = compiler()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "_compile", lambda command, path: path.touch())
    names = [build._cached(found)]
    for change in (
        lambda: None,
        lambda: monkeypatch.setattr(build, "_features", lambda: "flags: fewer"),
        lambda: monkeypatch.setattr(build, "_identity", lambda path: [str(path), "1", "2"]),
        lambda: monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.17")),
        lambda: monkeypatch.setenv("CXXFLAGS", "-DOTHER"),
    ):
        change()
        names.append(build._cached(found))
    assert names[0] == names[1] and len(set(names)) == len(libraries(tmp_path)) == 5


@only_full
def test_a_library_that_can_not_be_loaded_is_compiled_anew(tmp_path):
    compiler()
    assert printed(tmp_path) == "native\nnative\ncompiled\n\n"
    (library,) = libraries(tmp_path)
    size = library.stat().st_size
    library.write_text("no library")
    at_once = [run(tmp_path) for _ in range(2)]
    said = [process.communicate(timeout=300)[0] for process in at_once]
    assert said == ["native\nnative\ncompiled\n\n"] * 2
    assert libraries(tmp_path) == [library] and library.stat().st_size == size


@pytest.mark.skipif(platform.machine() != "x86_64", reason="flags of x86-64")
@pytest.mark.parametrize("level", [pytest.param("x86-64-v2", marks=only_full), "x86-64-v3"])
def test_a_processor_that_knows_less_computes_as_well(tmp_path, level):
    """Without fused operations, or without bf16."""
    compiler()
    they_pass(tmp_path, "native", "test_each.py", "test_whole_head.py", CXXFLAGS=f"-march={level}")
    assert len(libraries(tmp_path)) == 1


def they_pass(folder, which, *files, **more):
    """Those tests beside this one, with a library compiled anew in that folder."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-k",
        which,
        *(str(Path(__file__).with_name(f)) for f in files),
    ]
    environment = {**os.environ, **more, "XDG_CACHE_HOME": str(folder)}
    done = subprocess.run(command, env=environment, timeout=300, capture_output=True, text=True)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-3000:]


KINDS = {"int64_t": "i", "float": "f", "bool": "b", "int": "t"}


def test_python_declares_what_the_source_defines():
    """A parameter too few or too many would be read from nowhere."""
    source = re.sub(r"//.*", "", build.SOURCE.read_text())
    for name, letters in native.PARAMETERS.items():
        (parameters,) = re.findall(rf"^void {name}\((.*?)\) \{{", source, re.S | re.M)
        kinds = "".join(
            "p" if "*" in one else KINDS[one.replace("const", "").split()[0]] for one in parameters.split(",")
        )
        assert kinds == letters + "t", name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("curve", [Curve(), Curve(0.7, 5.0)], ids=str)
def test_any_number_of_threads_gives_the_same_bits(dtype, curve):
    compiler()
    threads, seen = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            seen.append([bits(one.float()) for one in everything(dtype, curve)])
    finally:
        torch.set_num_threads(threads)
    assert seen[1] == seen[0] and seen[2] == seen[0]


def everything(dtype, curve):
    """What each function makes of the same numbers, of more tokens, hidden units and columns than one thread takes at a time."""
    draws, scratch = torch.Generator().manual_seed(2), Scratch()
    x, weight, z = (
        torch.randn(*of, generator=draws).to(dtype) for of in ((603, 301), (1031, 301), (603, 700))
    )
    targets = Targets(torch.randint(-100, 1300, (603,), generator=draws), 100, 1031)
    gathered = torch.rand(3, 3, 603, generator=draws)
    bias, g, k, e = weight[:, 0].contiguous(), *torch.rand(3, 603, generator=draws)
    statistics = torch.zeros(3, 603)
    of_target = native.target_logits(x, weight, bias, targets, statistics, curve, scratch)
    exps, slopes, logit_sum = torch.empty_like(z), torch.empty_like(z), torch.zeros(603)
    more = () if curve.is_identity else (logit_sum, slopes)
    native.exponentiate_(z.clone(), exps, targets, 7, statistics, None, curve, scratch, *more)
    maximum = statistics[0]
    again = torch.empty_like(z)
    native.exponentiate_again_(
        z.clone(), again, targets, 7, maximum, curve, scratch, (g, k) if more else None
    )
    combined, _ = native.combine(gathered, targets)
    of = native.coefficients(targets, combined, statistics, of_target, 0.7, -g, k, e)
    gradient, db, sums = torch.zeros(1031, 301), torch.zeros(1031), torch.zeros(700)
    native.add_target_rows_(gradient, db, x, targets, of[1], scratch)
    native.add_with_target_rows_(gradient, db, weight, x, targets, of[1])
    native.add_column_sums_(sums, exps, of[3], scratch)
    dx = native.finished(x.clone(), weight, targets, of[3], of[1], scratch)
    added = native.added(native.added(None, x, g, scratch), x, k, scratch)
    scaled = native.scaled(x, g, scratch).clone()
    written = (slopes, logit_sum) if more else ()
    vectors = (statistics, *combined[:3], native.factor(maximum, combined, of[0], 0.7))
    return [of_target, exps, *written, again, *vectors, *of, gradient, db, sums, dx, added, scaled]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("hidden", [2080, 2043])
def test_a_result_too_large_for_caches_has_the_same_bits(hidden, threads, monkeypatch):
    """It is written past them."""
    compiler()
    tokens, rows, draws = 2**22 // 2040, 301, torch.Generator().manual_seed(3)
    product, weight = (torch.randn(n, hidden, generator=draws).bfloat16() for n in (tokens, rows))
    factor, target = torch.randn(2, tokens, generator=draws)
    ids = torch.randint(-100, 2 * rows, (tokens,), generator=draws)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        whole, *halves = (
            native.finished(product[part], weight, Targets(ids[part], 0, rows), factor[part], target[part], Scratch())
            for part in (slice(None), slice(1000), slice(1000, None))
        )  # fmt: skip
    finally:
        torch.set_num_threads(before)
    assert tokens * hidden >= 2**22 and bits(whole) == bits(torch.cat(halves))
    own = torch.where((ids >= 0) & (ids < rows), target, 0.0).double().unsqueeze(1)
    exact = product.double() * factor.double().unsqueeze(1) + own * weight[ids.clamp(0, rows - 1)].double()
    assert float((whole - exact).abs().max() / exact.abs().max()) <= 1e-6


def test_a_library_that_others_could_have_written_is_not_run(tmp_path):
    """The file is compiled anew; a folder that isn't ours alone is refused, and torch's operations are used."""
    compiler()
    assert printed(tmp_path) == "native\nnative\ncompiled\n\n"
    (library,) = libraries(tmp_path)
    assert library.stat().st_mode & 0o022 == 0 and library.parent.stat().st_mode & 0o777 == 0o700
    whole = library.read_bytes()
    library.write_bytes(whole + b"planted")
    library.chmod(0o777)
    assert printed(tmp_path) == "native\nnative\ncompiled\n\n"
    assert library.read_bytes() == whole and library.stat().st_mode & 0o022 == 0
    library.parent.chmod(0o770)
    said = printed(tmp_path)
    assert said.startswith("reference\nreference\nConfigError"), said
    assert f"{library.parent}, which can be written by others (mode 770)" in said
    assert said.count("torch's own operations are used") == 1


@pytest.mark.parametrize("what", ["folder", "library"])
def test_a_library_of_another_user_is_not_run(tmp_path, monkeypatch, what):
    found = compiler()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled = []
    monkeypatch.setattr(build, "_compile", lambda command, path: (compiled.append(path), path.touch()))
    path = build._cached(found)
    owned = path if what == "library" else path.parent
    true = Path.stat

    def stat(self, **more):
        result = true(self, **more)
        return os.stat_result((*result[:4], 4321, *result[5:])) if self == owned else result

    monkeypatch.setattr(Path, "stat", stat)
    if what == "folder":
        with pytest.raises(ConfigError, match="belongs to user 4321"):
            build._cached(found)
    else:
        build._cached(found)
        assert compiled == [path, path]
