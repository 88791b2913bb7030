"""Nothing of ours is importable as `datasets` or `configs`, and no data ends up in a wheel."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ("datasets", "configs")


@pytest.mark.parametrize("folder", SHIPPED)
def test_folder_holds_no_python(folder):
    assert [str(path) for path in (ROOT / folder).rglob("*.py")] == []


@pytest.mark.parametrize("folder", SHIPPED)
def test_import_from_the_root_finds_none_of_our_code(folder):
    # `-c` puts the working folder first on the path. Either an installed package of that name
    # wins, or python makes an empty namespace of the folder, or there is nothing.
    code = (
        f"import importlib.util\n"
        f"spec = importlib.util.find_spec({folder!r})\n"
        f"print('' if spec is None else spec.origin or '')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    origin = done.stdout.strip()
    assert not origin.startswith(f"{ROOT / folder}")
    assert (ROOT / folder).is_dir()


def test_cache_is_ignored_by_git():
    assert "datasets/cache/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_a_wheel_holds_our_two_packages_the_cards_the_kernels_and_no_data(tmp_path):
    # A copy, since building compiles in place, and a compiler that only says what it would make:
    # what the real one makes is tested with the kernels.
    copy = tmp_path / "copy"
    ignored = shutil.ignore_patterns("__pycache__", "built", "cache")
    for folder in ("graphcl", "recsys", "configs", "datasets"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for file in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / file, copy)
    cached = copy / "datasets" / "cache" / "ml-100k" / "ml-100k.inter"
    cached.parent.mkdir(parents=True)
    cached.write_text("may not be passed on")
    compiler = tmp_path / "compiler"
    compiler.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho made > "$2"\n')
    compiler.chmod(0o755)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*command, "--wheel-dir", str(tmp_path), str(copy)],
        check=True, env={**os.environ, "CXX": str(compiler)},
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"graphcl", "recsys"}
    shipped = {name for name in names if name.startswith("graphcl/_shipped/")}
    expected = {
        f"graphcl/_shipped/{path.relative_to(ROOT).as_posix()}"
        for pattern in ("datasets/*.toml", "configs/**/*.yaml")
        for path in ROOT.glob(pattern)
    }
    # The cached MovieLens may not be passed on, so equality and not inclusion.
    assert shipped == expected
    assert not [name for name in names if "cache/" in name]
    assert {"graphcl/native/built/portable.so", "graphcl/native/built/built.sha256"} < set(names)
