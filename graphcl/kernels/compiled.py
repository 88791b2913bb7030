"""The compiled kernels' structures, as graphcl/native/sources declares them, and how to call them.

Arrays are passed by address: whoever fills a structure keeps its tensors alive during the call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.native import missing_reason, native_library, warn_if_missing

Backend = Literal["auto", "torch", "native"]
WithDense = Literal["auto", "dense", "torch", "native"]
ProductBackend = Literal["auto", "dense", "torch", "native", "triton"]
_TYPES = {torch.float32: "float", torch.float64: "double"}
_KINDS: dict[str, Any] = {
    "address": ctypes.c_void_p,
    "long": ctypes.c_int64,
    "seed": ctypes.c_uint64,
    "int": ctypes.c_int32,
    "double": ctypes.c_double,
}


def _fields(text: str) -> list[tuple[str, Any]]:
    """Pairs of the form "kind: name name", separated by semicolons."""
    return [
        (name, _KINDS[part.split(":")[0].strip()])
        for part in text.split(";")
        for name in part.split(":")[1].split()
    ]


class SparseProduct(ctypes.Structure):
    """See sparse.h."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = _fields(
        "long: rows width; address: pointer column value x row_scale column_scale out_scale add;"
        "double: factor add_factor; address: out; seed: seed; address: threshold;"
        "int: threshold_of_all drop undirected transposed keep_self_loops divide threads"
    )


class Ranking(ctypes.Structure):
    """See ranking.h."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = _fields(
        "long: rows columns dimension; address: scores query key excluded_pointer excluded"
        " target_pointer target; long: k; address: top top_score higher tied;"
        "int: keep_targets threads"
    )


class FreeDraws(ctypes.Structure):
    """See sampling.h."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = _fields(
        "long: rows count items keys; address: uniform row key begin end free offset up_to"
        " taken_up_to item; int: anything threads"
    )


class NeighbourSample(ctypes.Structure):
    """See sampling.h."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = _fields(
        "long: seeds hops; address: pointer column fan_out seed number node source target entry;"
        "long: nodes edges"
    )


def use_compiled(backend: ProductBackend, *tensors: Tensor, among: Any = Backend) -> bool:
    """Whether the compiled kernel computes this: chosen, or "auto" and everything is on the CPU.

    Raises:
        ArgumentError: an unknown backend, or "native" for tensors elsewhere, for another floating
            dtype than float32 and float64, or without compiled kernels.
    """
    if backend not in get_args(among):
        raise ArgumentError(f"backend must be one of {', '.join(get_args(among))}, got {backend!r}")
    if backend not in ("auto", "native"):
        return False
    reason = _unsuitable(*tensors)
    if reason is None and native_library() is None:
        if backend == "auto":
            warn_if_missing()
        reason = (
            f"needs the compiled kernels: {missing_reason()}; `python -m graphcl.native` builds "
            "them, 'torch' does without"
        )
    if reason is not None and backend == "native":
        raise ArgumentError(f"backend 'native' {reason}")
    return reason is None


def _unsuitable(*tensors: Tensor) -> str | None:
    """Why compiled kernels cannot compute with these tensors, or None."""
    for tensor in tensors:
        if tensor.device.type != "cpu":
            return f"computes on the CPU, got tensors on {tensor.device}"
        if tensor.is_floating_point() and tensor.dtype not in _TYPES:
            return f"takes float32 and float64, got {tensor.dtype}"
    return None


def call(name: str, structure: ctypes.Structure, dtype: torch.dtype | None = None) -> int:
    """Run the compiled function `name` (of this float type) and return its status.

    Raises:
        MemoryError: it could not allocate its working memory.
    """
    library = native_library()
    if library is None:
        raise RuntimeError(f"the compiled kernels are missing: {missing_reason()}")
    if dtype is not None:
        name = f"{name}_{_TYPES[dtype]}"
    status: int = getattr(library.functions, name)(ctypes.addressof(structure))
    if status < 0:
        raise MemoryError(f"{name} could not allocate its working memory")
    return status


def address(tensor: Tensor | None) -> int | None:
    """Where a contiguous tensor's numbers lie.

    Raises:
        ArgumentError: not on the CPU; a kernel would read memory that is not its own.
    """
    if tensor is None:
        return None
    if tensor.device.type != "cpu":
        raise ArgumentError(f"compiled kernels compute on the CPU, got tensors on {tensor.device}")
    return tensor.data_ptr()
