"""The backward kernel: the gradient of the rows of one side of s."""

# The nested conditions are decided by the compiler outside and by the program inside.
# ruff: noqa: SIM102

from __future__ import annotations

import triton
import triton.language as tl

from graphcl.kernels.contrast.triton_parts import (
    bias_of,
    dot,
    labels_of,
    load_block,
    next_block,
    products_of,
    without_ids,
    without_listed,
)

# Values that change from batch to batch and do not help the compiler.
_PLAIN = [
    "own_search_steps",
    "other_search_steps",
    "owner_count",
    "other_count",
    "others_per_stripe",
    "stripes",
]


@triton.jit(do_not_specialize=_PLAIN)
def gradient_kernel(
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
    own_left_groups,
    own_right_groups,
    other_pairs,
    other_pair_columns,
    other_pair_blocks,
    other_block_columns,
    other_block_rounds,
    other_search_steps,
    other_left_ids,
    other_right_ids,
    other_left_groups,
    other_right_groups,
    limits,
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
        whole = load_block(owner, owner_stride, row_first, owner_count, width, 0, ROWS, FEATURES)
    row_bias = bias_of(owner_bias, rows, owner_count, dtype)
    if own_gradient is not None:
        weight = tl.load(own_gradient + rows, mask=row_inside, other=0.0)
        if not BOUNDED:
            level = tl.load(own_sum + rows, mask=row_inside, other=float("inf"))
    own_left = labels_of(own_left_ids, rows, owner_count)
    own_group = labels_of(own_left_groups, rows, owner_count)
    other_left = labels_of(other_left_ids, rows, owner_count)
    other_group = labels_of(other_left_groups, rows, owner_count)
    edge = block * (stripes + 1) + stripe
    if own_pairs is not None:
        own_place = tl.load(own_pair_blocks + edge)
        own_last = tl.load(own_pair_blocks + edge + 1)
        own_next = next_block(own_block_columns, own_place, own_last)
    if other_pairs is not None:
        other_place = tl.load(other_pair_blocks + edge)
        other_last = tl.load(other_pair_blocks + edge + 1)
        other_next = next_block(other_block_columns, other_place, other_last)

    result = tl.zeros((ROWS, OUTPUT), dtype=dtype)
    bias_result = tl.zeros((ROWS,), dtype=dtype)
    begin = stripe * others_per_stripe
    end = tl.minimum(begin + others_per_stripe, other_count)
    if limits is not None:
        begin = tl.maximum(begin, tl.load(limits + block * 2))
        end = tl.minimum(end, tl.load(limits + block * 2 + 1))
    for first in range(begin, end, COLUMNS):
        columns = first + tl.arange(0, COLUMNS)
        inside = columns < other_count
        block_of_other = 0.0
        if WHOLE:
            block_of_other = load_block(
                other, other_stride, first, other_count, width, 0, COLUMNS, FEATURES
            )
        products = products_of(
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
            own_part = products + bias_of(None, columns, other_count, dtype)[None, :]
            other_part = own_part
        else:
            if own_gradient is not None:
                own_part = products + bias_of(other_bias, columns, other_count, dtype)[None, :]
                own_part -= level[:, None]
            if other_gradient is not None:
                other_level = tl.load(other_sum + columns, mask=inside, other=float("inf"))
                other_part = products + row_bias[:, None] - other_level[None, :]
        if own_gradient is not None:
            own_part = without_ids(
                own_part,
                float("-inf"),
                own_left,
                own_right_ids,
                own_group,
                own_right_groups,
                first,
                other_count,
                COLUMNS,
            )
        if other_gradient is not None:
            if SHARED and not BOUNDED:
                other_part = without_ids(
                    other_part,
                    float("-inf"),
                    own_left,
                    own_right_ids,
                    own_group,
                    own_right_groups,
                    first,
                    other_count,
                    COLUMNS,
                )
            elif not SHARED:
                other_part = without_ids(
                    other_part,
                    float("-inf"),
                    other_left,
                    other_right_ids,
                    other_group,
                    other_right_groups,
                    first,
                    other_count,
                    COLUMNS,
                )
        if own_pairs is not None:
            if first == own_next:
                rounds = tl.load(own_block_rounds + own_place)
                own_part = without_listed(
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
                    other_part = without_listed(
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
                own_next = next_block(own_block_columns, own_place, own_last)
        if other_pairs is not None:
            if first == other_next:
                other_part = without_listed(
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
                other_next = next_block(other_block_columns, other_place, other_last)

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
                values = load_block(
                    other, other_stride, first, other_count, width, output, COLUMNS, OUTPUT
                )
            result = dot(both.to(values.dtype), values, result, PRECISION)

    if gradient is not None:
        features = output + tl.arange(0, OUTPUT)
        place = gradient + (tl.cast(stripe, tl.int64) * owner_count + row_first) * width
        offsets = tl.arange(0, ROWS)[:, None] * width + features[None, :]
        tl.store(place + offsets, result, mask=row_inside[:, None] & (features < width)[None, :])
    if bias_gradient is not None:
        place = bias_gradient + tl.cast(stripe, tl.int64) * owner_count
        tl.store(place + rows, bias_result, mask=row_inside)
