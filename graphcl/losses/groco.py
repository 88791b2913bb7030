"""GroCo: all positives of an anchor should come before its hardest negatives."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from graphcl.kernels.contrast import top_candidates
from graphcl.kernels.row_products import row_products
from graphcl.losses.arguments import (
    check_above_zero,
    check_count,
    check_fraction,
    check_reduction,
    check_two_views,
    reduce,
)
from graphcl.losses.differentiable_sorting import rank_mass, sort_relaxed
from graphcl.losses.examples import two_views
from graphcl.losses.unit_rows import unit_rows


def groco(
    z1: Tensor,
    z2: Tensor,
    num_negatives: int = 10,
    steepness: float = 1.0,
    sharpening: float = 0.25,
    *,
    intra_view: bool = True,
    symmetric: bool = True,
    stop_gradient: bool = True,
    reduction: str = "mean",
) -> Tensor:
    """Functional twin of `GroCo`; the same arguments."""
    _check(num_negatives, steepness, sharpening)
    check_two_views(z1, z2)
    u, v = unit_rows(z1), unit_rows(z2)
    directions = [(u, v), (v, u)] if symmetric else [(u, v)]
    values = []
    for anchor, other in directions:
        source = anchor if intra_view else other
        if stop_gradient:
            source, other = source.detach(), other.detach()
        hardest = _hardest(anchor, source, num_negatives)
        positive = (anchor * other).sum(dim=1, keepdim=True)
        negative = row_products(anchor, source, hardest)
        values.append(group_ordering(positive, negative, steepness, sharpening))
    return reduce(torch.stack(values).mean(dim=0), reduction)


def group_ordering(
    positive_scores: Tensor,
    negative_scores: Tensor,
    steepness: float = 1.0,
    sharpening: float = 0.25,
) -> Tensor:
    r"""How far the scores of two groups are from "every positive above every negative".

    The scores go into the relaxed sorting network in the wanted order: negatives,
    then positives, ascending within each group. An element pays -log of the
    probability that the network leaves it among the ranks of its own group.

    Args:
        positive_scores: (n, P), P >= 1.
        negative_scores: (n, k).
        steepness, sharpening: of `differentiable_sorting.sort_relaxed`.

    Returns:
        (n,) mean over the P + k elements; 0 without negatives.
    """
    count = negative_scores.shape[1]
    scores = torch.cat(
        [negative_scores.sort(dim=1).values, positive_scores.sort(dim=1).values], dim=1
    )
    _, gates = sort_relaxed(scores, steepness, sharpening)
    is_negative = (torch.arange(scores.shape[1], device=scores.device) < count)[None]
    below = rank_mass(gates, is_negative.to(scores.dtype))
    above = rank_mass(gates, (~is_negative).to(scores.dtype))
    # A mass that underflowed would have an infinite logarithm.
    mass = torch.where(is_negative, below, above).clamp_min(torch.finfo(scores.dtype).tiny)
    return -mass.log().mean(dim=1) + 0.0 * scores.sum(dim=1)


def _hardest(anchor: Tensor, source: Tensor, count: int) -> Tensor:
    """(N, min(count, N - 1)) rows of `source` nearest to each anchor, but row i for anchor i."""
    nodes = torch.arange(anchor.shape[0], device=anchor.device)
    count = min(int(count), nodes.numel() - 1)
    if count < 1:
        return nodes[:, None][:, :0]
    return top_candidates(anchor, source, count=count, row_ids=nodes, column_ids=nodes).indices


def _check(num_negatives: int, steepness: float, sharpening: float) -> None:
    check_count("num_negatives", num_negatives)
    check_above_zero("steepness", steepness)
    check_fraction("sharpening", sharpening)


class GroCo(nn.Module):
    r"""Group ordering constraints: sort positives before the hardest negatives, differentiably.

    .. math::
        L_i = -\frac{1}{k+1} \Bigl[ \log \sum_{r > k} P^{(i)}_{r,p(i)}
            + \sum_{n \in T_k(i)} \log \sum_{r \le k} P^{(i)}_{r,n} \Bigr]

    where T_k(i) are the k negatives nearest to the anchor and P is the relaxed
    permutation matrix that sorts their cosines and the positive's in ascending
    order: the probability of element n to take rank r. Shvetsova et al. 2023,
    "Learning by Sorting", arXiv 2301.02009; the network is the odd-even one with
    the Cauchy relaxation, of n = k + 1 layers. As in the authors' code, negatives
    come from the anchor's own view and only the anchor receives the gradient.
    Deviations: a bounded slope at ties (see `differentiable_sorting`), and fewer than k
    negatives are no error. Several positives per anchor: `group_ordering`, on scores.

    Time O(N² d) for the nearest negatives, in chunks, and O(N k²) for the network;
    memory O(N (d + k²)).

    Args:
        num_negatives: k, at least 1; N - 1 are taken where there are fewer.
        steepness: β above 0, of the relaxation.
        sharpening: λ in [0, 1), how much small differences are magnified.
        intra_view: negatives from the anchor's own view; otherwise from the other.
        symmetric: whether the nodes of both views are anchors.
        stop_gradient: only the anchor of a pair receives its gradient.
        reduction: "mean" or "sum" over the N nodes, or "none".

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node. Output:
        0-d, or (N,) with reduction "none".

    Raises:
        ArgumentError: for shapes that do not match or a setting out of range.
        NonFiniteArgumentError: for NaN or infinite embeddings.

    Example:
        >>> value = GroCo(num_negatives=5)(torch.randn(100, 32), torch.randn(100, 32))
    """

    functional = staticmethod(groco)
    example = staticmethod(two_views)
    without_stop_gradient: ClassVar[dict[str, bool]] = {"stop_gradient": False}

    def __init__(
        self,
        num_negatives: int = 10,
        steepness: float = 1.0,
        sharpening: float = 0.25,
        *,
        intra_view: bool = True,
        symmetric: bool = True,
        stop_gradient: bool = True,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        _check(num_negatives, steepness, sharpening)
        check_reduction(reduction)
        self.num_negatives = num_negatives
        self.steepness = steepness
        self.sharpening = sharpening
        self.intra_view = intra_view
        self.symmetric = symmetric
        self.stop_gradient = stop_gradient
        self.reduction = reduction

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """The loss of two views (N, d)."""
        return groco(
            z1,
            z2,
            self.num_negatives,
            self.steepness,
            self.sharpening,
            intra_view=self.intra_view,
            symmetric=self.symmetric,
            stop_gradient=self.stop_gradient,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"num_negatives={self.num_negatives}, steepness={self.steepness:g}, "
            f"sharpening={self.sharpening:g}, intra_view={self.intra_view}, "
            f"symmetric={self.symmetric}, stop_gradient={self.stop_gradient}, "
            f"reduction={self.reduction!r}"
        )
