"""Meta-nodes: clusters of nodes that stand for their members."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.losses.arguments import check_count, check_tensor
from graphcl.losses.precision import widened


class MetaNodes(NamedTuple):
    """`centroids` (K, d), the mean of every cluster, 0 where empty; `counts` (K,) int64."""

    centroids: Tensor
    counts: Tensor


def meta_nodes(z: Tensor, assignment: Tensor, clusters: int | None = None) -> MetaNodes:
    """The mean and the size of every cluster, O(N d); gradients flow to `z`.

    Args:
        z: (N, d) floating; 16-bit types are computed in float32.
        assignment: (N,) int64 in [0, clusters).
        clusters: K; None for the highest cluster in use plus one. An empty cluster has
            centroid 0 and count 0.

    Raises:
        ArgumentError: for an assignment of a wrong shape or dtype, or out of range.
    """
    clusters = check_assignment(assignment, z, clusters)
    counts = torch.bincount(assignment, minlength=clusters)
    sums = sum_by_cluster(z, assignment, clusters)
    return MetaNodes(sums / counts.clamp_min(1)[:, None], counts)


def sum_by_cluster(z: Tensor, assignment: Tensor, clusters: int) -> Tensor:
    """(clusters, d): the sum of the rows of every cluster, 0 where empty."""
    z = widened(z)
    return z.new_zeros(clusters, z.shape[1]).index_add(0, assignment, z)


def log_counts(counts: Tensor, like: Tensor) -> Tensor:
    """log of the counts in the dtype of `like`, -inf for 0."""
    return counts.to(like.dtype).log()


def check_assignment(
    assignment: Tensor, z: Tensor, clusters: int | None, name: str = "assignment"
) -> int:
    """The number of clusters; raise unless every row of z (N, d) has one of them."""
    check_tensor(name, assignment)
    if clusters is not None:
        check_count("clusters", clusters)
    if assignment.dtype != torch.int64 or tuple(assignment.shape) != tuple(z.shape[:1]):
        raise ArgumentError(
            f"{name} must be int64 of shape {tuple(z.shape[:1])}, the cluster of every node; "
            f"got {assignment.dtype} of shape {tuple(assignment.shape)}"
        )
    if assignment.numel() == 0:
        return clusters or 1
    lowest, highest = (int(bound) for bound in assignment.aminmax())
    if lowest < 0 or (clusters is not None and highest >= clusters):
        top = "" if clusters is None else f" and at most {clusters - 1}"
        raise ArgumentError(f"{name} must be at least 0{top}; got values in {lowest} .. {highest}")
    return highest + 1 if clusters is None else clusters
