"""InfoNCE with centroids as hard negatives and a margin on same-cluster nodes (ClusterNS)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import (
    contrast,
    log_add_exp,
    pair_logits,
    pair_sum,
    segment_log_sum_exp,
    top_candidates,
)
from graphcl.losses.arguments import (
    anchor_values,
    check_reduction,
    check_rows,
    check_two_views,
    check_weight,
    inverse_temperature,
    plain,
    reduce,
)
from graphcl.losses.examples import two_views_and_clusters
from graphcl.losses.groups import Groups, group_labels
from graphcl.losses.unit_rows import row_products, unit_rows


def cluster_negatives(
    z1: Tensor,
    z2: Tensor,
    centroids: Tensor,
    assignments: Tensor,
    temperature: float | Tensor = 0.05,
    *,
    centroid_weight: float = 1.0,
    shared_centroids: bool = False,
    lower_margin: float = 0.2,
    upper_margin: float = 0.5,
    margin_weight: float = 1e-4,
    symmetric: bool = True,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `ClusterNegatives`; the same arguments."""
    _check_settings(centroid_weight, lower_margin, upper_margin, margin_weight)
    check_reduction(reduction)
    check_two_views(z1, z2)
    groups = group_labels("assignments", assignments, z1.shape[0])
    _check_clusters(centroids, assignments, z1)
    scale = inverse_temperature(temperature)
    u, v = unit_rows(z1), unit_rows(z2)
    centres = unit_rows(centroids.detach()).to(u.dtype)
    similarity = row_products(u, v)
    nodes = torch.arange(z1.shape[0], device=z1.device)
    values = []
    for own, other in ((u, v), (v, u)) if symmetric else ((u, v),):
        output = contrast(own, other, scale=scale, positive=nodes, backend=backend)
        extra = _centroid_logits(
            own, centres, assignments, scale, shared=shared_centroids, backend=backend
        )
        denominator = output.denominator
        if centroid_weight > 0:
            denominator = log_add_exp(denominator, extra + math.log(centroid_weight))
        value = anchor_values(denominator, output.positive)
        if margin_weight > 0:
            margins = (lower_margin, upper_margin)
            outside = _margin(own, other, similarity, groups, margins, backend)
            value = value + margin_weight * outside
        values.append(value)
    return reduce(torch.stack(values).mean(dim=0), reduction)


def _centroid_logits(
    own: Tensor,
    centres: Tensor,
    assignments: Tensor,
    scale: float | Tensor,
    *,
    shared: bool,
    backend: str,
) -> Tensor:
    """(N,) log-sum-exp of the centroids that are negatives of each anchor, -inf without any."""
    count, clusters = own.shape[0], centres.shape[0]
    if 0 in (count, clusters):
        return own.new_full((count,), -torch.inf)
    nearest = top_candidates(
        own,
        centres,
        count=1,
        row_ids=assignments,
        column_ids=torch.arange(clusters, device=own.device),
    ).indices[:, 0]
    rows = (nearest >= 0).nonzero().view(-1)
    if shared:
        chosen = torch.bincount(nearest[rows], minlength=clusters).to(own.dtype)
        return contrast(
            own, centres, scale=scale, column_bias=chosen.log(), backend=backend
        ).denominator
    logits = scale * pair_logits(own, centres, rows, nearest[rows])
    return segment_log_sum_exp(logits, rows, count)


def _margin(
    own: Tensor,
    other: Tensor,
    similarity: Tensor,
    groups: Groups,
    margins: tuple[float, float],
    backend: str,
) -> Tensor:
    """(N,) mean bidirectional margin over the other nodes of each anchor's cluster."""
    lower, upper = margins
    nodes = torch.arange(own.shape[0], device=own.device)

    def outside(difference: Tensor) -> Tensor:
        return relu(difference + lower) + relu(-difference - upper)

    total = pair_sum(
        own,
        other,
        function=outside,
        scale=1.0,
        row_bias=-similarity,
        row_ids=nodes,
        column_ids=nodes,
        row_groups=groups.ids,
        column_groups=groups.ids,
        # There is no compiled sum of a function of pairs.
        backend=backend if backend in ("auto", "dense") else "tiles",
    )
    return total / (groups.sizes[groups.ids] - 1).clamp_min(1)


