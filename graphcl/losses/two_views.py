"""The contrast of two views of the same nodes, from which the InfoNCE family is built."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import ContrastOutput, Pairs, contrast, contrast_both
from graphcl.kernels.contrast.checks import check_bias, check_index
from graphcl.losses.arguments import check_tensor, check_two_views, inverse_temperature
from graphcl.losses.unit_rows import unit_rows

ColumnBias = Tensor | tuple[Tensor, Tensor] | None


def contrast_two_views(
    z1: Tensor,
    z2: Tensor,
    temperature: float | Tensor,
    *,
    intra_view: bool,
    symmetric: bool,
    decoupled: bool,
    backend: str,
    column_bias: ColumnBias = None,
    slope: float = 1.0,
    hardness: float = 0.0,
    exclude: Pairs | None = None,
) -> list[ContrastOutput]:
    """Denominators and positive logits of every anchor, by cosine over temperature.

    A node of bias -inf is no candidate; as an anchor it has no positive, and comes back as
    one without candidates: denominator -inf, positive 0.

    Args:
        z1, z2: (N, d) un-normalised; row i of both is the same node.
        temperature: in [1e-3, 10].
        intra_view: candidates are all nodes of both views but the anchor itself;
            otherwise all nodes of the other view.
        symmetric: nodes of both views are anchors; otherwise those of z1 only.
        decoupled: leave the positive out of the denominator.
        backend: see `graphcl.kernels.contrast.contrast`.
        column_bias: (N,) log-weight of node j as a candidate in both views, or a
            pair of them, for the nodes of z1 and of z2.
        slope: the logits are slope * cosine / temperature.
        hardness: see `graphcl.kernels.contrast.contrast`.
        exclude: (node, node) pairs that are no candidates of each other, in any view;
            taken both ways. A node and itself are left as they are.

    Returns:
        One `ContrastOutput` of (N,) per direction: z1's anchors, then z2's if `symmetric`.
    """
    outputs = _contrast(
        z1,
        z2,
        temperature,
        intra_view=intra_view,
        symmetric=symmetric,
        decoupled=decoupled,
        backend=backend,
        column_bias=column_bias,
        slope=slope,
        hardness=hardness,
        exclude=exclude,
    )
    return outputs if column_bias is None else [_with_positive(*output) for output in outputs]


def _with_positive(denominator: Tensor, positive: Tensor) -> ContrastOutput:
    absent = torch.isneginf(positive)
    return ContrastOutput(
        denominator.masked_fill(absent, -torch.inf), torch.where(absent, 0.0, positive)
    )


def _contrast(
    z1: Tensor,
    z2: Tensor,
    temperature: float | Tensor,
    *,
    intra_view: bool,
    symmetric: bool,
    decoupled: bool,
    backend: str,
    column_bias: ColumnBias,
    slope: float,
    hardness: float,
    exclude: Pairs | None,
) -> list[ContrastOutput]:
    check_two_views(z1, z2)
    scale = slope * inverse_temperature(temperature)
    count = z1.shape[0]
    bias1, bias2 = _biases(column_bias, z1)
    nodes = torch.arange(count, device=z1.device)
    excluded = None if exclude is None else excluded_both_ways(exclude, count)
    if not intra_view:
        u, v = unit_rows(z1), unit_rows(z2)
        if symmetric:
            return list(
                contrast_both(
                    u,
                    v,
                    scale=scale,
                    first_positive=nodes,
                    second_positive=nodes,
                    first_bias=bias1,
                    second_bias=bias2,
                    exclude=excluded,
                    hardness=hardness,
                    decoupled=decoupled,
                    backend=backend,
                )
            )
        output = contrast(
            u,
            v,
            scale=scale,
            positive=nodes,
            column_bias=bias2,
            exclude=excluded,
            hardness=hardness,
            decoupled=decoupled,
            backend=backend,
        )
        return [output]

    both = unit_rows(torch.cat([z1, z2]))
    if excluded is not None:
        excluded = in_both_views(excluded, count, both_anchors=symmetric)
    bias = None if bias1 is None or bias2 is None else torch.cat([bias1, bias2])
    if symmetric:
        output = contrast(
            both,
            scale=scale,
            positive=torch.cat([nodes + count, nodes]),
            column_bias=bias,
            exclude=excluded,
            hardness=hardness,
            decoupled=decoupled,
            backend=backend,
        )
        first = ContrastOutput(output.denominator[:count], output.positive[:count])
        return [first, ContrastOutput(output.denominator[count:], output.positive[count:])]
    output = contrast(
        both[:count],
        both,
        scale=scale,
        positive=nodes + count,
        row_ids=nodes,
        column_ids=torch.arange(2 * count, device=z1.device),
        column_bias=bias,
        exclude=excluded,
        hardness=hardness,
        decoupled=decoupled,
        backend=backend,
    )
    return [output]


def _biases(column_bias: ColumnBias, like: Tensor) -> tuple[Tensor | None, Tensor | None]:
    if column_bias is None:
        return None, None
    count = like.shape[0]
    pair = (column_bias, column_bias) if isinstance(column_bias, Tensor) else column_bias
    if not isinstance(pair, Sequence) or len(pair) != 2:
        raise ArgumentError(
            f"column_bias must be one tensor of shape ({count},) or a pair of them; got {pair!r}"
        )
    for bias in pair:
        check_tensor("column_bias", bias)
        check_bias("column_bias", bias, count, like)
    return pair[0], pair[1]


def excluded_both_ways(exclude: Pairs, count: int) -> Pairs:
    """The pairs and their mirror images, each once, without those of a node and itself."""
    if not isinstance(exclude, Pairs):
        raise ArgumentError(f"exclude must be Pairs of nodes; got {type(exclude).__name__}")
    check_index("exclude.rows", exclude.rows, exclude.rows.numel(), count, exclude.rows)
    check_index("exclude.columns", exclude.columns, exclude.rows.numel(), count, exclude.rows)
    different = exclude.rows != exclude.columns
    rows, columns = exclude.rows[different], exclude.columns[different]
    flat = torch.cat([rows * count + columns, columns * count + rows]).unique()
    return Pairs(flat // max(count, 1), flat % max(count, 1))


def in_both_views(pairs: Pairs, count: int, *, both_anchors: bool) -> Pairs:
    """Pairs of nodes (N, N) as pairs of rows of the two views stacked (2N, 2N), or (N, 2N)."""
    rows = torch.cat([pairs.rows, pairs.rows])
    columns = torch.cat([pairs.columns, pairs.columns + count])
    if both_anchors:
        rows, columns = torch.cat([rows, rows + count]), torch.cat([columns, columns])
    return Pairs(rows, columns)


def negative_counts(
    count: int, like: Tensor, *, intra_view: bool, exclude: Pairs | None = None
) -> Tensor:
    """(N,) number of negatives of every anchor, in the dtype of `like`."""
    others = like.new_full((count,), count - 1)
    if exclude is not None:
        excluded = excluded_both_ways(exclude, count)
        others -= torch.bincount(excluded.rows, minlength=count).to(like.dtype)
    return 2 * others if intra_view else others
