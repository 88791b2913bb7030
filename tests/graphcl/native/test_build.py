"""Compiling the kernels, and doing without them."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from graphcl.kernels.contrast import backends, contrast
from graphcl.native import NativeKernelsMissing, build, library

HOOK = Path(__file__).parents[3] / "hatch_build.py"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for what is built, and no memory of what was loaded."""
    folder = tmp_path / "built"
    for module in (build, library):
        monkeypatch.setattr(module, "BUILT", folder)
    cached = (library.native_library, library.missing_reason, library.warn_if_missing)
    for function in cached:
        function.cache_clear()
    yield folder
    for function in cached:
        function.cache_clear()


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="nothing else tells the processor")
@pytest.mark.parametrize(
    ("name", "flags", "rounded"),
    [
        (
            "amx",
            {"amx_tile", "amx_bf16", "avx512_bf16", "avx512bw", "avx512vl"},
            ["high", "medium"],
        ),
        ("avx512_bf16", {"avx512_bf16", "avx512bw", "avx512vl"}, ["medium"]),
        ("avx512", {"avx512f", "avx512bw", "avx512dq", "avx512vl"}, []),
        ("avx2", {"avx2", "fma"}, []),
    ],
)
def test_what_linux_says_the_processor_has_is_used(
    name: str, flags: set[str], rounded: list[str]
) -> None:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    said = next((line.split() for line in lines if line.startswith("flags")), [])
    if library.missing_reason() is not None or not build.library_path(name).is_file():
        pytest.skip(f"{name} was not built")
    if name == "amx" and name not in library.usable_libraries() and flags <= set(said):
        pytest.skip("Linux did not permit the use of AMX")
    assert (name in library.usable_libraries()) == (flags <= set(said))
    if flags <= set(said):
        assert list(library.load_library(name).rounded) == rounded


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_build_can_be_loaded(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Every recipe, but unoptimised: optimising takes a minute, and the libraries that the other
    # tests load are optimised.
    quick = tuple("-O0" if flag == "-O3" else flag for flag in build.COMMON)
    assert quick != build.COMMON
    monkeypatch.setattr(build, "COMMON", quick)
    assert library.missing_reason() is not None
    names = build.build()
    assert "portable" in names
    assert sorted(path.name for path in elsewhere.iterdir()) == sorted(
        [*(f"{name}.so" for name in names), build.STAMP]
    )
    library.missing_reason.cache_clear()
    assert library.missing_reason() is None
    assert library.native_library() is not None
    # Libraries of other sources could read our arrays wrongly: they are not loaded.
    (elsewhere / build.STAMP).write_text("of another version  sources\n")
    library.missing_reason.cache_clear()
    assert library.missing_reason() == "they were built from other sources"


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_no_compiler_or_a_broken_one(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, compiler: str
) -> None:
    monkeypatch.setenv("CXX", compiler)
    with pytest.raises(build.BuildError, match=r"no C\+\+ compiler was found|failed"):
        build.build()
    assert not elsewhere.exists() or list(elsewhere.iterdir()) == []


def test_compiler_that_cannot_be_run(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "compiler"
    broken.write_bytes(b"\x7fELF of another machine")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    with pytest.raises(build.BuildError, match=r"compiler failed: it cannot be run \(Exec format"):
        build.build()
    monkeypatch.setenv("CXX", 'ccache "g++')
    with pytest.raises(build.BuildError, match="CXX is no command"):
        build.build()


def test_compiler_with_arguments(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # As in CXX="ccache g++": the program is not the compiler.
    called = tmp_path / "called"
    launcher = tmp_path / "a launcher"
    launcher.write_text(f'#!/bin/sh\necho "$@" >> {called}\nexit 1\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("CXX", f"'{launcher}' g++ -march=native")
    with pytest.raises(build.BuildError, match="a launcher' g\\+\\+ -march=native failed"):
        build.build()
    assert called.read_text().startswith("g++ -march=native -std=c++17")
    monkeypatch.setenv("CXX", "  ")
    monkeypatch.setattr(build.shutil, "which", lambda program: f"/bin/{program}")
    assert build._compiler() == ["/bin/c++"]


def a_built_folder(folder: Path) -> None:
    """Copies of the libraries at hand, which take long to compile, and their stamp."""
    installed = Path(build.__file__).parent / "built"
    stamp = installed / build.STAMP
    if not stamp.is_file() or build.sources_digest() not in stamp.read_text():
        pytest.skip("no compiled kernels of these sources")
    shutil.copytree(installed, folder)


@pytest.mark.parametrize("damage", ["truncated", "gone", "swapped"])
def test_damaged_library_is_not_loaded(elsewhere: Path, damage: str) -> None:
    a_built_folder(elsewhere)
    assert library.native_library() is not None
    name = library.usable_libraries()[0]
    for function in (library.native_library, library.missing_reason):
        function.cache_clear()
    path = elsewhere / f"{name}.so"
    if damage == "truncated":
        content = path.read_bytes()
        # A copy: the one that this process has loaded must keep its pages.
        path.unlink()
        path.write_bytes(content[: len(content) // 2])
    else:
        path.unlink()
        if damage == "swapped":
            path.write_text("no library")
    assert library.missing_reason() == f"{path} is damaged or gone"
    assert library.native_library() is None
    z = torch.randn(300, 8)
    with pytest.warns(NativeKernelsMissing, match="is damaged or gone"):
        contrast(z, scale=1.0)


def test_unreadable_stamp(elsewhere: Path) -> None:
    elsewhere.mkdir()
    (elsewhere / build.STAMP).write_bytes(b"\xff\xfe\0")
    assert library.missing_reason() == "they were built from other sources"


def test_stray_files_beside_the_sources_do_not_matter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copied = tmp_path / "sources"
    shutil.copytree(build.SOURCES, copied)
    before = build.sources_digest()
    monkeypatch.setattr(build, "SOURCES", copied)
    (copied / ".checkpoints").mkdir()
    (copied / "pass.h~").write_text("an editor's copy")
    assert build.sources_digest() == before
    (copied / "pass.h").write_text("changed")
    assert build.sources_digest() != before


def test_install_goes_on_without_a_compiler(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("hatchling")
    spec = importlib.util.spec_from_file_location("hook", HOOK)
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    # The hook loads build.py by its path: give it one whose `built` is elsewhere.
    package = tmp_path / "project" / "graphcl" / "native"
    shutil.copytree(build.SOURCES, package / "sources")
    shutil.copy(build.__file__, package / "build.py")
    said: list[str] = []
    app = SimpleNamespace(display_warning=said.append)
    build_hook = hook.NativeKernelsHook(
        str(tmp_path / "project"), {}, None, None, str(tmp_path), "wheel", app=app
    )
    monkeypatch.setenv("CXX", "no-such-compiler")
    data: dict[str, Any] = {"force_include": {}}
    build_hook.initialize("standard", data)
    assert data == {"force_include": {}}
    assert len(said) == 1
    assert "without its compiled kernels: no C++ compiler was found" in said[0]


def test_auto_says_once_that_kernels_are_missing(elsewhere: Path) -> None:
    z = torch.randn(300, 8)
    assert z.shape[0] ** 2 > backends.DENSE_LIMIT
    with pytest.warns(NativeKernelsMissing, match="python -m graphcl.native"):
        first = contrast(z, scale=1.0).denominator
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = contrast(z, scale=1.0).denominator
    assert torch.equal(first, contrast(z, scale=1.0, backend="tiles").denominator)
    assert torch.equal(first, again)


def test_command_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.run(
        [sys.executable, "-m", "graphcl.native"],
        capture_output=True,
        text=True,
        env={"PATH": "/nonexistent", "CXX": "no-such-compiler"},
        check=False,
    )
    assert failed.returncode == 1
    assert "no C++ compiler was found (no-such-compiler)" in failed.stderr
