"""Argument checks of the contrast operator: one sentence per mistake."""

from __future__ import annotations

from contextlib import AbstractContextManager
from numbers import Real

import torch
from torch import Tensor

from graphcl.errors import ArgumentError, NonFiniteArgumentError
from graphcl.kernels.contrast.precision import chosen_precision

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def scale_tensor(scale: float | Tensor, like: Tensor) -> Tensor:
    """The scale as a positive 0-d tensor of the dtype and device of `like`."""
    if not isinstance(scale, (Real, Tensor)):
        raise ArgumentError(f"scale must be a number or a 0-d tensor; got {scale!r}")
    factor = torch.as_tensor(scale, dtype=like.dtype, device=like.device)
    if factor.dim() != 0:
        raise ArgumentError(f"scale must be one number; got shape {tuple(factor.shape)}")
    value = float(factor.detach())
    if not 0 < value < float("inf"):
        raise ArgumentError(f"scale must be positive and finite; got {value}")
    return factor


def check_finite(name: str, values: Tensor) -> None:
    """Raise `NonFiniteArgumentError` naming the first entry that is NaN or infinite."""
    # A finite sum has only finite terms, and costs a tenth of looking at each of them.
    if bool(torch.isfinite(values.detach().sum())):
        return
    finite = torch.isfinite(values)
    if bool(finite.all()):
        return
    where = tuple(int(part) for part in (~finite).nonzero()[0])
    count = values.numel() - int(finite.sum())
    raise NonFiniteArgumentError(
        f"{name} must be finite; got {float(values.detach()[where])} at {list(where)} "
        f"({count} of {values.numel()} entries)"
    )


def check_log_weight(name: str, values: Tensor) -> None:
    """Raise `NonFiniteArgumentError` for NaN or +inf; -inf is the weight 0 and allowed."""
    refused = torch.isnan(values) | torch.isposinf(values)
    if bool(refused.any()):
        at = int(refused.nonzero()[0])
        raise NonFiniteArgumentError(
            f"{name} must be finite or -inf; got {float(values.detach()[at])} at [{at}] "
            f"({int(refused.sum())} of {values.numel()} entries)"
        )


def check_bias(name: str, bias: Tensor | None, length: int, like: Tensor) -> None:
    """Raise unless None or a floating vector of log-weights."""
    check_vector(name, bias, length, like, floating=True)
    if bias is not None:
        check_log_weight(name, bias)


def check_hardness(hardness: float) -> None:
    """Raise unless finite and at least 0."""
    if not isinstance(hardness, Real) or not 0 <= hardness < float("inf"):
        raise ArgumentError(f"hardness must be a finite number of at least 0; got {hardness!r}")


def check_choice(backend: str, allowed: tuple[str, ...], tile: int) -> None:
    """Raise unless the backend and the tile size are allowed."""
    if backend not in allowed:
        raise ArgumentError(f"unknown backend '{backend}'; allowed: {', '.join(allowed)}")
    if isinstance(tile, bool) or not isinstance(tile, int) or tile < 1:
        raise ArgumentError(f"tile must be a positive integer; got {tile!r}")


def check_tensor(name: str, value: Tensor) -> None:
    """Raise unless a tensor that stores each of its values."""
    if not isinstance(value, Tensor):
        raise ArgumentError(f"{name} must be a tensor; got {type(value).__name__}")
    if value.layout != torch.strided or value.is_meta:
        kind = "on the meta device" if value.is_meta else f"of layout {value.layout}"
        raise ArgumentError(f"{name} must be a dense tensor with values; got one {kind}")


def check_matrix(name: str, matrix: Tensor, like: Tensor | None) -> None:
    """Raise unless (rows, d), floating, and alike to the other side `like`."""
    check_tensor(name, matrix)
    if matrix.dim() != 2:
        raise ArgumentError(f"{name} must be (rows, d); got shape {tuple(matrix.shape)}")
    if not matrix.is_floating_point():
        raise ArgumentError(f"{name} must be of a floating dtype; got {matrix.dtype}")
    if like is None:
        return
    if matrix.shape[1] != like.shape[1]:
        raise ArgumentError(
            f"{name} must have the d of the other side, {like.shape[1]}; got {matrix.shape[1]}"
        )
    if matrix.dtype != like.dtype or matrix.device != like.device:
        raise ArgumentError(
            f"{name} must have the dtype and device of the other side, {like.dtype} on "
            f"{like.device}; got {matrix.dtype} on {matrix.device}"
        )


def check_vector(
    name: str, vector: Tensor | None, length: int, like: Tensor, *, floating: bool
) -> None:
    """Raise unless None or a vector of the length and kind of dtype."""
    if vector is None:
        return
    check_tensor(name, vector)
    if tuple(vector.shape) != (length,):
        raise ArgumentError(f"{name} must have shape ({length},); got {tuple(vector.shape)}")
    if floating and not vector.is_floating_point():
        raise ArgumentError(f"{name} must be of floating dtype; got {vector.dtype}")
    if not floating and vector.dtype not in _INTEGERS:
        allowed = ", ".join(str(dtype) for dtype in _INTEGERS)
        raise ArgumentError(f"{name} must be of integer dtype ({allowed}); got {vector.dtype}")
    if vector.device != like.device:
        raise ArgumentError(f"{name} must be on {like.device}; got {vector.device}")


def check_positive(
    name: str, positive: Tensor | None, rows: int, columns: int, like: Tensor
) -> None:
    """Raise unless None or (rows,) int64 indices in -1 .. columns - 1."""
    check_vector(name, positive, rows, like, floating=False)
    if positive is None or positive.numel() == 0:
        return
    if positive.dtype != torch.int64:
        raise ArgumentError(f"{name} must be of dtype torch.int64; got {positive.dtype}")
    lowest, highest = (int(bound) for bound in positive.aminmax())
    if lowest < -1 or highest >= columns:
        raise ArgumentError(
            f"{name} must lie in -1 .. {columns - 1}; got values in {lowest} .. {highest}"
        )


def check_index(name: str, index: Tensor, count: int, size: int, like: Tensor) -> None:
    """Raise unless (count,) int64 indices in 0 .. size - 1."""
    check_vector(name, index, count, like, floating=False)
    if index.dtype != torch.int64:
        raise ArgumentError(f"{name} must be of dtype torch.int64; got {index.dtype}")
    if index.numel() == 0:
        return
    lowest, highest = (int(bound) for bound in index.aminmax())
    if lowest < 0 or highest >= size:
        raise ArgumentError(
            f"{name} must lie in 0 .. {size - 1}; got values in {lowest} .. {highest}"
        )


def accumulation_dtype(query: Tensor) -> torch.dtype:
    """float64 for float64 input, float32 for all other."""
    return torch.float64 if query.dtype == torch.float64 else torch.float32


def product_precision(query: Tensor) -> str:
    """How exact products must be, in torch's words: "highest", "high" or "medium"."""
    if query.dtype == torch.float32:
        return chosen_precision() or torch.get_float32_matmul_precision()
    return "medium" if query.dtype == torch.bfloat16 else "highest"


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """Switches autocast off, which would round the products to 16 bits behind our back."""
    return torch.autocast(like.device.type, enabled=False)
