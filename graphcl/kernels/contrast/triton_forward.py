"""The forward kernel: log-sum-exp of the rows of s and, in the same pass, of its columns."""

# The nested conditions are decided by the compiler outside and by the program inside.
# ruff: noqa: SIM102

from __future__ import annotations

import triton
import triton.language as tl

from graphcl.kernels.contrast.triton_parts import (
    bias_of,
    labels_of,
    load_block,
    next_block,
    products_of,
    without_ids,
    without_listed,
)

# Values that change from batch to batch and do not help the compiler.
_PLAIN = [
    "row_search_steps",
    "column_search_steps",
    "row_count",
    "column_count",
    "rows_per_stripe",
    "columns_per_stripe",
    "row_stripes",
    "column_stripes",
]


@triton.jit(do_not_specialize=_PLAIN)
def forward_kernel(
    query,
    query_stride,
    row_count,
    key,
    key_stride,
    column_count,
    width,
    scale,
    query_bias,
    key_bias,
    row_pairs,
    row_pair_columns,
    row_pair_blocks,
    row_block_columns,
    row_block_rounds,
    row_search_steps,
    row_left_ids,
    row_right_ids,
    row_left_groups,
    row_right_groups,
    column_pairs,
    column_pair_columns,
    column_pair_blocks,
    column_block_columns,
    column_block_rounds,
    column_search_steps,
    column_left_ids,
    column_right_ids,
    column_left_groups,
    column_right_groups,
    limits,
    maxima,
    sums,
    column_maxima,
    column_sums,
    rows_per_stripe,
    columns_per_stripe,
    row_stripes,
    column_stripes,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    FEATURES: tl.constexpr,
    WHOLE: tl.constexpr,
    SELF_SIMILAR: tl.constexpr,
    TWO_SIDED: tl.constexpr,
    BOUNDED: tl.constexpr,
    SHARED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Partial (maximum, sum) of 2^s, per row and column stripe and, if TWO_SIDED, the reverse.

    `maxima`, `sums` are (slots, M): column stripe b writes slot b, or b + 1 when
    SELF_SIMILAR. `column_maxima`, `column_sums` are (slots, N), filled with -inf
    and 0: row stripe a writes slot a. When SELF_SIMILAR, both names are the same
    memory, ROWS is a multiple of COLUMNS, and only crossings with b >= a run;
    blocks above the diagonal serve rows and columns, those on it rows only.

    BOUNDED: there are no biases and no 2^s leaves the range of the dtype: the
    maxima are not touched. SHARED: rows and columns exclude the same pairs.
    With both, one exponential serves both sides.
    """
    program = tl.program_id(0)
    if SELF_SIMILAR:
        b = 0
        while (b + 1) * (b + 2) // 2 <= program:
            b += 1
        a = program - b * (b + 1) // 2
    else:
        a = program % row_stripes
        b = program // row_stripes
    factor = tl.load(scale)
    dtype: tl.constexpr = factor.dtype
    row_slot = tl.cast(b, tl.int64) * row_count
    if SELF_SIMILAR:
        row_slot += row_count
    column_slot = tl.cast(a, tl.int64) * column_count
    row_end = tl.minimum((a + 1) * rows_per_stripe, row_count)
    column_end = tl.minimum((b + 1) * columns_per_stripe, column_count)

    for row_first in range(a * rows_per_stripe, row_end, ROWS):
        rows = row_first + tl.arange(0, ROWS)
        row_inside = rows < row_count
        own = 0.0
        if WHOLE:
            own = load_block(query, query_stride, row_first, row_count, width, 0, ROWS, FEATURES)
        row_bias = bias_of(query_bias, rows, row_count, dtype)
        row_left = labels_of(row_left_ids, rows, row_count)
        row_group = labels_of(row_left_groups, rows, row_count)
        column_left = labels_of(column_left_ids, rows, row_count)
        column_group = labels_of(column_left_groups, rows, row_count)
        edge = (row_first // ROWS) * (column_stripes + 1) + b
        if row_pairs is not None:
            row_place = tl.load(row_pair_blocks + edge)
            row_last = tl.load(row_pair_blocks + edge + 1)
            row_next = next_block(row_block_columns, row_place, row_last)
        if column_pairs is not None:
            column_place = tl.load(column_pair_blocks + edge)
            column_last = tl.load(column_pair_blocks + edge + 1)
            column_next = next_block(column_block_columns, column_place, column_last)

        maximum = tl.full((ROWS,), float("-inf"), dtype=dtype)
        total = tl.zeros((ROWS,), dtype=dtype)
        begin = b * columns_per_stripe
        end = column_end
        if SELF_SIMILAR:
            begin = tl.maximum(begin, row_first)
        if limits is not None:
            begin = tl.maximum(begin, tl.load(limits + row_first // ROWS * 2))
            end = tl.minimum(end, tl.load(limits + row_first // ROWS * 2 + 1))
        for first in range(begin, end, COLUMNS):
            columns = first + tl.arange(0, COLUMNS)
            other = 0.0
            if WHOLE:
                other = load_block(
                    key, key_stride, first, column_count, width, 0, COLUMNS, FEATURES
                )
            products = products_of(
                own,
                query,
                query_stride,
                row_first,
                row_count,
                other,
                key,
                key_stride,
                first,
                column_count,
                width,
                factor,
                ROWS,
                COLUMNS,
                FEATURES,
                WHOLE,
                PRECISION,
            )
            # Whatever is left out becomes -inf before any maximum is taken; that
            # includes positions beyond the end.
            logits = products + bias_of(key_bias, columns, column_count, dtype)[None, :]
            if BOUNDED:
                mirrored = logits + row_bias[:, None]
                if TWO_SIDED and SHARED:
                    logits = mirrored
            else:
                mirrored = products + row_bias[:, None]
            logits = without_ids(
                logits,
                float("-inf"),
                row_left,
                row_right_ids,
                row_group,
                row_right_groups,
                first,
                column_count,
                COLUMNS,
            )
            if SHARED and TWO_SIDED and not BOUNDED:
                mirrored = without_ids(
                    mirrored,
                    float("-inf"),
                    row_left,
                    row_right_ids,
                    row_group,
                    row_right_groups,
                    first,
                    column_count,
                    COLUMNS,
                )
            elif not SHARED:
                mirrored = without_ids(
                    mirrored,
                    float("-inf"),
                    column_left,
                    column_right_ids,
                    column_group,
                    column_right_groups,
                    first,
                    column_count,
                    COLUMNS,
                )
            if row_pairs is not None:
                if first == row_next:
                    rounds = tl.load(row_block_rounds + row_place)
                    logits = without_listed(
                        logits,
                        float("-inf"),
                        row_pairs,
                        row_pair_columns,
                        rounds,
                        row_search_steps,
                        row_first,
                        row_count,
                        first,
                        ROWS,
                        COLUMNS,
                    )
                    if SHARED and TWO_SIDED and not BOUNDED:
                        mirrored = without_listed(
                            mirrored,
                            float("-inf"),
                            row_pairs,
                            row_pair_columns,
                            rounds,
                            row_search_steps,
                            row_first,
                            row_count,
                            first,
                            ROWS,
                            COLUMNS,
                        )
                    row_place += 1
                    row_next = next_block(row_block_columns, row_place, row_last)
            if column_pairs is not None:
                if first == column_next:
                    mirrored = without_listed(
                        mirrored,
                        float("-inf"),
                        column_pairs,
                        column_pair_columns,
                        tl.load(column_block_rounds + column_place),
                        column_search_steps,
                        row_first,
                        row_count,
                        first,
                        ROWS,
                        COLUMNS,
                    )
                    column_place += 1
                    column_next = next_block(column_block_columns, column_place, column_last)

            if BOUNDED:
                exponentials = tl.exp2(logits)
                total += tl.sum(exponentials, 1)
            else:
                raised = tl.maximum(maximum, tl.max(logits, 1))
                # All -inf so far: shift by 0, so that the exponential gives 0 and not NaN.
                shift = tl.where(raised == float("-inf"), 0.0, raised)
                total = total * tl.exp2(maximum - shift)
                total += tl.sum(tl.exp2(logits - shift[:, None]), 1)
                maximum = raised

            if SELF_SIMILAR:
                serves_columns = first >= row_first + ROWS
            else:
                serves_columns = True
            if TWO_SIDED:
                if serves_columns:
                    slot = column_slot + columns
                    inside = columns < column_count
                    so_far = tl.load(column_sums + slot, mask=inside, other=0.0)
                    if BOUNDED and SHARED:
                        so_far += tl.sum(exponentials, 0)
                    elif BOUNDED:
                        so_far += tl.sum(tl.exp2(mirrored), 0)
                    else:
                        highest = tl.load(column_maxima + slot, mask=inside, other=float("-inf"))
                        higher = tl.maximum(highest, tl.max(mirrored, 0))
                        column_shift = tl.where(higher == float("-inf"), 0.0, higher)
                        so_far = so_far * tl.exp2(highest - column_shift)
                        so_far += tl.sum(tl.exp2(mirrored - column_shift[None, :]), 0)
                        tl.store(column_maxima + slot, higher, mask=inside)
                    tl.store(column_sums + slot, so_far, mask=inside)

        tl.store(sums + row_slot + rows, total, mask=row_inside)
        if not BOUNDED:
            tl.store(maxima + row_slot + rows, maximum, mask=row_inside)
        if TWO_SIDED:
            # The next block of rows reads, maybe on other threads, what this one wrote.
            tl.debug_barrier()
