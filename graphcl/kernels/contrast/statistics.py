"""How the softmax over every row's candidates is spread; no gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.kernels.contrast.mean_logit import mean_logit
from graphcl.kernels.contrast.operator import contrast
from graphcl.kernels.contrast.outputs import ContrastStatistics
from graphcl.kernels.contrast.pairs import Pairs


@torch.no_grad()
def statistics(
    query: Tensor,
    key: Tensor | None = None,
    *,
    scale: float | Tensor,
    row_ids: Tensor | None = None,
    column_ids: Tensor | None = None,
    row_groups: Tensor | None = None,
    column_groups: Tensor | None = None,
    exclude: Pairs | None = None,
    column_bias: Tensor | None = None,
    backend: str = "auto",
    tile: int = 512,
) -> ContrastStatistics:
    r"""Entropy and effective number of candidates of every row's softmax.

    .. math::
        H_i = -\sum_j p_{ij} \log p_{ij}, \qquad
        n_i = \frac{1}{\sum_j p_{ij}^2}
            = e^{2 \log \sum_j e^{l_{ij}} - \log \sum_j e^{2 l_{ij}}}

    with p the softmax of the logits l over the candidates, as in `contrast`. n is
    Kish's effective sample size (Kish 1965, "Survey Sampling"). The arguments are those of
    `mean_logit`.

    Returns:
        `ContrastStatistics`, in float64 for float64 input and float32 otherwise.

    Raises:
        ArgumentError, NonFiniteArgumentError: as `mean_logit`.
    """
    once, mean = mean_logit(
        query,
        key,
        scale=scale,
        row_ids=row_ids,
        column_ids=column_ids,
        row_groups=row_groups,
        column_groups=column_groups,
        exclude=exclude,
        column_bias=column_bias,
        backend=backend,
        tile=tile,
    )
    twice = contrast(
        query,
        key,
        scale=2 * scale,
        row_ids=row_ids,
        column_ids=column_ids,
        row_groups=row_groups,
        column_groups=column_groups,
        exclude=exclude,
        column_bias=None if column_bias is None else 2 * column_bias,
        backend=backend,
        tile=tile,
    ).denominator
    empty = torch.isneginf(once)
    return ContrastStatistics(
        (once - mean).masked_fill(empty, 0.0), (2 * once - twice).exp().masked_fill(empty, 0.0)
    )
