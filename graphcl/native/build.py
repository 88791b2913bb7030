"""Compiles the C++ kernels into this package's `built` folder.

Run while installing (see hatch_build.py), and again by `python -m graphcl.native`.
Needs a C++17 compiler (`$CXX`, with arguments if need be, or c++, g++, clang++ on the
path) and nothing else: the kernels are plain C functions on arrays, linked against
neither torch nor Python.
Imports nothing from the package, so that the installer can load it by its path.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).parent / "sources"
BUILT = Path(__file__).parent / "built"
STAMP = "built.sha256"  # of the sources, and of each library: lines `digest  name`

# No -ffast-math: it would cancel the range reduction of the exponential.
COMMON = ("-std=c++17", "-O3", "-fPIC", "-shared", "-pthread", "-fvisibility-inlines-hidden")
AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma")

# In every library beside its contrast kernels.
EVERYWHERE = ("sparse.cpp", "ranking.cpp", "sampling.cpp")

# name -> (source files, flags). One library per instruction set, so that code shared
# by name is never merged between them.
Recipe = tuple[tuple[str, ...], tuple[str, ...]]
PORTABLE: dict[str, Recipe] = {
    "portable": (("contrast.cpp", "processor.cpp", *EVERYWHERE), ("-DVECTOR_BYTES=16",))
}
X86: dict[str, Recipe] = {
    "avx2": (("contrast.cpp", *EVERYWHERE), ("-DVECTOR_BYTES=32", "-mavx2", "-mfma")),
    "avx512": (("contrast.cpp", *EVERYWHERE), ("-DVECTOR_BYTES=64", *AVX512)),
    "avx512_bf16": (
        ("contrast_bfloat16.cpp", *EVERYWHERE),
        ("-DVECTOR_BYTES=64", *AVX512, "-mavx512bf16"),
    ),
    "amx": (
        ("contrast_bfloat16.cpp", *EVERYWHERE),
        ("-DVECTOR_BYTES=64", *AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-bf16"),
    ),
}


class BuildError(RuntimeError):
    """The kernels could not be compiled; the message says why."""


def sources_digest() -> str:
    """Sha256 over names and contents of the sources and of this file."""
    digest = hashlib.sha256()
    sources = sorted(path for path in SOURCES.iterdir() if path.suffix in (".cpp", ".h"))
    for path in (*sources, Path(__file__)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Sha256 of one file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def library_path(name: str) -> Path:
    """Where the library called `name` lies once built."""
    return BUILT / f"{name}.so"


def build() -> list[str]:
    """Compile what the compiler can, and return the names of the libraries built.

    An instruction set that the compiler does not know is left out.

    Raises:
        BuildError: no compiler was found, or not even the portable library compiles.
    """
    compiler = _compiler()
    wanted = dict(PORTABLE)
    if platform.machine().lower() in ("x86_64", "amd64"):
        wanted |= X86
    try:
        BUILT.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILT) as folder:
            targets = {name: Path(folder) / f"{name}.so" for name in wanted}

            def compiled(name: str) -> str | None:
                return _compile(compiler, *wanted[name], targets[name])

            with ThreadPoolExecutor(os.cpu_count()) as pool:
                problems = dict(zip(wanted, pool.map(compiled, wanted), strict=True))
            for name in PORTABLE:
                if problems[name] is not None:
                    raise BuildError(f"{shlex.join(compiler)} failed: {problems[name]}")
            built = {name: targets[name] for name in wanted if problems[name] is None}
            digests = [f"{sources_digest()}  sources"]
            digests += [f"{file_digest(path)}  {path.name}" for path in built.values()]
            stamp = Path(folder) / STAMP
            stamp.write_text("\n".join(digests) + "\n")
            # Moved, not overwritten: a process may have the old ones loaded, another may
            # build at the same time. What differs from its line in the stamp, which comes
            # last, is not loaded.
            for name, target in built.items():
                target.replace(library_path(name))
            stamp.replace(BUILT / STAMP)
        for name in wanted.keys() - built.keys():
            library_path(name).unlink(missing_ok=True)
    except OSError as error:
        raise BuildError(f"{BUILT} cannot be written: {error.strerror or error}") from error
    return list(built)


def _compiler() -> list[str]:
    """The command, as far as it does not depend on what is compiled."""
    chosen = os.environ.get("CXX", "").strip()
    try:
        candidates = [shlex.split(chosen)] if chosen else [["c++"], ["g++"], ["clang++"]]
    except ValueError as error:
        raise BuildError(f"CXX is no command: {chosen} ({error})") from error
    for program, *arguments in candidates:
        found = shutil.which(program)
        if found:
            return [found, *arguments]
    raise BuildError(f"no C++ compiler was found ({chosen or 'c++, g++, clang++'})")


def _compile(
    compiler: list[str], files: tuple[str, ...], flags: tuple[str, ...], target: Path
) -> str | None:
    """Why it failed, or None."""
    command = [*compiler, *COMMON, *flags, *(str(SOURCES / file) for file in files)]
    try:
        result = subprocess.run(
            [*command, "-o", str(target)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        return f"it cannot be run ({error.strerror or error})"
    if result.returncode == 0:
        return None if target.is_file() else "it wrote no library"
    lines = [line for line in result.stderr.splitlines() if "error" in line]
    return (lines or result.stderr.splitlines() or ["it gave no message"])[0].strip()