class ClusterNegatives(nn.Module):
    r"""InfoNCE with a centroid as extra hard negative and a margin on same-cluster nodes.

    .. math::
        L_i = -l_{ii} + \log \Big( \sum_j e^{l_{ij}} + \mu\, e^{\cos(u_i, c_{h(i)})/\tau} \Big)
            + \frac{\lambda}{|F_i|} \sum_{j \in F_i}
              \big[ \Delta_{ij} + a \big]_+ + \big[ -\Delta_{ij} - b \big]_+, \qquad
        \Delta_{ij} = \cos(u_i, v_j) - \cos(u_i, v_i)

    with l_ij = cos(u_i, v_j)/τ, the centroid h(i) nearest to the anchor among the
    other clusters, and the nodes F_i of the anchor's cluster but itself: suspected
    false negatives, kept less similar than the positive by a and not by more than b.
    Deng et al. 2023, "Clustering-Aware Negative Sampling for Unsupervised Sentence
    Representation" (ClusterNS), arXiv 2305.09892. Centroids and assignments come from
    the caller's clustering; they carry no gradient.

    Deviations: the authors' code applies the margin to the whole N x N matrix with
    zeros in place of Δ outside the clusters, which adds a constant, and averages over
    all N² entries; here the mean is over F_i, so λ means the same for any number of
    clusters. The authors' denominator holds the hard negatives of all nodes of the
    batch, the anchor's own centroid possibly among them: `shared_centroids=True`,
    where μ then weighs all of them. The paper has one direction: `symmetric=False`.

    Memory is linear in N; the margin visits the pairs inside clusters only.

    Args:
        temperature: τ in [1e-3, 10], a number, or a 0-d tensor or Parameter to learn.
        centroid_weight: μ, at least 0.
        shared_centroids: every anchor sees the hard negatives of all nodes.
        lower_margin: a, at least 0.
        upper_margin: b, at least a.
        margin_weight: λ, at least 0.
        symmetric: whether the nodes of both views are anchors.
        reduction: "mean" or "sum" over the N nodes, or "none".
        backend: of `graphcl.kernels.contrast.contrast`.

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node; centroids
        (K, d), un-normalised; assignments (N,) integers below K, the cluster of every
        node, negative for none. Output: 0-d, or (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, dtype, index, temperature, weight, margin, reduction
            or backend out of range.

    Example:
        >>> loss = ClusterNegatives(0.05)
        >>> clusters = torch.randint(8, (100,))
        >>> views = torch.randn(2, 100, 32)
        >>> value = loss(views[0], views[1], torch.randn(8, 32), clusters)
    """

    functional = staticmethod(cluster_negatives)
    example = staticmethod(two_views_and_clusters)
    detached = ("centroids",)

    def __init__(
        self,
        temperature: float | Tensor = 0.05,
        *,
        centroid_weight: float = 1.0,
        shared_centroids: bool = False,
        lower_margin: float = 0.2,
        upper_margin: float = 0.5,
        margin_weight: float = 1e-4,
        symmetric: bool = True,
        reduction: str = "mean",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        inverse_temperature(temperature)
        _check_settings(centroid_weight, lower_margin, upper_margin, margin_weight)
        check_reduction(reduction)
        self.temperature = temperature
        self.centroid_weight = centroid_weight
        self.shared_centroids = shared_centroids
        self.lower_margin = lower_margin
        self.upper_margin = upper_margin
        self.margin_weight = margin_weight
        self.symmetric = symmetric
        self.reduction = reduction
        self.backend = backend

    def forward(self, z1: Tensor, z2: Tensor, centroids: Tensor, assignments: Tensor) -> Tensor:
        """The loss of two views (N, d) given centroids (K, d) and assignments (N,)."""
        return cluster_negatives(
            z1,
            z2,
            centroids,
            assignments,
            self.temperature,
            centroid_weight=self.centroid_weight,
            shared_centroids=self.shared_centroids,
            lower_margin=self.lower_margin,
            upper_margin=self.upper_margin,
            margin_weight=self.margin_weight,
            symmetric=self.symmetric,
            reduction=self.reduction,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"temperature={plain(self.temperature):g}, centroid_weight={self.centroid_weight:g}, "
            f"shared_centroids={self.shared_centroids}, lower_margin={self.lower_margin:g}, "
            f"upper_margin={self.upper_margin:g}, margin_weight={self.margin_weight:g}, "
            f"symmetric={self.symmetric}, reduction={self.reduction!r}"
        )


def _check_settings(
    centroid_weight: float, lower_margin: float, upper_margin: float, margin_weight: float
) -> None:
    check_weight("centroid_weight", centroid_weight)
    check_weight("lower_margin", lower_margin)
    check_weight("upper_margin", upper_margin)
    check_weight("margin_weight", margin_weight)
    if upper_margin < lower_margin:
        raise ArgumentError(
            f"upper_margin must be at least lower_margin, {lower_margin}; got {upper_margin}"
        )


def _check_clusters(centroids: Tensor, assignments: Tensor, z1: Tensor) -> None:
    check_rows("centroids", centroids, z1.shape[1])
    if assignments.numel() and int(assignments.max()) >= centroids.shape[0]:
        raise ArgumentError(
            f"assignments must lie below the number of centroids, {centroids.shape[0]}; "
            f"got {int(assignments.max())}"
        )
