"""What the two Triton kernels have in common: blocks of products, and what is left out of them."""

from __future__ import annotations

import triton
import triton.language as tl
from triton.runtime import JITFunction


@triton.jit
def load_block(
    matrix, stride, first, count, width, feature, ROWS: tl.constexpr, FEATURES: tl.constexpr
):
    """Rows `first`, ... and features `feature`, ... of a matrix, 0 beyond its ends."""
    # 64-bit arithmetic on one scalar only; offsets within a block fit in 32 bits.
    base = matrix + tl.cast(first, tl.int64) * stride
    rows = tl.arange(0, ROWS)
    features = feature + tl.arange(0, FEATURES)
    inside = (first + rows < count)[:, None] & (features < width)[None, :]
    return tl.load(base + rows[:, None] * stride + features[None, :], mask=inside, other=0.0)


INTERPRETED = not isinstance(load_block, JITFunction)
"""Whether TRITON_INTERPRET=1 was set before the first import: then CPU tensors are served too."""

_INTERPRETED = tl.constexpr(INTERPRETED)


@triton.jit
def dot(left, right, total, PRECISION: tl.constexpr):
    """`total` + `left` times `right`, summed in the dtype of `total`."""
    if _INTERPRETED and left.dtype == tl.bfloat16:
        # The interpreter would multiply the bits of bfloat16 numbers as integers.
        left = left.to(tl.float32)
        right = right.to(tl.float32)
    return tl.dot(left, right, total, input_precision=PRECISION, out_dtype=total.dtype)


@triton.jit
def products_of(
    own,  # the block of `left`, if WHOLE
    left,
    left_stride,
    left_first,
    left_count,
    other,  # the block of `right`, if WHOLE
    right,
    right_stride,
    right_first,
    right_count,
    width,
    scale,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    FEATURES: tl.constexpr,
    WHOLE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """A block (ROWS, COLUMNS) of scale times left times right transposed."""
    dtype: tl.constexpr = scale.dtype
    products = tl.zeros((ROWS, COLUMNS), dtype=dtype)
    if WHOLE:
        products = dot(own, tl.trans(other), products, PRECISION)
    else:
        for feature in range(0, width, FEATURES):
            rows = load_block(
                left, left_stride, left_first, left_count, width, feature, ROWS, FEATURES
            )
            columns = load_block(
                right, right_stride, right_first, right_count, width, feature, COLUMNS, FEATURES
            )
            products = dot(rows, tl.trans(columns), products, PRECISION)
    return products * scale


@triton.jit
def without_ids(
    values,
    fill: tl.constexpr,
    left,
    right_ids,
    left_group,
    right_groups,
    column_first,
    column_count,
    COLUMNS: tl.constexpr,
):
    """`values` with the entries overwritten whose ids are equal or whose groups differ."""
    columns = column_first + tl.arange(0, COLUMNS)
    if right_ids is not None:
        right = tl.load(right_ids + columns, mask=columns < column_count, other=-2)
        values = tl.where(left[:, None] == right[None, :], fill, values)
    if right_groups is not None:
        right_group = tl.load(right_groups + columns, mask=columns < column_count, other=-2)
        values = tl.where(left_group[:, None] == right_group[None, :], values, fill)
    return values


@triton.jit
def labels_of(labels, rows, row_count):
    """The ids or groups of a block of rows, if there are any."""
    if labels is None:
        return tl.full(rows.shape, -1, tl.int32)
    else:
        return tl.load(labels + rows, mask=rows < row_count, other=-1)


@triton.jit
def without_listed(
    values,
    fill: tl.constexpr,
    pairs,
    pair_columns,
    rounds,
    search_steps,
    row_first,
    row_count,
    column_first,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """`values` with the listed entries overwritten.

    Those of row i are, sorted, `pair_columns[pairs[i]:pairs[i + 1]]`, at most
    `rounds` of them in this block.
    """
    rows = row_first + tl.arange(0, ROWS)
    place = tl.load(pairs + rows, mask=rows < row_count, other=0)
    end = tl.load(pairs + rows + 1, mask=rows < row_count, other=0)
    high = end
    for _ in range(search_steps):
        middle = (place + high) // 2
        searching = place < high
        before = tl.load(pair_columns + middle, mask=searching, other=0) < column_first
        place = tl.where(searching & before, middle + 1, place)
        high = tl.where(searching & (before == 0), middle, high)
    columns = column_first + tl.arange(0, COLUMNS)
    # The loop carries the block itself, so that the vectors take its layout and few registers.
    for _ in range(rounds):
        column = tl.load(pair_columns + place, mask=place < end, other=-1)
        values = tl.where(column[:, None] == columns[None, :], fill, values)
        place += 1
    return values


@triton.jit
def next_block(block_columns, place, last):
    """The first column of the next block that holds a listed pair, -1 after the last one."""
    return tl.load(block_columns + place, mask=place < last, other=-1)


@triton.jit
def bias_of(vector, positions, count, dtype: tl.constexpr):
    """The entries of an optional vector of logits; -inf beyond its end."""
    if vector is None:
        return tl.where(positions < count, 0.0, float("-inf")).to(dtype)
    else:
        return tl.load(vector + positions, mask=positions < count, other=float("-inf"))
