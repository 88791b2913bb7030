"""PamC's block contrast: positives by reachability, negatives between meta-nodes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import contrast, log_add_exp, pair_logits, segment_log_sum_exp
from graphcl.kernels.contrast.checks import check_finite
from graphcl.losses.arguments import (
    check_above_zero,
    check_floating,
    check_reduction,
    check_rows,
    check_tensor,
    reduce,
)
from graphcl.losses.examples import clustered_graph
from graphcl.losses.meta_nodes import check_assignment, sum_by_cluster
from graphcl.losses.unit_rows import unit_rows


def block_contrast(
    z: Tensor,
    assignment: Tensor,
    edge_index: Tensor,
    edge_weight: Tensor | None = None,
    *,
    scale: float = 0.5,
    clusters: int | None = None,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `BlockContrast`; the same arguments."""
    check_above_zero("scale", scale)
    check_rows("z", z)
    clusters = check_assignment(assignment, z, clusters)
    _check_edges(edge_index, edge_weight, z.shape[0])
    u = unit_rows(z)
    reached = _log_reached(u, edge_index, edge_weight, scale)
    negative = _log_between_blocks(z, assignment, clusters, scale, backend)
    return reduce(negative - torch.where(torch.isneginf(reached), 0.0, reached), reduction)


def _log_reached(u: Tensor, edge_index: Tensor, edge_weight: Tensor | None, scale: float) -> Tensor:
    """log P_i: the weighted sum over the nodes that i reaches; -inf for none."""
    rows, columns = edge_index
    # A node's pair with itself has logit 0 by definition.
    logits = torch.where(rows == columns, 0.0, scale * pair_logits(u, u, rows, columns))
    if edge_weight is not None:
        logits = logits + edge_weight.detach().to(u.dtype).log()
    return segment_log_sum_exp(logits, rows, u.shape[0])


def _log_between_blocks(
    z: Tensor, assignment: Tensor, clusters: int, scale: float, backend: str
) -> Tensor:
    """Mean over the clusters in use of log G_k: 0-d."""
    counts = torch.bincount(assignment, minlength=clusters)
    used = counts.nonzero().view(-1)
    # Only directions matter: a common factor keeps the sums of huge rows finite.
    size = z.detach().abs().amax().clamp_min(1) if z.numel() else 1.0
    blocks = unit_rows(sum_by_cluster(z / size, assignment, clusters)[used])
    others = contrast(blocks, scale=scale, backend=backend).denominator
    # A block's pair with itself has logit 0 by definition.
    return log_add_exp(others, torch.zeros_like(others)).sum() / max(used.numel(), 1)


class BlockContrast(nn.Module):
    r"""Block contrast of PamC: near the nodes one reaches, meta-nodes far from each other.

    .. math::
        L = -\frac1N \sum_{i=1}^{N} \log \sum_{j} R_{ij}\, e^{\tau \theta(z_i, z_j) [i \ne j]}
            + \frac1K \sum_{k=1}^{K} \log \sum_{l=1}^{K}
              e^{\tau \theta(m_k, m_l) [k \ne l]},
        \qquad m_k = \sum_{i : a(i) = k} z_i

    with the cosine θ. Kulatilleke et al. 2022, arXiv 2209.14067 (PamC). There are no
    parameters and no node-to-node negatives: O(nnz(R) + K²) products in place of N².
    Note that τ **multiplies**: it is an inverse temperature, here `scale`. A pair of a
    node or of a meta-node with itself has logit 0. Meta-nodes are sums of embeddings
    that are not normalised, so that long ones weigh more. R is the reachability within
    a few steps, `graphcl.kernels.reachability`. The paper adds this loss to a
    clustering loss whose soft assignments give a(i) as their largest entry.

    The second term is of the whole batch and part of every node's value, so that the
    mean over the nodes is the formula.

    Deviations: sums are log-sum-exps, without the 1e-10 that the authors' code adds
    inside each logarithm; empty clusters, NaN or missing there, are left out of both
    sums over clusters; a node that reaches nothing has 0 in place of the first term,
    where the 1e-10 made it a constant 23.

    Args:
        scale: the paper's τ, above 0; 0.25 to 1.5 in its experiments.
        clusters: K; None for the highest cluster in use plus one.
        reduction: "mean" or "sum" over the N nodes, or "none".
        backend: of `graphcl.kernels.contrast.contrast`.

    Shape:
        z (N, d), un-normalised; assignment (N,) int64 cluster of every node; edge_index
        (2, E) int64, the row i and column j of every entry of R; edge_weight (E,) its
        values, at least 0 and without gradient, None for 1. Output: 0-d, or (N,) with
        reduction "none".

    Raises:
        ArgumentError: for a shape, dtype, index, weight, cluster, scale, reduction or
            backend out of range.
        NonFiniteArgumentError: for NaN or infinity in z or edge_weight.

    Example:
        >>> from graphcl.kernels.reachability import reachability
        >>> from graphcl.kernels.spmm import SparseMatrix
        >>> graph = SparseMatrix.from_edge_index(torch.randint(100, (2, 300)), shape=100)
        >>> R = reachability(graph, 2)
        >>> edges = torch.stack([R.row, R.column])
        >>> value = BlockContrast()(torch.randn(100, 32), torch.arange(100) % 7, edges, R.value)
    """

    functional = staticmethod(block_contrast)
    example = staticmethod(clustered_graph)
    detached = ("edge_weight",)

    def __init__(
        self,
        *,
        scale: float = 0.5,
        clusters: int | None = None,
        reduction: str = "mean",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        check_above_zero("scale", scale)
        check_reduction(reduction)
        self.scale = scale
        self.clusters = clusters
        self.reduction = reduction
        self.backend = backend

    def forward(
        self,
        z: Tensor,
        assignment: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
    ) -> Tensor:
        """The loss of embeddings (N, d), clusters (N,) and entries (2, E) of R."""
        return block_contrast(
            z,
            assignment,
            edge_index,
            edge_weight,
            scale=self.scale,
            clusters=self.clusters,
            reduction=self.reduction,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return f"scale={self.scale:g}, clusters={self.clusters}, reduction={self.reduction!r}"


def _check_edges(edge_index: Tensor, edge_weight: Tensor | None, count: int) -> None:
    check_tensor("edge_index", edge_index)
    if edge_index.dim() != 2 or edge_index.shape[0] != 2 or edge_index.dtype != torch.int64:
        raise ArgumentError(
            f"edge_index must be int64 of shape (2, E); got {edge_index.dtype} "
            f"of shape {tuple(edge_index.shape)}"
        )
    if edge_index.numel():
        lowest, highest = (int(bound) for bound in edge_index.aminmax())
        if lowest < 0 or highest >= count:
            raise ArgumentError(
                f"edge_index must lie in 0 .. {count - 1}; got values in {lowest} .. {highest}"
            )
    if edge_weight is None:
        return
    check_floating("edge_weight", edge_weight)
    if tuple(edge_weight.shape) != (edge_index.shape[1],):
        raise ArgumentError(
            f"edge_weight must have shape ({edge_index.shape[1]},); got {tuple(edge_weight.shape)}"
        )
    check_finite("edge_weight", edge_weight)
    lowest_weight = float(edge_weight.detach().min()) if edge_weight.numel() else 0.0
    if lowest_weight < 0:
        raise ArgumentError(f"edge_weight must be at least 0; got {lowest_weight}")
