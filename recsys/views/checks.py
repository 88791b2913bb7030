"""Checks of what a caller hands to a sequence view; each raises one sentence."""

from __future__ import annotations

import operator
from typing import SupportsIndex, cast

import torch
from torch import Tensor

from graphcl.errors import ArgumentError


def check_tensor(name: str, value: object) -> None:
    """A tensor, where lists and arrays are easily given instead."""
    if not isinstance(value, Tensor):
        raise ArgumentError(f"{name} must be a tensor (got {type(value).__name__})")


def check_integers(name: str, value: Tensor) -> None:
    """A tensor of integers, of any shape."""
    check_tensor(name, value)
    if value.is_floating_point() or value.dtype == torch.bool or value.is_complex():
        raise ArgumentError(f"{name} must hold integers (got {value.dtype})")


def check_floats(name: str, value: Tensor, shape: str, dimensions: int) -> None:
    """A floating tensor of so many dimensions, which `shape` names."""
    check_tensor(name, value)
    if value.dim() != dimensions or not value.is_floating_point():
        raise ArgumentError(
            f"{name} must be floating {shape} (got {value.dtype} of shape {tuple(value.shape)})"
        )


def check_range(name: str, value: Tensor, least: int, most: int) -> None:
    """All numbers in `least` .. `most`; read on a CPU only: reading would stall a GPU."""
    if value.device.type != "cpu" or value.numel() == 0:
        return
    low, high = torch.aminmax(value)
    if low.item() < least or high.item() > most:
        raise ArgumentError(f"{name} must lie in {least}..{most} (got {low.item()}..{high.item()})")


def check_sequences(items: Tensor, lengths: Tensor) -> None:
    """Integers (B, L) and (B,), on one device, no length beyond L (which a CPU alone reads)."""
    check_integers("items", items)
    check_integers("lengths", lengths)
    if items.dim() != 2 or lengths.shape != items.shape[:1]:
        raise ArgumentError(
            "items must be (B, L) and lengths (B,) "
            f"(got {tuple(items.shape)} and {tuple(lengths.shape)})"
        )
    if items.device != lengths.device:
        raise ArgumentError(
            f"items and lengths must be on one device (got {items.device} and {lengths.device})"
        )
    check_range("lengths", lengths, 0, items.shape[1])


def check_one_each(name: str, value: Tensor, like: Tensor) -> None:
    """Integers of the shape of `like`, on its device."""
    check_integers(name, value)
    if value.shape != like.shape or value.device != like.device:
        raise ArgumentError(
            f"{name} must be {tuple(like.shape)} on {like.device}, one a sequence "
            f"(got {tuple(value.shape)} on {value.device})"
        )


def check_rate(name: str, rate: float) -> float:
    """`rate` as a float in [0, 1]; NaN and booleans are refused."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
        raise ArgumentError(f"{name} must be a number in [0, 1] (got {rate!r})")
    return float(rate)


def check_count(name: str, count: int, least: int = 1) -> int:
    """A whole number of at least `least`."""
    number = whole(count)
    if number is None or number < least:
        raise ArgumentError(f"{name} must be a whole number of at least {least} (got {count!r})")
    return number


def check_whole(name: str, value: int) -> int:
    """A whole number, also a negative one."""
    number = whole(value)
    if number is None:
        raise ArgumentError(f"{name} must be a whole number (got {value!r})")
    return number


def check_fits(name: str, number: int, items: Tensor) -> int:
    """`number`, which `items` can hold: a narrow dtype would wrap it around to another item."""
    bounds = torch.iinfo(items.dtype)
    if not bounds.min <= number <= bounds.max:
        raise ArgumentError(
            f"{name} must lie in {bounds.min}..{bounds.max} for items of {items.dtype} "
            f"(got {number})"
        )
    return number


def check_padding(padding: int, items: Tensor) -> int:
    """A whole number that `items` can hold."""
    return check_fits("padding", check_whole("padding", padding), items)


def whole(value: object) -> int | None:
    """`value` as an int, also one that numpy or torch counted; None if it is no whole number."""
    if isinstance(value, bool) or (isinstance(value, Tensor) and value.dtype == torch.bool):
        return None
    try:
        return operator.index(cast(SupportsIndex, value))
    except (TypeError, ValueError):
        return None


def check_histories(items: Tensor, offsets: Tensor) -> None:
    """Flat integers (N,) and ascending offsets (users + 1,) from 0 to N."""
    for name, tensor in (("items", items), ("offsets", offsets)):
        check_tensor(name, tensor)
        if tensor.dim() != 1 or tensor.is_floating_point() or tensor.dtype == torch.bool:
            raise ArgumentError(
                f"{name} must be integers of one dimension "
                f"(got {tensor.dtype} of shape {tuple(tensor.shape)})"
            )
    good = (
        len(offsets) > 0
        and int(offsets[0]) == 0
        and int(offsets[-1]) == len(items)
        and bool((offsets.diff() >= 0).all())
    )
    if not good:
        ends = (int(offsets[0]), int(offsets[-1])) if len(offsets) else ()
        raise ArgumentError(
            f"offsets must ascend from 0 to the number of items, {len(items)} "
            f"(got {len(offsets)} of them, with ends {ends})"
        )
