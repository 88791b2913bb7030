"""The Triton kernel of the sparse product; importing this module imports triton."""

from __future__ import annotations

import triton
import triton.language as tl

INTERPRETED = bool(triton.knobs.runtime.interpret)


@triton.jit
def _mixed(x):
    x = x ^ (x >> 16)
    x = x * 0x21F0AAAD
    x = x ^ (x >> 15)
    x = x * 0x735A2D97
    return x ^ (x >> 15)


@triton.jit(do_not_specialize=["seed_low", "seed_high", "threshold_of_all"])
def product_kernel(
    pointer,
    column,
    value,
    x,
    row_scale,
    column_scale,
    out_scale,
    add,
    threshold,
    out,
    width,
    factor,
    add_factor,
    seed_low,
    seed_high,
    threshold_of_all,
    DROP: tl.constexpr,
    UNDIRECTED: tl.constexpr,
    TURNED: tl.constexpr,
    KEEP_SELF_LOOPS: tl.constexpr,
    DIVIDE: tl.constexpr,
    AT_A_TIME: tl.constexpr,
    PART: tl.constexpr,
):
    """out = diag(out_scale) (factor A x + add_factor add), `PART` columns of one row."""
    row = tl.program_id(0).to(tl.int64)
    features = tl.program_id(1) * PART + tl.arange(0, PART)
    inside = features < width
    total = tl.zeros([PART], dtype=out.dtype.element_ty)
    end = tl.load(pointer + row + 1)
    for start in range(tl.load(pointer + row), end, AT_A_TIME):
        place = start + tl.arange(0, AT_A_TIME)
        there = place < end
        other = tl.load(column + place, mask=there, other=0)
        weight = tl.where(there, 1.0, 0.0).to(out.dtype.element_ty)
        if value is not None:
            weight = tl.load(value + place, mask=there, other=0.0)
        if DROP:
            first = tl.zeros([AT_A_TIME], dtype=tl.int32) + row.to(tl.int32)
            second = other
            if UNDIRECTED:
                first, second = tl.minimum(first, second), tl.maximum(first, second)
            elif TURNED:
                first, second = second, first
            low, high = seed_low.to(tl.uint32), seed_high.to(tl.uint32)
            draw = _mixed(_mixed(first.to(tl.uint32) + low) + second.to(tl.uint32) ^ high)
            limit = threshold_of_all + tl.zeros([AT_A_TIME], dtype=tl.int32)
            if threshold is not None:
                limit = tl.load(threshold + place, mask=there, other=0)
            if KEEP_SELF_LOOPS:
                limit = tl.where(other == row, 1 << 30, limit)
            kept = (draw >> 2).to(tl.int32) < limit
            if DIVIDE:
                weight = weight * ((1 << 30) / tl.maximum(limit, 1).to(weight.dtype))
            weight = tl.where(kept, weight, 0.0)
        if column_scale is not None:
            weight *= tl.load(column_scale + other, mask=there, other=0.0)
        rows = tl.load(
            x + other.to(tl.int64)[:, None] * width + features[None, :],
            mask=there[:, None] & inside[None, :],
            other=0.0,
        )
        total += tl.sum(weight[:, None] * rows, axis=0)
    total *= tl.load(factor)
    if row_scale is not None:
        total *= tl.load(row_scale + row)
    if add is not None:
        total += tl.load(add_factor) * tl.load(add + row * width + features, mask=inside, other=0.0)
    if out_scale is not None:
        total *= tl.load(out_scale + row)
    tl.store(out + row * width + features, total.to(out.dtype.element_ty), mask=inside)
