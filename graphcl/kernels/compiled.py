"""The compiled kernels' structures, as graphcl/native/sources declares them, and how to call them.

Arrays are passed by address: whoever fills a structure keeps its tensors alive during the call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.native import contrast_library, missing_reason, warn_if_missing

Backend = Literal["auto", "torch", "native"]
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


class Negatives(ctypes.Structure):
    """See sampling.h."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = _fields(
        "long: rows items; address: user uniform pointer key below taken_below negative;"
        "int: threads"
    )


class Neighbours(ctypes.Structure):
    """See sampling.h."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = _fields(
        "long: nodes fan_out; address: node pointer offset; seed: seed; address: entry;"
        "int: threads"
    )


def use_compiled(backend: Backend, *tensors: Tensor | None) -> bool:
    """Whether the compiled kernel computes this: chosen, or "auto" and everything is on the CPU.

    Raises:
        ArgumentError: an unknown backend, or "native" for tensors elsewhere, for another dtype
            than float32 and float64, or without compiled kernels.
    """
    if backend not in ("auto", "torch", "native"):
        raise ArgumentError(f"backend must be 'auto', 'torch' or 'native', got {backend!r}")
    if backend == "torch":
        return False
    given = [tensor for tensor in tensors if tensor is not None]
    elsewhere = [tensor.device for tensor in given if tensor.device.type != "cpu"]
    other = [t.dtype for t in given if t.is_floating_point() and t.dtype not in _TYPES]
    if backend == "auto":
        if elsewhere or other:
            return False
        warn_if_missing()
        return contrast_library() is not None
    if elsewhere:
        raise ArgumentError(f"backend 'native' computes on the CPU, got tensors on {elsewhere[0]}")
    if other:
        raise ArgumentError(f"backend 'native' takes float32 and float64, got {other[0]}")
    if contrast_library() is None:
        raise ArgumentError(
            f"backend 'native' needs the compiled kernels: {missing_reason()}; "
            "`python -m graphcl.native` builds them, 'torch' does without"
        )
    return True


def call(name: str, structure: ctypes.Structure, dtype: torch.dtype | None = None) -> int:
    """Run the compiled function `name` (of this float type) and return its status.

    Raises:
        MemoryError: it could not allocate its working memory.
    """
    library = contrast_library()
    if library is None:
        raise RuntimeError(f"the compiled kernels are missing: {missing_reason()}")
    if dtype is not None:
        name = f"{name}_{_TYPES[dtype]}"
    status: int = getattr(library.functions, name)(ctypes.addressof(structure))
    if status < 0:
        raise MemoryError(f"{name} could not allocate its working memory")
    return status


def number_nodes(nodes: Tensor, known: Tensor, known_count: int, number: Tensor) -> tuple[Tensor, int]:
    """Number `nodes` in the order in which they are met.

    Args:
        nodes: (n,) int64.
        known: int64, room for all; the first `known_count` are known already, new ones follow.
        number: int64, -1 for nodes not met yet, changed in place.

    Returns:
        (n,) the nodes' numbers, and how many nodes are known now.
    """
    library = contrast_library()
    if library is None:
        raise RuntimeError(f"the compiled kernels are missing: {missing_reason()}")
    result = torch.empty_like(nodes)
    count = library.functions.number_nodes(
        nodes.numel(), nodes.data_ptr(), known_count, known.data_ptr(), number.data_ptr(),
        result.data_ptr(),
    )  # fmt: skip
    return result, int(count)


def address(tensor: Tensor | None) -> int | None:
    """Where a contiguous tensor's numbers lie."""
    return None if tensor is None else tensor.data_ptr()
