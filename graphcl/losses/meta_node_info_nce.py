"""InfoNCE against meta-nodes: clusters stand for the nodes in them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.kernels.contrast import contrast, log_add_exp
from graphcl.losses.arguments import (
    check_reduction,
    check_two_views,
    inverse_temperature,
    plain,
    reduce,
)
from graphcl.losses.examples import two_views_and_groups
from graphcl.losses.info_nce import info_nce
from graphcl.losses.meta_nodes import check_assignment, log_counts, sum_by_cluster
from graphcl.losses.unit_rows import row_products, unit_rows


def meta_node_info_nce(
    z1: Tensor,
    z2: Tensor,
    assignment: Tensor,
    temperature: float | Tensor = 0.5,
    *,
    clusters: int | None = None,
    intra_view: bool = False,
    symmetric: bool = True,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `MetaNodeInfoNCE`; the same arguments."""
    check_two_views(z1, z2)
    scale = inverse_temperature(temperature)
    clusters = check_assignment(assignment, z1, clusters)
    u, v = unit_rows(z1), unit_rows(z2)
    positive = scale * row_products(u, v)
    values = []
    for anchor, other in [(u, v), (v, u)] if symmetric else [(u, v)]:
        terms = [positive]
        for rows in [other, anchor] if intra_view else [other]:
            terms += _negatives(anchor, rows, assignment, clusters, scale, backend)
        values.append(log_add_exp(*terms) - positive)
    return reduce(torch.stack(values).mean(dim=0), reduction)


def _negatives(
    anchor: Tensor,
    rows: Tensor,
    assignment: Tensor,
    clusters: int,
    scale: float | Tensor,
    backend: str,
) -> list[Tensor]:
    """Log-sum-exps (N,) of the meta-nodes of `rows` other than i's, and of i's without i."""
    sums = sum_by_cluster(rows, assignment, clusters)
    counts = torch.bincount(assignment, minlength=clusters)
    others = contrast(
        anchor,
        sums / counts.clamp_min(1)[:, None],
        scale=scale,
        row_ids=assignment,
        column_ids=torch.arange(clusters, device=anchor.device),
        column_bias=log_counts(counts, anchor),
        backend=backend,
    ).denominator
    rest = counts[assignment] - 1
    centroid = (sums[assignment] - rows) / rest.clamp_min(1)[:, None]
    logit = scale * (anchor * centroid).sum(dim=1) + log_counts(rest.clamp_min(1), anchor)
    return [others, torch.where(rest > 0, logit, -torch.inf)]


@torch.no_grad()
def approximation_error(
    z1: Tensor,
    z2: Tensor,
    assignment: Tensor,
    temperature: float | Tensor = 0.5,
    *,
    clusters: int | None = None,
    intra_view: bool = False,
    symmetric: bool = True,
    backend: str = "auto",
) -> Tensor:
    """How far below `InfoNCE` the value of `MetaNodeInfoNCE` is, per node.

    The convex exponential of a mean is at most the mean of the exponentials (Jensen),
    so that the error is at least 0 up to rounding. It is 0 when all members of each
    cluster coincide, for instance when every node is its own, and about half the
    variance of the logits inside the clusters otherwise. Costs one exact InfoNCE.

    Args:
        z1, z2, assignment, and the settings: as in `MetaNodeInfoNCE`.

    Returns:
        (N,) in nats, without gradient.
    """
    exact = info_nce(
        z1,
        z2,
        temperature,
        intra_view=intra_view,
        symmetric=symmetric,
        reduction="none",
        backend=backend,
    )
    return exact - meta_node_info_nce(
        z1,
        z2,
        assignment,
        temperature,
        clusters=clusters,
        intra_view=intra_view,
        symmetric=symmetric,
        reduction="none",
        backend=backend,
    )


class MetaNodeInfoNCE(nn.Module):
    r"""InfoNCE whose negatives are the centroids of clusters, weighted by their sizes.

    .. math::
        \ell(u_i, v_i) = -\theta(u_i, v_i)/\tau + \log \left( e^{\theta(u_i, v_i)/\tau}
            + \sum_{k=1}^{K} n_k^i\, e^{\langle u_i, c_k^i \rangle / \tau} \right)
        \qquad
        L_i = \tfrac12 \left[ \ell(u_i, v_i) + \ell(v_i, u_i) \right]

    where n and c are size and mean of cluster k among the unit vectors v_j, j ≠ i: node
    i itself is taken out of its own cluster, so that with one cluster per node this is
    exactly `InfoNCE`. `intra_view=True` adds the clusters of the anchor's own view,
    `symmetric=False` keeps only ℓ(u_i, v_i), both as in `InfoNCE`. The centroids are
    not normalised, which makes the value a lower bound of InfoNCE;
    `approximation_error` says how tight. Gradients reach every node through its
    centroid. Time O(N K d) in place of O(N² d).

    The idea of meta-nodes is of Kulatilleke et al. 2022, arXiv 2209.14067; their loss
    contrasts clusters with clusters and is `BlockContrast`. This one keeps a
    denominator for every anchor.

    Args:
        temperature: τ, a number in [1e-3, 10], or a 0-d tensor or Parameter to learn.
        clusters: K; None for the highest cluster in use plus one. May hold empty ones.
        intra_view: whether the nodes of the anchor's own view are negatives too.
        symmetric: whether the nodes of both views are anchors.
        reduction: "mean" or "sum" over the N nodes, or "none".
        backend: of `graphcl.kernels.contrast.contrast`.

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node; assignment (N,)
        int64 cluster of every node, for both views. Output: 0-d, or (N,) with
        reduction "none".

    Raises:
        ArgumentError: for a shape, dtype, cluster, temperature, reduction or backend
            out of range.
        NonFiniteArgumentError: for NaN or infinity in z1 or z2.

    Example:
        >>> loss = MetaNodeInfoNCE(0.4)
        >>> communities = torch.randint(7, (100,))
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32), communities)
    """

    functional = staticmethod(meta_node_info_nce)
    example = staticmethod(two_views_and_groups)

    def __init__(
        self,
        temperature: float | Tensor = 0.5,
        *,
        clusters: int | None = None,
        intra_view: bool = False,
        symmetric: bool = True,
        reduction: str = "mean",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        inverse_temperature(temperature)
        check_reduction(reduction)
        self.temperature = temperature
        self.clusters = clusters
        self.intra_view = intra_view
        self.symmetric = symmetric
        self.reduction = reduction
        self.backend = backend

    def forward(self, z1: Tensor, z2: Tensor, assignment: Tensor) -> Tensor:
        """The loss of two views (N, d) whose nodes lie in clusters (N,)."""
        return meta_node_info_nce(
            z1,
            z2,
            assignment,
            self.temperature,
            clusters=self.clusters,
            intra_view=self.intra_view,
            symmetric=self.symmetric,
            reduction=self.reduction,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"temperature={plain(self.temperature):g}, clusters={self.clusters}, "
            f"intra_view={self.intra_view}, symmetric={self.symmetric}, "
            f"reduction={self.reduction!r}"
        )
