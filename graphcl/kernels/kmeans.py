"""k-means on the embeddings' own device, reproducible, in memory linear in the rows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import check_finite, check_matrix, full_precision

# Entries of the (rows x clusters) matrices that are held at a time.
_ENTRIES_PER_CHUNK = 1 << 22


class KMeans(NamedTuple):
    """`assignment` (N,) int64, `centroids` (clusters, d) and `counts` (clusters,) int64."""

    assignment: Tensor
    centroids: Tensor
    counts: Tensor


@torch.no_grad()
def kmeans(
    x: Tensor,
    clusters: int,
    iterations: int = 20,
    generator: torch.Generator | None = None,
) -> KMeans:
    """Lloyd's k-means (1982) from k-means++ seeds (Arthur & Vassilvitskii 2007).

    Every row belongs to its nearest centroid, the first of equal ones. Each of the
    `iterations` moves the centroids to the means of their rows, and stops early when
    no row changes. A cluster that loses all its rows keeps its centroid, so that more
    clusters than distinct rows are allowed: the surplus stays empty. The same generator
    state gives the same result on the CPU; sums are matrix products.

    O(iterations N clusters d) time; memory O(N d) and a chunk of rows times clusters.

    Args:
        x: (N, d) floating; 16-bit types are computed in float32. For clusters by cosine,
            rows of length one.
        clusters: at least 1.
        iterations: at least 0; 0 gives the seeds.
        generator: source of the seeds; None for torch's global one.

    Returns:
        `KMeans`, without gradient; centroids in float64 for float64 and float32 otherwise.

    Raises:
        ArgumentError: for a shape, dtype or number out of range, or rows that are not finite.
    """
    check_matrix("x", x, None)
    check_finite("x", x)
    for name, value, least in (("clusters", clusters, 1), ("iterations", iterations, 0)):
        if value < least:
            raise ArgumentError(f"{name} must be at least {least}; got {value}")
    if x.dtype in (torch.float16, torch.bfloat16):
        x = x.float()
    if x.shape[0] == 0:
        none = torch.zeros(clusters, dtype=torch.int64, device=x.device)
        return KMeans(none[:0], x.new_zeros(clusters, x.shape[1]), none)
    # Around the mean and of size one, squared distances neither overflow nor lose digits.
    mean = x.mean(dim=0)
    x = x - mean
    size = x.abs().amax() if x.numel() else x.new_zeros(())
    size = torch.where(size > 0, size, 1.0)
    x = x / size
    with full_precision(x):
        centroids = _seeds(x, clusters, generator)
        assignment = _nearest(x, centroids)
        for _ in range(iterations):
            sums, counts = _sums(x, assignment, clusters)
            means = sums / counts.clamp_min(1)[:, None]
            centroids = torch.where(counts[:, None] > 0, means, centroids)
            previous, assignment = assignment, _nearest(x, centroids)
            if torch.equal(previous, assignment):
                break
    counts = torch.bincount(assignment, minlength=clusters)
    return KMeans(assignment, centroids * size + mean, counts)


@torch.no_grad()
def best_kmeans(
    x: Tensor,
    clusters: int,
    restarts: int = 10,
    iterations: int = 300,
    generator: torch.Generator | None = None,
) -> KMeans:
    """Of `restarts` runs of `kmeans` the one with the lowest sum of squared distances.

    Arguments and errors as there; restarts at least 1.
    """
    if restarts < 1:
        raise ArgumentError(f"restarts must be at least 1; got {restarts}")
    fits = [kmeans(x, clusters, iterations, generator) for _ in range(restarts)]

    def inertia(fit: KMeans) -> float:
        return float((x - fit.centroids[fit.assignment]).double().square().sum())

    return min(fits, key=inertia)


def _seeds(x: Tensor, clusters: int, generator: torch.Generator | None) -> Tensor:
    """Rows drawn one by one with probability proportional to the squared distance so far."""
    where = x.device if generator is None else generator.device
    draws = torch.rand(clusters, generator=generator, device=where, dtype=torch.float64)
    distance = torch.ones(x.shape[0], dtype=torch.float64, device=x.device)
    chosen = []
    for number, draw in enumerate(draws.to(x.device)):
        reached = distance.cumsum(0)
        # Where every row is a seed already the draw is of no consequence: the last row.
        row = torch.searchsorted(reached, draw * reached[-1], right=True)
        row = row.clamp_max(x.shape[0] - 1)
        chosen.append(row)
        apart = (x - x[row]).square().sum(dim=1).double()
        distance = apart if number == 0 else torch.minimum(distance, apart)
    return x[torch.stack(chosen)]


def _nearest(x: Tensor, centroids: Tensor) -> Tensor:
    squares = centroids.square().sum(dim=1)
    step = max(1, _ENTRIES_PER_CHUNK // centroids.shape[0])
    parts = [
        torch.addmm(squares, rows, centroids.T, alpha=-2).argmin(dim=1) for rows in x.split(step)
    ]
    return torch.cat(parts)


def _sums(x: Tensor, assignment: Tensor, clusters: int) -> tuple[Tensor, Tensor]:
    sums = x.new_zeros(clusters, x.shape[1])
    if x.device.type == "cpu":
        return sums.index_add_(0, assignment, x), torch.bincount(assignment, minlength=clusters)
    step = max(1, _ENTRIES_PER_CHUNK // clusters)
    every = torch.arange(clusters, device=x.device)[:, None]
    for rows, labels in zip(x.split(step), assignment.split(step), strict=True):
        # Adding row by row is not reproducible on a GPU.
        sums += (labels == every).to(x.dtype) @ rows
    return sums, torch.bincount(assignment, minlength=clusters)
