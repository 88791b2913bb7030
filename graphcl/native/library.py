"""Finds the library for this processor and declares its functions."""

from __future__ import annotations

import ctypes
import functools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from graphcl.native.build import BUILT, STAMP, file_digest, library_path, sources_digest

# Best first, with the bits of `processor_features` that each needs.
_LIBRARIES = (("amx", 4), ("avx512_bf16", 8), ("avx512", 2), ("avx2", 1), ("portable", 0))
# Three products of bfloat16 are faster than one of float32 on AMX alone.
_ROUNDED = {
    "amx": {"high": "bfloat16x3", "medium": "bfloat16"},
    "avx512_bf16": {"medium": "bfloat16"},
}
# Each takes one structure (graphcl/kernels/compiled.py) and returns a status.
_OTHER_FUNCTIONS = (
    "sparse_product_float",
    "sparse_product_double",
    "sparse_row_sum_float",
    "sparse_row_sum_double",
    "sparse_sampled_float",
    "sparse_sampled_double",
    "rank_float",
    "rank_double",
    "draw_free",
    "sample_neighbours",
)


class NativeKernelsMissing(UserWarning):
    """The compiled kernels are not there; slower torch code is used instead."""


@dataclass(frozen=True)
class NativeLibrary:
    """The compiled kernels for one instruction set."""

    name: str
    functions: ctypes.CDLL

    @property
    def rounded(self) -> Mapping[str, str]:
        """The precisions below "highest" that gain here, with the type in the functions' names."""
        return _ROUNDED.get(self.name, {})


@functools.cache
def native_library() -> NativeLibrary | None:
    """The best library that was built and that this processor runs, or None."""
    names = usable_libraries()
    return load_library(names[0]) if names else None


def usable_libraries() -> list[str]:
    """The instruction sets that were built and that this processor runs, best first."""
    if missing_reason() is not None:
        return []
    features, built = _features(), _built_digests()
    return [
        name
        for name, bit in _LIBRARIES
        if (features & bit or bit == 0) and library_path(name).name in built
    ]


@functools.cache
def missing_reason() -> str | None:
    """Why the compiled kernels cannot be used, or None when they can."""
    if not (BUILT / STAMP).is_file():
        return "they were not built when the package was installed (no C++ compiler?)"
    try:
        digests = _built_digests()
        if digests.pop("sources", None) != sources_digest():
            return "they were built from other sources"
        # Looked at before it is loaded: a truncated library kills the process that uses it.
        for name, digest in digests.items():
            path = BUILT / name
            if not path.is_file() or file_digest(path) != digest:
                return f"{path} is damaged or gone"
        _features()
    except OSError as error:
        return f"they cannot be loaded ({error})"
    return None


@functools.cache
def warn_if_missing() -> None:
    """Say once that the compiled kernels are missing, why, and how to get them."""
    reason = missing_reason()
    if reason is not None:
        warnings.warn(
            f"graphcl's compiled kernels are not used: {reason}; computing with torch, which is "
            "slower; `python -m graphcl.native` builds them",
            NativeKernelsMissing,
            stacklevel=2,
        )


def _built_digests() -> dict[str, str]:
    """What the stamp says: digest by name of the file, and of the sources."""
    lines = (BUILT / STAMP).read_text(errors="replace").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _features() -> int:
    portable = ctypes.CDLL(str(library_path("portable")))
    portable.processor_features.restype = ctypes.c_int32
    return int(portable.processor_features())


def load_library(name: str) -> NativeLibrary:
    """The library built for one instruction set; the processor must know it."""
    functions = ctypes.CDLL(str(library_path(name)))
    for direction, arguments in (("forward", 3), ("backward", 2)):
        for type_ in ("float", "double", *_ROUNDED.get(name, {}).values()):
            pointer = getattr(functions, f"contrast_{direction}_{type_}")
            pointer.argtypes = [ctypes.c_void_p] * arguments
            pointer.restype = ctypes.c_int
    for function in _OTHER_FUNCTIONS:
        getattr(functions, function).argtypes = [ctypes.c_void_p]
        getattr(functions, function).restype = ctypes.c_int
    return NativeLibrary(name, functions)
