"""Positives listed by a weighted relation of nodes, for nodes with one or several views."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from graphcl.kernels.contrast import Pairs, pair_logits, segment_log_sum_exp
from graphcl.kernels.contrast.pairs import check_pairs
from graphcl.losses.unit_rows import row_products


def related_mean(
    rows: Tensor, number: int, pairs: Pairs, scale: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Weighted mean of the logits of each row's positives; see `related_log_sum_exp`."""
    pairs, log_weight = _usable(rows, number, pairs)
    count = rows.shape[0] // number
    present, log_total = _log_total(pairs, log_weight, number, count)
    share = (log_weight - log_total[pairs.rows]).exp()
    # All views of a node have the same weight, so their sum stands for them.
    sums = rows.view(count, number, -1).sum(dim=1)
    itself = pairs.rows == pairs.columns
    means = []
    for view in range(number):
        anchors = pairs.rows * number + view
        products = pair_logits(rows, sums, anchors, pairs.columns)
        own = row_products(rows[view::number], rows[view::number])
        products = products - torch.where(itself, own[pairs.rows], 0.0)
        weighted = products.new_zeros(count).index_add(0, pairs.rows, share * products)
        means.append(scale * weighted)
    return present.repeat_interleave(number), torch.stack(means, dim=1).view(-1)


def related_log_sum_exp(
    rows: Tensor, number: int, pairs: Pairs, scale: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Whether a row has positives, and log of the weighted mean of e^{logit} of them.

    Args:
        rows: (N V, d), the V views of a node next to each other.
        number: V.
        pairs: related nodes; (i, i) stands for the other views of node i.
        scale: of the products.

    Returns:
        Two tensors (N V,): bool, and the values, finite where False.
    """
    pairs, log_weight = _usable(rows, number, pairs)
    count = rows.shape[0] // number
    present, log_total = _log_total(pairs, log_weight, number, count)
    views = torch.arange(number, device=rows.device)
    # Every view of the one node with every view of the other: (P, V, V).
    anchors = pairs.rows[:, None, None] * number + views[None, :, None]
    others = pairs.columns[:, None, None] * number + views[None, None, :]
    anchors, others = (part.expand(-1, number, number) for part in (anchors, others))
    different = anchors != others
    log_weight = log_weight[:, None, None].expand_as(anchors)[different]
    anchors, others = anchors[different], others[different]
    logits = scale * pair_logits(rows, rows, anchors, others) + log_weight
    log_sum = segment_log_sum_exp(logits, anchors, rows.shape[0])
    present = present.repeat_interleave(number)
    log_sum = torch.where(present, log_sum, 0.0)
    return present, log_sum - log_total.repeat_interleave(number)


def _usable(rows: Tensor, number: int, pairs: Pairs) -> tuple[Pairs, Tensor]:
    """The pairs that hold a positive and their log-weights in the dtype of `rows`."""
    count = rows.shape[0] // number
    check_pairs("positives", pairs, (count, count), rows)
    log_weight = pairs.log_weight
    if log_weight is None:
        log_weight = rows.new_zeros(pairs.rows.numel())
    log_weight = log_weight.to(rows.dtype)
    kept = ~torch.isneginf(log_weight.detach())
    if number == 1:
        # A node has no other view to stand for (i, i).
        kept &= pairs.rows != pairs.columns
    log_weight = log_weight[kept]
    return Pairs(pairs.rows[kept], pairs.columns[kept], log_weight), log_weight


def _log_total(pairs: Pairs, log_weight: Tensor, number: int, count: int) -> tuple[Tensor, Tensor]:
    """Whether a node (N,) has positives, and the log of their weights' sum, 0 where not."""
    # In the dtype of the weights: two numbers would make a float32 tensor.
    views = torch.full_like(log_weight, math.log(number))
    views = views.masked_fill(pairs.rows == pairs.columns, math.log(max(number - 1, 1)))
    total = segment_log_sum_exp(log_weight + views, pairs.rows, count)
    present = ~torch.isneginf(total)
    return present, torch.where(present, total, 0.0)
