"""Compiled kernels for the CPU: built while installing, loaded at first use.

Without a compiler the install succeeds all the same; whatever would have used a
compiled kernel then uses its torch version, and says so once. `python -m
graphcl.native` builds them later.
"""

from graphcl.native.library import (
    NativeKernelsMissing,
    NativeLibrary,
    load_library,
    missing_reason,
    native_library,
    usable_libraries,
    warn_if_missing,
)

__all__ = [
    "NativeKernelsMissing",
    "NativeLibrary",
    "load_library",
    "missing_reason",
    "native_library",
    "usable_libraries",
    "warn_if_missing",
]
