"""Two Triton kernels: log-sum-exp of the rows and columns of s, and the gradient of one side.

Importing this module imports triton; nothing else in the package does. Logits
are in base 2 throughout (the host multiplies scale and biases by log2(e)), so
that a logit is one multiply-add and its exponential one instruction.

`forward_kernel` cuts s into stripes of rows and stripes of columns; a program
owns one crossing. It keeps (maximum, sum) of a block of rows in registers while
it marches over the columns, and that of the columns in a slot of memory no
other program writes. `strip_kernel` owns a block of rows of one side, marches
over the other side, and keeps the gradient of its rows in registers. Neither
uses atomics, so results are the same in every run.

Arguments named `*_pairs`, `*_block*`, `*_search_steps` and `*_ids` belong to an
exclusion, laid out as `graphcl.kernels.contrast.triton_pairs` says.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.runtime import JITFunction

# Values that change from batch to batch and do not help the compiler.
_PLAIN = [
    "row_search_steps",
    "column_search_steps",
    "own_search_steps",
    "other_search_steps",
    "rows_per_stripe",
    "columns_per_stripe",
    "others_per_stripe",
    "row_stripes",
    "column_stripes",
    "stripes",
    "row_count",
    "column_count",
    "owner_count",
    "other_count",
]


@triton.jit
def _load_block(
    matrix, stride, first, count, width, feature, ROWS: tl.constexpr, FEATURES: tl.constexpr
):
    # 64-bit arithmetic on one scalar only; offsets within a block fit in 32 bits.
    base = matrix + tl.cast(first, tl.int64) * stride
    rows = tl.arange(0, ROWS)
    features = feature + tl.arange(0, FEATURES)
    inside = (first + rows < count)[:, None] & (features < width)[None, :]
    return tl.load(base + rows[:, None] * stride + features[None, :], mask=inside, other=0.0)


@triton.jit
def _products(
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
    dtype: tl.constexpr = scale.dtype
    if WHOLE:
        products = tl.dot(own, tl.trans(other), input_precision=PRECISION, out_dtype=dtype)
    else:
        products = tl.zeros((ROWS, COLUMNS), dtype=dtype)
        for feature in range(0, width, FEATURES):
            rows = _load_block(
                left, left_stride, left_first, left_count, width, feature, ROWS, FEATURES
            )
            columns = _load_block(
                right, right_stride, right_first, right_count, width, feature, COLUMNS, FEATURES
            )
            products = tl.dot(
                rows, tl.trans(columns), products, input_precision=PRECISION, out_dtype=dtype
            )
    return products * scale


@triton.jit
def _without_equal(
    values, fill: tl.constexpr, left, right_ids, column_first, column_count, COLUMNS: tl.constexpr
):
    # `values` with the entries overwritten whose row id `left` is the id of the column.
    columns = column_first + tl.arange(0, COLUMNS)
    right = tl.load(right_ids + columns, mask=columns < column_count, other=-2)
    return tl.where(left[:, None] == right[None, :], fill, values)


@triton.jit
def _without_listed(
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
    # `values` with the listed entries overwritten. Those of row i are, sorted,
    # `pair_columns[pairs[i]:pairs[i + 1]]`, at most `rounds` of them in this block. The loop
    # carries the block itself, so that the vectors take its layout and few registers.
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
    for _ in range(rounds):
        column = tl.load(pair_columns + place, mask=place < end, other=-1)
        values = tl.where(column[:, None] == columns[None, :], fill, values)
        place += 1
    return values


@triton.jit
def _next_block(block_columns, place, last):
    # The first column of the next block that holds a listed pair, -1 after the last one.
    return tl.load(block_columns + place, mask=place < last, other=-1)


@triton.jit
def _bias(vector, positions, count, dtype: tl.constexpr):
    # The entries of an optional vector of logits; -inf beyond its end.
    if vector is None:
        return tl.where(positions < count, 0.0, float("-inf")).to(dtype)
    else:
        return tl.load(vector + positions, mask=positions < count, other=float("-inf"))


@triton.jit(do_not_specialize=_PLAIN[:2] + _PLAIN[4:6] + _PLAIN[7:9] + _PLAIN[10:12])
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
    column_pairs,
    column_pair_columns,
    column_pair_blocks,
    column_block_columns,
    column_block_rounds,
    column_search_steps,
    column_left_ids,
    column_right_ids,
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
            own = _load_block(query, query_stride, row_first, row_count, width, 0, ROWS, FEATURES)
        row_bias = _bias(query_bias, rows, row_count, dtype)
        if row_left_ids is not None:
            row_left = tl.load(row_left_ids + rows, mask=row_inside, other=-1)
        if column_left_ids is not None:
            column_left = tl.load(column_left_ids + rows, mask=row_inside, other=-1)
        edge = (row_first // ROWS) * (column_stripes + 1) + b
        if row_pairs is not None:
            row_place = tl.load(row_pair_blocks + edge)
            row_last = tl.load(row_pair_blocks + edge + 1)
            row_next = _next_block(row_block_columns, row_place, row_last)
        if column_pairs is not None:
            column_place = tl.load(column_pair_blocks + edge)
            column_last = tl.load(column_pair_blocks + edge + 1)
            column_next = _next_block(column_block_columns, column_place, column_last)

        maximum = tl.full((ROWS,), float("-inf"), dtype=dtype)
        total = tl.zeros((ROWS,), dtype=dtype)
        begin = b * columns_per_stripe
        if SELF_SIMILAR:
            begin = tl.maximum(begin, row_first)
        for first in range(begin, column_end, COLUMNS):
            columns = first + tl.arange(0, COLUMNS)
            other = 0.0
            if WHOLE:
                other = _load_block(
                    key, key_stride, first, column_count, width, 0, COLUMNS, FEATURES
                )
            products = _products(
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
            logits = products + _bias(key_bias, columns, column_count, dtype)[None, :]
            if BOUNDED:
                mirrored = logits + row_bias[:, None]
                if TWO_SIDED and SHARED:
                    logits = mirrored
            else:
                mirrored = products + row_bias[:, None]
            if row_left_ids is not None:
                logits = _without_equal(
                    logits, float("-inf"), row_left, row_right_ids, first, column_count, COLUMNS
                )
            if column_left_ids is not None:
                mirrored = _without_equal(
                    mirrored,
                    float("-inf"),
                    column_left,
                    column_right_ids,
                    first,
                    column_count,
                    COLUMNS,
                )
            if row_pairs is not None:
                if first == row_next:
                    logits = _without_listed(
                        logits,
                        float("-inf"),
                        row_pairs,
                        row_pair_columns,
                        tl.load(row_block_rounds + row_place),
                        row_search_steps,
                        row_first,
                        row_count,
                        first,
                        ROWS,
                        COLUMNS,
                    )
                    row_place += 1
                    row_next = _next_block(row_block_columns, row_place, row_last)
            if column_pairs is not None:
                if first == column_next:
                    mirrored = _without_listed(
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
                    column_next = _next_block(column_block_columns, column_place, column_last)

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


@triton.jit(do_not_specialize=_PLAIN[2:4] + _PLAIN[6:7] + _PLAIN[9:10] + _PLAIN[12:])
def strip_kernel(
    owner,
    owner_stride,
    owner_count,
    other,
    other_stride,
    other_count,
    width,
    scale,
    owner_bias,
    other_bias,
    own_sum,
    own_gradient,
    other_sum,
    other_gradient,
    own_pairs,
    own_pair_columns,
    own_pair_blocks,
    own_block_columns,
    own_block_rounds,
    own_search_steps,
    own_left_ids,
    own_right_ids,
    other_pairs,
    other_pair_columns,
    other_pair_blocks,
    other_block_columns,
    other_block_rounds,
    other_search_steps,
    other_left_ids,
    other_right_ids,
    gradient,
    bias_gradient,
    others_per_stripe,
    stripes,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    FEATURES: tl.constexpr,
    OUTPUT: tl.constexpr,
    WHOLE: tl.constexpr,
    BOUNDED: tl.constexpr,
    SHARED: tl.constexpr,
    PRECISION: tl.constexpr,
    SECOND_PRECISION: tl.constexpr,
):
    """Gradient of the owner's rows x_i against the other side's rows y_j.

    With s_ij = scale <x_i, y_j> in base 2, the sums L and the upstream gradients g,

        R_ij = g_i 2^(s_ij + other_bias_j - L_i)  [own_gradient given, pair not in own_pairs]
             + g_j 2^(s_ij + owner_bias_i - L_j)  [other_gradient given, not in other_pairs]

    writes sum_j R_ij y_j to `gradient` (stripes, rows, width) and the sum of the
    second term over j to `bias_gradient` (stripes, rows); either may be None.
    An empty sum is +inf and its gradient 0.

    BOUNDED: there are no biases, the two gradients hold g 2^-L, and the sums are
    not read. SHARED: both sides exclude the same pairs. With both, one
    exponential serves both terms.
    """
    block = tl.program_id(0)
    stripe = tl.program_id(1)
    output = tl.program_id(2) * OUTPUT
    factor = tl.load(scale)
    dtype: tl.constexpr = factor.dtype
    row_first = block * ROWS
    rows = row_first + tl.arange(0, ROWS)
    row_inside = rows < owner_count
    whole = 0.0
    if WHOLE:
        whole = _load_block(owner, owner_stride, row_first, owner_count, width, 0, ROWS, FEATURES)
    row_bias = _bias(owner_bias, rows, owner_count, dtype)
    if own_gradient is not None:
        weight = tl.load(own_gradient + rows, mask=row_inside, other=0.0)
        if not BOUNDED:
            level = tl.load(own_sum + rows, mask=row_inside, other=float("inf"))
    if own_left_ids is not None:
        own_left = tl.load(own_left_ids + rows, mask=row_inside, other=-1)
    if other_left_ids is not None:
        other_left = tl.load(other_left_ids + rows, mask=row_inside, other=-1)
    edge = block * (stripes + 1) + stripe
    if own_pairs is not None:
        own_place = tl.load(own_pair_blocks + edge)
        own_last = tl.load(own_pair_blocks + edge + 1)
        own_next = _next_block(own_block_columns, own_place, own_last)
    if other_pairs is not None:
        other_place = tl.load(other_pair_blocks + edge)
        other_last = tl.load(other_pair_blocks + edge + 1)
        other_next = _next_block(other_block_columns, other_place, other_last)

    result = tl.zeros((ROWS, OUTPUT), dtype=dtype)
    bias_result = tl.zeros((ROWS,), dtype=dtype)
    end = tl.minimum((stripe + 1) * others_per_stripe, other_count)
    for first in range(stripe * others_per_stripe, end, COLUMNS):
        columns = first + tl.arange(0, COLUMNS)
        inside = columns < other_count
        block_of_other = 0.0
        if WHOLE:
            block_of_other = _load_block(
                other, other_stride, first, other_count, width, 0, COLUMNS, FEATURES
            )
        products = _products(
            whole,
            owner,
            owner_stride,
            row_first,
            owner_count,
            block_of_other,
            other,
            other_stride,
            first,
            other_count,
            width,
            factor,
            ROWS,
            COLUMNS,
            FEATURES,
            WHOLE,
            PRECISION,
        )
        # Two logits, relative to the sums they belong to; if BOUNDED both are s itself.
        if BOUNDED:
            own_part = products + _bias(None, columns, other_count, dtype)[None, :]
            other_part = own_part
        else:
            if own_gradient is not None:
                own_part = products + _bias(other_bias, columns, other_count, dtype)[None, :]
                own_part -= level[:, None]
            if other_gradient is not None:
                other_level = tl.load(other_sum + columns, mask=inside, other=float("inf"))
                other_part = products + row_bias[:, None] - other_level[None, :]
        if own_left_ids is not None:
            own_part = _without_equal(
                own_part, float("-inf"), own_left, own_right_ids, first, other_count, COLUMNS
            )
            if SHARED and not BOUNDED:
                other_part = _without_equal(
                    other_part, float("-inf"), own_left, own_right_ids, first, other_count, COLUMNS
                )
        if other_left_ids is not None:
            other_part = _without_equal(
                other_part, float("-inf"), other_left, other_right_ids, first, other_count, COLUMNS
            )
        if own_pairs is not None:
            if first == own_next:
                rounds = tl.load(own_block_rounds + own_place)
                own_part = _without_listed(
                    own_part,
                    float("-inf"),
                    own_pairs,
                    own_pair_columns,
                    rounds,
                    own_search_steps,
                    row_first,
                    owner_count,
                    first,
                    ROWS,
                    COLUMNS,
                )
                if SHARED and not BOUNDED:
                    other_part = _without_listed(
                        other_part,
                        float("-inf"),
                        own_pairs,
                        own_pair_columns,
                        rounds,
                        own_search_steps,
                        row_first,
                        owner_count,
                        first,
                        ROWS,
                        COLUMNS,
                    )
                own_place += 1
                own_next = _next_block(own_block_columns, own_place, own_last)
        if other_pairs is not None:
            if first == other_next:
                other_part = _without_listed(
                    other_part,
                    float("-inf"),
                    other_pairs,
                    other_pair_columns,
                    tl.load(other_block_rounds + other_place),
                    other_search_steps,
                    row_first,
                    owner_count,
                    first,
                    ROWS,
                    COLUMNS,
                )
                other_place += 1
                other_next = _next_block(other_block_columns, other_place, other_last)

        if other_gradient is None:
            both = tl.exp2(own_part) * weight[:, None]
        else:
            share = tl.load(other_gradient + columns, mask=inside, other=0.0)
            if own_gradient is None:
                second = tl.exp2(other_part) * share[None, :]
                both = second
            elif BOUNDED and SHARED:
                second = tl.zeros((ROWS, COLUMNS), dtype=dtype)
                both = tl.exp2(own_part) * (weight[:, None] + share[None, :])
            else:
                second = tl.exp2(other_part) * share[None, :]
                both = tl.exp2(own_part) * weight[:, None] + second
            if bias_gradient is not None:
                bias_result += tl.sum(second, 1)
        if gradient is not None:
            if WHOLE:
                values = block_of_other
            else:
                values = _load_block(
                    other, other_stride, first, other_count, width, output, COLUMNS, OUTPUT
                )
            if values.dtype == tl.float16:
                # Softmax entries of many columns are below what float16 can hold.
                values = values.to(tl.float32)
            result = tl.dot(
                both.to(values.dtype),
                values,
                result,
                input_precision=SECOND_PRECISION,
                out_dtype=dtype,
            )

    if gradient is not None:
        features = output + tl.arange(0, OUTPUT)
        place = gradient + (tl.cast(stripe, tl.int64) * owner_count + row_first) * width
        offsets = tl.arange(0, ROWS)[:, None] * width + features[None, :]
        tl.store(place + offsets, result, mask=row_inside[:, None] & (features < width)[None, :])
    if bias_gradient is not None:
        place = bias_gradient + tl.cast(stripe, tl.int64) * owner_count
        tl.store(place + rows, bias_result, mask=row_inside)


INTERPRETED = not isinstance(forward_kernel, JITFunction)
"""Whether TRITON_INTERPRET=1 was set before the first import: then CPU tensors are served too."""
