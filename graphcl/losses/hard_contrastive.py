"""InfoNCE over the hardest negatives of every anchor only."""

from __future__ import annotations

import math
from numbers import Integral

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import Pairs, pair_logits, segment_log_sum_exp, top_candidates
from graphcl.losses.arguments import (
    against_negatives,
    check_reduction,
    check_two_views,
    inverse_temperature,
    plain,
    reduce,
)
from graphcl.losses.examples import two_views
from graphcl.losses.two_views import excluded_both_ways, in_both_views
from graphcl.losses.unit_rows import row_products, unit_rows


def hard_contrastive(
    z1: Tensor,
    z2: Tensor,
    temperature: float | Tensor = 0.3,
    *,
    hardest: int | float = 64,
    intra_view: bool = True,
    symmetric: bool = True,
    exclude: Pairs | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Functional twin of `HardContrastive`; the same arguments."""
    _check_hardest(hardest)
    check_two_views(z1, z2)
    scale = inverse_temperature(temperature)
    count = z1.shape[0]
    u, v = unit_rows(z1), unit_rows(z2)
    positive = scale * row_products(u, v)
    available = (2 if intra_view else 1) * (count - 1)
    # Less a rounding: 7 % of 100 negatives are 7 of them, though 0.07 * 100 is above 7.
    kept = math.ceil(hardest * available - 1e-9) if isinstance(hardest, float) else hardest
    kept = max(min(int(kept), available), 1)
    nodes = torch.arange(count, device=z1.device)
    excluded = None if exclude is None else excluded_both_ways(exclude, count)

    if not intra_view:
        sums = [_hardest_sum(u, v, nodes, nodes, kept, scale, excluded)]
        if symmetric:
            sums.append(_hardest_sum(v, u, nodes, nodes, kept, scale, excluded))
    else:
        both, ids = torch.cat([u, v]), torch.cat([nodes, nodes])
        if excluded is not None:
            excluded = in_both_views(excluded, count, both_anchors=symmetric)
        anchors = 2 * count if symmetric else count
        total = _hardest_sum(both[:anchors], both, ids[:anchors], ids, kept, scale, excluded)
        sums = [total[:count], total[count:]] if symmetric else [total]
    values = torch.stack([against_negatives(total, positive) for total in sums])
    return reduce(values.mean(dim=0), reduction)


def _hardest_sum(
    query: Tensor,
    key: Tensor,
    row_ids: Tensor,
    column_ids: Tensor,
    kept: int,
    scale: float | Tensor,
    exclude: Pairs | None,
) -> Tensor:
    """(M,) log-sum-exp of the largest logits of every row, columns of its own id apart."""
    hardest = top_candidates(
        query, key, count=kept, row_ids=row_ids, column_ids=column_ids, exclude=exclude
    ).indices
    rows, place = (hardest >= 0).nonzero(as_tuple=True)
    logits = scale * pair_logits(query, key, rows, hardest[rows, place])
    return segment_log_sum_exp(logits, rows, query.shape[0])


class HardContrastive(nn.Module):
    r"""InfoNCE whose denominator keeps the hardest negatives of every anchor only.

    .. math::
        \ell(u_i, v_i) = -l_{ii} + \log \Big( e^{l_{ii}} + \sum_{j \in H_i} e^{l_{ij}} \Big),
        \qquad l = \cos/\tau

    with H_i the negatives most similar to the anchor. Wang and Liu 2021,
    "Understanding the Behaviour of Contrastive Loss", arXiv 2012.09740, who keep the
    negatives above the upper α-quantile of the row: `hardest=α`. Dropping the easy
    negatives lets the temperature be large, and with it the penalty even, without
    losing the hard ones. With all negatives it is `InfoNCE`.

    Deviation: of negatives with equal similarity exactly as many are kept as asked
    for, not all of them. An anchor without negatives contributes a connected 0.

    Work is one pass over the pairs without gradient, and O(N h d) with it for h kept
    negatives. Memory is O(N d + N h): a fixed count keeps it linear in N, a fraction
    does not.

    Args:
        temperature: τ in [1e-3, 10], a number, or a 0-d tensor or Parameter to learn.
        hardest: how many negatives an anchor keeps: an int, at least 1, is a number
            (all of them where there are fewer), a float in (0, 1] a fraction of all, those
            in `exclude` included.
        intra_view: whether nodes of the anchor's own view are negatives too.
        symmetric: whether the nodes of both views are anchors.
        reduction: "mean" or "sum" over the N nodes, or "none".

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node;
        exclude `Pairs` of nodes (N, N) that are no negatives of each other (known
        neighbours, say), taken both ways; log-weights are not used.
        Output: 0-d, or (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, dtype, temperature, hardest or reduction out of range.

    Example:
        >>> loss = HardContrastive(0.3, hardest=10)
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32))
    """

    functional = staticmethod(hard_contrastive)
    example = staticmethod(two_views)

    def __init__(
        self,
        temperature: float | Tensor = 0.3,
        *,
        hardest: int | float = 64,
        intra_view: bool = True,
        symmetric: bool = True,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        inverse_temperature(temperature)
        _check_hardest(hardest)
        check_reduction(reduction)
        self.temperature = temperature
        self.hardest = hardest
        self.intra_view = intra_view
        self.symmetric = symmetric
        self.reduction = reduction

    def forward(self, z1: Tensor, z2: Tensor, exclude: Pairs | None = None) -> Tensor:
        """The loss of two views (N, d)."""
        return hard_contrastive(
            z1,
            z2,
            self.temperature,
            hardest=self.hardest,
            intra_view=self.intra_view,
            symmetric=self.symmetric,
            exclude=exclude,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"temperature={plain(self.temperature):g}, hardest={self.hardest}, "
            f"intra_view={self.intra_view}, symmetric={self.symmetric}, "
            f"reduction={self.reduction!r}"
        )


def _check_hardest(hardest: int | float) -> None:
    if isinstance(hardest, bool) or not (
        (isinstance(hardest, Integral) and hardest >= 1)
        or (isinstance(hardest, float) and 0 < hardest <= 1)
    ):
        raise ArgumentError(
            "hardest must be a count, an int of at least 1, or a fraction, a float in (0, 1]; "
            f"got {hardest!r}"
        )
